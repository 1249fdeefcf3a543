"""`noncestr verify --watch`: an audit that goes on with the log, and says what it finds as it finds it."""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import anyio

from accounting.completeness import overdue
from accounting.findings import Code, Finding
from accounting.report import FAILS, HOLDS
from accounting.verifier import Audit
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.kinds import PAYOUT
from noncestr.verify import MAX_ATTEMPTS, Asked, Reading, Reopened, conclude, opened, read_all, say_unread
from noncestr.verify_show import Shown, sentence
from noncestr.verify_source import RelayLog, receipt_filters
from relay_bridge.service import RelayBridge

# Live events are asked for from so long before the last slice: what relays took meanwhile may be dated that far back.
OVERLAP_S = 900
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
        for found in (*new, *log.books.overpaid(paid), *overdue(log, now_ms), *self._in_the_way(now_ms)):
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
        return (
            f"{_clock(now_ms)} {totals.good:,} shares in {totals.batches:,} batches, the newest {behind_s} s ago; "
            f"{len(log.blocks)} blocks, {log.judged_ok} of {log.judged} statements and statuses hold, "
            f"{log.books.payout_count} payouts; {len(self.said)} findings"
        )


async def run_watch(asked: Asked, pool: PoolAddress, urls: list[str], relays: RelayLog) -> int:
    """Follow the log until SIGINT or SIGTERM; the exit status of an audit at that time. Raises NoncestrError."""
    for attempt in range(MAX_ATTEMPTS):
        now_ms = time.time_ns() // 1_000_000
        with Shown() as shown, opened(asked, pool, None, shown, fresh=attempt > 0) as reading:
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
    with tempfile.TemporaryDirectory(prefix="noncestr-watch-") as folder:
        bridge = RelayBridge(urls, outbox_path=Path(folder) / "outbox")
        async with anyio.create_task_group() as tasks:
            await tasks.start(bridge.run)
            tasks.start_soon(_listen, bridge, relays, watch, since_ms // 1000 - OVERLAP_S, stopped)
            tasks.start_soon(_tick, watch)
            tasks.start_soon(_stop_on_signal, stopped)
            print(f"{_clock(since_ms)} read to the end; following {', '.join(urls)}", flush=True)
            await stopped.wait()
            tasks.cancel_scope.cancel()
    reading.check()
    now_ms = time.time_ns() // 1_000_000
    result = conclude(asked, reading, None, now_ms, None)
    for found in result.report.findings:
        if (found.code, found.text, found.events) not in watch.said:
            print(f"{_clock(now_ms)} {sentence(found)}", flush=True)
    # What was said is not unsaid by a relay that mends its answer, but what came later may have explained it.
    print("all that was checked holds" if result.exit_code == HOLDS else "not all holds", flush=True)
    return result.exit_code


async def _listen(bridge: RelayBridge, relays: RelayLog, watch: Watch, since_s: int, stopped: anyio.Event) -> None:
    bad: dict[str, int] = {}
    async with bridge.subscribe([relays.filter(since_s)], name="verify") as deliveries:
        async for item in deliveries:
            if not isinstance(item, VerifiedEvent):
                continue
            watch.take(item)
            if item.kind == PAYOUT:
                for receipts in receipt_filters([item]):
                    for event in await bridge.fetch([receipts]):
                        watch.take(event)
            watch.judge.settle()
            if watch.judge.reopened is not None:
                stopped.set()
                return
            _say(watch, time.time_ns() // 1_000_000)
            for relay in bridge.status():
                if relay.bad > bad.get(relay.url, 0):
                    bad[relay.url] = relay.bad
                    print(f"{relay.url} has sent {relay.bad} things that are no signed events", flush=True)


async def _tick(watch: Watch) -> None:
    while True:
        await anyio.sleep(TICK_S)
        now_ms = time.time_ns() // 1_000_000
        _say(watch, now_ms)
        line = watch.status(now_ms)
        if line is not None:
            print(line, flush=True)


def _say(watch: Watch, now_ms: int) -> None:
    for found in watch.findings(now_ms):
        print(f"{_clock(now_ms)} {sentence(found)}", flush=True)


async def _stop_on_signal(stopped: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            stopped.set()
            return
