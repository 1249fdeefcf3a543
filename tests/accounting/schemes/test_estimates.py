"""Luck and expectations, in whole numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.schemes import estimates
from nips.pool.targets import work_from_bits

NBITS = 0x1D00FFFF
WORK = work_from_bits(NBITS)


def test_effort_is_work_against_a_blocks() -> None:
    assert estimates.effort_ppm([(WORK, NBITS)]) == 1_000_000
    assert estimates.effort_ppm([(WORK // 4, NBITS), (1, 0x207FFFFF)]) == 749_999
    assert estimates.effort_ppm([(1, NBITS)] * 5000) == 5000 * 1_000_000 // WORK == 1
    assert estimates.effort_ppm([]) == 0


def test_luck_is_blocks_against_those_expected() -> None:
    assert estimates.luck_ppm(3, 2_000_000) == 1_500_000
    assert estimates.luck_ppm(0, 2_000_000) == 0
    assert estimates.luck_ppm(1, 0) is None


def test_time_to_a_block() -> None:
    assert estimates.expected_ms(WORK, NBITS) == 1000
    assert estimates.expected_ms(0, NBITS) is None


@given(st.integers(1, 1 << 60), st.integers(0, 10**12))
def test_the_chance_of_a_block(hashrate: int, span_ms: int) -> None:
    chance = estimates.chance_ppm(hashrate, NBITS, span_ms)
    assert abs(chance - -math.expm1(-hashrate * span_ms / 1000 / WORK) * 1e6) <= 1


def test_the_mean_time_brings_a_block_63_times_in_a_hundred() -> None:
    assert estimates.chance_ppm(WORK, NBITS, 1000) == 632_120


@given(st.integers(0, 1 << 70), st.integers(0, 10**13), st.integers(0, 1_000_000))
def test_a_blocks_work_a_day_earns_a_reward_a_day(hashrate: int, reward: int, fee: int) -> None:
    daily = estimates.daily_msat(hashrate, NBITS, reward, fee)
    assert daily <= hashrate * 86_400 * reward // WORK
    assert estimates.daily_msat(2 * hashrate, NBITS, reward, fee) >= 2 * daily


@pytest.mark.parametrize(("work", "total", "msat"), [(1, 4, 247), (4, 4, 990), (0, 4, 0), (0, 0, 0)])
def test_pending(work: int, total: int, msat: int) -> None:
    assert estimates.pending_msat(1000, 10_000, work, total) == msat
