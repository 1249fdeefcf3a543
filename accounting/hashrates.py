"""Work over time: hashrates of the pool and of miners, as series and over fixed spans, and what else the hours count.

Hashrates (hashes a second) and work (hashes) as decimal strings, times in Unix ms. History begins where our hourly
summaries (4221) do.
"""

import json
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from accounting.errors import AccountingError
from accounting.hours import Hour, Hours, MinerCount, uncounted
from accounting.service import Accounting
from accounting.statistics import BUCKET_MS, SHORTEST_MS, SPANS_MS
from nips.nip01 import VerifiedEvent
from nips.pool.summary import HOUR_MS

DAY_MS = 24 * HOUR_MS
# Batches of summaries taken in for one answer: after a restart a long chain comes with the first few.
MAX_STEPS = 5


class Summaries(Protocol):
    """The stored summaries."""

    async def summaries_after(self, seq: int) -> list[tuple[int, VerifiedEvent]]:
        """The next summaries and parts of our chain by their numbers, some at a time."""


class Span(NamedTuple):
    """How far back a series goes, and how wide a point is; ms."""

    back_ms: int
    step_ms: int


# Steps of half a minute come from the counts of the last hour, longer ones from the hourly summaries.
SPANS: dict[str, Span] = {
    "1h": Span(HOUR_MS, BUCKET_MS),
    "24h": Span(DAY_MS, HOUR_MS),
    "7d": Span(7 * DAY_MS, HOUR_MS),
    "31d": Span(31 * DAY_MS, HOUR_MS),
    "400d": Span(400 * DAY_MS, DAY_MS),
}


class _Stretch(NamedTuple):
    from_ms: int
    to_ms: int
    work: int


def _point(from_ms: int, to_ms: int, work: int) -> dict[str, Any]:
    rate = work * 1000 // max(to_ms - from_ms, SHORTEST_MS if to_ms - from_ms < BUCKET_MS else 1)
    return {"from_ms": from_ms, "to_ms": to_ms, "hashrate_hs": str(rate), "work": str(work)}


def _merged(stretches: Iterable[_Stretch], step_ms: int) -> list[dict[str, Any]]:
    """Points of a step each; a stretch counts where it ends, one longer than a step stays whole."""
    points: dict[int, _Stretch] = {}
    for stretch in stretches:
        at = (stretch.to_ms - 1) // step_ms
        known = points.get(at)
        points[at] = (
            stretch
            if known is None
            else _Stretch(
                min(known.from_ms, stretch.from_ms), max(known.to_ms, stretch.to_ms), known.work + stretch.work
            )
        )
    return [_point(*points[at]) for at in sorted(points)]


class Hashrates:
    """The work of a running Accounting by time."""

    def __init__(self, accounting: Accounting, summaries: Summaries) -> None:
        self._accounting = accounting
        self._summaries = summaries
        self._hours = Hours()
        self._uncounted: tuple[tuple[int, int, int], tuple[int, dict[str, MinerCount]]] | None = None

    @property
    def hours(self) -> deque[Hour]:
        """The summaries that were read, oldest first; it grows."""
        return self._hours.hours

    async def read(self) -> None:
        """Take in what was summed up since; while the books' database is away, what is known has to do."""
        for _ in range(MAX_STEPS):
            try:
                events = await self._summaries.summaries_after(self._hours.seq)
            except AccountingError:
                # The accounting itself says so, in its health.
                return
            if not events:
                return
            for seq, event in events:
                # Another answer may have read on meanwhile.
                if seq > self._hours.seq:
                    self._hours.add(seq, event)

    async def series(self, pubkey: str | None, span: str) -> list[dict[str, Any]]:
        """The hashrate over a time, oldest point first; of the pool, or of a miner (which has no "1h"). Raises KeyError
        for a span that is none of SPANS.
        """
        asked, now = SPANS[span], self._accounting.clock.now_ms()
        since = now - asked.back_ms
        if asked.step_ms < HOUR_MS:
            return self._last_hour(since) if pubkey is None else []
        await self.read()
        hours = [stretch for stretch in self._stretches(pubkey) if stretch.to_ms > since]
        return _merged(hours, asked.step_ms)

    def of(self, name: str, now: int) -> dict[str, str]:
        """A miner's hashrates by the length of time; a day's is counted from its first work on."""
        stats = self._accounting.fold.statistics.miner_statistics(name, now)
        rates = dict.fromkeys(SPANS_MS, "0") if stats is None else {key: str(v) for key, v in stats.hashrate.items()}
        end = self._accounting.fold.statistics.end_ms(now)
        day = [stretch for stretch in self._stretches(name) if stretch.to_ms > end - DAY_MS]
        begun = min((stretch.from_ms for stretch in day), default=end)
        work = sum(stretch.work for stretch in day)
        return {**rates, "24h": str(work * 1000 // max(end - begun, SHORTEST_MS))}

    def _stretches(self, pubkey: str | None) -> list[_Stretch]:
        """Work by the hours that were summed up, and the time since; of the pool, or from a miner's first work on."""
        since, open_hours = self._open_hours()
        end = max(self._accounting.fold.statistics.log_ms, since)
        if pubkey is None:
            found = [_Stretch(hour.from_ms, hour.to_ms, hour.work) for hour in self._hours.hours]
            work = sum(count.work for count in open_hours.values())
        else:
            kept = list(self._hours.of_miners)
            first = next((at for at, hours in enumerate(kept) if pubkey in hours.work), len(kept))
            found = [_Stretch(hours.from_ms, hours.to_ms, hours.work.get(pubkey, 0)) for hours in kept[first:]]
            work = open_hours[pubkey].work if pubkey in open_hours else 0
        if since and (found or work):
            found.append(_Stretch(since, end, work))
        return found

    def _last_hour(self, since: int) -> list[dict[str, Any]]:
        statistics = self._accounting.fold.statistics
        # The first line that statistics dump is the pool's, its buckets last.
        *_, (_, _, buckets) = json.loads(next(statistics.dump()))
        return [
            _point(number * BUCKET_MS, (number + 1) * BUCKET_MS, int(work))
            for number, work in buckets
            if (number + 1) * BUCKET_MS > since
        ]

    def _open_hours(self) -> tuple[int, dict[str, MinerCount]]:
        fold = self._accounting.fold
        key = (id(fold), fold.statistics.log_ms, fold.summaries.taken)
        if self._uncounted is None or self._uncounted[0] != key:
            self._uncounted = (key, uncounted(fold.summaries))
        return self._uncounted[1]

    def count(self, pubkey: str) -> MinerCount:
        """What a miner did, ever."""
        total = MinerCount()
        for known in (self._hours.miners.get(pubkey), self._open_hours()[1].get(pubkey)):
            if known is not None:
                total.add(known.work, known.shares, known.rejects, known.best)
        return total
