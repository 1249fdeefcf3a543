"""Runs the outbox: commits what is to be published, sends it, and records what relays answer."""

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from nips.nip01 import VerifiedEvent
from relay_bridge.adapters.outbox_store import OutboxStore
from relay_bridge.adapters.relay_connection import RelayConnection
from relay_bridge.adapters.relay_link import RelayLink
from relay_bridge.errors import RelayGone, StoreError
from relay_bridge.messages import RelayOk, event_json
from relay_bridge.outbox import Entry, Outbox, Verdict

_log = logging.getLogger("relay_bridge")
# JSON of recent events kept in memory, in characters, so that the usual send needs no look into the file.
_CACHE_SIZE = 16 * 1024 * 1024
# Settled entries are kept this long: for relays that were away, and so that a repeated publish is known as one.
KEEP_MS = 24 * 3600 * 1000
_PRUNE_SECONDS = 600.0
# Until answers that the disk did not take are written again: a full disk is no reason to end the pool.
_RETRY_SECONDS = 1.0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _mono_ms() -> int:
    # Pauses and answers are measured by a clock nobody sets: a wall clock set back must not hold them up for days.
    return time.monotonic_ns() // 1_000_000


@dataclass(slots=True)
class _Commit:
    """What came of a group's commit, for each who waited for it."""

    error: StoreError | None = None


class Publisher:
    """The outbox of one bridge, while it runs."""

    def __init__(self, store: OutboxStore, outbox: Outbox, connections: Sequence[RelayConnection]) -> None:
        self._store = store
        self._outbox = outbox
        self._connections = connections
        self._waiting: list[tuple[Sequence[tuple[VerifiedEvent, str]], _Commit]] = []
        self._committing = anyio.Lock()
        self._seqs: dict[str, int] = {}
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._texts_size = 0
        self._answers: list[tuple[int, str, bool, str]] = []
        self._settled: list[tuple[int, int]] = []
        self._answered = anyio.Event()
        self._wakes = {connection.url: anyio.Event() for connection in connections}
        self._emptied = anyio.Event()
        self._refill_progress = anyio.Event()
        self.published: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.refused_by_size: Counter[str] = Counter()
        self.refilled: Counter[str] = Counter()
        # JSON of the events of a refill, by relay and id: they are in no file of ours.
        self._refills: dict[str, dict[str, str]] = {connection.url: {} for connection in connections}
        self._refill_refused: dict[str, set[str]] = {connection.url: set() for connection in connections}
        self.last_refusal: dict[str, str] = {}
        # Relays that last said of an event that it is dated ahead.
        self._dated_ahead: set[str] = set()

    async def load(self) -> None:
        """Take up what the last run left: whatever lacks its quorum is sent again."""
        await self._prune()
        for entry in await self._store.load():
            self._outbox.add(entry)
            if entry.event_id in self._outbox:
                self._seqs[entry.event_id] = entry.seq
        self._note_whole()

    async def run(self) -> None:
        """Send and record until cancelled. Answers that came are recorded before it ends."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._record_answers)
                tasks.start_soon(self._prune_often)
                for connection in self._connections:
                    tasks.start_soon(self._send, connection)
        finally:
            with anyio.CancelScope(shield=True):
                await self._record()

    async def publish(self, events: Sequence[tuple[VerifiedEvent, str]]) -> None:
        """Commit (event, chain) pairs, in one commit with whatever else waits. Raises StoreError."""
        mine = _Commit()
        self._waiting.append((events, mine))
        # Whoever gets the lock first commits for all who wait behind it, and they share what comes of it.
        with anyio.CancelScope(shield=True):
            async with self._committing:
                if mine.error is not None:
                    raise StoreError(str(mine.error)) from mine.error
                group, self._waiting = self._waiting, []
                if not group:
                    return
                try:
                    added = await self._store.add([pair for pairs, _ in group for pair in pairs])
                except StoreError as error:
                    for _, commit in group:
                        commit.error = error
                    raise
                for entry, text in added:
                    self._seqs[entry.event_id] = entry.seq
                    self._outbox.add(entry)
                    self._remember(entry.event_id, text)
        self._wake_all()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until everything has its quorum of log relays; False when that takes longer."""
        with anyio.move_on_after(timeout_s):
            while self._outbox.unsettled:
                self._emptied = anyio.Event()
                await self._emptied.wait()
        return self._outbox.unsettled == 0

    def backlog(self, relay: str) -> int:
        """How many events that relay has not answered."""
        return self._outbox.backlog(relay) + self._outbox.refilling(relay)

    async def refill(self, relay: str, events: Sequence[VerifiedEvent]) -> set[str]:
        """Send events to one relay that lacks them, in order and after all that is new; the ids it refused for good.

        Returns when it has answered, or is gone; what is unanswered then waits in the outbox for its return.
        """
        refused = self._refill_refused[relay] = set()
        link = await self._connection(relay).link()
        for event in events:
            text = event_json(event)
            if self._outbox.refill(relay, event.id, len(text.encode())):
                self._refills[relay][event.id] = text
        self._wakes[relay].set()
        while self._outbox.refilling(relay) and not link.closed.is_set():
            self._refill_progress = anyio.Event()
            with anyio.move_on_after(_RETRY_SECONDS):
                await self._refill_progress.wait()
        return refused

    def _connection(self, relay: str) -> RelayConnection:
        return next(connection for connection in self._connections if connection.url == relay)

    # Sending

    async def _send(self, connection: RelayConnection) -> None:
        relay = connection.url
        while True:
            link = await connection.link()
            link.on_ok = lambda ok: self._hear(relay, ok)
            try:
                await self._send_on(link)
            except RelayGone:
                continue
            finally:
                self._outbox.lost(relay)

    async def _send_on(self, link: RelayLink) -> None:
        """Send what is due until the link ends."""
        relay = link.url
        while not link.closed.is_set():
            self._wakes[relay] = wake = anyio.Event()
            late = self._outbox.overdue(relay, _mono_ms())
            if late:
                _log.warning("%s left %d events without an answer, sending them again later", relay, late)
            if self._outbox.awaits_auth(relay):
                await link.authenticate()
                self._outbox.authenticated(relay)
            entries = self._outbox.take(relay, _mono_ms())
            if entries:
                await self._send_entries(link, entries)
                continue
            wake_at = self._outbox.wake_at(relay)
            link.on_closed = wake.set
            if not link.closed.is_set():
                with anyio.move_on_after(None if wake_at is None else max(wake_at - _mono_ms(), 1) / 1000):
                    await wake.wait()

    async def _send_entries(self, link: RelayLink, entries: Sequence[Entry]) -> None:
        texts = await self._load_texts(link.url, entries)
        largest = self._connection(link.url).limits.event_bytes
        for entry in entries:
            if largest is not None and entry.size > largest:
                before = self._outbox.unsettled
                self._outbox.too_large(link.url, entry.event_id)
                reason = f"invalid: {entry.size} bytes, the limit is {largest} (the relay's own word, NIP-11)"
                if entry.refill:
                    self._refill_refused[link.url].add(entry.event_id)
                    self._refills[link.url].pop(entry.event_id, None)
                    self._refill_progress.set()
                else:
                    self._refused(link.url, entry.event_id, reason, by_size=True)
                    self._answers.append((entry.seq, link.url, False, reason))
                    self._answered.set()
                    self._finished(entry.event_id, before)
            elif entry.event_id in texts:
                await link.publish(entry.event_id, texts[entry.event_id])

    async def _load_texts(self, relay: str, entries: Sequence[Entry]) -> dict[str, str]:
        texts = {}
        for entry in entries:
            text = (self._refills[relay] if entry.refill else self._texts).get(entry.event_id)
            if text is not None:
                texts[entry.event_id] = text
        missing = [entry for entry in entries if entry.event_id not in texts]
        if missing:
            stored = await self._store.texts([entry.seq for entry in missing])
            # One that is missing here was pruned a moment ago, and with it from the outbox.
            texts |= {entry.event_id: stored[entry.seq] for entry in missing if entry.seq in stored}
        return texts

    def _remember(self, event_id: str, text: str) -> None:
        self._texts[event_id] = text
        self._texts_size += len(text)
        while self._texts_size > _CACHE_SIZE:
            self._texts_size -= len(self._texts.popitem(last=False)[1])

    def _wake_all(self) -> None:
        for wake in self._wakes.values():
            wake.set()

    # Answers

    def _hear(self, relay: str, ok: RelayOk) -> None:
        before, refilled = self._outbox.unsettled, self._outbox.refilling(relay)
        verdict = self._outbox.answered(relay, ok.event_id, ok.accepted, ok.message, _mono_ms())
        if verdict is None:
            return
        if verdict is Verdict.ACCEPTED:
            self.published[relay] += 1
            self._dated_ahead.discard(relay)
        else:
            self.last_refusal[relay] = ok.message
        if verdict is Verdict.NOT_YET and relay not in self._dated_ahead:
            # Once, not every minute for each of them.
            self._dated_ahead.add(relay)
            _log.warning(
                "%s refuses event %s for its date, it is sent again until its time has come"
                " (is this machine's clock right, or was it ahead?): %s",
                relay,
                ok.event_id,
                ok.message,
            )
        self._wakes[relay].set()
        if self._outbox.refilling(relay) < refilled:
            self._refills[relay].pop(ok.event_id, None)
            self.refilled[relay] += verdict is Verdict.ACCEPTED
            if verdict is not Verdict.ACCEPTED:
                self._refill_refused[relay].add(ok.event_id)
            self._refill_progress.set()
            return
        if verdict in (Verdict.REFUSED, Verdict.TOO_LARGE):
            self._refused(relay, ok.event_id, ok.message, by_size=verdict is Verdict.TOO_LARGE)
        if verdict in (Verdict.ACCEPTED, Verdict.REFUSED, Verdict.TOO_LARGE):
            self._answers.append((self._seqs[ok.event_id], relay, verdict is Verdict.ACCEPTED, ok.message))
            self._answered.set()
            self._finished(ok.event_id, before)

    def _refused(self, relay: str, event_id: str, reason: str, *, by_size: bool) -> None:
        self.last_refusal[relay] = reason
        self.refused[relay] += 1
        if by_size:
            self.refused_by_size[relay] += 1
            _log.error("%s can't take event %s: it is unfit for what it is used for: %s", relay, event_id, reason)
        else:
            _log.error("%s refuses event %s for good: %s", relay, event_id, reason)

    def _finished(self, event_id: str, unsettled_before: int) -> None:
        """A relay has taken an event, or never will: note what that settles."""
        self._note_whole()
        if self._outbox.unsettled < unsettled_before:
            if self._outbox.unsettled == 0:
                self._emptied.set()
            # What was held back elsewhere behind a refusal may go on.
            self._wake_all()
        if event_id not in self._outbox:
            self._seqs.pop(event_id, None)
            self._texts_size -= len(self._texts.pop(event_id, ""))

    def _note_whole(self) -> None:
        whole = self._outbox.take_whole()
        if whole:
            self._settled += [(_now_ms(), seq) for seq in whole]
            self._answered.set()

    async def _record_answers(self) -> None:
        while True:
            await self._answered.wait()
            self._answered = anyio.Event()
            if not await self._record():
                await anyio.sleep(_RETRY_SECONDS)
                self._answered.set()

    async def _record(self) -> bool:
        """Write down the answers that came; False if the disk does not take them now: they are kept."""
        answers, self._answers = self._answers, []
        settled, self._settled = self._settled, []
        try:
            if answers or settled:
                await self._store.record(answers, settled)
        except StoreError as error:
            # What is lost with the process is asked again at the next start: relays know their duplicates.
            _log.error("the answers of relays can't be stored, trying again: %s", error)
            self._answers[:0] = answers
            self._settled[:0] = settled
            return False
        return True

    async def _prune_often(self) -> None:
        while True:
            await anyio.sleep(_PRUNE_SECONDS)
            try:
                await self._prune()
            except StoreError as error:
                _log.error("the outbox can't be pruned, trying again: %s", error)

    async def _prune(self) -> None:
        for event_id in await self._store.prune(_now_ms() - KEEP_MS):
            if event_id in self._outbox:
                self._outbox.forget(event_id)
            self._seqs.pop(event_id, None)
