"""Targets: every integer, no float."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.pool.targets import (
    DIFFICULTY_1_TARGET,
    MAX_TARGET,
    bits_at_least,
    bits_at_most,
    check_difficulty,
    difficulty_from_bits,
    share_bits_from_difficulty,
    target_from_bits,
    work_from_bits,
    work_from_target,
)

reachable = st.integers(1, 256).flatmap(lambda size: st.integers(1, min(MAX_TARGET, (1 << size) - 1)))
difficulties = st.integers(1, 2**208) | st.integers(1, 32).map(lambda k: Fraction(1, 2**k))


def test_vectors(vectors):
    file = vectors("targets")
    assert (len(file["cases"]), len(file["bits"])) == (21, 8)
    for case in file["cases"]:
        bits = share_bits_from_difficulty(Fraction(case["difficulty"]))
        assert f"{bits:08x}" == case["share_bits"]
        assert work_from_bits(bits) == int(case["work"])
    for case in file["bits"]:
        target = target_from_bits(int(case["bits"], 16))
        assert f"{target:064x}" == case["target"]
        assert work_from_bits(int(case["bits"], 16)) == (1 << 256) // (target + 1) == int(case["work"])


def test_invalid_vectors(vectors):
    file = vectors("targets")
    assert (len(file["invalid"]), len(file["invalid_difficulties"])) == (11, 7)
    for case in file["invalid"]:
        with pytest.raises(InvalidPoolEvent):
            target_from_bits(int(case["bits"], 16))
    for text in file["invalid_difficulties"]:
        with pytest.raises(ValueError, match="neither"):
            check_difficulty(Fraction(text))


@pytest.mark.parametrize(
    ("difficulty", "bits"),
    [(1, 0x1D00FFFF), (3, 0x1C555500), (512, 0x1B7FFF80), (1000, 0x1B4188F6), (Fraction(1, 2**13), 0x1E1FFFE0)],
)
def test_check_values(difficulty, bits):
    """SPEC.md's, written out here a second time."""
    assert share_bits_from_difficulty(difficulty) == bits
    assert share_bits_from_difficulty(Fraction(1, 2**32)) == 0x2100FFFF


@given(reachable)
@example(1)
@example(0x80)
@example(0x7FFFFF)
@example(0x800000)
@example(0x7FFFFF01)
@example(MAX_TARGET)
@example(MAX_TARGET - 1)
def test_bits_enclose_a_target_tightly(target):
    """Nothing canonical lies between: the next finer bits on the other side of the target cross it."""
    above, below = bits_at_least(target), bits_at_most(target)
    assert target_from_bits(below) <= target <= target_from_bits(above)
    if target_from_bits(above) == target:
        assert above == below
    else:
        assert bits_at_least(target_from_bits(below) + 1) == above
        assert bits_at_most(target_from_bits(above) - 1) == below


@given(reachable, reachable)
def test_bits_are_monotone(one, two):
    low, high = sorted((one, two))
    assert target_from_bits(bits_at_least(low)) <= target_from_bits(bits_at_least(high))
    assert target_from_bits(bits_at_most(low)) <= target_from_bits(bits_at_most(high))
    assert work_from_target(low) >= work_from_target(high)


@given(st.integers(0, 0xFFFFFFFF))
def test_canonical_bits_are_their_targets_only_name(bits):
    try:
        target = target_from_bits(bits)
    except InvalidPoolEvent:
        return
    assert 0 < target <= MAX_TARGET
    assert bits_at_least(target) == bits_at_most(target) == bits
    assert difficulty_from_bits(bits) == Fraction(DIFFICULTY_1_TARGET, target)


@given(difficulties)
def test_no_announced_share_is_refused_and_little_credit_is_lost(difficulty):
    announced = DIFFICULTY_1_TARGET * Fraction(1) / Fraction(difficulty)
    target = target_from_bits(share_bits_from_difficulty(difficulty))
    assert target >= int(announced)
    # The mantissa has 15 bits at least: the target is too easy by less than a part in 2^15.
    assert target - int(announced) <= int(announced) >> 15


@given(st.integers(0, 208))
def test_powers_of_two_are_exact(power):
    assert target_from_bits(share_bits_from_difficulty(2**power)) == DIFFICULTY_1_TARGET >> power


@given(st.integers(0, 32))
def test_fractions_are_exact(power):
    assert target_from_bits(share_bits_from_difficulty(Fraction(1, 2**power))) == DIFFICULTY_1_TARGET << power


@pytest.mark.parametrize("target", [0, -1, MAX_TARGET + 1, 1 << 256])
def test_targets_out_of_reach(target):
    with pytest.raises(ValueError, match="target"):
        bits_at_least(target)


@pytest.mark.parametrize("target", [0, -1, 1 << 256])
def test_no_bits_at_most(target):
    with pytest.raises(ValueError, match="target"):
        bits_at_most(target)
    assert bits_at_most((1 << 256) - 1) == 0x2100FFFF


@pytest.mark.parametrize("bits", [-1, 1 << 32])
def test_bits_are_u32(bits):
    with pytest.raises(InvalidPoolEvent):
        target_from_bits(bits)
