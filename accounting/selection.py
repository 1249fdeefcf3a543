"""The shares a statement is about, newest first, one by one (SPEC.md, "4214 reward statement", "S")."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from typing import NamedTuple

from accounting.lanes import Batch, Lane, LaneKey
from accounting.schemes.held import NOTHING_HELD, Bound, Held
from accounting.schemes.lots import value
from accounting.schemes.loyalty import Worker


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


def batch_shares(key: LaneKey, batch: Batch, wanted: Selection) -> Iterator[Placed]:
    """What S has of a batch, newest first."""
    shares = batch.shares
    fits = [wanted.fits(job.offer, job.height) for job in shares.jobs]
    bound = wanted.bound(key)
    for row in range(len(shares) - 1, -1, -1):
        t = shares.t[row]
        if wanted.oldest_ms <= t <= wanted.end_ms and fits[shares.job[row]]:
            if bound is not None and bound.holds(batch.seq, t):
                # Shares are in time order: so is what is older.
                return
            yield placed(key, batch, row)


def placed(key: LaneKey, batch: Batch, row: int) -> Placed:
    """A share by its row in its batch."""
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
            yield from batch_shares(lane.key, batch, wanted)


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
