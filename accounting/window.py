"""The shares a statement is about, newest first (SPEC.md, "4214 reward statement", "S").

`count_window` comes to the same as `count_newest` of `newest_first`, batch by batch, and older ones span by span: only
what an edge of the window may cross is taken apart, so that a statement costs little more than its miners.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace, merge
from typing import NamedTuple

from accounting.lanes import Batch, Lane, LaneKey
from accounting.schemes.held import NOTHING_HELD, Bound, Held
from accounting.schemes.lots import value
from accounting.schemes.loyalty import Worker
from accounting.spans import FAN
from accounting.tally import Tally
from accounting.torn import narrow, tear


class Placed(NamedTuple):
    """A share where it stands: (t, edge, lane, seq, number) is the order of S; then whose it is, what it is worth where
    its offer pays by share, and by which worker.
    """

    t: int
    edge: str
    lane: int
    seq: int
    number: int
    miner: str
    work: int
    value: int = 0
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which shares S holds: the offer's, with t <= end_ms, job height <= height (None: any), and t >= oldest_ms (0:
    any), less what earlier statements held. `by_worker`: the work is wanted by worker too.
    """

    offer: str
    end_ms: int
    height: int | None
    oldest_ms: int = 0
    held: Held = NOTHING_HELD
    by_worker: bool = False

    def fits(self, offer: str, height: int) -> bool:
        """Whether work of that offer and height is meant."""
        return offer == self.offer and (self.height is None or height <= self.height)

    def bound(self, lane: LaneKey) -> Bound | None:
        """What of a lane was held before."""
        return self.held.bounds.get(str(lane)) if self.held.bounds else None


@dataclass(slots=True)
class Counted:
    """What a window counts. `from_ms`: t of its oldest share; `work` by miner; `full`: older work would not count.
    `values` by miner, where all of S counts and the offer pays by share; `workers`: the work by (miner, worker), where
    it is wanted.
    """

    from_ms: int
    work: dict[str, int] = field(default_factory=dict)
    full: bool = False
    values: dict[str, int] = field(default_factory=dict)
    workers: dict[Worker, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All work in the window."""
        return sum(self.work.values())

    def add(self, worker: Worker, work: int) -> None:
        """Work of a worker counts."""
        self.workers[worker] = self.workers.get(worker, 0) + work


def _batch_shares(key: LaneKey, batch: Batch, wanted: Selection) -> Iterator[Placed]:
    shares = batch.shares
    fits = [wanted.fits(job.offer, job.height) for job in shares.jobs]
    bound = wanted.bound(key)
    for row in range(len(shares) - 1, -1, -1):
        t = shares.t[row]
        if wanted.oldest_ms <= t <= wanted.end_ms and fits[shares.job[row]]:
            if bound is not None and bound.holds(batch.seq, t):
                # Shares are in time order: so is what is older.
                return
            yield _placed(key, batch, row)


def _placed(key: LaneKey, batch: Batch, row: int) -> Placed:
    shares = batch.shares
    who = shares.sessions[shares.session[row]]
    price = shares.jobs[shares.job[row]].price
    worth = 0 if price is None else value(who.work, price)
    place = (shares.t[row], key.edge, key.number, batch.seq, shares.index[row])
    return Placed(*place, who.miner, who.work, worth, who.worker)


def _lane_shares(lane: Lane, last: Batch, wanted: Selection) -> Iterator[Placed]:
    bound = wanted.bound(lane.key)
    for batch in lane.back_from(last.seq):
        if batch.to_ms <= wanted.oldest_ms or (bound is not None and bound.holds_all(batch.seq, batch.to_ms)):
            return
        if batch.from_ms <= wanted.end_ms:
            yield from _batch_shares(lane.key, batch, wanted)


def newest_first(lanes: Mapping[LaneKey, Lane], cuts: Mapping[LaneKey, Batch], wanted: Selection) -> Iterator[Placed]:
    """S up to the cuts, from its newest share to its oldest."""
    columns = [_lane_shares(lanes[key], batch, wanted) for key, batch in cuts.items()]
    return merge(*columns, reverse=True)


def oldest_unheld(lane: Lane, offer: str, bound: Bound | None, start: int = 0) -> tuple[int | None, int]:
    """(t of a lane's oldest share of an offer that is not held, the position of its batch); None, and where to go on
    looking, if there is none. `start`: the position to begin at, at most that of the bound.
    """
    held_at = -1 if bound is None else lane.position_of(bound.seq)
    for position in range(max(start, held_at), len(lane.batches)):
        batch = lane.batches[position]
        firsts = [kind.first_ms for kind in batch.head.kinds if kind.offer == offer]
        if not firsts:
            continue
        if bound is None or position > held_at or min(firsts) > bound.end_ms:
            return min(firsts), position
        shares = batch.shares
        later = (t for t, job in zip(shares.t, shares.job, strict=True) if shares.jobs[job].offer == offer)
        if (t := next((t for t in later if t > bound.end_ms), None)) is not None:
            return t, position
    return None, len(lane.batches)


def count_newest(shares: Iterable[Placed], limit: int, end_ms: int, *, by_worker: bool = False) -> Counted:
    """The newest shares until their work is `limit`; the one that crosses the edge counts in part."""
    counted = Counted(end_ms)
    rest = limit
    for share in shares:
        if rest <= 0:
            break
        part = min(share.work, rest)
        rest -= part
        counted.work[share.miner] = counted.work.get(share.miner, 0) + part
        if by_worker:
            counted.add(Worker(share.miner, share.worker), part)
        counted.from_ms = share.t
    counted.full = rest <= 0
    return counted


class _Later:
    """Pairs of the one row of a batch's tally, which is only made if somebody asks."""

    __slots__ = ("_batch", "_name")

    def __init__(self, batch: Batch, name: str) -> None:
        self._batch = batch
        self._name = name

    def __iter__(self) -> Iterator[tuple[str, int]]:
        pairs: tuple[tuple[str, int], ...] = getattr(self._batch.tally.rows[0], self._name)
        return iter(pairs)


class _Part(NamedTuple):
    """A batch's work in S: its window, t of its first share there, the sum, each miner's part; where the batch is. Or,
    with a `level`, that of the span it is the last of. Each worker's part if it is wanted.
    """

    from_ms: int
    to_ms: int
    first_ms: int
    work: int
    by_miner: Iterable[tuple[str, int]]
    values: Iterable[tuple[str, int]]
    lane: Lane
    position: int
    level: int = 0
    by_worker: Iterable[tuple[str, str, int]] = ()


def _whole(tally: Tally, lane: Lane, position: int, wanted: Selection, level: int = 0) -> _Part | None:
    """A tally's part that is all in S; None if it has none of it."""
    rows = [row for row in tally.rows if wanted.fits(row.offer, row.height)]
    if not rows:
        return None
    by_miner: Iterable[tuple[str, int]] = rows[0].by_miner
    if len(rows) > 1:
        by_miner = [pair for row in rows for pair in row.by_miner]
    values = [pair for row in rows for pair in row.values]
    workers = [each for row in rows for each in row.by_worker] if wanted.by_worker else []
    first, work = min(row.first_ms for row in rows), sum(row.work for row in rows)
    return _Part(tally.from_ms, tally.to_ms, first, work, by_miner, values, lane, position, level, workers)


def _is_within(tally: Tally, bound: Bound | None, wanted: Selection) -> bool:
    """Whether S has all work of a tally's window, or none of it, as far as times and what was held decide, and the
    tally has it by worker if that is wanted: not if it was mined under terms without loyalty.
    """
    if wanted.by_worker and not all(row.by_worker for row in tally.rows if row.offer == wanted.offer):
        return False
    return _has_time(tally, bound, wanted)


def _has_time(of: Tally | Batch, bound: Bound | None, wanted: Selection) -> bool:
    """Whether all of a window is wanted, as far as times and what was held decide."""
    unheld = bound is None or of.from_ms > bound.end_ms
    return unheld and of.to_ms <= wanted.end_ms + 1 and of.from_ms >= wanted.oldest_ms


def _part(lane: Lane, position: int, wanted: Selection) -> _Part | None:
    """A batch as S has it; None if nothing of it is in S."""
    batch, bound = lane.batches[position], wanted.bound(lane.key)
    head = batch.head
    if len(head.kinds) == 1 and not wanted.by_worker and _has_time(batch, bound, wanted):
        (kind,) = head.kinds
        if not wanted.fits(kind.offer, kind.height):
            return None
        miners, worth = _Later(batch, "by_miner"), _Later(batch, "values")
        return _Part(batch.from_ms, batch.to_ms, kind.first_ms, head.work, miners, worth, lane, position)
    if _is_within(batch.tally, bound, wanted):
        return _whole(batch.tally, lane, position, wanted)
    shares = list(_batch_shares(lane.key, batch, wanted))
    if not shares:
        return None
    by = [(share.miner, share.work) for share in shares]
    values = [(share.miner, share.value) for share in shares if share.value]
    work = sum(part for _, part in by)
    workers = [(share.miner, share.worker, share.work) for share in shares] if wanted.by_worker else []
    return _Part(batch.from_ms, batch.to_ms, shares[-1].t, work, by, values, lane, position, 0, workers)


def _span(lane: Lane, position: int, bound: Bound | None, wanted: Selection) -> tuple[int, Tally] | None:
    """The widest span up to a position whose work of the offer is all in S."""
    for level, span in lane.batches.spans.ending(position):
        # A row's height is the highest.
        fits = all(wanted.fits(row.offer, row.height) for row in span.rows if row.offer == wanted.offer)
        if fits and _is_within(span, bound, wanted):
            return level, span
    return None


def _lane_parts(lane: Lane, last: Batch, wanted: Selection) -> Iterator[_Part]:
    """A lane's part of S, newest first."""
    bound = wanted.bound(lane.key)
    held_at = -1 if bound is None else lane.position_of(bound.seq)
    position = lane.position_of(last.seq) + 1
    while position:
        position -= 1
        found = _span(lane, position, bound, wanted)
        if found is not None:
            level, span = found
            if (whole := _whole(span, lane, position, wanted, level)) is not None:
                yield whole
            position -= FAN**level - 1
            continue
        batch = lane.batches[position]
        held = bound is not None and position <= held_at and batch.to_ms - 1 <= bound.end_ms
        if held or batch.to_ms <= wanted.oldest_ms:
            return
        if batch.from_ms <= wanted.end_ms and (part := _part(lane, position, wanted)) is not None:
            yield part


def _parts(columns: Iterable[Iterator[_Part]], limit: int | None) -> list[_Part]:
    """What may count of lanes whose windows touch: whatever does not end before work of the limit begins."""
    # What begins last on top; its number only keeps the heap from comparing parts.
    lanes = [
        (-head.from_ms, number, head, column)
        for number, column in enumerate(columns)
        if (head := next(column, None)) is not None
    ]
    heapify(lanes)
    taken: list[_Part] = []
    work, from_ms = 0, None
    while lanes and (limit is None or work < limit):
        _, number, head, column = lanes[0]
        taken.append(head)
        work += head.work
        from_ms = head.from_ms
        if (older := next(column, None)) is not None:
            heapreplace(lanes, (-older.from_ms, number, older, column))
        else:
            heappop(lanes)
    for _, _, first, column in lanes:
        part: _Part | None = first
        while part is not None and from_ms is not None and part.to_ms > from_ms:
            taken.append(part)
            part = next(column, None)
    return taken


def _split(part: _Part, wanted: Selection) -> Iterator[_Part]:
    """The parts that a span sums."""
    width = FAN ** (part.level - 1)
    for position in range(part.position, part.position - FAN * width, -width):
        span = part.lane.batches.spans.get(part.level - 1, position // width) if part.level > 1 else None
        if span is not None:
            found = _whole(span, part.lane, position, wanted, part.level - 1)
        else:
            assert part.level == 1  # no span stands without those it sums
            found = _part(part.lane, position, wanted)
        if found is not None:
            yield found


def _narrowed(parts: list[_Part], limit: int, wanted: Selection) -> tuple[list[_Part], int]:
    """The parts, and the time from which on all of S surely counts; no span among them begins before."""
    while True:
        floor_ms = _floor_ms(parts, limit)
        parts = [part for part in parts if part.to_ms > floor_ms]
        edge_ms = _edge_ms(parts, limit)
        torn = [part for part in parts if part.level and part.from_ms < edge_ms]
        if not torn:
            return parts, edge_ms
        parts = [part for part in parts if not part.level or part.from_ms >= edge_ms]
        parts += [piece for part in torn for piece in _split(part, wanted)]


def count_window(
    lanes: Mapping[LaneKey, Lane], cuts: Mapping[LaneKey, Batch], wanted: Selection, limit: int | None
) -> Counted:
    """The newest of S up to the cuts until their work is `limit`, whose edge a share may cross in part; None: all."""
    parts = _parts([_lane_parts(lanes[key], batch, wanted) for key, batch in cuts.items()], limit)
    edge_ms = 0
    if limit is not None:
        parts, edge_ms = _narrowed(parts, limit, wanted)
    counted = Counted(wanted.end_ms)
    torn: list[_Part] = []
    whole = 0
    # A lane's batches together: their miners are mostly the same, and their sums then at hand.
    parts.sort(key=lambda part: part.lane.key)
    sums = counted.work
    known = sums.get
    for part in parts:
        if part.from_ms < edge_ms:
            torn.append(part)
            continue
        whole += part.work
        counted.from_ms = min(counted.from_ms, part.first_ms)
        for miner, work in part.by_miner:
            sums[miner] = known(miner, 0) + work
        for miner, name, work in part.by_worker:
            counted.add(Worker(miner, name), work)
    if limit is None:
        for miner, worth in (pair for part in parts for pair in part.values):
            counted.values[miner] = counted.values.get(miner, 0) + worth
        return counted
    _count_torn(counted, torn, limit - whole, wanted)
    return counted


def _count_torn(counted: Counted, parts: Sequence[_Part], limit: int, wanted: Selection) -> None:
    """Add what counts of the batches that the window's older edge may cross."""
    places = [(part.lane.key, part.lane.batches[part.position]) for part in parts]
    torn = [
        tear(
            batch.shares,
            batch.seq,
            [wanted.fits(job.offer, job.height) for job in batch.shares.jobs],
            wanted.oldest_ms,
            wanted.end_ms,
            wanted.bound(key),
        )
        for key, batch in places
    ]
    rest_limit = narrow(torn, limit)
    for each in torn:
        for who, work, first_ms in each.counted():
            counted.from_ms = min(counted.from_ms, first_ms)
            counted.work[who.miner] = counted.work.get(who.miner, 0) + work
            if wanted.by_worker:
                counted.add(Worker(who.miner, who.worker), work)
    columns = [
        [
            _placed(key, batch, row)
            for row in range(each.end - 1, each.start - 1, -1)
            if each.fits[batch.shares.job[row]]
        ]
        for (key, batch), each in zip(places, torn, strict=True)
        if each.start < each.end
    ]
    rest = count_newest(merge(*columns, reverse=True), rest_limit, wanted.end_ms, by_worker=wanted.by_worker)
    counted.full = rest.full
    if rest.work:
        counted.from_ms = min(counted.from_ms, rest.from_ms)
    for miner, work in rest.work.items():
        counted.work[miner] = counted.work.get(miner, 0) + work
    for worker, work in rest.workers.items():
        counted.add(worker, work)


def _floor_ms(parts: Sequence[_Part], limit: int) -> int:
    """A time before which nothing counts: what begins at or after it has all the work there is to count."""
    for part in sorted(parts, key=lambda part: part.from_ms, reverse=True):
        limit -= part.work
        if limit <= 0:
            return part.from_ms
    return 0


def _edge_ms(parts: Sequence[_Part], limit: int) -> int:
    """A time from which on all of S surely counts: what ends later, taken whole, has less work than the limit.

    A batch that begins at or after it is counted by its sums. 0 if all of S is less than the limit.
    """
    by_end = sorted(parts, key=lambda part: part.to_ms, reverse=True)
    work = 0
    for part in by_end:
        work += part.work
        if work >= limit:
            return part.to_ms
    return 0
