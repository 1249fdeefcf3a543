"""What the shares of a statement come to (SPEC.md, "4214 reward statement", "S").

`count_window` comes to the same as `count_newest` of `newest_first` (accounting.selection), batch by batch, and older
ones span by span: only what an edge of the window may cross is taken apart, so that a statement costs little more than
its miners.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heapreplace, merge
from itertools import chain, groupby
from typing import NamedTuple

from accounting.columns import ColumnSum, miners_of, workers_of
from accounting.lanes import Batch, Lane, LaneKey
from accounting.schemes.held import Bound
from accounting.schemes.loyalty import Worker
from accounting.selection import Counted, Placed, Selection, batch_shares, count_newest, placed
from accounting.spans import FAN
from accounting.tally import Tally, TallyRow
from accounting.torn import narrow, tear


class _Part(NamedTuple):
    """A batch's work in S: its window, t of its first share there, the sum, the rows of each miner's part, or the batch
    if these are all of its rows; where the batch is. Or, with a `level`, that of the span it is the last of.
    """

    from_ms: int
    to_ms: int
    first_ms: int
    work: int
    rows: Sequence[TallyRow] | Batch
    lane: Lane
    position: int
    level: int = 0

    def counted(self) -> Sequence[TallyRow]:
        """The rows, made now if nobody has asked before."""
        return self.rows.tally.rows if isinstance(self.rows, Batch) else self.rows


def _whole(tally: Tally, lane: Lane, position: int, wanted: Selection, level: int = 0) -> _Part | None:
    """A tally's part that is all in S; None if it has none of it."""
    rows = [row for row in tally.rows if wanted.fits(row.offer, row.height)]
    if not rows:
        return None
    first, work = min(row.first_ms for row in rows), sum(row.work for row in rows)
    return _Part(tally.from_ms, tally.to_ms, first, work, rows, lane, position, level)


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
        return _Part(batch.from_ms, batch.to_ms, kind.first_ms, head.work, batch, lane, position)
    if _is_within(batch.tally, bound, wanted):
        return _whole(batch.tally, lane, position, wanted)
    shares = list(batch_shares(lane.key, batch, wanted))
    if not shares:
        return None
    row = _row(shares, wanted)
    return _Part(batch.from_ms, batch.to_ms, row.first_ms, row.work, (row,), lane, position)


def _row(shares: Sequence[Placed], wanted: Selection) -> TallyRow:
    """Of shares, newest first, of whatever height."""
    works, values, workers = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for share in shares:
        works[share.miner] += share.work
        if share.value:
            values[share.miner] += share.value
        if wanted.by_worker:
            workers[share.miner, share.worker] += share.work
    columns = miners_of(works), miners_of(values), workers_of(workers)
    return TallyRow(wanted.offer, wanted.height or 0, shares[-1].t, works.total(), *columns)


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
    rows: list[TallyRow] = []
    # A lane's batches together: their miners are mostly the same.
    for _, lane_parts in groupby(sorted(parts, key=lambda part: part.lane.key), key=lambda part: part.lane.key):
        for part in lane_parts:
            if part.from_ms < edge_ms:
                torn.append(part)
                continue
            whole += part.work
            counted.from_ms = min(counted.from_ms, part.first_ms)
            rows += part.counted()
        _count_rows(counted, rows, wanted, with_values=limit is None)
        rows.clear()
    if limit is None:
        return counted
    _count_torn(counted, torn, limit - whole, wanted)
    return counted


def _count_rows(counted: Counted, rows: Sequence[TallyRow], wanted: Selection, *, with_values: bool) -> None:
    """Add what counts whole."""
    work, values = counted.work, counted.values
    for miner, part in chain.from_iterable(ColumnSum(row.by_miner for row in rows)):
        work[miner] = work.get(miner, 0) + part
    if with_values:
        for miner, part in chain.from_iterable(ColumnSum(row.values for row in rows)):
            values[miner] = values.get(miner, 0) + part
    if wanted.by_worker:
        for miner, worker, part in chain.from_iterable(ColumnSum(row.by_worker for row in rows)):
            counted.add(Worker(miner, worker), part)


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
        [placed(key, batch, row) for row in range(each.end - 1, each.start - 1, -1) if each.fits[batch.shares.job[row]]]
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
