"""A running sum of the hours in which each miner was there, over all lanes, as far as these are over.

A month of it is a bit an hour and miner: some 350 bytes a miner, in memory only, of those that mined in the last
KEPT_DAYS. It is made of the lanes' turnouts, which are kept, so that a start makes it anew in seconds.
"""

from collections.abc import Mapping
from typing import NamedTuple

from accounting.lanes import Batch, Lane, LaneKey
from accounting.schemes import loyalty
from accounting.schemes.loyalty import HOUR_MS
from accounting.turnout import HOURS_A_DAY, Turnouts

# Days remembered beside the 31 that a reward looks back to: for statements whose reward is older than one before.
SLACK_DAYS = 7


class Reach(NamedTuple):
    """How far a lane counts for a reward: up to a batch's position, all of it before an hour; `complete` if that is all
    there is to the reward's time.
    """

    position: int
    hour: int
    complete: bool


def reach_of(lane: Lane, cut: Batch, end_ms: int) -> Reach:
    """How far a lane counts up to a cut. One that ended is complete."""
    position = lane.position_of(cut.seq)
    if cut.to_ms > end_ms or (lane.ended and position == len(lane.batches) - 1):
        return Reach(position, (end_ms + 1) // HOUR_MS, complete=True)
    return Reach(position, cut.to_ms // HOUR_MS, complete=False)


class Presence:
    """The hours of miners from `first` (UTC, since 1970; a day's first) on."""

    def __init__(self, first: int) -> None:
        self.first = first
        self._bits: dict[str, int] = {}
        # By lane: the hour up to which it is in the sum.
        self._upto: dict[LaneKey, int] = {}

    def serves(self, lanes: Mapping[LaneKey, Lane], reaches: Mapping[LaneKey, Reach], end_ms: int) -> bool:
        """Whether nothing is in the sum that does not count at `end_ms`, of the hours that do."""
        hours = loyalty.hours_at(end_ms)
        if hours.start < self.first:
            return False
        for key, upto in self._upto.items():
            lane, reach = lanes[key], reaches.get(key)
            if reach is not None:
                if not reach.complete and upto > reach.hour:
                    return False
            elif lane.first.from_ms <= end_ms and lane.watermark_ms > hours.start * HOUR_MS:
                return False
        return True

    def extend(self, lane: Lane, hour: int, turnouts: Turnouts, *, keep: bool) -> bool:
        """Add a lane's next hours before that one, at most a day's; False if they are in the sum."""
        start = max(self.first, self._upto.get(lane.key, 0), lane.first.from_ms // HOUR_MS)
        if start >= min(hour, (lane.watermark_ms - 1) // HOUR_MS + 1):
            # Of a lane that ended all that follows is nothing.
            return False
        day = start // HOURS_A_DAY
        begun, over = day * HOURS_A_DAY, (day + 1) * HOURS_A_DAY
        if lane.ended or over * HOUR_MS <= lane.watermark_ms:
            kept, stop = turnouts.day(lane, day, keep=keep), min(over, hour)
        else:
            kept, stop = turnouts.hour(lane, start, keep=keep), start + 1
        new = (1 << stop - begun) - (1 << start - begun)
        shift, bits = begun - self.first, self._bits
        for miner, hours in kept.hours():
            bits[miner] = bits.get(miner, 0) | (hours & new) << shift
        self._upto[lane.key] = stop
        return True

    def counts(self, hours: range, more: Mapping[str, int]) -> dict[str, int]:
        """How many of these hours each miner was there; `more`: hours beside the sum, as bits from `first` on."""
        mask = ((1 << len(hours)) - 1) << hours.start - self.first
        found = {miner: count for miner, bits in self._bits.items() if (count := (bits & mask).bit_count())}
        for miner, bits in more.items():
            found[miner] = (self._bits.get(miner, 0) & mask | bits).bit_count()
        return found

    def forget(self, first: int) -> None:
        """Let go what is older than SLACK_DAYS before an hour, a day's first."""
        gone = first - SLACK_DAYS * HOURS_A_DAY - self.first
        if gone > 0:
            self._bits = {miner: left for miner, bits in self._bits.items() if (left := bits >> gone)}
            self.first += gone
