"""How fast a disk fills: nothing is said of less than a day, of a disk with room made, or of one that does not fill."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noncestr.disk_trend import HOUR_MS, KEPT_MS, LEAST_MS, Reading, Trend, is_due, noted, trend_of

TOTAL = 10**12
DAY_MS = 24 * HOUR_MS


def hourly(*free: int, start: int = 0) -> tuple[Reading, ...]:
    readings: tuple[Reading, ...] = ()
    for hour, each in enumerate(free):
        readings = noted(readings, Reading(start + hour * HOUR_MS, each, TOTAL))
    return readings


def test_what_goes_in_a_day_tells_when_it_is_full() -> None:
    readings = hourly(*range(300 * 10**9, 250 * 10**9, -(10**9)))
    now = readings[-1]
    assert now.ms == 49 * HOUR_MS
    assert trend_of(readings, now) == Trend(49 * 10**9, 49 * HOUR_MS, 251 * HOUR_MS)


def test_a_week_is_looked_at_and_no_more() -> None:
    readings = hourly(*range(900 * 10**9, 600 * 10**9, -(10**9)))
    assert readings[-1].ms - readings[0].ms == KEPT_MS
    assert len(readings) == KEPT_MS // HOUR_MS + 1


@pytest.mark.parametrize(
    "free",
    [
        [],
        [500 * 10**9],
        # A day's fall, not quite a day long.
        range(500 * 10**9, 500 * 10**9 - LEAST_MS // HOUR_MS, -1),
        # It does not fill.
        [500 * 10**9] * 48,
        range(500 * 10**9, 500 * 10**9 + 48),
    ],
)
def test_nothing_is_said_without_a_day_in_which_it_filled(free: range) -> None:
    readings = hourly(*free)
    assert trend_of(readings, readings[-1] if readings else Reading(0, 1, TOTAL)) is None


def test_room_that_was_made_begins_anew() -> None:
    filling = list(range(300 * 10**9, 200 * 10**9, -(2 * 10**9)))
    assert len(hourly(*filling, filling[-1] + TOTAL // 100)) == len(filling) + 1, "no more than noise"
    readings = hourly(*filling, filling[-1] + TOTAL // 100 + 1)
    assert len(readings) == 1
    assert trend_of(readings, readings[0]) is None
    # Another disk, and a clock that was set back, begin anew too.
    last = hourly(*filling)[-1]
    assert noted((last,), Reading(last.ms + HOUR_MS, last.free, TOTAL * 2)) == (
        Reading(last.ms + HOUR_MS, last.free, TOTAL * 2),
    )
    assert noted((last,), Reading(last.ms - 1, last.free, TOTAL)) == (Reading(last.ms - 1, last.free, TOTAL),)
    assert trend_of((last,), Reading(last.ms + 2 * DAY_MS, last.free - 5, TOTAL * 2)) is None


def test_a_reading_an_hour() -> None:
    assert is_due((), 5)
    last = (Reading(HOUR_MS, 1, TOTAL),)
    assert [is_due(last, ms) for ms in (HOUR_MS, 2 * HOUR_MS - 1, 2 * HOUR_MS, HOUR_MS - 1)] == [
        False, False, True, True,
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 3 * DAY_MS), st.integers(0, TOTAL)), max_size=40))
def test_whatever_is_read_it_is_bounded_in_order_and_no_time_is_made_up(steps: list[tuple[int, int]]) -> None:
    readings: tuple[Reading, ...] = ()
    now_ms = 0
    for step, free in steps:
        now_ms += step
        now = Reading(now_ms, free, TOTAL)
        if is_due(readings, now_ms):
            readings = noted(readings, now)
        assert len(readings) <= KEPT_MS // HOUR_MS + 1
        assert list(readings) == sorted(readings, key=lambda reading: reading.ms)
        trend = trend_of(readings, now)
        if trend is not None:
            assert trend.ms >= LEAST_MS
            assert trend.bytes > 0
            assert trend.left_ms * trend.bytes <= free * trend.ms < (trend.left_ms + 1) * trend.bytes
