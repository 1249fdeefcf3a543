"""Costs: what adds up, what decays, and what honest miners never reach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_edge import costs
from stratum_edge.costs import HARD_LIMIT_MS, SOFT_LIMIT_MS, Meter, Standing

COSTS = [
    value for name, value in vars(costs).items() if name.endswith("_MS") and "LIMIT" not in name and name != "PAUSE_MS"
]


def test_a_flood_of_garbage_is_throttled_and_then_closed() -> None:
    meter = Meter()
    standings = [meter.pay(costs.BAD_LINE_MS, 0) for _ in range(25)]
    assert standings == [Standing.OK] * 12 + [Standing.THROTTLE] * 12 + [Standing.CLOSE]


def test_every_kind_of_flood_ends() -> None:
    assert len(COSTS) == 9
    for cost in COSTS:
        meter = Meter()
        for _ in range((HARD_LIMIT_MS - 1) // cost):
            assert meter.pay(cost, 7) is not Standing.CLOSE
        assert meter.pay(cost, 7) is Standing.CLOSE


@pytest.mark.parametrize(
    ("cost", "every_ms"),
    [
        (costs.BAD_SHARE_MS, 500),
        (costs.BAD_LINE_MS, 2_000),
        (costs.PING_MS, 50),
        (costs.UNKNOWN_METHOD_MS, 250),
        (costs.UNAUTHORIZED_MS, 5_000),
    ],
)
def test_a_steady_trickle_goes_on_for_ever(cost: int, every_ms: int) -> None:
    meter = Meter()
    assert all(meter.pay(cost, mono) is Standing.OK for mono in range(0, 3_600_000, every_ms))


def test_debt_is_forgotten_with_time_and_never_becomes_credit() -> None:
    meter = Meter()
    meter.pay(SOFT_LIMIT_MS, 0)
    assert meter.standing(0) is Standing.THROTTLE
    assert meter.standing(1) is Standing.OK
    assert meter.debt(10 * HARD_LIMIT_MS) == 0
    assert meter.pay(HARD_LIMIT_MS - 1, 10 * HARD_LIMIT_MS) is Standing.THROTTLE
    assert meter.pay(1, 10 * HARD_LIMIT_MS) is Standing.CLOSE


@given(st.lists(st.tuples(st.sampled_from(COSTS), st.integers(0, 10_000)), max_size=60))
def test_the_debt_is_what_was_paid_less_the_time_behaved(steps: list[tuple[int, int]]) -> None:
    """Against the plain reckoning: subtract the time passed, not below zero, then add."""
    meter, mono, debt = Meter(), 0, 0
    for cost, passed in steps:
        mono += passed
        debt = max(0, debt - passed) + cost
        standing = meter.pay(cost, mono)
        assert standing == (debt >= SOFT_LIMIT_MS) + (debt >= HARD_LIMIT_MS)
        if standing is Standing.CLOSE:
            assert meter.standing(mono + 100 * HARD_LIMIT_MS) is Standing.CLOSE
            return
        assert meter.debt(mono) == debt
