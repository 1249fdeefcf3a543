"""Numbers as people read them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noncestr.citizen.words import (
    ago_text,
    and_list,
    counted,
    difficulty_text,
    effort_percent,
    hashrate_text,
    luck_text,
    sat_text,
)

ONE = 0xFFFF << 208


def test_difficulties_read_well() -> None:
    assert difficulty_text(ONE // 86_400_000_000_000) == "86.4T"
    assert difficulty_text(ONE // 999) == "999"
    assert difficulty_text(ONE << 13) == "0.0001221"
    assert difficulty_text(ONE << 32) == "0.0000000002328"
    assert difficulty_text(ONE + 1) == "1"
    assert difficulty_text(0).endswith("E")


def test_hashrates_read_well() -> None:
    assert hashrate_text(0) == "0 H/s"
    assert hashrate_text(999) == "999 H/s"
    assert hashrate_text(75_000) == "75.00 kH/s"
    assert hashrate_text(1_239_999_999_999_999) == "1.23 PH/s"
    assert hashrate_text(1_234 * 10**18) == "1,234.00 EH/s"


def test_sats_are_whole_and_never_more_than_there_are() -> None:
    assert sat_text(1_234_999) == "1,234 sat"
    assert sat_text(999) == sat_text(-999) == "0 sat"
    assert sat_text(-5_000) == "-5 sat"


def test_counts_lists_and_times() -> None:
    assert [counted(n, "block") for n in (0, 1, 2_000)] == ["0 blocks", "1 block", "2,000 blocks"]
    assert [and_list(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert [ago_text(ms) for ms in (-5, 1_500, 60_000, 7_200_000, 259_200_000)] == [
        "0 seconds ago", "1 second ago", "1 minute ago", "2 hours ago", "3 days ago",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("percent", "words"),
    [
        (0, "one block in 1,000,000 comes this early"),
        (5, "one block in 21 comes"),
        (42, "one block in three comes this early"),
        (100, "about what one expects"),
        (200, "one block in seven takes this long"),
        (10**9, "one block in 1,000,000 takes this long"),
    ],
)
def test_luck_says_how_many_blocks_are_like_it(percent: int, words: str) -> None:
    assert luck_text(percent * 10, 1000).endswith(words) or words in luck_text(percent * 10, 1000)
    assert effort_percent(percent * 10, 1000) == percent


@given(st.integers(0, 2**300), st.integers(0, 2**256))
def test_any_work_gives_words(work: int, expected: int) -> None:
    if work / max(expected, 1) < math.inf:
        assert luck_text(work, expected)
