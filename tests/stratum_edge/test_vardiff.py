"""Vardiff: a simulated fleet settles near the target and is then left alone; the edges of the rules."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.fleet import AT_1024, SCENARIOS, START, TARGET, Figures, measure, run
from nips.pool.targets import check_difficulty
from stratum_edge.vardiff import EASIEST, History, Policy, ceil_allowed, clamp, floor_allowed, retarget

HOUR_MS = 3_600_000.0


def fleet(name: str, miners: int = 7, hours: float = 6) -> Figures:
    """The short form of `python -m bench.fleet`: seeded, so the same at each run."""
    return measure(next(scenario for scenario in SCENARIOS if scenario.name == name), miners, hours)[0]


@pytest.mark.parametrize("name", ["steady, start is right", "CPU miner, 1/2^14"])
def test_a_steady_miner_is_never_retargeted(name):
    found = fleet(name, hours=12)
    assert (found.settled_s, found.retargets_per_hour) == (0, 0)
    assert found.p5 >= 4
    assert found.p95 <= 22


@pytest.mark.parametrize(
    ("name", "usual_s", "settled_s"),
    [
        ("100x too fast", 60, 1200),
        ("10,000x too fast", 120, 1200),
        ("100x too slow", 240, 1800),
        ("steady, 3x above", 300, 1800),
        ("steady, 3x below", 900, 1800),
        ("proxy of 500", 300, 2400),
    ],
)
def test_a_fleet_settles_in_bounded_time_and_stays(name, usual_s, settled_s):
    found = fleet(name)
    assert found.usual_s <= usual_s
    assert found.settled_s <= settled_s
    assert found.retargets_per_hour <= 0.15
    assert 8 <= found.p50 <= 18


def test_who_comes_and_goes_is_followed_and_not_flooded():
    long = fleet("on 10 min, off 5 min")
    # Once down and twice up a cycle, four cycles an hour.
    assert long.retargets_per_hour <= 12
    assert long.p95 <= 45
    assert fleet("on 60 s, off 60 s").retargets_per_hour <= 1


@pytest.mark.parametrize(("factor", "within_s"), [(100, 5), (10_000, 6), (1_000_000, 8)])
def test_a_flood_is_over_within_seconds(factor, within_s):
    for seed in range(10):
        track = run(lambda now: factor * AT_1024, START, 600_000, seed)
        calmed = next(at for at, pace in track.paces if pace <= 8 * TARGET)
        assert calmed <= within_s * 1000


def test_silence_is_eased_half_a_minute_after_a_login_and_within_minutes_later():
    for seed in range(10):
        never = run(lambda now: 0.0, START, 300_000, seed)
        assert 30_000 <= never.changes[0][0] <= 36_000
        gone = run(lambda now: AT_1024 if now < HOUR_MS else AT_1024 / 1000, START, 2 * HOUR_MS, seed)
        assert min(at for at, _ in gone.changes if at > HOUR_MS) <= HOUR_MS + 240_000


@pytest.mark.parametrize("pace", [0.001, 0.01, 0.1, 1, 3, 10, 100, 10_000])
def test_a_miner_of_any_pace_settles(pace):
    track = run(lambda now: pace * AT_1024, START, 2 * HOUR_MS, 1)
    assert TARGET / 2 <= track.paces[-1][1] <= TARGET * 2
    assert math.isfinite(track.settled_after(0, 2 * HOUR_MS))


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


def test_a_pause_of_minutes_does_not_end_in_a_flood():
    """Proven and then silent: 12, then 48, then 192 expected shares and more without one; a share ends the count."""
    policy = Policy()
    history = History(Fraction(1024), 0)
    for _ in range(12):
        history.count(history.difficulty)
    history.restart(retarget(history, 120_000, policy) or history.difficulty, 120_000)
    now, lowered = 120_000, []
    while now < 3_600_000:
        now += 5000
        wanted = retarget(history, now, policy)
        if wanted is not None:
            assert wanted < history.difficulty
            lowered.append(now)
            history.restart(wanted, now)
    assert lowered == [195_000, 495_000, 1_695_000]
    assert history.difficulty == Fraction(1024, 8**3)
    history.count(history.difficulty)
    assert retarget(history, now, policy) == history.difficulty
    history.restart(history.difficulty, now)
    assert (history.past_ms, history.silent, history.back) == (0, 0, False)


def test_the_time_before_a_login_is_no_silence():
    history = History(Fraction(4), 0)
    history.restart(Fraction(4), 60_000)
    assert history.past_ms == 0
    history.count(Fraction(4))
    history.restart(Fraction(4), 180_000)
    assert (history.past_ms, history.past_shares) == (96_000, 0.8)


def test_a_few_shares_at_once_are_no_rate_and_older_work_counts_for_less():
    history = History(Fraction(4), 0)
    for _ in range(4):
        history.count(Fraction(4))
    assert retarget(history, 1, Policy()) is None
    history.count(Fraction(4))
    assert retarget(history, 1, Policy()) == 16
    history.restart(Fraction(8), 0)
    history.count(Fraction(1))
    assert history.shares == 0.125


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
    st.floats(0, 1e6),
    st.floats(0, 1e9),
    st.booleans(),
    st.integers(0, 9),
)
def test_every_answer_is_within_bounds_and_allowed(log2, shares, elapsed, low, high, past, past_ms, proven, silent):
    """Invariant: retarget answers nothing, or a difficulty of the protocol within the port's bounds."""
    policy = Policy(12, floor_allowed(Fraction(2) ** low), Fraction(2) ** high)
    history = History(clamp(floor_allowed(Fraction(2) ** log2), policy.lowest, policy.highest), 0, shares)
    history.past_shares, history.past_ms, history.proven, history.silent = past, past_ms, proven, silent
    wanted = retarget(history, elapsed, policy)
    if wanted is not None:
        assert policy.lowest <= check_difficulty(wanted) <= policy.highest
