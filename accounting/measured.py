"""The work of workers on days that are over, over all lanes: what attestations are borne out by.

Only what was asked for is remembered, in memory; the lanes' turnouts, which are kept, have all.
"""

from collections.abc import Generator, Iterable, Mapping
from typing import NamedTuple

from accounting.lanes import Lane, LaneKey
from accounting.presence import Reach
from accounting.schemes.loyalty import DAY_MS, Worker
from accounting.turnout import HOURS_A_DAY, Turnouts, work_of

# (worker, day)s remembered, some 250 bytes each: twice what the relays' attestations of a month may ask for.
MAX_KNOWN = 200_000


class Day(NamedTuple):
    """A day's work of workers, in the lanes that it is of; a worker that did nothing has 0."""

    lanes: frozenset[LaneKey]
    work: dict[Worker, int]


class Measured:
    """What was asked for so far, by day."""

    def __init__(self) -> None:
        self._days: dict[int, Day] = {}

    def drop(self, days: Iterable[int]) -> None:
        """Something of these days has changed."""
        for day in days:
            self._days.pop(day, None)

    def walk(
        self,
        lanes: Mapping[LaneKey, Lane],
        reaches: Mapping[LaneKey, Reach],
        day: int,
        workers: set[Worker],
        turnouts: Turnouts,
        *,
        keep: bool,
    ) -> Generator[None, None, Mapping[Worker, int]]:
        """The work of these workers on a day that is over, in the lanes as far as these reach, in small steps."""
        start, end = day * DAY_MS, (day + 1) * DAY_MS
        there = {
            key: reach
            for key, reach in reaches.items()
            if lanes[key].first.from_ms < end and lanes[key].watermark_ms > start
        }
        whole = {key for key, reach in there.items() if reach.hour >= (day + 1) * HOURS_A_DAY}
        known = self._days.get(day)
        if known is None or known.lanes != whole:
            known = self._days[day] = Day(frozenset(whole), {})
        new = workers - known.work.keys()
        if new:
            sums, miners = dict.fromkeys(new, 0), {worker.miner for worker in new}
            for key in whole:
                for miner, name, work in turnouts.day(lanes[key], day, keep=keep).workers_of(miners):
                    if (miner, name) in sums:
                        sums[Worker(miner, name)] += work
                yield
            known.work.update(sums)
            self._make_room(day)
        if len(whole) == len(there):
            return known.work
        found = {worker: known.work[worker] for worker in workers}
        for key in there.keys() - whole:
            for (miner, name), work in work_of(lanes[key], start, end, there[key].position).items():
                if (miner, name) in found:
                    found[Worker(miner, name)] += work
            yield
        return found

    def _make_room(self, but: int) -> None:
        count = sum(len(known.work) for known in self._days.values())
        for day in sorted(self._days.keys() - {but}):
            if count <= MAX_KNOWN:
                return
            count -= len(self._days.pop(day).work)
