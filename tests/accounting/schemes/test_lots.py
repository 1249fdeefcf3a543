"""Shares at a price: exact to 2^-64 msat, and in whole msat a row."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.schemes.lots import Lot, Price, settle, value
from nips.pool.targets import share_bits_from_difficulty, work_from_bits

bits = st.integers(1, 1 << 60).map(share_bits_from_difficulty)
prices = st.builds(Price, st.integers(0, 10**13), bits, st.integers(0, 1_000_000))
lots = st.lists(
    st.builds(Lot, st.sampled_from("abcd"), st.integers(1, 1 << 80), prices, st.integers(1, 1000)), max_size=20
)


def exactly(work: int, price: Price) -> Fraction:
    """A share's worth in msat."""
    return Fraction(work * price.base_msat * (1_000_000 - price.fee_ppm), 1_000_000 * work_from_bits(price.nbits))


@given(st.integers(0, 1 << 80), prices)
def test_a_value_is_the_exact_one_less_at_most_a_unit(work: int, price: Price) -> None:
    assert 0 <= exactly(work, price) - Fraction(value(work, price), 1 << 64) < Fraction(1, 1 << 64)


def test_a_blocks_work_is_worth_the_base_less_the_fee() -> None:
    assert value(work_from_bits(0x1D00FFFF), Price(5_000_000_000_000, 0x1D00FFFF, 20_000)) == 4_900_000_000_000 << 64


def test_the_least_share_of_the_hardest_network_is_worth_something() -> None:
    hardest = share_bits_from_difficulty(1 << 60)
    assert value(1 << 32, Price(312_500_000_000, hardest, 10_000)) > 0


@given(lots)
def test_gross_is_the_rows_sum_and_no_row_is_off_by_a_msat(given_lots: list[Lot]) -> None:
    period = settle(given_lots)
    assert period.gross_msat == sum(row.msat for row in period.rows)
    assert period.work == sum(lot.work * lot.shares for lot in given_lots)
    assert [row.miner for row in period.rows] == sorted({lot.miner for lot in given_lots})
    for row in period.rows:
        mine = [lot for lot in given_lots if lot.miner == row.miner]
        exact = sum((exactly(lot.work, lot.price) * lot.shares for lot in mine), Fraction(0))
        lost = Fraction(sum(lot.shares for lot in mine), 1 << 64) + 1
        assert 0 <= exact - row.msat < lost


@given(lots, st.data())
def test_neither_order_nor_grouping_matters(given_lots: list[Lot], data: st.DataObject) -> None:
    apart = [lot._replace(shares=1) for lot in given_lots for _ in range(lot.shares % 7)]
    apart += [lot._replace(shares=lot.shares - lot.shares % 7) for lot in given_lots]
    assert settle(data.draw(st.permutations(given_lots))) == settle(given_lots)
    assert settle(apart) == settle(given_lots)


@given(lots, lots)
def test_what_others_mine_changes_nothing(mine: list[Lot], others: list[Lot]) -> None:
    own = [lot._replace(miner="me") for lot in mine]
    assert [row for row in settle([*own, *others]).rows if row.miner == "me"] == list(settle(own).rows)


@given(lots, st.lists(st.booleans(), min_size=20, max_size=20))
def test_an_npub_split_into_two_earns_nothing_more(given_lots: list[Lot], turns: list[bool]) -> None:
    own = [lot._replace(miner="me") for lot in given_lots]
    two = [lot._replace(miner="me2") if turn else lot for lot, turn in zip(own, turns, strict=False)]
    assert settle(own).gross_msat - 1 <= settle(two).gross_msat <= settle(own).gross_msat


@given(lots, st.integers(1, 1 << 80), prices)
def test_more_work_never_earns_less(given_lots: list[Lot], work: int, price: Price) -> None:
    own = [lot._replace(miner="me") for lot in given_lots]
    assert settle([*own, Lot("me", work, price)]).gross_msat >= settle(own).gross_msat


@pytest.mark.parametrize(
    ("work", "price"), [(-1, Price(1, 0x1D00FFFF, 0)), (1, Price(-1, 0x1D00FFFF, 0)), (1, Price(1, 0x1D00FFFF, -1))]
)
def test_nonsense_is_refused(work: int, price: Price) -> None:
    with pytest.raises(ValueError, match="not negative"):
        value(work, price)
    with pytest.raises(ValueError, match="not negative"):
        value(1, Price(1, 0x1D00FFFF, 1_000_001))
