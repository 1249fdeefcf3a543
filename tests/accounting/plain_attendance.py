"""What a bonus goes by, as the specification says it: every share looked at by itself."""

from collections.abc import Iterable
from typing import NamedTuple

from accounting.attendance import Worked
from accounting.lanes import Batch, LaneKey, Lanes
from accounting.schemes import loyalty
from accounting.schemes.loyalty import DAY_MS, HOUR_MS, Worker


class Done(NamedTuple):
    """Good work of a worker at a time, Unix ms."""

    t: int
    worker: Worker
    work: int


def worked_by(done: Iterable[Done], end_ms: int) -> Worked:
    """What counts of it at a time."""
    hours: dict[str, set[int]] = {}
    work: dict[tuple[Worker, int], int] = {}
    for t, worker, part in done:
        if t > end_ms:
            continue
        hour, day = t // HOUR_MS, t // DAY_MS
        if hour in loyalty.hours_at(end_ms):
            hours.setdefault(worker.miner, set()).add(hour)
        if day in loyalty.days_at(end_ms):
            work[worker, day] = work.get((worker, day), 0) + part
    return Worked({miner: len(found) for miner, found in hours.items()}, work)


def done_in(lanes: Lanes, cuts: dict[LaneKey, Batch]) -> Iterable[Done]:
    """All good work of the lanes up to the cuts."""
    for key, cut in cuts.items():
        for batch in lanes[key].batches:
            if batch.seq <= cut.seq:
                shares = batch.read()
                for t, session in zip(shares.t, shares.session, strict=True):
                    who = shares.sessions[session]
                    yield Done(t, Worker(who.miner, who.worker), who.work)
