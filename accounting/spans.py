"""Sums of a lane's older batches, so that a window that holds all of them need not add up each: of FAN tallies one
span, of FAN spans a wider one. They only save time: where one lacks, what it sums is counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from accounting.shelves import Shelf, Shelves
from accounting.tally import Tally, TallyRow

FAN = 4
# 64 batches: an hour of batches of a minute. Wider ones would save little more.
MAX_LEVEL = 3
# Miners of one offer in a span: where each batch has miners of its own, adding up saves nothing and takes memory.
MAX_MINERS = 2048
# Workers of one offer whose terms pay loyalty, for the same reason.
MAX_WORKERS = 2048


def _sums(columns: Iterable[tuple[tuple[str, int], ...]]) -> tuple[tuple[str, int], ...]:
    sums: dict[str, int] = {}
    known = sums.get
    for column in columns:
        for miner, part in column:
            sums[miner] = known(miner, 0) + part
    return tuple(sums.items())


def span_of(tallies: Sequence[Tally]) -> Tally | None:
    """What these count together, a row for each offer, of the highest of its heights; None if their windows are not in
    order or it would be too large.
    """
    if any(later.from_ms < earlier.to_ms for earlier, later in pairwise(tallies)):
        return None
    rows = []
    for offer in sorted({row.offer for tally in tallies for row in tally.rows}):
        mine = [row for tally in tallies for row in tally.rows if row.offer == offer]
        by_miner = _sums(row.by_miner for row in mine)
        if len(by_miner) > MAX_MINERS:
            return None
        height, first_ms = max(row.height for row in mine), min(row.first_ms for row in mine)
        values = _sums(row.values for row in mine)
        work = sum(row.work for row in mine)
        rows.append(TallyRow(offer, height, first_ms, work, by_miner, values, _workers(mine)))
    return Tally(tallies[0].from_ms, tallies[-1].to_ms, tuple(rows))


def _workers(rows: Sequence[TallyRow]) -> tuple[tuple[str, str, int], ...]:
    """The parts of workers; none if a row lacks them or there would be too many: what is wanted by worker is then
    counted without the span.
    """
    if not all(row.by_worker for row in rows):
        return ()
    sums: dict[tuple[str, str], int] = {}
    for miner, worker, part in (each for row in rows for each in row.by_worker):
        sums[miner, worker] = sums.get((miner, worker), 0) + part
    return tuple((*worker, part) for worker, part in sums.items()) if len(sums) <= MAX_WORKERS else ()


class Spans:
    """The spans of one lane: that of a level and number sums the FAN**level batches from number * FAN**level on."""

    def __init__(self, lane: str, shelves: Shelves) -> None:
        self._lane = lane
        self._shelf: Shelf[Tally] = shelves.open("spans")

    def get(self, level: int, number: int) -> Tally | None:
        """A span, None if it was not made."""
        return self._shelf.get(self._key(level, number))

    def ending(self, position: int) -> Iterator[tuple[int, Tally]]:
        """The spans whose last batch is the one at a position, each with its level, widest first."""
        for level in range(MAX_LEVEL, 0, -1):
            number, rest = divmod(position + 1, FAN**level)
            if not rest and (span := self.get(level, number - 1)) is not None:
                yield level, span

    def add(self, number: int, tallies: Sequence[Tally]) -> None:
        """Make the span of level 1 of that number out of its tallies, and the wider ones that are whole by it."""
        span = span_of(tallies)
        for level in range(1, MAX_LEVEL + 1):
            if span is None:
                return
            self._shelf[self._key(level, number)] = span
            number, rest = divmod(number, FAN)
            if rest < FAN - 1 or level == MAX_LEVEL:
                return
            parts = [self.get(level, FAN * number + part) for part in range(FAN)]
            whole = [part for part in parts if part is not None]
            span = span_of(whole) if len(whole) == FAN else None

    def drop(self, position: int) -> None:
        """Forget what sums the batch at a position, which has changed."""
        for level in range(1, MAX_LEVEL + 1):
            self._shelf.pop(self._key(level, position // FAN**level), None)

    def _key(self, level: int, number: int) -> str:
        return f"{self._lane}/{level}/{number:012d}"
