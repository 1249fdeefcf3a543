"""When a worker counts as offline or back, and when a hashrate as dropped: states that go from one look to the next.

Nothing is told of what the pool can't see: time before `steady_ms`, since when the log has been fresh, is no silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

# A miner at its proper difficulty brings some 12 shares a minute, and vardiff finds that within three minutes of
# silence: who brings none in this time is off, or reboots longer than firmware takes.
OFFLINE_MS: Final = 15 * MINUTE_MS
# One share is no worker that runs again.
BACK_MS: Final = 5 * MINUTE_MS
# A worker that comes and goes is told of once in this time.
QUIET_MS: Final = 2 * HOUR_MS
# What has been off for so long is not expected back, and is known anew when it comes.
FORGET_MS: Final = 7 * DAY_MS

# Hashrates are kept as means of so much time: 49 numbers for a day.
BUCKET_MS: Final = 30 * MINUTE_MS
# Without this much past there is no telling what is usual.
BASE_BUCKETS: Final = 12
# Samples come once a minute; half of a bucket's is a mean.
ENOUGH_SAMPLES: Final = 15
# At 12 shares a minute an hour's rate is off by 4 per cent on average, so half is no chance; and what returns has to
# come well above that, so that a rate near the border is told once.
DROPPED_PERCENT: Final = 50
RECOVERED_PERCENT: Final = 75


@dataclass(frozen=True, slots=True)
class WorkerState:
    """`last_ms`: its newest share seen. `back_ms`: since when it sends again, 0 while it doesn't. Unix ms."""

    last_ms: int
    offline: bool = False
    back_ms: int = 0
    told_ms: int = 0


def judge_worker(state: WorkerState, *, last_ms: int, now_ms: int, steady_ms: int) -> tuple[WorkerState, str]:
    """The worker's state now, and what is to be told: "offline", "back" or ""."""
    fresh = last_ms > state.last_ms
    state = replace(state, last_ms=max(last_ms, state.last_ms))
    silent = now_ms - max(state.last_ms, steady_ms) >= OFFLINE_MS
    if not state.offline:
        if silent and now_ms - state.told_ms >= QUIET_MS:
            return replace(state, offline=True, told_ms=now_ms), "offline"
        return state, ""
    if state.back_ms:
        if silent:
            return replace(state, back_ms=0), ""
        if fresh and state.last_ms - state.back_ms >= BACK_MS:
            return replace(state, offline=False, back_ms=0), "back"
        return state, ""
    return (replace(state, back_ms=state.last_ms) if fresh else state), ""


def is_forgotten(state: WorkerState, now_ms: int) -> bool:
    """Whether nobody waits for this worker any more."""
    return state.offline and now_ms - state.last_ms >= FORGET_MS


@dataclass(frozen=True, slots=True)
class Drop:
    """What is to be told of a hashrate, hashes a second: what it is and what it was, and whether it is back."""

    now_hs: int
    usual_hs: int
    recovered: bool


@dataclass(slots=True)
class RateSeries:
    """A day of a hashrate: bucket -> [sum, samples]. `usual`: what it was before it dropped, 0 while it has not."""

    buckets: dict[int, list[int]] = field(default_factory=dict)
    usual: int = 0
    since_ms: int = 0

    def add(self, now_ms: int, rate: int) -> None:
        """Take a sample in."""
        newest = now_ms // BUCKET_MS
        bucket = self.buckets.setdefault(newest, [0, 0])
        bucket[0] += rate
        bucket[1] += 1
        for old in [number for number in self.buckets if number <= newest - DAY_MS // BUCKET_MS - 2]:
            del self.buckets[old]

    def judge(self, now_ms: int) -> Drop | None:
        """What is to be told now: the last hour (its two halves, once both are whole enough) against the day before."""
        newest = now_ms // BUCKET_MS
        recent = [self.buckets[number] for number in (newest, newest - 1) if number in self.buckets]
        if len(recent) < 2 or any(samples < ENOUGH_SAMPLES for _, samples in recent):
            return None
        hour = _mean(recent)
        past = [bucket for number, bucket in self.buckets.items() if number < newest - 1]
        if self.usual:
            if hour * 100 >= self.usual * RECOVERED_PERCENT:
                usual, self.usual = self.usual, 0
                return Drop(hour, usual, recovered=True)
            if now_ms - self.since_ms >= DAY_MS:
                # After a day this is what is usual.
                self.usual = 0
                self.buckets = {number: bucket for number, bucket in self.buckets.items() if number >= newest - 1}
            return None
        usual = _mean(past)
        if len(past) < BASE_BUCKETS or hour * 100 >= usual * DROPPED_PERCENT:
            return None
        self.usual, self.since_ms = usual, now_ms
        return Drop(hour, usual, recovered=False)

    def to_plain(self) -> list[object]:
        """As JSON can hold it."""
        return [self.usual, self.since_ms, [[number, *bucket] for number, bucket in sorted(self.buckets.items())]]

    @classmethod
    def from_plain(cls, plain: list[object]) -> "RateSeries":
        """What `to_plain` gave. Raises ValueError or TypeError."""
        usual, since_ms, buckets = plain
        if not isinstance(usual, int) or not isinstance(since_ms, int) or not isinstance(buckets, list):
            raise TypeError("no series of rates")
        return cls({int(number): [int(total), int(samples)] for number, total, samples in buckets}, usual, since_ms)


def _mean(buckets: list[list[int]]) -> int:
    return sum(total for total, _ in buckets) // max(sum(samples for _, samples in buckets), 1)


@dataclass(slots=True)
class MinerWatch:
    """What is watched of one miner: its workers by their names in the log; rates, "" being all of it."""

    workers: dict[str, WorkerState] = field(default_factory=dict)
    rates: dict[str, RateSeries] = field(default_factory=dict)

    def to_plain(self) -> dict[str, object]:
        """As JSON can hold it."""
        return {
            "workers": {
                name: [state.last_ms, state.offline, state.back_ms, state.told_ms]
                for name, state in self.workers.items()
            },
            "rates": {name: series.to_plain() for name, series in self.rates.items()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Mapping[str, list[object]]]) -> "MinerWatch":
        """What `to_plain` gave. Raises ValueError, TypeError, KeyError or AttributeError."""
        workers = {
            name: WorkerState(int(str(last)), bool(offline), int(str(back)), int(str(told)))
            for name, (last, offline, back, told) in plain["workers"].items()
        }
        return cls(workers, {name: RateSeries.from_plain(series) for name, series in plain["rates"].items()})
