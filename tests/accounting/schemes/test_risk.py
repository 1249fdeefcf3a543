"""The float against ruin: formulas against each other and against a simulated pool."""

import random
from decimal import Decimal

import pytest

from accounting.schemes import risk
from accounting.schemes.risk import Margin

D = Decimal


def cost(fee_ppm: int) -> Decimal:
    return Margin(312_500_000_000, 312_500_000_000, fee_ppm).cost()


def test_cost() -> None:
    assert cost(20_000) == D("0.98")
    assert Margin(100, 125, 0).cost() == D("0.8")
    assert Margin(100, 100, 20_000, 20_000).cost() == 1
    assert Margin(100, 100, 0, 500_000).found(D(10)) == 5


@pytest.mark.parametrize("orphans", [1_000_000, 2_000_000])
def test_no_income_no_float(orphans: int) -> None:
    with pytest.raises(ValueError, match="income"):
        Margin(100, 100, 0, orphans).cost()


@pytest.mark.parametrize("fee_ppm", [1000, 5000, 10_000, 20_000, 50_000, 300_000, 900_000])
def test_the_exponent_solves_its_equation_and_rosenfelds_is_never_too_small(fee_ppm: int) -> None:
    q = cost(fee_ppm)
    x = risk.exponent(q)
    assert x is not None
    assert abs(q * x - (1 - (-x).exp())) < D("1e-18")
    assert x > 2 * (1 - q)
    exact, simple = risk.float_for_good(q, D("0.01")), risk.rosenfeld(q, D("0.01"))
    assert exact is not None
    assert simple is not None
    assert exact <= simple


def test_known_floats() -> None:
    """ln(100) / 0.04 = 115.13; the exact one is less."""
    assert risk.rosenfeld(cost(20_000), D("0.01")) == D("115.13")
    assert risk.float_for_good(cost(20_000), D("0.01")) == D("113.59")


def test_without_a_margin_ruin_is_sure() -> None:
    assert risk.exponent(D(1)) is None
    assert risk.float_for_good(D("1.01"), D("0.01")) is None
    assert risk.rosenfeld(D(1), D("0.01")) is None
    with pytest.raises(ValueError, match="something"):
        risk.exponent(D(0))


def test_given_long_enough_the_risk_is_the_one_for_good() -> None:
    q = cost(200_000)
    x = risk.exponent(q)
    assert x is not None
    assert abs(risk.ruin(q, D(3), D(1000)) - (-3 * x).exp()) < D("1e-12")


def test_the_risk_grows_with_time_and_falls_with_funds() -> None:
    q = cost(20_000)
    by_time = [risk.ruin(q, D(5), D(n)) for n in (1, 10, 100, 400)]
    by_funds = [risk.ruin(q, D(u), D(100)) for u in (1, 5, 20)]
    assert by_time == sorted(by_time)
    assert by_time[0] == 0
    assert by_funds == sorted(by_funds, reverse=True)


@pytest.mark.parametrize(("fee_ppm", "blocks"), [(0, 1), (20_000, 5), (20_000, 50), (50_000, 200)])
def test_a_float_is_the_least_that_does(fee_ppm: int, blocks: int) -> None:
    q = cost(fee_ppm)
    least = risk.float_until(q, D("0.01"), D(blocks))
    assert risk.ruin(q, least, D(blocks)) <= D("0.01") < risk.ruin(q, least - risk.STEP, D(blocks))
    forever = risk.float_for_good(q, D("0.01"))
    assert forever is None or least <= forever
    assert least <= blocks * q + risk.STEP


def test_a_pool_that_expects_next_to_nothing_needs_what_it_pays() -> None:
    """With hardly a chance of a block the float is what is paid out, within a step."""
    q = cost(0)
    assert D("0.01") <= risk.float_until(q, D("0.001"), D("0.02")) <= D("0.03")


def test_simulated_pools_are_ruined_as_often_as_reckoned() -> None:
    """4,000 pools with 4 rewards in hand over 60 expected blocks: seeded, so the same each time."""
    dice, q, funds, horizon = random.Random(5), 0.98, 4.0, 60.0
    ruined = 0
    for _ in range(4000):
        held, time = funds, 0.0
        while True:
            step = dice.expovariate(1)
            if held - q * min(step, horizon - time) <= 0:
                ruined += 1
                break
            time += step
            if time >= horizon:
                break
            held += 1 - q * step
    reckoned = float(risk.ruin(D("0.98"), D(4), D(60)))
    assert abs(ruined / 4000 - reckoned) < 3 * (reckoned * (1 - reckoned) / 4000) ** 0.5
