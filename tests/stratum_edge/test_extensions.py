"""mining.configure: every extension listed is answered."""

from fractions import Fraction

from stratum_edge.extensions import Extensions

HIGHEST = Fraction(1000)


def test_what_real_miners_ask():
    asked = Extensions.read(["version-rolling"], {"version-rolling.mask": "ffffffff"})
    assert asked.answer(HIGHEST) == {"version-rolling": True, "version-rolling.mask": "1fffe000"}
    options = {
        "version-rolling.mask": "1fffe000",
        "version-rolling.min-bit-count": 16,
        "minimum-difficulty.value": 2048,
    }
    asked = Extensions.read(["minimum-difficulty", "version-rolling"], options)
    assert asked.least == 2048
    assert asked.answer(HIGHEST) == {
        "minimum-difficulty": False,
        "version-rolling": True,
        "version-rolling.mask": "1fffe000",
    }
    assert asked.answer(Fraction(4096))["minimum-difficulty"] is True


def test_the_unknown_is_answered_with_false_and_nonsense_left_out():
    asked = Extensions.read(["subscribe-extranonce", "info", "teleport", 7, None], {})
    assert asked.answer(HIGHEST) == {"subscribe-extranonce": True, "info": True, "teleport": False}
    assert (asked.mask, asked.least) == (None, None)


def test_bits_that_are_not_free_are_no_rolling():
    asked = Extensions.read(["version-rolling", "minimum-difficulty"], {"version-rolling.mask": "00000fff"})
    assert asked.mask == 0
    assert asked.answer(HIGHEST) == {"version-rolling": False, "minimum-difficulty": False}
