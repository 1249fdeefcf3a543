"""Which scheme splits what."""

import pytest

from accounting.errors import UnsupportedOffer
from accounting.schemes import blocks, periods
from accounting.selection import Placed
from nips.pool.terms import SCHEMES, Offer

SHARES = [Placed(9 - n, "e", 0, 0, 9 - n, miner, 10) for n, miner in enumerate("abbc")]
SOLVED = blocks.Solved(10, 0x207FFFFF, "d", 7)


def test_every_scheme_of_the_terms_is_one_of_the_two_kinds() -> None:
    assert {*blocks.SCHEMES, *periods.SCHEMES} == set(SCHEMES)


@pytest.mark.parametrize(
    ("offer", "work"),
    [
        (Offer("pplns", window_min_work=25), {"a": 10, "b": 15}),
        (Offer("prop", window_min_work=25), {"a": 10, "b": 20, "c": 10}),
        (Offer("solo", window_min_work=25), {"d": 7}),
    ],
)
def test_count(offer: Offer, work: dict[str, int]) -> None:
    assert blocks.count("main", offer, SOLVED, SHARES).work == work


def test_only_pplns_bounds_its_window() -> None:
    assert blocks.oldest_ms(Offer("pplns", window_max_ms=4), 10) == 6
    assert blocks.oldest_ms(Offer("prop", window_max_ms=4), 10) == 0
    assert blocks.limit(Offer("pplns", window_min_work=25), 0x207FFFFF) == 25
    assert blocks.limit(Offer("prop", window_min_work=25), 0x207FFFFF) is None


@pytest.mark.parametrize("scheme", periods.SCHEMES)
def test_a_period_scheme_splits_no_block(scheme: str) -> None:
    with pytest.raises(UnsupportedOffer, match=scheme):
        blocks.count("main", Offer(scheme), SOLVED, SHARES)
