"""The work between two blocks, from the hourly summaries and the batches' sums: what effort and luck are reckoned from.

A batch counts in the round in which it ends, so that a round is right to a batch's seconds; of a long round the whole
hours are taken as our summaries tell them (docs/accounting.md, docs/api.md).
"""

from bisect import bisect_left, bisect_right
from collections import deque
from itertools import islice

from accounting.hours import Hour
from accounting.lanes import Lane, LaneKey, Lanes

# Batches looked at in one answer: from disk each takes some 50 us. After a restart the efforts of old blocks come with
# the next answers.
MAX_BATCHES = 2_000
# What looking for a place in a lane costs, in batches.
SEEK_BATCHES = 20
# Stretches remembered; two a round of a year in which a pool finds every block.
MAX_STRETCHES = 120_000


class _Sum:
    """A stretch's work as far as it is added up; `at`: by lane, the position to go on at."""

    __slots__ = ("at", "work")

    def __init__(self) -> None:
        self.work = 0
        self.at: dict[LaneKey, int] = {}


class Rounds:
    """Work by round, each batch looked at once. `hours` grows as summaries are read; `spend` is renewed each answer."""

    def __init__(self, lanes: Lanes, hours: deque[Hour]) -> None:
        self.lanes = lanes
        self._hours = hours
        self._closed: dict[tuple[int, int], int] = {}
        self._partial: dict[tuple[int, int], _Sum] = {}
        self._open: tuple[int, _Sum] = (0, _Sum())
        self._left = 0

    def spend(self, batches: int = MAX_BATCHES) -> None:
        """Allow so many batches to be looked at from now on."""
        self._left = batches

    def between(self, from_ms: int, to_ms: int) -> int | None:
        """The work of batches that end after `from_ms` and by `to_ms` (Unix ms); None while it is not added up."""
        start, end, work = self._whole_hours(from_ms, to_ms)
        before = self._stretch(from_ms, start)
        after = self._stretch(end, to_ms)
        return None if before is None or after is None else before + work + after

    def since(self, from_ms: int) -> int | None:
        """The work of batches that end after `from_ms`; None while it is not added up."""
        start, end, work = self._whole_hours(from_ms, None)
        before = self._stretch(from_ms, start)
        if self._open[0] != end or not self._open[1].at:
            self._open = (end, _Sum())
        found = self._open[1]
        if before is None or not self._add(found, end, None):
            return None
        return before + work + found.work

    def _whole_hours(self, from_ms: int, to_ms: int | None) -> tuple[int, int, int]:
        """Where the summed hours within a round begin and end, and their work; its start and 0 if there are none."""
        first = bisect_left(self._hours, from_ms, key=lambda hour: hour.from_ms)
        last = len(self._hours) if to_ms is None else bisect_right(self._hours, to_ms, key=lambda hour: hour.to_ms)
        if first >= last:
            return from_ms, from_ms, 0
        work = sum(hour.work for hour in islice(self._hours, first, last))
        return self._hours[first].from_ms, self._hours[last - 1].to_ms, work

    def _stretch(self, from_ms: int, to_ms: int) -> int | None:
        if from_ms >= to_ms:
            return 0
        key = (from_ms, to_ms)
        known = self._closed.get(key)
        if known is not None:
            return known
        if self.lanes.behind(to_ms) is not None:
            # Work of this time is still to come: what there is now is not remembered.
            found = _Sum()
            return found.work if self._add(found, from_ms, to_ms) else None
        partial = self._partial.setdefault(key, _Sum())
        if not self._add(partial, from_ms, to_ms):
            return None
        del self._partial[key]
        if len(self._closed) >= MAX_STRETCHES:
            self._closed.clear()
        self._closed[key] = partial.work
        return partial.work

    def _add(self, found: _Sum, from_ms: int, to_ms: int | None) -> bool:
        for key, lane in self.lanes.in_order():
            if lane.watermark_ms <= from_ms:
                # A lane that ended long ago costs nothing.
                continue
            if self._left <= 0:
                return False
            at = found.at.get(key)
            if at is None:
                at = self._past(lane, from_ms)
            end = len(lane.batches) if to_ms is None else self._past(lane, to_ms)
            while at < end and self._left > 0:
                found.work += lane.batches[at].head.work
                self._left -= 1
                at += 1
            found.at[key] = at
            if at < end:
                return False
        return True

    def _past(self, lane: Lane, end_ms: int) -> int:
        """The position of the first batch that ends after a time."""
        self._left -= SEEK_BATCHES
        return bisect_right(range(len(lane.batches)), end_ms, key=lambda at: lane.batches[at].to_ms)
