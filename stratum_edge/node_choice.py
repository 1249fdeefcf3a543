"""Which of several nodes to mine with: the first in order that is well, without changing for every hiccup."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# A better node is returned to after it has been well this long: one that restarts over and over is not worth the moves.
RETURN_AFTER_S: Final = 60.0
# How long a node whose template could not be used is passed over, unless no other has one.
FAULT_S: Final = 60.0
# Blocks reach all nodes within seconds. One that lags for longer is cut off, though it answers.
LAG_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one node; times in seconds.

    `well_s`: since when it answers without a gap, None while it does not. `behind_s`: since when another node's chain
    is longer, 0.0 while none is. `fault_s`: how long ago it had no usable template, None if it never was so.
    """

    well_s: float | None
    behind_s: float
    fault_s: float | None

    @property
    def usable(self) -> bool:
        """Whether it can be mined with now."""
        faulty = self.fault_s is not None and self.fault_s < FAULT_S
        return self.well_s is not None and self.behind_s < LAG_S and not faulty

    @property
    def settled(self) -> bool:
        """Whether it is worth leaving a worse node for."""
        return self.usable and self.well_s is not None and self.well_s >= RETURN_AFTER_S and self.behind_s == 0.0


def choose(standings: Sequence[Standing], current: int | None) -> int | None:
    """The index of the node to use, given the one in use. None: none answers, and none did before."""
    if current is not None and standings[current].usable:
        return next((index for index in range(current) if standings[index].settled), current)
    # Of those that answer, one that is not behind comes before one that is: its tip would be a step back.
    usable = [index for index, standing in enumerate(standings) if standing.usable]
    usable.sort(key=lambda index: standings[index].behind_s > 0)
    if usable:
        return usable[0]
    answering = [index for index, standing in enumerate(standings) if standing.well_s is not None]
    if current is None or (standings[current].well_s is None and answering):
        return answering[0] if answering else None
    return current


def order_of_trial(standings: Sequence[Standing], current: int | None) -> list[int]:
    """All nodes that answer, in the order to ask them for a template: the one in use, usable ones, the rest."""
    answering = [index for index, standing in enumerate(standings) if standing.well_s is not None]
    return sorted(answering, key=lambda index: (index != current, not standings[index].usable, index))
