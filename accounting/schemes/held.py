"""What earlier statements have paid for: the shares that `prop` and the periods take off S (SPEC.md, "Splits")."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Bound(NamedTuple):
    """A lane as a statement held it: batches up to `seq`, t <= end_ms (Unix ms)."""

    seq: int
    end_ms: int

    def holds(self, seq: int, t: int) -> bool:
        """Whether a share of the lane was counted by that statement, or before it."""
        return seq <= self.seq and t <= self.end_ms

    def holds_all(self, seq: int, to_ms: int) -> bool:
        """Whether that is so of a whole batch, by its window's end (t < to_ms), and so of all before it in its lane."""
        return self.holds(seq, to_ms - 1)

    def holds_none(self, seq: int, from_ms: int) -> bool:
        """Whether nothing of a batch is held, by its window's beginning."""
        return seq > self.seq or from_ms > self.end_ms


@dataclass(frozen=True, slots=True)
class Held:
    """`<edge>/<lane>` -> the bound that the newest earlier statement naming the lane set. A lane that none of them
    names has no bound: all of it is still to be counted.

    Invariant: a share of S is held by one statement, or counts; what showed up too late counts in what follows.
    """

    bounds: Mapping[str, Bound] = field(default_factory=dict)

    def holds(self, lane: str, seq: int, t: int) -> bool:
        """Whether a share has been counted before."""
        bound = self.bounds.get(lane)
        return bound is not None and bound.holds(seq, t)


NOTHING_HELD = Held()
