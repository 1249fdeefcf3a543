"""Halvings."""

import pytest

from nips.pool.coinbase import MAX_MONEY_SAT
from stratum_edge.subsidy import HALVING_BLOCKS, subsidy_sat


@pytest.mark.parametrize(
    ("network", "height", "sat"),
    [
        ("main", 0, 5_000_000_000),
        ("main", 209_999, 5_000_000_000),
        ("main", 210_000, 2_500_000_000),
        ("main", 840_000, 312_500_000),
        ("testnet4", 210_000, 2_500_000_000),
        ("signet", 209_999, 5_000_000_000),
        ("regtest", 149, 5_000_000_000),
        ("regtest", 150, 2_500_000_000),
        ("regtest", 33 * 150, 0),
        ("regtest", 64 * 150, 0),
        ("main", 1 << 31, 0),
    ],
)
def test_halvings(network: str, height: int, sat: int) -> None:
    assert subsidy_sat(network, height) == sat


def test_all_of_it_is_a_little_less_than_21_million() -> None:
    total = sum(210_000 * subsidy_sat("main", era * 210_000) for era in range(70))
    assert MAX_MONEY_SAT - 2_500_000 < total <= MAX_MONEY_SAT


def test_an_unknown_network_has_no_rule() -> None:
    assert "test" not in HALVING_BLOCKS
    with pytest.raises(KeyError):
        subsidy_sat("test", 1)
