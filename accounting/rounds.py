"""The work between two blocks, from the batches' sums: what effort and luck are reckoned from (docs/accounting.md).

A batch counts in the round in which it ends, so that a round is right to a batch's seconds.
"""

from accounting.lanes import LaneKey, Lanes

# Batches looked at in one answer, some 30 ms: after a restart the efforts of old blocks come with the next answers.
MAX_BATCHES = 10_000
# Rounds remembered; a year of a pool that finds every block.
MAX_ROUNDS = 60_000


class _Sum:
    """A round's work as far as it is added up; `at`: by lane, the position to go on at."""

    __slots__ = ("at", "work")

    def __init__(self) -> None:
        self.work = 0
        self.at: dict[LaneKey, int] = {}


class Rounds:
    """Work by round, each batch looked at once. `spend` is renewed for each answer."""

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self._closed: dict[tuple[int, int], int] = {}
        self._partial: dict[tuple[int, int], _Sum] = {}
        self._open: tuple[int, _Sum] = (0, _Sum())
        self._left = 0

    def spend(self, batches: int = MAX_BATCHES) -> None:
        """Allow so many batches to be looked at from now on."""
        self._left = batches

    def between(self, from_ms: int, to_ms: int) -> int | None:
        """The work of batches that end after `from_ms` and by `to_ms` (Unix ms); None while it is not added up."""
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
        if len(self._closed) >= MAX_ROUNDS:
            self._closed.clear()
        self._closed[key] = partial.work
        return partial.work

    def since(self, from_ms: int) -> int | None:
        """The work of batches that end after `from_ms`; None while it is not added up."""
        if self._open[0] != from_ms or not self._open[1].at:
            self._open = (from_ms, _Sum())
        found = self._open[1]
        return found.work if self._add(found, from_ms, None) else None

    def _add(self, found: _Sum, from_ms: int, to_ms: int | None) -> bool:
        for key, lane in self.lanes.in_order():
            at = found.at.get(key)
            if at is None:
                at = lane.position_past(from_ms)
            end = len(lane.batches) if to_ms is None else lane.position_past(to_ms)
            while at < end and self._left > 0:
                found.work += sum(row.work for row in lane.batches.tally(at).rows)
                self._left -= 1
                at += 1
            found.at[key] = at
            if at < end:
                return False
        return True
