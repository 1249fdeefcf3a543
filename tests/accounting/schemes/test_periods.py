"""What pays by period: its two schemes' prices, and periods that leave no time out and count none twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.errors import UnsupportedOffer
from accounting.schemes import blocks, fpps, periods, pps
from accounting.schemes.lots import Price
from nips.pool.terms import PERIOD_SCHEMES, Offer

BITS = 0x1D00FFFF


def test_the_schemes_are_those_of_the_terms() -> None:
    assert periods.SCHEMES == PERIOD_SCHEMES
    assert not {*periods.SCHEMES} & {*blocks.SCHEMES}


@pytest.mark.parametrize("scheme", blocks.SCHEMES)
def test_a_block_scheme_has_no_price(scheme: str) -> None:
    with pytest.raises(UnsupportedOffer, match=scheme):
        periods.price("main", Offer(scheme), "main", 1, 0x207FFFFF, 1)


def test_prices() -> None:
    made = [periods.price("main", Offer(scheme, 20_000), "main", 840_000, BITS, 7) for scheme in ("pps", "fpps")]
    assert made == [Price(312_500_000_000, BITS, 20_000), Price(7, BITS, 20_000)]


@given(st.sampled_from(["main", "regtest"]), st.integers(0, 10_000_000), st.integers(0, 10**15), st.integers(0, 10**6))
def test_each_scheme_goes_by_its_own_base(network: str, height: int, outputs_msat: int, fee_ppm: int) -> None:
    by_subsidy, by_outputs = Offer("pps", fee_ppm), Offer("fpps", fee_ppm)
    found = periods.price("main", by_subsidy, network, height, BITS, outputs_msat)
    assert found == pps.price(by_subsidy, network, height, BITS)
    found = periods.price("main", by_outputs, network, height, BITS, outputs_msat)
    assert found == fpps.price(by_outputs, outputs_msat, BITS)


@pytest.mark.parametrize(("now", "found"), [(7200, (3600, 7200)), (7199, (0, 3600)), (0, (-3600, 0))])
def test_periods_touch(now: int, found: tuple[int, int]) -> None:
    assert periods.period_of(3600, now) == found


@given(st.integers(1, 10**9), st.integers(0, 2**53))
def test_the_newest_whole_period_is_over_and_the_next_is_not(period_ms: int, now_ms: int) -> None:
    start, end = periods.period_of(period_ms, now_ms)
    assert (start % period_ms, end - start) == (0, period_ms)
    assert end <= now_ms < end + period_ms
    assert periods.period_of(period_ms, end + period_ms) == (end, end + period_ms), "the next begins where it ended"
    assert periods.period_of(period_ms, end - 1)[1] == start


@pytest.mark.parametrize("period_ms", [0, -1])
def test_a_period_lasts(period_ms: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        periods.period_of(period_ms, 1)
