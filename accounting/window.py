"""The shares a statement is about, newest first (SPEC.md, "4214 reward statement", "S")."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from typing import NamedTuple

from accounting.lanes import Batch, Lane, LaneKey


class Placed(NamedTuple):
    """A share where it stands: (t, edge, lane, seq, number) is the order of S; then whose it is."""

    t: int
    edge: str
    lane: int
    seq: int
    number: int
    miner: str
    work: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which shares S holds: the offer's, with t <= end_ms, job height <= height, and t >= oldest_ms (0: any)."""

    offer: str
    end_ms: int
    height: int
    oldest_ms: int = 0


@dataclass(slots=True)
class Counted:
    """What a window counts. `from_ms`: t of its oldest share; `work` by miner; `full`: older work would not count."""

    from_ms: int
    work: dict[str, int] = field(default_factory=dict)
    full: bool = False

    @property
    def total(self) -> int:
        """All work in the window."""
        return sum(self.work.values())


def _lane_shares(lane: Lane, last: Batch, wanted: Selection) -> Iterator[Placed]:
    key = lane.key
    for batch in lane.back_from(last.seq):
        if batch.to_ms <= wanted.oldest_ms:
            return
        if batch.from_ms > wanted.end_ms:
            continue
        shares = batch.shares
        fits = [job.offer == wanted.offer and job.height <= wanted.height for job in shares.jobs]
        for row in range(len(shares) - 1, -1, -1):
            t = shares.t[row]
            if wanted.oldest_ms <= t <= wanted.end_ms and fits[shares.job[row]]:
                who = shares.sessions[shares.session[row]]
                yield Placed(t, key.edge, key.number, batch.seq, shares.index[row], who.miner, who.work)


def newest_first(lanes: Mapping[LaneKey, Lane], cuts: Mapping[LaneKey, Batch], wanted: Selection) -> Iterator[Placed]:
    """S up to the cuts, from its newest share to its oldest."""
    columns = [_lane_shares(lanes[key], batch, wanted) for key, batch in cuts.items()]
    return merge(*columns, reverse=True)


def count_newest(shares: Iterable[Placed], limit: int, end_ms: int) -> Counted:
    """The newest shares until their work is `limit`; the one that crosses the edge counts in part."""
    counted = Counted(end_ms)
    rest = limit
    for share in shares:
        if rest <= 0:
            break
        part = min(share.work, rest)
        rest -= part
        counted.work[share.miner] = counted.work.get(share.miner, 0) + part
        counted.from_ms = share.t
    counted.full = rest <= 0
    return counted
