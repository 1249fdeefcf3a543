"""When each miner first had a good share in the hours that are not over, over all lanes, as their batches come in.

A reward cuts the newest hour somewhere: who had a share before that was there. Nothing is kept of this; what was not
seen coming in, right after a start, is looked up in the lanes.
"""

from bisect import bisect_left
from collections.abc import Mapping

from accounting.lanes import Lane, LaneKey
from accounting.presence import Reach
from accounting.schemes.loyalty import HOUR_MS
from accounting.shares import CheckedShares

# The newest hours remembered: a statement follows its reward by minutes. Some 150 bytes a miner each.
HOURS_KEPT = 2


class OpenHours:
    """By hour (UTC, since 1970), the t of each miner's first share."""

    def __init__(self) -> None:
        self._firsts: dict[int, dict[str, int]] = {}
        # By lane: since when (Unix ms) all its batches were seen, and the position of the one to come.
        self._seen: dict[LaneKey, tuple[int, int]] = {}

    def take(self, lane: Lane, shares: CheckedShares | None) -> None:
        """A lane's newest batch; None if nobody looks at its shares."""
        position, batch = len(lane.batches) - 1, lane.batches[-1]
        if shares is None:
            self._seen.pop(lane.key, None)
            return
        since, due = self._seen.get(lane.key, (0, 0))
        self._seen[lane.key] = (since if due == position else batch.from_ms), position + 1
        newest, end = (batch.to_ms - 1) // HOUR_MS, len(shares)
        for hour in range(newest, max(batch.from_ms // HOUR_MS, newest + 1 - HOURS_KEPT) - 1, -1):
            start = bisect_left(shares.t, hour * HOUR_MS, 0, end)
            self._add(hour, shares, start, end)
            end = start

    def _add(self, hour: int, shares: CheckedShares, start: int, end: int) -> None:
        known = self._firsts.get(hour)
        if known is None:
            if self._firsts and hour <= max(self._firsts) - HOURS_KEPT:
                return
            known = self._firsts[hour] = {}
            for old in [each for each in self._firsts if each <= max(self._firsts) - HOURS_KEPT]:
                del self._firsts[old]
        # They stand in the order of their times: of each session the first stays.
        for session, t in dict(zip(shares.session[start:end][::-1], shares.t[start:end][::-1], strict=True)).items():
            miner = shares.sessions[session].miner
            if known.get(miner, t) >= t:
                known[miner] = t

    def drop(self) -> None:
        """A batch has changed."""
        self._firsts.clear()
        self._seen.clear()

    def served(
        self, lanes: Mapping[LaneKey, Lane], reaches: Mapping[LaneKey, Reach], end_ms: int
    ) -> tuple[set[LaneKey], set[str]]:
        """The lanes whose shares in the hour of `end_ms` were all seen, and the miners who had one of them by then."""
        hour = end_ms // HOUR_MS
        firsts = self._firsts.get(hour)
        if firsts is None:
            return set(), set()
        served = set()
        for key, (since, due) in self._seen.items():
            lane, reach = lanes[key], reaches.get(key)
            if lane.watermark_ms <= hour * HOUR_MS or lane.first.from_ms > end_ms:
                continue
            if reach is None or not reach.complete:
                # Who was there in it alone can't be told from the others.
                return set(), set()
            if reach.position < due and since <= max(hour * HOUR_MS, lane.first.from_ms):
                served.add(key)
        return served, {miner for miner, t in firsts.items() if t <= end_ms}
