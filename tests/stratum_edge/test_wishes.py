"""Wishes of strangers: sense is granted, nonsense is None."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_edge import wishes

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@given(ANYTHING)
def test_a_wish_is_positive_or_none(value):
    """Invariant: whatever is asked, the answer is a positive difficulty or None."""
    for read in (wishes.difficulty, wishes.difficulty_of_target, wishes.difficulty_of_password):
        wish = read(value)
        assert wish is None or wish > 0


@given(st.text())
def test_a_mask_is_within_bip_320(text):
    assert wishes.rolling_mask({"version-rolling.mask": text}) & ~0x1FFFE000 == 0


@pytest.mark.parametrize(
    ("password", "wish"),
    [
        ("d=512", Fraction(512)),
        ("x,diff=0.00015;y", Fraction(3, 20000)),
        ("x d=1e3", Fraction(1000)),
        ("d=" + "9" * 5000, None),
        ("d=0", None),
        ("id=5", None),
        ("d=5x", None),
        ("512", None),
    ],
)
def test_passwords(password, wish):
    assert wishes.difficulty_of_password(password) == wish


def test_targets_and_masks():
    assert wishes.difficulty_of_target("00000000ffff" + "0" * 52) == 1
    assert wishes.difficulty_of_target("00" * 32) is None
    assert wishes.rolling_mask({}) == 0x1FFFE000
    assert wishes.rolling_mask({"version-rolling.mask": "00c00000"}) == 0x00C00000
    assert wishes.rolling_mask({"version-rolling.mask": 7}) == 0
    assert wishes.difficulty(True) is None
    assert wishes.difficulty(float("inf")) is None
    assert wishes.difficulty(10**400) is None
