"""The subsidy is the chain's, and the price follows it."""

import pytest

from accounting.schemes import pps
from accounting.schemes.lots import Price
from nips.pool.terms import Offer


@pytest.mark.parametrize(
    ("network", "height", "msat"),
    [
        ("main", 0, 5_000_000_000_000),
        ("main", 209_999, 5_000_000_000_000),
        ("main", 210_000, 2_500_000_000_000),
        ("main", 840_000, 312_500_000_000),
        ("testnet4", 840_000, 312_500_000_000),
        # The ninth halving is the first that loses half a sat: 9765625 sat to 4882812.
        ("main", 9 * 210_000, 9_765_625_000),
        ("main", 10 * 210_000, 4_882_812_000),
        ("main", 32 * 210_000, 1000),
        ("main", 33 * 210_000, 0),
        ("main", 64 * 210_000, 0),
        ("regtest", 149, 5_000_000_000_000),
        ("regtest", 150, 2_500_000_000_000),
    ],
)
def test_subsidy(network: str, height: int, msat: int) -> None:
    assert pps.subsidy_msat(network, height) == msat


def test_all_coins_are_the_21_million() -> None:
    total = sum(210_000 * pps.subsidy_msat("main", 210_000 * era) for era in range(64))
    assert total == 2_099_999_997_690_000_000


def test_no_height_below_zero() -> None:
    with pytest.raises(ValueError, match="below height 0"):
        pps.subsidy_msat("main", -1)


def test_prices() -> None:
    offer = Offer("pps", 40_000, period_s=3600)
    assert pps.price(offer, "main", 840_000, 0x1D00FFFF) == Price(312_500_000_000, 0x1D00FFFF, 40_000)
