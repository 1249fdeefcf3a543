"""How fast a disk fills, out of its free space hour by hour. Pure; times are Unix ms, sizes bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HOUR_MS: Final = 3_600_000
# Hours of a week: backups and the like come and go by the day and the week.
KEPT_MS: Final = 7 * 24 * HOUR_MS
# What a shorter time shows is a first reading of the log, or a night's work.
LEAST_MS: Final = 24 * HOUR_MS
# A disk that has this part more free than an hour before was given room: what was before says nothing any more.
ROOM_PPM: Final = 10_000


@dataclass(frozen=True, slots=True)
class Reading:
    """How much was free, of how much."""

    ms: int
    free: int
    total: int


def is_due(readings: Sequence[Reading], now_ms: int) -> bool:
    """Whether it is time for the next reading; at once when the clock was set back."""
    return not readings or not 0 <= now_ms - readings[-1].ms < HOUR_MS


def noted(readings: Sequence[Reading], now: Reading) -> tuple[Reading, ...]:
    """The readings to keep, with a new one; those before somebody made room, or the clock was set back, go."""
    if readings:
        last = readings[-1]
        if now.ms < last.ms or now.total != last.total or now.free - last.free > now.total * ROOM_PPM // 1_000_000:
            readings = ()
    return (*(each for each in readings if each.ms >= now.ms - KEPT_MS), now)


@dataclass(frozen=True, slots=True)
class Trend:
    """So many bytes went in so much time, and when that goes on, so much time is left."""

    bytes: int
    ms: int
    left_ms: int


def trend_of(readings: Sequence[Reading], now: Reading) -> Trend | None:
    """How it goes; None for a disk that does not fill, or is not known for a day."""
    if not readings:
        return None
    first = readings[0]
    ms, gone = now.ms - first.ms, first.free - now.free
    if ms < LEAST_MS or gone <= 0 or now.total != first.total:
        return None
    return Trend(gone, ms, now.free * ms // gone)
