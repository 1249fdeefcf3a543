"""`noncestr verify --watch`: an audit that goes on with the log, and says what it finds as it finds it."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial

import anyio

from accounting.ecash_proof import MintKeys
from accounting.findings import Code, Finding
from accounting.report import FAILS, HOLDS
from accounting.verifier import Audit, Unverified
from nips.nip01 import Event, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.kinds import PAYOUT
from noncestr.verify.follow import follow
from noncestr.verify.run import MAX_ATTEMPTS, Asked, Reading, Reopened, conclude, opened, read_all, say_unread
from noncestr.verify.show import Shown, sentence
from noncestr.verify.source import RelayLog, in_log_order
from noncestr.verify.workers import pretends

# How often what is overdue, and what waits for something, is looked at; a finding comes at most so late.
TICK_S = 1.0
# An event may come before what it names, from another relay or with a job's delay: then it waits, and is nothing yet.
PATIENCE_MS = 15_000
# A status line comes at most so often.
STATUS_S = 5.0


def _clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%H:%M:%S")


class Watch:
    """What was said, and what is to be said. Times in Unix ms."""

    def __init__(self, judge: Audit, now_ms: int) -> None:
        self.judge = judge
        self.said: set[tuple[Code, str, tuple[str, ...]]] = set()
        self.bad = False
        self._next_finding = 0
        self._stuck: dict[tuple[Code, tuple[str, ...]], int] = {}
        self._paid: set[str] = set()
        self._told = (0, 0, 0)
        self._told_ms = now_ms

    def take(self, event: VerifiedEvent) -> None:
        """An event came."""
        self.judge.add(event)
        if event.kind == PAYOUT:
            self._paid.update(event.tag_values("p"))

    def findings(self, now_ms: int) -> Iterator[Finding]:
        """What is new: found in what was judged, overdue by now, or in the way of what waits for too long."""
        log = self.judge.log
        new = log.findings[self._next_finding :]
        self._next_finding += len(new)
        paid, self._paid = self._paid, set()
        for found in (*new, *log.books.overpaid(paid), *self.judge.overdue(now_ms), *self._in_the_way(now_ms)):
            key = (found.code, found.text, found.events)
            if key not in self.said:
                self.said.add(key)
                graded = self.judge.graded(found)
                self.bad = self.bad or graded.grade in ("contradicted", "missing")
                yield graded

    def _in_the_way(self, now_ms: int) -> Iterator[Finding]:
        stuck = {}
        for chain in self.judge.log.chains():
            found = chain.obstacle()
            if found is not None:
                key = (found.code, found.events)
                stuck[key] = self._stuck.get(key, now_ms)
                if now_ms - stuck[key] >= PATIENCE_MS:
                    yield found
        self._stuck = stuck

    def status(self, now_ms: int) -> str | None:
        """A line when there is something to tell, at most every few seconds."""
        log, totals = self.judge.log, self.judge.log.mining.totals
        now = (totals.batches, log.judged, log.books.payout_count)
        if now == self._told or now_ms - self._told_ms < STATUS_S * 1000:
            return None
        self._told, self._told_ms = now, now_ms
        behind_s = max(0, (now_ms - totals.to_ms) // 1000)
        return f"{self.counts()}; the newest share {behind_s:,} s ago, {len(self.said)} findings"

    def counts(self) -> str:
        """How far it is."""
        log, totals = self.judge.log, self.judge.log.mining.totals
        return (
            f"{totals.good:,} good shares in {totals.batches:,} batches, {len(log.blocks):,} blocks, "
            f"{log.judged_ok:,} of {log.judged:,} statements and statuses hold, {log.books.payout_count:,} payouts"
        )


async def run_watch(asked: Asked, pool: PoolAddress, urls: list[str], relays: RelayLog, mints: MintKeys) -> int:
    """Follow the log until SIGINT or SIGTERM; the exit status of an audit at that time. Raises NoncestrError."""
    for attempt in range(MAX_ATTEMPTS):
        now_ms = time.time_ns() // 1_000_000
        with Shown() as shown, opened(asked, pool, None, shown, fresh=attempt > 0, mints=mints) as reading:
            try:
                await read_all(asked, reading, relays, now_ms // 1000)
                say_unread(reading)
                return await _follow(asked, reading, urls, relays, now_ms)
            except Reopened as reason:
                print(f"noncestr: {reason}: reading the log again from its beginning", file=sys.stderr)
    return FAILS


async def _follow(asked: Asked, reading: Reading, urls: list[str], relays: RelayLog, since_ms: int) -> int:
    watch = Watch(reading.judge, since_ms)
    stopped = anyio.Event()
    reading.shown.stop()

    async def deliver(url: str, good: Sequence[VerifiedEvent], bad: Sequence[tuple[Event, str]]) -> None:
        pool = reading.judge.log.pool
        for event, reason in bad:
            reading.judge.reject(Unverified(url, event.id, reason, pretends(event, pool)))
        for event in in_log_order(good):
            watch.take(event)
        for event in await relays.receipts_of(good):
            watch.take(event)
        watch.judge.settle()
        if watch.judge.reopened is not None:
            stopped.set()
        else:
            _say(watch, _now_ms())

    async with anyio.create_task_group() as tasks:
        for url in urls:
            tasks.start_soon(
                partial(
                    follow,
                    url,
                    relays.filter(),
                    since_ms // 1000,
                    deliver=deliver,
                    say=_line,
                    now=lambda: _now_ms() / 1000,
                )
            )
        tasks.start_soon(_tick, watch)
        tasks.start_soon(_stop_on_signal, stopped)
        _line(f"read to the end, {watch.counts()}; following {', '.join(urls)}")
        await stopped.wait()
        tasks.cancel_scope.cancel()
    reading.check()
    result = conclude(asked, reading, None, _now_ms(), None)
    for found in result.report.findings:
        # What was said is not unsaid: a finding that what came later explained is in no report, but it was one.
        if (found.code, found.text, found.events) not in watch.said:
            _line(sentence(found))
    print("all that was checked holds" if result.exit_code == HOLDS else "not all holds", flush=True)
    return result.exit_code


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _line(text: str) -> None:
    print(f"{_clock(_now_ms())} {text}", flush=True)


async def _tick(watch: Watch) -> None:
    while True:
        await anyio.sleep(TICK_S)
        _say(watch, _now_ms())
        line = watch.status(_now_ms())
        if line is not None:
            _line(line)


def _say(watch: Watch, now_ms: int) -> None:
    for found in watch.findings(now_ms):
        _line(sentence(found))


async def _stop_on_signal(stopped: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            stopped.set()
            return
