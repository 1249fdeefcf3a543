"""fpps pays a share its part of its job's whole reward, fees included, whatever is found."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from accounting.schemes import fpps, pps
from accounting.schemes.lots import Lot, Price, settle, value
from nips.pool.targets import work_from_bits
from nips.pool.terms import PPM, Offer

BITS = 0x1D00FFFF
work = st.integers(1, 2**40)
outputs = st.integers(0, 21 * 10**17)
fee = st.integers(0, PPM)


def test_the_price_is_the_jobs_outputs() -> None:
    assert fpps.price(Offer("fpps", 40_000, period_s=3600), 320_000_000_000, BITS) == Price(
        320_000_000_000, BITS, 40_000
    )


@given(work, outputs, fee)
def test_a_share_is_worth_its_part_of_all_the_job_pays(share: int, outputs_msat: int, fee_ppm: int) -> None:
    price = fpps.price(Offer("fpps", fee_ppm), outputs_msat, BITS)
    exact = Fraction(share, work_from_bits(BITS)) * outputs_msat * Fraction(PPM - fee_ppm, PPM)
    assert 0 <= exact - Fraction(value(share, price), 1 << 64) < Fraction(1, 1 << 64)


@given(st.integers(0, 6_930_000), st.integers(0, 10**12), fee, work)
def test_above_pps_it_pays_the_fees_alone(height: int, fees_msat: int, fee_ppm: int, share: int) -> None:
    subsidy, offer = pps.subsidy_msat("main", height), Offer("fpps", fee_ppm)
    base = pps.price(offer, "main", height, BITS)
    assert fpps.price(offer, subsidy, BITS) == base
    assert value(share, fpps.price(offer, subsidy + fees_msat, BITS)) >= value(share, base)


@given(st.lists(st.tuples(st.sampled_from("abc"), work, outputs), max_size=20), fee)
def test_rows_are_the_gross_and_a_split_miner_earns_nothing_more(
    shares: list[tuple[str, int, int]], fee_ppm: int
) -> None:
    offer = Offer("fpps", fee_ppm)
    lots = [Lot(miner, share, fpps.price(offer, paid, BITS)) for miner, share, paid in shares]
    period = settle(lots)
    assert sum(row.msat for row in period.rows) == period.gross_msat
    assert settle(reversed(lots)) == period
    split = settle(lot._replace(miner=f"{lot.miner}{number % 2}") for number, lot in enumerate(lots))
    mine = sum(row.msat for row in period.rows if row.miner == "a")
    parts = sum(row.msat for row in split.rows if row.miner in ("a0", "a1"))
    assert mine - 1 <= parts <= mine


def test_an_empty_coinbase_or_a_whole_fee_pays_nothing() -> None:
    assert value(10**6, fpps.price(Offer("fpps", 0), 0, BITS)) == 0
    assert value(10**6, fpps.price(Offer("fpps", PPM), 10**12, BITS)) == 0
