"""Who mined in a lane in an hour or a day that is over, and how much: summed once, then kept (SPEC.md, "Splits").

A row names the lane and the stretch it is of and the last batch it sums, and is bound to its own bytes by a hash: one
of other batches, or damaged, is not known any more and made anew. Hours are joined when their day is over.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from accounting.lanes import Lane, LaneKey
from accounting.schemes.loyalty import DAY_MS, HOUR_MS
from accounting.shares import CheckedShares, Number, join_keys, pack_number, split_keys
from accounting.shelves import Shelf, Shelves
from accounting.spans import FAN
from accounting.tally import Tally

HOURS_A_DAY = DAY_MS // HOUR_MS
# Where rows are kept, by `<edge>/<lane>/<hour or day>`.
HOURS, DAYS = "turnout hours", "turnout days"
# A lane's days are kept so long: a statement looks back 31, and one that comes late, after an orphan, somewhat further.
KEPT_DAYS = 62
# Rows remembered beside the shelves, in bytes.
MAX_ASIDE = 16 << 20
# Counts up when the rows change.
FORM = 1
_DIGEST_SIZE = 32
_DECODER = msgspec.msgpack.Decoder(tuple[str, int, str, bytes, bytes, bytes])
_WORKERS = msgspec.msgpack.Decoder(tuple[bytes, str, list[Number]])


class Aside:
    """Rows that nobody made yet, for who must leave the shelves as they are; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._rows: dict[str, bytes] = {}
        self._size = 0

    def get(self, key: str, /) -> bytes | None:
        """A row, None if it is not there."""
        return self._rows.get(key)

    def __setitem__(self, key: str, value: bytes, /) -> None:
        self._drop(key)
        while self._rows and self._size + len(value) > MAX_ASIDE:
            self._drop(next(iter(self._rows)))
        self._rows[key] = value
        self._size += len(value)

    def _drop(self, key: str) -> None:
        if key in self._rows:
            self._size -= len(self._rows.pop(key))


@dataclass(frozen=True, slots=True)
class Turnout:
    """A lane's good shares in an hour or a day: by miner the hours in which it had any, as bits from the day's first
    on. `packed`: how many workers each has, their names and their work, in the same order.
    """

    miners: list[str]
    bits: "array[int]"
    packed: bytes

    def hours(self) -> Iterator[tuple[str, int]]:
        """Each miner's hours."""
        return zip(self.miners, self.bits, strict=True)

    def workers(self) -> Iterator[tuple[str, str, int]]:
        """Each (miner, worker)'s work."""
        if not self.miners:
            return iter(())
        counts, names, works = _WORKERS.decode(self.packed)
        owners = (miner for miner, count in zip(self.miners, array("I", counts), strict=True) for _ in range(count))
        return zip(owners, names.split(","), map(int, works), strict=True)

    def workers_of(self, miners: set[str]) -> Iterator[tuple[str, str, int]]:
        """The same of some miners."""
        if not miners.isdisjoint(self.miners):
            yield from (each for each in self.workers() if each[0] in miners)

    def pack(self, key: str, position: int, receipt: str) -> bytes:
        """The row of that key; `position` and `receipt` are those of the last batch that it sums."""
        body = msgspec.msgpack.encode(
            (key, position, receipt, join_keys(self.miners), self.bits.tobytes(), self.packed)
        )
        return bytes([FORM]) + hashlib.sha256(body).digest() + body


NOBODY = Turnout([], array("I"), b"")


def turnout_of(bits: Mapping[str, int], works: Mapping[tuple[str, str], int]) -> Turnout:
    """Hours by miner and work by worker, in columns."""
    if not bits:
        return NOBODY
    miners, workers = sorted(bits), sorted(works)
    counts = dict.fromkeys(miners, 0)
    for miner, _ in workers:
        counts[miner] += 1
    names, parts = ",".join(name for _, name in workers), [pack_number(works[worker]) for worker in workers]
    packed = msgspec.msgpack.encode((array("I", counts.values()).tobytes(), names, parts))
    return Turnout(miners, array("I", map(bits.__getitem__, miners)), packed)


def join(turnouts: Iterable[Turnout]) -> Turnout:
    """What they come to together."""
    bits: dict[str, int] = {}
    works: dict[tuple[str, str], int] = {}
    for turnout in turnouts:
        for miner, hours in turnout.hours():
            bits[miner] = bits.get(miner, 0) | hours
        for miner, name, work in turnout.workers():
            works[miner, name] = works.get((miner, name), 0) + work
    return turnout_of(bits, works)


def unpack_turnout(data: bytes, key: str, lane: Lane) -> Turnout | None:
    """The row that was kept; None if it is of another form, stretch or lane, of batches that do not stand in it, or no
    longer whole.
    """
    body = memoryview(data)[1 + _DIGEST_SIZE :]
    if data[:1] != bytes([FORM]) or data[1 : 1 + _DIGEST_SIZE] != hashlib.sha256(body).digest():
        return None
    told, position, receipt, miners, bits, packed = _DECODER.decode(body)
    if told != key or lane.batches.find(receipt) != position:
        return None
    return Turnout(split_keys(miners), array("I", bits), packed) if bits else NOBODY


def _fits(tally: Tally, from_ms: int, to_ms: int, *, by_worker: bool) -> bool:
    within = from_ms <= tally.from_ms and tally.to_ms <= to_ms
    return within and (not by_worker or all(row.by_worker for row in tally.rows))


def _pieces(lane: Lane, from_ms: int, to_ms: int, last: int, *, by_worker: bool) -> Iterator[Tally | CheckedShares]:
    """What a lane has with from_ms <= t < to_ms, up to a position: spans and batches that lie in it whole, by worker if
    that is wanted; of the others all shares.
    """
    position = min(lane.position_past(to_ms - 1), last)
    while position >= 0:
        spans = lane.batches.spans.ending(position)
        found = next((each for each in spans if _fits(each[1], from_ms, to_ms, by_worker=by_worker)), None)
        if found is not None:
            level, span = found
            yield span
            position -= FAN**level
            continue
        batch = lane.batches[position]
        if batch.to_ms <= from_ms:
            return
        whole = from_ms <= batch.from_ms and batch.to_ms <= to_ms
        tally = batch.count() if whole else None
        if tally is not None and _fits(tally, from_ms, to_ms, by_worker=by_worker):
            yield tally
        else:
            yield batch.read()
        position -= 1


def work_of(lane: Lane, from_ms: int, to_ms: int, last: int) -> dict[tuple[str, str], int]:
    """The work of a lane's shares with from_ms <= t < to_ms, up to a position, by (miner, worker)."""
    works: dict[tuple[str, str], int] = {}
    for piece in _pieces(lane, from_ms, to_ms, last, by_worker=True):
        if isinstance(piece, Tally):
            for row in piece.rows:
                for miner, name, work in row.by_worker:
                    works[miner, name] = works.get((miner, name), 0) + work
            continue
        for t, session in zip(piece.t, piece.session, strict=True):
            if from_ms <= t < to_ms:
                who = piece.sessions[session]
                works[who.miner, who.worker] = works.get((who.miner, who.worker), 0) + who.work
    return works


def miners_of(lane: Lane, from_ms: int, to_ms: int, last: int) -> set[str]:
    """The miners of a lane's shares with from_ms <= t < to_ms, up to a position."""
    found: set[str] = set()
    for piece in _pieces(lane, from_ms, to_ms, last, by_worker=False):
        if isinstance(piece, Tally):
            for row in piece.rows:
                found.update([miner for miner, _ in row.by_miner])
        else:
            sessions = {session for t, session in zip(piece.t, piece.session, strict=True) if from_ms <= t < to_ms}
            found.update(piece.sessions[session].miner for session in sessions)
    return found


class Turnouts:
    """The hours and days of lanes. What is asked for must be over: no share of it may come any more."""

    def __init__(self, shelves: Shelves) -> None:
        self._hours: Shelf[bytes] = shelves.open(HOURS)
        self._days: Shelf[bytes] = shelves.open(DAYS)
        # What was read last, of one day: it is asked for twice.
        self._at_hand: tuple[int, dict[LaneKey, Turnout]] = (-1, {})
        self._aside = Aside()

    def passed(self, lane: Lane) -> None:
        """A batch took its place: sum up the hour and the day that it ended."""
        last = lane.batches[-1]
        hour, day = last.from_ms // HOUR_MS, last.from_ms // DAY_MS
        if last.to_ms // DAY_MS > day:
            self.day(lane, day)
            self.rest()
            self._days.pop(_key(lane.key, day - KEPT_DAYS), None)
        elif last.to_ms // HOUR_MS > hour:
            self.hour(lane, hour)

    def hour(self, lane: Lane, hour: int, *, keep: bool = True) -> Turnout:
        """What a lane has in an hour. `keep`: the shelves may be changed."""
        key = _key(lane.key, hour)
        found = self._find(self._hours, key, lane, "h")
        if found is None:
            works = work_of(lane, hour * HOUR_MS, (hour + 1) * HOUR_MS, len(lane.batches) - 1)
            found = turnout_of({miner: 1 << hour % HOURS_A_DAY for miner, _ in works}, works)
            self._put(self._hours, key, lane, found, (hour + 1) * HOUR_MS, "" if keep else "h")
        return found

    def day(self, lane: Lane, day: int, *, keep: bool = True) -> Turnout:
        """What a lane has in a day."""
        start = max(day * HOURS_A_DAY, lane.first.from_ms // HOUR_MS)
        hours = range(start, min((day + 1) * HOURS_A_DAY, (lane.watermark_ms - 1) // HOUR_MS + 1))
        if not hours:
            return NOBODY
        known, at_hand = self._at_hand
        if known != day:
            known, at_hand = self._at_hand = (day, {})
        if lane.key not in at_hand:
            at_hand[lane.key] = self._day(lane, day, hours, keep=keep)
        return at_hand[lane.key]

    def rest(self) -> None:
        """Let go of what can be read again."""
        self._at_hand = (-1, {})

    def _day(self, lane: Lane, day: int, hours: range, *, keep: bool) -> Turnout:
        key = _key(lane.key, day)
        found = self._find(self._days, key, lane, "d")
        if found is None:
            found = join(self.hour(lane, hour, keep=keep) for hour in hours)
            self._put(self._days, key, lane, found, (day + 1) * DAY_MS, "" if keep else "d")
            if keep:
                self._drop_hours(lane.key, hours)
        return found

    def drop(self, lane: LaneKey, from_ms: int, to_ms: int) -> None:
        """Forget what sums a batch of that window, which has changed."""
        self.rest()
        self._aside = Aside()
        for day in range(from_ms // DAY_MS, to_ms // DAY_MS + 1):
            self._days.pop(_key(lane, day), None)
            self._drop_hours(lane, range(day * HOURS_A_DAY, (day + 1) * HOURS_A_DAY))

    def _drop_hours(self, lane: LaneKey, hours: Iterable[int]) -> None:
        for hour in hours:
            self._hours.pop(_key(lane, hour), None)

    def _find(self, shelf: Shelf[bytes], key: str, lane: Lane, mark: str) -> Turnout | None:
        for data in (shelf.get(key), self._aside.get(mark + key)):
            found = None if data is None else unpack_turnout(data, key, lane)
            if found is not None:
                return found
        return None

    def _put(self, shelf: Shelf[bytes], key: str, lane: Lane, turnout: Turnout, to_ms: int, aside: str) -> None:
        """Put it on the shelf, or aside under a mark."""
        position = min(lane.position_past(to_ms - 1), len(lane.batches) - 1)
        row = turnout.pack(key, position, lane.batches[position].id)
        if aside:
            self._aside[aside + key] = row
        else:
            shelf[key] = row


def _key(lane: LaneKey, number: int) -> str:
    return f"{lane}/{number:09d}"
