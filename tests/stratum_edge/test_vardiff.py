"""Vardiff: simulated miners of every pace settle near the target and are then left alone."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.targets import check_difficulty
from stratum_edge.vardiff import EASIEST, History, Policy, ceil_allowed, clamp, floor_allowed, retarget


def simulate(hashes_per_s: float, start: Fraction, minutes: int, policy: Policy, seed: int = 1):
    """(time, difficulty) of every change, for a miner with exponential gaps between its shares."""
    chance = random.Random(seed)
    history = History(start, 0)
    changes, at, tick = [], 0.0, 5000.0
    while at < minutes * 60_000:
        gap = chance.expovariate(hashes_per_s / (float(history.difficulty) * 2**32)) * 1000
        if at + gap > tick:
            at, tick = tick, tick + 5000.0
        else:
            at += gap
            history.count(history.difficulty)
        wanted = retarget(history, int(at), policy)
        if wanted is not None:
            if wanted != history.difficulty:
                changes.append((at, wanted))
            history.restart(wanted, int(at))
    return changes, history.difficulty


@pytest.mark.parametrize("pace", [0.01, 0.1, 1, 3, 10, 100, 10_000])
def test_a_miner_of_any_pace_settles_and_stays(pace):
    start, policy = Fraction(1024), Policy(12)
    rate = pace * 1024 * 2**32 * 12 / 60
    changes, difficulty = simulate(rate, start, 120, policy)
    per_minute = rate / (float(difficulty) * 2**32) * 60
    assert 4 < per_minute < 30
    late = [change for change in changes if change[0] > 20 * 60_000]
    assert len(late) <= 1
    if pace >= 100:
        assert changes[0][0] < 10_000, "too fast is seen within seconds"
    if pace <= 0.01:
        assert changes[0][0] <= 60_000, "silence is seen within a minute"


def test_silence_lowers_to_the_bound_and_no_further():
    policy = Policy(12, Fraction(1, 4), Fraction(1 << 20))
    history = History(Fraction(8), 0)
    now = 0
    for _ in range(10):
        now += 60_000
        wanted = retarget(history, now, policy)
        assert wanted is not None
        assert wanted <= history.difficulty
        history.restart(wanted, now)
    assert history.difficulty == Fraction(1, 4)


def test_a_burst_is_not_taken_for_a_rate_and_older_work_counts_for_less():
    history = History(Fraction(4), 0)
    for _ in range(15):
        history.count(Fraction(4))
    assert retarget(history, 1, Policy()) is None
    history.restart(Fraction(4), 0)
    history.count(Fraction(1))
    assert history.shares == 0.25


@given(st.fractions(min_value=Fraction(1, 1 << 40), max_value=1 << 220))
def test_allowed_difficulties_enclose_the_value(value):
    low, high = floor_allowed(value), ceil_allowed(value)
    check_difficulty(low)
    assert low <= value or low == EASIEST
    if value <= 1 << 200:
        check_difficulty(high)
        assert high >= value
        assert low * 2 > value or low == EASIEST


@given(
    st.integers(-20, 60),
    st.floats(0, 1e6),
    st.integers(0, 10**9),
    st.integers(-32, 0),
    st.integers(0, 40),
)
def test_every_answer_is_within_bounds_and_allowed(log2, shares, elapsed, low, high):
    """Invariant: retarget answers nothing, or a difficulty of the protocol within the port's bounds."""
    policy = Policy(12, floor_allowed(Fraction(2) ** low), Fraction(2) ** high)
    history = History(clamp(floor_allowed(Fraction(2) ** log2), policy.lowest, policy.highest), 0, shares)
    wanted = retarget(history, elapsed, policy)
    if wanted is not None:
        assert policy.lowest <= check_difficulty(wanted) <= policy.highest
