"""How hard shares should be: a pure function of a connection's history and the time.

Difficulties move by powers of two within the port's bounds and stay what the protocol allows (whole, or 1/2^k), so
every share is credited at exactly what was announced. A difficulty is changed as soon as chance can't explain the
shares that came: much too fast within seconds, a start that is much too hard within half a minute, a miner that falls
silent within three minutes. Small deviations take ten minutes or more, so that a steady miner is left alone.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from nips.pool.targets import MAX_DIFFICULTY, MAX_FRACTION_BITS

EASIEST: Final = Fraction(1, 1 << MAX_FRACTION_BITS)
# A look at each share only from here on; slower miners are looked at by the sweep.
QUICK_SHARES: Final = 16
# A burst may be a network hiccup that handed over many shares at once: no rate is measured over less than a second.
QUICK_LEAST_MS: Final = 1000
# Power-of-two steps leave a steady miner between 0.71 and 1.41 of the target; its true pace may be taken to lie within
# these marks. What it brought is a surprise when, by Poisson, even the nearer mark gives it e^-SURPRISE of the chance
# that its own pace does. It takes 15 expected shares without one, or five shares in the first second.
HIGH: Final = 1.6
LOW: Final = 0.6
SURPRISE: Final = 9.0
# Before its first share a connection's difficulty is but a guess: six expected shares without one are enough.
GUESS_SURPRISE: Final = 3.6
# A miner that brought shares and falls silent is rather off than slow: each lowering in a row waits so many times
# longer than the last, else a pause of minutes would end in a flood.
PATIENCE: Final = 4
# Shares are measured in windows of so many expected ones; with each, what came before counts for less. So all there is
# weighs 120 expected shares in the end, ten minutes at the usual target.
WINDOW_EXPECTED: Final = 24
FADING: Final = 0.8
# The calm decision wants at least so much. A steady miner at 0.71 or 1.41 of the target has these marks more than three
# standard deviations away.
CALM_EXPECTED: Final = 100
CALM_HIGH: Final = 1.75
CALM_LOW: Final = 0.52
# One step at most. A surprise comes early when chance helps it, so its rate is taken for rough: one expected share, on
# target, is added to what was seen.
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
    """A connection's shares since `since_ms`, in units of `difficulty`: an older, easier one counts for less.

    `past_shares` came in `past_ms` before that, both faded. `proven`: whether a share ever came. `silent`: lowerings in
    a row without a share between them. `back`: a share came after such; the silence is not part of its pace.
    """

    difficulty: Fraction
    since_ms: int
    shares: float = 0.0
    past_shares: float = 0.0
    past_ms: float = 0.0
    proven: bool = False
    silent: int = 0
    back: bool = False

    def count(self, difficulty: Fraction) -> None:
        """Note a share credited at `difficulty`."""
        self.shares += 1.0 if difficulty is self.difficulty else float(difficulty / self.difficulty)
        self.proven = True
        if self.silent:
            self.silent = 0
            self.back = True

    def restart(self, difficulty: Fraction, now_ms: int) -> None:
        """Begin a new window; at another difficulty, a new measurement."""
        if difficulty == self.difficulty and self.proven and not self.back:
            self.past_shares = (self.past_shares + self.shares) * FADING
            self.past_ms = (self.past_ms + max(now_ms - self.since_ms, 0)) * FADING
        else:
            if self.proven and not self.shares and difficulty < self.difficulty:
                self.silent += 1
            self.past_shares = self.past_ms = 0.0
            self.back = False
        self.difficulty = difficulty
        self.since_ms = now_ms
        self.shares = 0.0


def _step(log2: float, down: int, up: int) -> int:
    """Whole doublings between `-down` and `up`."""
    return max(-down, min(up, round(log2)))


def _surprise(shares: float, expected: float) -> float:
    """How much less likely `shares` are when `expected` is their mean than when they are: the log of the ratio."""
    # Two logarithms: the quotient of a very small and a large number would be 0.
    return (shares * (math.log(shares) - math.log(expected)) if shares else 0.0) - shares + expected


def _too_many(shares: float, expected: float) -> bool:
    return shares > HIGH * expected and _surprise(shares, HIGH * expected) >= SURPRISE


def _too_few(shares: float, expected: float, enough: float = SURPRISE) -> bool:
    return shares < LOW * expected and _surprise(shares, LOW * expected) >= enough


def _steps(history: History, elapsed_ms: int, per_ms: float) -> int | None:
    """By how many doublings the difficulty should change; 0 when it is found right, None to go on measuring."""
    shares = history.shares
    quick = max(elapsed_ms, QUICK_LEAST_MS) * per_ms
    if _too_many(shares, quick):
        return _step(math.log2((shares + 1) / (quick + 1)), -1, MAX_UP_LOG2)
    if history.back:
        return 0
    expected = elapsed_ms * per_ms
    enough = SURPRISE if history.proven else GUESS_SURPRISE
    if not shares:
        enough *= PATIENCE**history.silent
    if _too_few(shares, expected, enough):
        return _step(math.log2((shares + 1) / (expected + 1)), MAX_DOWN_LOG2, -1)
    if expected < WINDOW_EXPECTED or not shares:
        return None
    all_shares = history.past_shares + shares
    all_expected = history.past_ms * per_ms + expected
    calm = all_expected >= CALM_EXPECTED and not CALM_LOW < all_shares / all_expected < CALM_HIGH
    if calm or _too_many(all_shares, all_expected) or _too_few(all_shares, all_expected):
        return _step(math.log2((all_shares + 1) / (all_expected + 1)), MAX_DOWN_LOG2, MAX_UP_LOG2)
    return 0


def retarget(history: History, now_ms: int, policy: Policy) -> Fraction | None:
    """The difficulty a connection should have now; None to go on measuring.

    The same difficulty again means the measurement is over and found right: restart the history.
    """
    step = _steps(history, max(now_ms - history.since_ms, 0), policy.shares_per_minute / 60_000)
    if step is None:
        return None
    factor = Fraction(1 << step) if step >= 0 else Fraction(1, 1 << -step)
    return clamp(floor_allowed(history.difficulty * factor), policy.lowest, policy.highest)
