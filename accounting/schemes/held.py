"""What earlier statements have paid for: the shares that `prop` and the periods take off S (SPEC.md, "Splits")."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from nips.pool.statement import Statement


class Bound(NamedTuple):
    """A lane as a statement held it: batches up to `seq`, t <= end_ms, job height <= height (None: of any height)."""

    seq: int
    end_ms: int
    height: int | None

    def holds(self, seq: int, t: int, height: int) -> bool:
        """Whether a share of the lane was in that statement's S."""
        return seq <= self.seq and t <= self.end_ms and (self.height is None or height <= self.height)


@dataclass(frozen=True, slots=True)
class Held:
    """`<edge>/<lane>` -> the bound that the newest earlier statement naming the lane set. A lane that none of them
    names has no bound: all of it is still to be counted.

    Invariant: a share is in the S of one such statement, or counts; what showed up too late counts in what follows.
    """

    bounds: Mapping[str, Bound] = field(default_factory=dict)

    def holds(self, lane: str, seq: int, t: int, height: int) -> bool:
        """Whether a share has been counted before."""
        bound = self.bounds.get(lane)
        return bound is not None and bound.holds(seq, t, height)

    def holds_all(self, lane: str, seq: int, to_ms: int, highest: int) -> bool:
        """Whether that is so of a whole batch, by its window's end and the greatest height of its jobs: so that a
        reader need not look at its shares.
        """
        return self.holds(lane, seq, to_ms, highest)


NOTHING_HELD = Held()


def held_by_blocks(statements: Iterable[Statement]) -> Held:
    """What the statements of an offer's blocks held; `statements` by (end_ms, place in the chain), without those that
    are orphaned or void by then.
    """
    bounds = {}
    for statement in statements:
        reward = statement.reward
        for lane, head in statement.window.heads.items():
            bounds[lane] = Bound(head.seq, reward.found_ms, reward.height)
    return Held(bounds)
