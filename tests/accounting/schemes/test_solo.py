"""The finder takes it all."""

from hypothesis import given
from hypothesis import strategies as st

from accounting.apportion import split
from accounting.schemes import solo
from nips.pool.statement import Row


@given(st.integers(1, 1 << 90), st.integers(0, 1 << 50), st.integers(0, 1_000_000))
def test_one_row_less_the_fee(work: int, gross: int, fee_ppm: int) -> None:
    counted = solo.count(6000, "finder", work)
    assert (counted.from_ms, counted.total, counted.full) == (6000, work, True)
    parts = split(gross, fee_ppm, counted.work)
    assert parts.rows == (Row("finder", work, gross - parts.fee_msat),)
    assert parts.fee_msat == gross * fee_ppm // 1_000_000
