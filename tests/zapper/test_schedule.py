"""Cron expressions in UTC."""

import pytest

from zapper.schedule import check_schedule, next_round_ms

NOON = 1_800_014_400_000  # 2027-01-15 12:00 UTC


def test_the_next_moment_is_after_the_one_given() -> None:
    assert next_round_ms("0 12 * * *", NOON - 1) == NOON
    assert next_round_ms("0 12 * * *", NOON) == NOON + 86_400_000
    assert next_round_ms("*/5 * * * *", NOON + 1) == NOON + 300_000


def test_schedules_are_five_fields_of_cron() -> None:
    assert check_schedule("0 12 * * 1-5") is None
    for text in ("", "@daily", "61 * * * *", "0 12 * *", "0 12 * * * 5", "noon"):
        assert "five fields" in (check_schedule(text) or "")


@pytest.mark.parametrize("text", ["0 0 29 2 *", "30 6 1 1 *"])
def test_rare_moments_are_found(text: str) -> None:
    assert NOON < next_round_ms(text, NOON) < NOON + 5 * 366 * 86_400_000
