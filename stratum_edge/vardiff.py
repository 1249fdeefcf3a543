"""How hard shares should be: a pure function of a connection's history and the time.

Difficulties move by powers of two within the port's bounds and stay what the protocol allows (whole, or 1/2^k), so
every share is credited at exactly what was announced. Too fast is corrected within seconds, silence within a minute,
and small deviations only over minutes, so that a steady miner is left alone.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from nips.pool.targets import MAX_DIFFICULTY, MAX_FRACTION_BITS

EASIEST: Final = Fraction(1, 1 << MAX_FRACTION_BITS)
# So many shares four times too fast are no chance event (p < 1e-5 by Poisson): raise at once.
QUICK_SHARES: Final = 16
QUICK_RATIO: Final = 4
# A burst may be a network hiccup that handed over many shares at once: no rate is measured over less than a second.
QUICK_LEAST_MS: Final = 1000
# None in the time for 12, one in that for 24 and so on is no chance event either (p < 1e-3 even for a miner that runs
# at 0.6 of the target, as power-of-two steps may leave it): lower.
SILENT_EXPECTED: Final = 12
# The calm decision waits for 48 expected shares. Power-of-two steps leave a steady miner between 0.7 and 1.4 of the
# target: there the chance of crossing these marks is under half a percent a decision.
CALM_EXPECTED: Final = 48
CALM_HIGH: Final = 2.0
CALM_LOW: Final = 0.4
# One step at most: a rate measured over moments is rough.
MAX_UP_LOG2: Final = 10
MAX_DOWN_LOG2: Final = 3


def floor_allowed(value: Fraction) -> Fraction:
    """The greatest difficulty the protocol allows that is not above `value`, EASIEST at least."""
    if value >= 1:
        return Fraction(min(math.floor(value), MAX_DIFFICULTY))
    if value <= EASIEST:
        return EASIEST
    return Fraction(1, 1 << (math.ceil(1 / value) - 1).bit_length())


def ceil_allowed(value: Fraction) -> Fraction:
    """The least power-of-two difficulty that is not below `value`; powers of two have exact targets."""
    if value > 1:
        return Fraction(1 << (math.ceil(value) - 1).bit_length())
    if value <= EASIEST:
        return EASIEST
    return Fraction(1, 1 << (math.floor(1 / value).bit_length() - 1))


def clamp(value: Fraction, lowest: Fraction, highest: Fraction) -> Fraction:
    """`value` within bounds; if they cross, the lower one holds."""
    return max(lowest, min(value, highest))


@dataclass(frozen=True, slots=True)
class Policy:
    """A port's aims: shares a minute from one connection, and the bounds of its difficulty."""

    shares_per_minute: int = 12
    lowest: Fraction = EASIEST
    highest: Fraction = Fraction(MAX_DIFFICULTY)

    def admit(self, wanted: Fraction) -> Fraction:
        """A wish (suggestion, password) as the port grants it."""
        return clamp(floor_allowed(wanted), self.lowest, self.highest)


@dataclass(slots=True)
class History:
    """A connection's shares since `since_ms`, in units of `difficulty`: an older, easier one counts for less."""

    difficulty: Fraction
    since_ms: int
    shares: float = 0.0

    def count(self, difficulty: Fraction) -> None:
        """Note a share credited at `difficulty`."""
        self.shares += 1.0 if difficulty is self.difficulty else float(difficulty / self.difficulty)

    def restart(self, difficulty: Fraction, now_ms: int) -> None:
        """Begin anew at a difficulty."""
        self.difficulty = difficulty
        self.since_ms = now_ms
        self.shares = 0.0


def _step(log2: float, down: int, up: int) -> int:
    return max(-down, min(up, round(log2)))


def retarget(history: History, now_ms: int, policy: Policy) -> Fraction | None:
    """The difficulty a connection should have now; None to go on measuring.

    The same difficulty again means the measurement is over and found right: restart the history.
    """
    elapsed = max(now_ms - history.since_ms, 0)
    per_ms = policy.shares_per_minute / 60_000
    expected = elapsed * per_ms
    shares = history.shares
    quick = max(elapsed, QUICK_LEAST_MS) * per_ms
    if shares >= QUICK_SHARES and shares >= QUICK_RATIO * quick:
        step = _step(math.log2(shares / quick), 0, MAX_UP_LOG2)
    elif expected >= SILENT_EXPECTED and shares <= expected / SILENT_EXPECTED - 1:
        step = _step(math.log2((shares + 1) / expected), MAX_DOWN_LOG2, -1)
    elif expected >= CALM_EXPECTED:
        ratio = shares / expected
        step = 0
        if ratio >= CALM_HIGH or ratio <= CALM_LOW:
            step = _step(math.log2(ratio), MAX_DOWN_LOG2, MAX_UP_LOG2)
    else:
        return None
    factor = Fraction(1 << step) if step >= 0 else Fraction(1, 1 << -step)
    return clamp(floor_allowed(history.difficulty * factor), policy.lowest, policy.highest)
