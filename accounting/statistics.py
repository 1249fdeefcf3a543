"""Hashrates and counts out of checked batches, in integers and bounded memory.

Credited work is expected hashes, so a hashrate is work divided by time. Work is kept in buckets of BUCKET_MS, summed
over "5m" and "1h"; a miner costs at most an hour's buckets, a worker five minutes', however many shares they send, and
one who has been away for IDLE_MS four numbers.
"""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from accounting.shares import CheckedShares
from accounting.sums import Sums
from nips.pool.views import MinerStatistics, PoolStatistics

BUCKET_MS = 30_000
SPANS_MS: Mapping[str, int] = {"5m": 300_000, "1h": 3_600_000}
WORKER_SPAN_MS = SPANS_MS["5m"]
# Miners and workers count as active for 10 minutes after a share (SPEC.md, "Views").
ACTIVE_MS = 600_000
# Whoever has just come is measured over the time since, but not over less than this: one share is no rate.
SHORTEST_MS = 60_000
# Batches come some seconds after their shares. While the log is at most this old, rates end where it ends, not now.
LOG_LAG_MS = 60_000
# A batch that ended so long before the log does is in no rate.
RATES_MS = SPANS_MS["1h"] + BUCKET_MS
# Whoever sent nothing for so long has no rate to tell.
IDLE_MS = 2 * SPANS_MS["1h"]
# Batches between two looks for such miners.
REST_EVERY = 1_000
# A name costs its sender nothing: beyond so many active workers a miner's further ones count for it, but are not named.
MAX_WORKERS = 128


@dataclass(slots=True)
class WorkRing:
    """Work by buckets of time, the newest `span_ms` of them."""

    span_ms: int
    first_ms: int = 0
    last_ms: int = 0
    _buckets: dict[int, int] = field(default_factory=dict)

    @property
    def _span(self) -> int:
        return self.span_ms // BUCKET_MS

    def note(self, first_ms: int, last_ms: int) -> None:
        """Work was done from one time to another."""
        if not self.first_ms or first_ms < self.first_ms:
            self.first_ms = first_ms
        if last_ms > self.last_ms:
            self.last_ms = last_ms

    def add(self, bucket: int, work: int) -> None:
        """Count work, noted before, done within one bucket of time; what is older than the span is let go."""
        buckets, oldest = self._buckets, self.last_ms // BUCKET_MS - self.span_ms // BUCKET_MS
        if bucket > oldest:
            buckets[bucket] = buckets.get(bucket, 0) + work
            if len(buckets) > self.span_ms // BUCKET_MS + 1:
                for old in [number for number in buckets if number <= oldest]:
                    del buckets[old]

    def rest(self) -> None:
        """Let the buckets go; the dates stay."""
        self._buckets = {}

    def dump(self, end_ms: int) -> list[Any]:
        """The dates, and the buckets that count at `end_ms`, in order."""
        newest = end_ms // BUCKET_MS
        live = [[n, str(work)] for n, work in sorted(self._buckets.items()) if newest - self._span < n <= newest]
        return [self.first_ms, self.last_ms, live]

    def hashrate(self, span_ms: int, end_ms: int, since_ms: int = 0) -> int:
        """Hashes per second over the span up to `end_ms`, or since `since_ms` (its first work) if that is less.

        The oldest bucket counts only whole, so the time divided by is that of the buckets counted.
        """
        newest = end_ms // BUCKET_MS
        oldest = newest - span_ms // BUCKET_MS + 1
        work = sum(amount for bucket, amount in self._buckets.items() if oldest <= bucket <= newest)
        begun = max(oldest * BUCKET_MS, since_ms or self.first_ms)
        return work * 1000 // max(end_ms - begun, SHORTEST_MS)


@dataclass(slots=True)
class _Miner:
    ring: WorkRing = field(default_factory=lambda: WorkRing(SPANS_MS["1h"]))
    workers: dict[str, WorkRing] = field(default_factory=dict)
    shares: int = 0
    rejects: int = 0
    work: int = 0


class WorkerRate(NamedTuple):
    """A worker's hashes per second over 5 minutes and its last share's time, Unix ms."""

    hashrate: int
    last_share_ms: int


@dataclass(slots=True)
class Statistics:
    """The fold. Batches may come in any order; only how old they are next to the newest matters."""

    shares: int = 0
    rejects: int = 0
    work: int = 0
    log_ms: int = 0
    _pool: WorkRing = field(default_factory=lambda: WorkRing(SPANS_MS["1h"]))
    _miners: dict[str, _Miner] = field(default_factory=dict)
    _batches: int = 0

    def add(self, sums: Sums) -> None:
        """Count batches; in no hashrate before `add_rates`. O(its rows)."""
        self.log_ms = max(self.log_ms, sums.to_ms)
        for name, worker, count, work, _, first_ms, last_ms in sums.rows:
            miner = self._miners.get(name)
            if miner is None:
                miner = self._miners[name] = _Miner()
            miner.shares += count
            miner.work += work
            self.shares += count
            self.work += work
            self._pool.note(first_ms, last_ms)
            miner.ring.note(first_ms, last_ms)
            self._worker(miner, worker, last_ms).note(first_ms, last_ms)
        for name, times_refused in sums.rejects:
            self.rejects += times_refused
            self._miners.setdefault(name, _Miner()).rejects += times_refused
        before, self._batches = self._batches, self._batches + sums.batches
        if self._batches // REST_EVERY > before // REST_EVERY:
            self._rest()

    def add_rates(self, shares: CheckedShares) -> None:
        """Count a batch, whose shares stand in the order of their times, in the hashrates; `add` has counted it."""
        at = 0
        newest = self.log_ms // BUCKET_MS - WORKER_SPAN_MS // BUCKET_MS
        while at < len(shares):
            bucket = shares.t[at] // BUCKET_MS
            end = bisect_left(shares.t, (bucket + 1) * BUCKET_MS, at)
            # What is older than a worker's span is in no rate of a worker.
            is_recent = bucket > newest
            total = 0
            for session, count in Counter(shares.session[at:end]).items():
                name, worker, each = shares.sessions[session]
                miner = self._miners[name]
                miner.ring.add(bucket, each * count)
                total += each * count
                ring = miner.workers.get(worker) if is_recent else None
                if ring is not None:
                    ring.add(bucket, each * count)
            self._pool.add(bucket, total)
            at = end

    def _rest(self) -> None:
        for miner in self._miners.values():
            if miner.ring.last_ms < self.log_ms - IDLE_MS:
                miner.ring.rest()
                miner.workers = {}

    def _worker(self, miner: _Miner, name: str, now_ms: int) -> WorkRing:
        ring = miner.workers.get(name)
        if ring is None:
            if len(miner.workers) >= MAX_WORKERS:
                idle = [other for other, held in miner.workers.items() if held.last_ms < now_ms - ACTIVE_MS]
                for other in idle:
                    del miner.workers[other]
            ring = WorkRing(WORKER_SPAN_MS)
            if len(miner.workers) < MAX_WORKERS:
                miner.workers[name] = ring
        return ring

    def dump(self) -> Iterator[str]:
        """The counts and rates as lines of JSON, the same for the same batches in any order."""
        end = self.log_ms
        yield _line("pool", end, self.shares, self.rejects, str(self.work), self._pool.dump(end))
        for name, miner in sorted(self._miners.items()):
            yield _line("miner", name, miner.shares, miner.rejects, str(miner.work), miner.ring.dump(end))
            for worker, ring in sorted(miner.workers.items()):
                if ring.last_ms >= end - ACTIVE_MS:
                    yield _line("worker", name, worker, ring.dump(end))

    def end_ms(self, now_ms: int) -> int:
        """Where spans end: at the log's end while it is fresh, else now, so that a dead pool's rate falls to 0."""
        return self.log_ms if now_ms - LOG_LAG_MS <= self.log_ms <= now_ms else now_ms

    def miners(self) -> Iterable[str]:
        """Everybody who ever sent a share."""
        return self._miners.keys()

    def has(self, miner: str) -> bool:
        """Whether this key ever sent a share."""
        return miner in self._miners

    def last_share_ms(self, miner: str) -> int:
        """A miner's newest credited share, Unix ms; 0 if it has none."""
        known = self._miners.get(miner)
        return 0 if known is None else known.ring.last_ms

    def workers(self, miner: str, now_ms: int) -> dict[str, WorkerRate]:
        """The miner's active workers by name."""
        known = self._miners.get(miner)
        if known is None:
            return {}
        end = self.end_ms(now_ms)
        return {
            name: WorkerRate(ring.hashrate(WORKER_SPAN_MS, end), ring.last_ms)
            for name, ring in sorted(known.workers.items())
            if ring.last_ms >= now_ms - ACTIVE_MS
        }

    def worker_names(self, miner: str) -> set[str]:
        """The miner's workers, active or not, until none had a share for long."""
        known = self._miners.get(miner)
        return set() if known is None else set(known.workers)

    def pool_statistics(self, now_ms: int, *, blocks: int, height: int) -> PoolStatistics:
        """The pool as 34215 tells it. O(miners)."""
        active = [miner for miner in self._miners.values() if miner.ring.last_ms >= now_ms - ACTIVE_MS]
        end = self.end_ms(now_ms)
        return PoolStatistics(
            ms=now_ms,
            hashrate={name: self._pool.hashrate(span, end) for name, span in SPANS_MS.items()},
            miners=len(active),
            workers=sum(ring.last_ms >= now_ms - ACTIVE_MS for miner in active for ring in miner.workers.values()),
            shares=self.shares,
            rejects=self.rejects,
            blocks=blocks,
            height=height,
        )

    def miner_statistics(self, name: str, now_ms: int) -> MinerStatistics | None:
        """A miner as 34215 tells it, None for one who never sent a share."""
        miner = self._miners.get(name)
        if miner is None:
            return None
        end = self.end_ms(now_ms)
        return MinerStatistics(
            miner=name,
            ms=now_ms,
            hashrate={span: miner.ring.hashrate(length, end) for span, length in SPANS_MS.items()},
            workers={worker: rate.hashrate for worker, rate in self.workers(name, now_ms).items()},
            shares=miner.shares,
            rejects=miner.rejects,
            work=miner.work,
            last_share_ms=miner.ring.last_ms,
        )


def _line(*values: Any) -> str:
    return json.dumps(values, separators=(",", ":"))
