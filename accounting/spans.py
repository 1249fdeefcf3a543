"""Sums of a lane's older batches, so that a window that holds all of them need not add up each: of FAN tallies one
span, of FAN spans a wider one. They only save time: where one lacks, what it sums is counted.

What ends with a batch is also kept in one row beside the log, the widest with what statistics count of its batches. The
row is bound to the checks of all of these: once one of them changes, or a byte of the row, it is not known any more.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from accounting.columns import NO_WORKERS, Workers, join_miners, join_workers
from accounting.shelves import Shelf, Shelves
from accounting.sums import Sums, unpack_sums
from accounting.tally import Tally, TallyRow, unpack_tally

FAN = 4
# 64 batches: an hour of batches of a minute. Wider ones would save little more.
MAX_LEVEL = 3
WIDEST = FAN**MAX_LEVEL
# Miners of one offer in a span: where each batch has miners of its own, adding up saves nothing and takes memory.
MAX_MINERS = 2048
# Workers of one offer whose terms pay loyalty, for the same reason.
MAX_WORKERS = 2048
# Counts up when the rows below change.
FORM = 1
_DIGEST_SIZE = 32
_DECODER = msgspec.msgpack.Decoder(tuple[list[bytes], bytes | None])


@dataclass(frozen=True, slots=True)
class SpanRow:
    """The packed spans that end with one batch, narrowest first, and the packed sums of the widest kind's batches."""

    spans: list[bytes]
    sums: bytes | None = None

    def pack(self, checks: Sequence[bytes]) -> bytes:
        """The row, bound to the digests of the checks of all batches that it sums."""
        body = msgspec.msgpack.encode((self.spans, self.sums))
        return bytes([FORM]) + _digest(checks, body) + body

    def summed(self) -> Sums | None:
        """What statistics count of the batches; None if that is not kept."""
        return None if self.sums is None else unpack_sums(self.sums)


def unpack_row(data: bytes, checks: Sequence[bytes]) -> SpanRow | None:
    """The row that was kept; None if it is of other batches, other checks or another form, or no longer whole."""
    start = 1 + _DIGEST_SIZE
    if data[:1] != bytes([FORM]) or data[1:start] != _digest(checks, data[start:]):
        return None
    return SpanRow(*_DECODER.decode(data[start:]))


def _digest(checks: Sequence[bytes], body: bytes) -> bytes:
    return hashlib.sha256(b"".join((bytes([FORM]), len(checks).to_bytes(4, "big"), *checks, body))).digest()


def level_of(number: int) -> int:
    """The level of the widest span that ends with the span of level 1 of that number."""
    level = 1
    while level < MAX_LEVEL and number % FAN == FAN - 1:
        number //= FAN
        level += 1
    return level


def span_of(tallies: Sequence[Tally]) -> Tally | None:
    """What these count together, a row for each offer, of the highest of its heights; None if their windows are not in
    order or it would be too large.
    """
    if any(later.from_ms < earlier.to_ms for earlier, later in pairwise(tallies)):
        return None
    rows = []
    for offer in sorted({row.offer for tally in tallies for row in tally.rows}):
        mine = [row for tally in tallies for row in tally.rows if row.offer == offer]
        by_miner = join_miners(row.by_miner for row in mine)
        if len(by_miner) > MAX_MINERS:
            return None
        height, first_ms = max(row.height for row in mine), min(row.first_ms for row in mine)
        values = join_miners(row.values for row in mine)
        work = sum(row.work for row in mine)
        rows.append(TallyRow(offer, height, first_ms, work, by_miner, values, _workers(mine)))
    return Tally(tallies[0].from_ms, tallies[-1].to_ms, tuple(rows))


def _workers(rows: Sequence[TallyRow]) -> Workers:
    """The parts of workers; none if a row lacks them or there would be too many: what is wanted by worker is then
    counted without the span.
    """
    if not all(row.by_worker for row in rows):
        return NO_WORKERS
    sums = join_workers(row.by_worker for row in rows)
    return sums if len(sums) <= MAX_WORKERS else NO_WORKERS


class Spans:
    """The spans of one lane: that of a level and number sums the FAN**level batches from number * FAN**level on."""

    def __init__(self, lane: str, shelves: Shelves) -> None:
        self._lane = lane
        # Packed, as the rows have them.
        self._shelf: Shelf[bytes] = shelves.open("spans")
        # Those of level 1, by number, whose batches are still at hand.
        self._fresh: dict[int, Tally] = {}

    def has_begun(self, number: int) -> bool:
        """Whether the span of level 1 of that number stands here, and is not added."""
        return number in self._fresh

    def begin(self, number: int, tallies: Sequence[Tally]) -> None:
        """Make the span of level 1 of that number out of its tallies."""
        if (span := span_of(tallies)) is not None:
            self._fresh[number] = span

    def get(self, level: int, number: int) -> Tally | None:
        """A span, None if it was not made."""
        if level == 1 and number in self._fresh:
            return self._fresh[number]
        data = self._shelf.get(self._key(level, number))
        return None if data is None else unpack_tally(data)

    def ending(self, position: int) -> Iterator[tuple[int, Tally]]:
        """The spans whose last batch is the one at a position, each with its level, widest first."""
        for level in range(MAX_LEVEL, 0, -1):
            number, rest = divmod(position + 1, FAN**level)
            if not rest and (span := self.get(level, number - 1)) is not None:
                yield level, span

    def add(self, number: int) -> list[bytes]:
        """Shelve the span of level 1 of that number, which was begun, and the wider ones that are whole by it."""
        made: list[bytes] = []
        span = self._fresh.pop(number, None)
        for level in range(1, MAX_LEVEL + 1):
            if span is None:
                break
            made.append(span.pack())
            self._shelf[self._key(level, number)] = made[-1]
            number, rest = divmod(number, FAN)
            if rest < FAN - 1 or level == MAX_LEVEL:
                break
            parts = [self.get(level, FAN * number + part) for part in range(FAN)]
            whole = [part for part in parts if part is not None]
            span = span_of(whole) if len(whole) == FAN else None
        return made

    def put(self, number: int, made: Sequence[bytes]) -> None:
        """Put what `add` has made before."""
        self._fresh.pop(number, None)
        for level, span in enumerate(made, start=1):
            self._shelf[self._key(level, number)] = span
            number //= FAN

    def drop(self, position: int) -> None:
        """Forget what sums the batch at a position, which has changed."""
        self._fresh.pop(position // FAN, None)
        for level in range(1, MAX_LEVEL + 1):
            self._shelf.pop(self._key(level, position // FAN**level), None)

    def _key(self, level: int, number: int) -> str:
        return f"{self._lane}/{level}/{number:012d}"
