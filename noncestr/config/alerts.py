"""[alerts]: who is woken, when, by what."""

from dataclasses import dataclass

from noncestr.config.checks import between
from noncestr.config.key import config_key as _key
from zapper.schedule import check_schedule


def cron(value: str) -> str | None:
    """A schedule of five fields, or nothing."""
    return check_schedule(value) if value else None


@dataclass(frozen=True, slots=True)
class AlertsSection:
    """Who is told when something is wrong."""

    services: str = _key(
        "",
        'A file (mode 0600) of apprise URLs, one a line: mailto://, tgram://, ntfy://; "": only the log says it.',
    )
    report: str = _key("", 'When to send a report of how the pool is, as cron in UTC ("0 8 * * *"); "": never.', cron)
    repeat_hours: int = _key(12, "A trouble that lasts is told again after so long.", between(1, 720))
    backlog: int = _key(10_000, "Events waiting for one relay that are a trouble.", between(1, 10_000_000))
    payout_hours: int = _key(6, "How long a payout may be under way.", between(1, 720))
    disk_mib: int = _key(2048, "Less free space than this is a trouble.", between(0, 10_000_000))
    disk_days: int = _key(
        14, "A disk that is full in fewer days, as it fills now, is a trouble; 0: never.", between(0, 3650)
    )
