"""What miners got out of fees (loyalty bonuses): running sums over the rows of all statements, as their rewards stand.

A bonus is a part of a row's msat, so it is no posting of its own: these sums say how much of a miner's pending and
earned is one. An orphan or a void takes back exactly what its statement added.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nips.pool.statement import Row


class BonusSum(NamedTuple):
    """A miner's bonuses, msat: in rewards that wait for maturity, and in those that matured, ever."""

    pending_msat: int = 0
    matured_msat: int = 0


NONE = BonusSum()


class Bonuses:
    """The sums by miner; who has none is left out."""

    def __init__(self, sums: Mapping[str, BonusSum] | None = None) -> None:
        self.sums: dict[str, BonusSum] = dict(sums or {})
        self._touched: dict[str, None] = {}

    def of(self, miner: str) -> BonusSum:
        """A miner's sums."""
        return self.sums.get(miner, NONE)

    def move(self, rows: Iterable[Row], *, pending: int, matured: int) -> None:
        """Add the rows' bonuses to a sum (1), take them away (-1) or leave it (0)."""
        if not pending and not matured:
            return
        for row in rows:
            if row.bonus_msat:
                old, msat = self.of(row.miner), row.bonus_msat
                new = BonusSum(old.pending_msat + pending * msat, old.matured_msat + matured * msat)
                self._touched[row.miner] = None
                if new == NONE:
                    self.sums.pop(row.miner, None)
                else:
                    self.sums[row.miner] = new

    def take_touched(self) -> dict[str, BonusSum]:
        """The sums that changed since the last call, zeros included."""
        touched, self._touched = self._touched, {}
        return {miner: self.of(miner) for miner in touched}
