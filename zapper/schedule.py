"""When payouts are made: a cron expression, read in UTC."""

from datetime import UTC, datetime

from croniter import croniter  # type: ignore[import-untyped]  # croniter ships no types

# Minute, hour, day of month, month, day of week.
FIELDS = 5


def check_schedule(text: str) -> str | None:
    """What is wrong with a schedule; None for a good one."""
    if len(text.split()) != FIELDS or not croniter.is_valid(text):
        return 'must be a cron expression of five fields, like "0 12 * * *" (every day at noon, UTC)'
    return None


def next_round_ms(text: str, after_ms: int) -> int:
    """The first moment of the schedule after this one, Unix ms."""
    start = datetime.fromtimestamp(after_ms / 1000, UTC)
    return int(croniter(text, start).get_next(float) * 1000)


def latest_round_ms(text: str, until_ms: int) -> int:
    """The last moment of the schedule that is not after this one, Unix ms."""
    start = datetime.fromtimestamp((until_ms + 1) / 1000, UTC)
    return int(croniter(text, start).get_prev(float) * 1000)
