"""An edge's clock against its pool's: believed after several events, forgotten when somebody sets it, bounded."""

import pytest

from noncestr.edge.clock_check import MIN_EVENTS, MIN_SPAN_MS, SPAN_MS, ClockCheck

T0_S = 1_800_000_000
ANCHOR_MS = 120_000


def heard(ahead_ms: int, *, step_ms: int = 10_000, events: int = 4) -> tuple[ClockCheck, int]:
    """A check by a clock that is so far ahead, and the monotonic time of its last event."""
    check = ClockCheck()
    for number in range(events):
        mono = step_ms * number
        check.hear_pool(T0_S + mono // 1000, T0_S * 1000 + mono + ahead_ms, mono)
    return check, step_ms * (events - 1)


@pytest.mark.parametrize("ahead_ms", [0, 5_000, -5_000, 3_600_000, -3_600_000])
def test_the_difference_is_measured(ahead_ms: int) -> None:
    check, mono = heard(ahead_ms)
    assert check.pool_ms(mono) == ahead_ms
    assert check.plain(ANCHOR_MS, mono) == {"pool_ms": ahead_ms, "node_ms": None, "bound_ms": ANCHOR_MS}


@pytest.mark.parametrize(("ahead_ms", "off"), [(120_000, False), (120_001, True), (-120_000, False), (-120_001, True)])
def test_nobody_mines_beyond_anchor_ms(ahead_ms: int, off: bool) -> None:
    check, mono = heard(ahead_ms)
    assert check.is_off(ANCHOR_MS, mono) is off


def test_old_events_in_one_go_prove_nothing() -> None:
    """After a cut a relay hands over ten minutes of events at once: late, by a clock that is right."""
    check = ClockCheck()
    for late in range(600, 0, -10):
        check.hear_pool(T0_S - late, T0_S * 1000, 0)
    assert check.pool_ms(0) is None
    check.hear_pool(T0_S + 20, T0_S * 1000 + 20_100, MIN_SPAN_MS)
    assert check.pool_ms(MIN_SPAN_MS) == 100


def test_too_few_events_prove_nothing() -> None:
    check, mono = heard(10**6, step_ms=MIN_SPAN_MS, events=MIN_EVENTS - 1)
    assert check.pool_ms(mono) is None
    assert not check.is_off(ANCHOR_MS, mono)
    assert check.news(ANCHOR_MS, mono) == ""


def test_what_is_long_ago_counts_no_more() -> None:
    check, mono = heard(0)
    assert check.pool_ms(mono + SPAN_MS + 1) is None


def test_a_clock_that_was_set_is_measured_anew() -> None:
    check, mono = heard(-600_000)
    assert check.is_off(ANCHOR_MS, mono)
    for number in range(1, 4):
        later = mono + 10_000 * number
        check.hear_pool(T0_S + later // 1000, T0_S * 1000 + later, later)
    assert check.pool_ms(later) == 0


def test_each_thing_is_said_once() -> None:
    check, mono = heard(31_000)
    assert (
        check.news(ANCHOR_MS, mono) == "the clock is 31 s ahead of the pool's: set it; beyond 120 s nobody mines here"
    )
    assert check.news(ANCHOR_MS, mono) == ""
    behind, mono = heard(-31_000)
    assert "31 s behind the pool's" in behind.news(ANCHOR_MS, mono)
    for number in range(1, 4):
        later = mono + 10_000 * number
        behind.hear_pool(T0_S + later // 1000, T0_S * 1000 + later, later)
    assert behind.news(ANCHOR_MS, later) == "the clock agrees with the pool's again"


def test_the_node_is_believed_where_the_time_is_its_clocks() -> None:
    check = ClockCheck()
    check.hear_node(T0_S, T0_S, T0_S * 1000 + 7)
    assert check.node_ms is None
    check.hear_node(T0_S, T0_S - 1, T0_S * 1000 + 7)
    assert check.node_ms == 7
