"""The split conserves every msat, whatever the work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.apportion import split
from nips.pool.terms import PPM

GROSS = st.integers(0, 21_000_000 * 100_000_000 * 1000)
FEES = st.integers(0, PPM)
WORKS = st.dictionaries(st.text("0123456789abcdef", min_size=4, max_size=4), st.integers(1, 1 << 100), max_size=40)


@given(GROSS, FEES, WORKS)
def test_rows_and_fee_are_the_gross(gross: int, fee_ppm: int, work: dict[str, int]) -> None:
    parts = split(gross, fee_ppm, work)
    assert sum(row.msat for row in parts.rows) + parts.fee_msat == gross
    assert all(row.msat >= 0 for row in parts.rows)
    assert [row.miner for row in parts.rows] == sorted(work)


@given(GROSS, FEES, WORKS)
def test_the_pool_keeps_its_fee_and_less_than_a_msat_a_row(gross: int, fee_ppm: int, work: dict[str, int]) -> None:
    parts = split(gross, fee_ppm, work)
    fee = gross * fee_ppm // PPM
    assert parts.fee_msat == gross if not work else fee <= parts.fee_msat < fee + len(work) + 1


@given(GROSS, FEES, WORKS, st.integers(1, 1 << 90), st.integers(1, 1 << 90))
def test_splitting_a_key_in_two_earns_nothing(
    gross: int, fee_ppm: int, others: dict[str, int], first: int, second: int
) -> None:
    one = split(gross, fee_ppm, {**others, "miner": first + second})
    two = split(gross, fee_ppm, {**others, "miner": first, "miner2": second})
    whole = sum(row.msat for row in one.rows if row.miner == "miner")
    parts = sum(row.msat for row in two.rows if row.miner in ("miner", "miner2"))
    assert whole - 1 <= parts <= whole


@given(GROSS, WORKS)
def test_more_work_never_earns_less(gross: int, work: dict[str, int]) -> None:
    rows = sorted(split(gross, 0, work).rows, key=lambda row: row.work)
    assert [row.msat for row in rows] == sorted(row.msat for row in rows)


def test_without_work_the_reward_is_the_pools() -> None:
    assert split(1000, 10_000, {}).rows == ()
    assert split(1000, 10_000, {}).fee_msat == 1000
    assert split(1000, 10_000, {"a": 0}).fee_msat == 1000


@pytest.mark.parametrize(("gross", "fee", "work"), [(-1, 0, {}), (1, -1, {}), (1, PPM + 1, {}), (1, 0, {"a": -1})])
def test_nonsense_is_refused(gross: int, fee: int, work: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        split(gross, fee, work)
