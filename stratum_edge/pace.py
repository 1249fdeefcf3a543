"""How hard a session's shares are: what its port allows, what its miner wished, what vardiff makes of its history."""

from fractions import Fraction
from typing import Final

from stratum_edge.config import PortConfig
from stratum_edge.vardiff import QUICK_SHARES, History, Policy, ceil_allowed, floor_allowed, retarget

# Expected hashes for a share of difficulty 1: 2^256 / (0xffff << 208), for people to read.
HASHES_PER_DIFFICULTY: Final = 2**48 / 0xFFFF


class Pace:
    """One session's difficulty. Times are monotonic ms."""

    __slots__ = ("_fixed", "_history", "_policy")

    def __init__(self, port: PortConfig, mono: int) -> None:
        self._fixed = port.fixed
        self._policy: Policy = port.policy
        self._history = History(port.start_difficulty, mono)

    @property
    def difficulty(self) -> Fraction:
        """What the next job should have."""
        return self._history.difficulty

    @property
    def highest(self) -> Fraction:
        """The hardest the port gives."""
        return self._policy.highest

    def restart(self, difficulty: Fraction, mono: int) -> None:
        """Begin to measure anew at a difficulty."""
        self._history.restart(difficulty, mono)

    def admit(self, wish: Fraction) -> Fraction:
        """A wish as the port grants it."""
        return self._policy.admit(wish)

    def not_below(self, wish: Fraction) -> Fraction:
        """The miner takes no easier shares: its own bound, within the port's, which is returned."""
        least = self._policy.admit(wish if floor_allowed(wish) == wish else ceil_allowed(wish))
        self._policy = Policy(self._policy.shares_per_minute, least, self._policy.highest)
        return least

    def count(self, difficulty: Fraction) -> bool:
        """Note a good share; True when it is worth looking at the difficulty right now."""
        self._history.count(difficulty)
        return self._history.shares >= QUICK_SHARES

    def retarget(self, mono: int) -> Fraction | None:
        """The difficulty vardiff wants now; None to go on."""
        return None if self._fixed else retarget(self._history, mono, self._policy)

    def hashrate(self, mono: int) -> int:
        """Hashes a second since the difficulty last changed: for people, not for money."""
        history = self._history
        hashes = history.shares * float(history.difficulty) * HASHES_PER_DIFFICULTY
        return int(hashes * 1000 / max(mono - history.since_ms, 1))
