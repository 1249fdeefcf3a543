"""The demo target follows the hashrate, in steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.targets import target_from_bits, work_from_bits
from stratum_edge.demo_target import FACTOR, LEAST_WORK, adjusted_block_bits, block_bits_for


@pytest.mark.parametrize(("hashrate", "seconds"), [(150_000, 60), (1_200_000_000_000, 60), (10**18, 600)])
def test_a_block_takes_about_the_time_asked_for(hashrate: int, seconds: int) -> None:
    work = work_from_bits(block_bits_for(hashrate, seconds))
    assert abs(work - hashrate * seconds) * 2**15 <= hashrate * seconds


def test_small_changes_leave_the_terms_alone() -> None:
    bits = block_bits_for(150_000, 60)
    assert adjusted_block_bits(bits, 150_000, 60) is None
    assert adjusted_block_bits(bits, 80_000, 60) is None
    assert adjusted_block_bits(bits, 290_000, 60) is None
    assert adjusted_block_bits(bits, 0, 60) is None
    assert adjusted_block_bits(bits, 310_000, 60) == block_bits_for(310_000, 60)
    assert adjusted_block_bits(bits, 70_000, 60) == block_bits_for(70_000, 60)


@given(st.integers(0, 10**21), st.integers(1, 86_400), st.integers(1, 10**21))
def test_bits_are_canonical_and_settle_at_once(hashrate: int, seconds: int, other: int) -> None:
    bits = block_bits_for(hashrate, seconds)
    assert target_from_bits(bits) > 0
    moved = adjusted_block_bits(bits, other, seconds)
    if moved is not None:
        assert adjusted_block_bits(moved, other, seconds) is None
        assert work_from_bits(moved) * 2 >= LEAST_WORK
    else:
        want = work_from_bits(block_bits_for(other, seconds))
        assert work_from_bits(bits) < FACTOR * want
