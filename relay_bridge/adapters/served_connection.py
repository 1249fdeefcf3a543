"""One client of the embedded relay: a reader that judges messages, a bounded queue towards it, its queries."""

import secrets
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import websockets
from websockets.legacy.server import WebSocketServerProtocol

from nips.nip01 import VerifiedEvent, is_ephemeral
from nips.nip77 import NegError, NegMessage
from relay_bridge.adapters.reconciliations import Reconciliations
from relay_bridge.errors import QueryTooSlow, StoreError
from relay_bridge.messages import RelayClosed, RelayEose, RelayNotice, encode_relay_message, event_frame
from relay_bridge.ports import Outcome
from relay_bridge.relay import Action, Count, Hangup, Query, Reconcile, RelaySession, Send, Store, Unsubscribe

if TYPE_CHECKING:
    from relay_bridge.adapters.relay_server import RelayServer

# Stored events are sent while less than this waits: they come at the reader's own speed.
STORED_PENDING = 512 * 1024
# Events of one connection on their way to the disk. A faster writer waits on its socket.
MAX_STORING = 1_024
# Queries of one connection at a time: one busy page cannot hold both readers of the store.
MAX_QUERIES = 1
# Counts of one connection that wait for their turn.
MAX_COUNTS = 16
# Messages of reconciliations of one connection that wait for their turn; the peer has one under way for each it opened.
MAX_RECONCILING = 16
# Seconds a peer has to answer a close; the relay does not wait long for those who leave.
CLOSE_SECONDS = 1.0


class Connection:
    """One client: a reader that judges messages, a writer with a bounded queue, and the queries under way."""

    def __init__(self, server: "RelayServer", socket: WebSocketServerProtocol) -> None:
        self._server = server
        self._socket = socket
        peer = socket.remote_address
        self._session = RelaySession(
            policy=server.policy,
            challenge=secrets.token_hex(16),
            hosts=server.hosts,
            source=str(peer[0]) if peer else "",
            stats=server.stats,
            limits=server.limits,
        )
        self._pending: deque[str] = deque()
        self._pending_size = 0
        self._wake = anyio.Event()
        self._drained = anyio.Event()
        self._idle = anyio.Event()
        self._storing = 0
        self._stored = anyio.Event()
        self._query_slots = anyio.Semaphore(MAX_QUERIES)
        self._queries: dict[str, anyio.CancelScope] = {}
        # Live events of subscriptions whose stored ones are still being sent.
        self._held: dict[str, list[tuple[str, str]]] = {}
        self._held_size = 0
        self._counting = 0
        self._reconciliations = Reconciliations(server.store, server.reconciling, server.clock_ms)
        self._reconciling = 0
        self._leaving = False
        self._doomed = anyio.Event()

    async def run(self) -> None:
        """Serve the client until it leaves or is dropped."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._write)
                tasks.start_soon(self._hang_up)
                self._do(self._session.greeting())
                await self._read()
                tasks.cancel_scope.cancel()
        finally:
            self._leaving = True
            for sub_id in self._session.subscriptions:
                self._server.subscriptions.remove((self, sub_id))
            self._reconciliations.end()

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                if isinstance(message, str):
                    actions = self._session.receive(message, self._server.clock_ms())
                else:
                    actions = self._session.binary()
                for action in actions:
                    self._do(action)
                while self._storing >= MAX_STORING or self._pending_size > self._server.max_pending:
                    if self._storing >= MAX_STORING:
                        self._stored = anyio.Event()
                        await self._stored.wait()
                    else:
                        await self._wait_drained()
        except websockets.ConnectionClosed:
            # Also raised when a message passes max_size: the library answers with close code 1009.
            return

    def _do(self, action: Action) -> None:
        match action:
            case Send(frame):
                self._push(frame)
            case Store(event, text):
                self._store(event, text)
            case Query():
                self._begin(action)
            case Count(sub_id):
                if self._counting >= MAX_COUNTS:
                    self._push(encode_relay_message(RelayClosed(sub_id, "rate-limited: wait for your other counts")))
                else:
                    self._counting += 1
                    self._tasks.start_soon(self._count, action)
            case Reconcile():
                if self._reconciling >= MAX_RECONCILING:
                    self._push(
                        encode_relay_message(
                            NegError(action.message.sub_id, "blocked: wait for the answers you are due")
                        )
                    )
                else:
                    self._reconciling += 1
                    self._tasks.start_soon(self._reconcile, action)
            case Unsubscribe(sub_id):
                self._end(sub_id)
            case Hangup(reason):
                self._drop(reason)

    # Events

    def _store(self, event: VerifiedEvent, text: str) -> None:
        if is_ephemeral(event.kind):
            self._do(self._session.passed_on(event))
            self._server.fan_out(event, text)
            return
        self._storing += 1
        self._server.store.put(event, partial(self._put_done, event, text))

    def _put_done(self, event: VerifiedEvent, text: str, outcome: Outcome) -> None:
        self._storing -= 1
        self._stored.set()
        answer, fan_out = self._session.stored(event, outcome)
        self._do(answer)
        if fan_out:
            self._server.fan_out(event, text)

    # Subscriptions

    def _begin(self, query: Query) -> None:
        self._end(query.sub_id)
        # In the index before the query's snapshot is taken: whatever is stored after it is held and sent after EOSE.
        self._server.subscriptions.add((self, query.sub_id), query.filters)
        self._held[query.sub_id] = []
        scope = self._queries[query.sub_id] = anyio.CancelScope()
        self._tasks.start_soon(self._answer, query, scope)

    def _end(self, sub_id: str) -> None:
        self._server.subscriptions.remove((self, sub_id))
        self._release(sub_id)
        scope = self._queries.pop(sub_id, None)
        if scope is not None:
            scope.cancel()

    async def _answer(self, query: Query, scope: anyio.CancelScope) -> None:
        with scope:
            async with self._query_slots:
                try:
                    stored = await self._server.store.query(
                        query.filters,
                        default_limit=self._server.limits.default_results,
                        max_limit=self._server.limits.max_results,
                    )
                except StoreError as error:
                    self._end(query.sub_id)
                    self._do(self._session.closed(query.sub_id, _explain(error)))
                    return
                for _, text in stored:
                    await self._wait_drained()
                    if self._queries.get(query.sub_id) is not scope:
                        break
                    self._push(event_frame(query.sub_id, text))
            if self._queries.get(query.sub_id) is not scope:
                return  # ended or asked anew just when the answer came, too late for the cancellation to be felt
            self._server.stats["events_sent_stored"] += len(stored)
            del self._queries[query.sub_id]
            self._push(encode_relay_message(RelayEose(query.sub_id)))
            sent = {event_id for event_id, _ in stored}
            for event_id, text in self._release(query.sub_id):
                if event_id not in sent:
                    self.push_live(query.sub_id, event_id, text)

    def _release(self, sub_id: str) -> list[tuple[str, str]]:
        """The live events held back for a subscription; from now on they are sent as they come."""
        held = self._held.pop(sub_id, [])
        self._held_size -= sum(len(text) for _, text in held)
        return held

    async def _count(self, count: Count) -> None:
        async with self._query_slots:
            try:
                number = await self._server.store.count(count.filters)
            except StoreError as error:
                self._do(self._session.closed(count.sub_id, _explain(error)))
            else:
                self._do(self._session.counted(count.sub_id, number))
            finally:
                self._counting -= 1

    async def _reconcile(self, reconcile: Reconcile) -> None:
        """One message of a reconciliation, in its turn."""
        try:
            answer: NegMessage | NegError | None = await self._reconciliations.receive(reconcile.message)
            if answer is not None:
                self._server.stats["reconciliation_messages"] += 1
                self._push(encode_relay_message(answer))
        finally:
            self._reconciling -= 1

    # The queue towards the client

    def push_live(self, sub_id: str, event_id: str, text: str) -> None:
        """Send a live event, unless the reader is too far behind: then it is dropped."""
        if self._leaving:
            return
        if self._pending_size + self._held_size > self._server.max_pending:
            self._server.stats["slow_dropped"] += 1
            self._drop("too slow: more is waiting for you than this relay keeps, connect and ask again")
            return
        held = self._held.get(sub_id)
        if held is not None:
            held.append((event_id, text))
            self._held_size += len(text)
            return
        self._server.stats["events_sent_live"] += 1
        self._push(event_frame(sub_id, text))

    def _push(self, frame: str) -> None:
        if self._leaving:
            return
        self._pending.append(frame)
        self._pending_size += len(frame)
        self._wake.set()

    async def _wait_drained(self) -> None:
        while self._pending_size > STORED_PENDING:
            self._drained = anyio.Event()
            await self._drained.wait()

    async def _write(self) -> None:
        try:
            while True:
                while self._pending:
                    frame = self._pending.popleft()
                    await self._socket.send(frame)
                    self._pending_size -= len(frame)
                    if self._pending_size <= STORED_PENDING:
                        self._drained.set()
                self._idle.set()
                self._wake = anyio.Event()
                await self._wake.wait()
        except websockets.ConnectionClosed:
            self._tasks.cancel_scope.cancel()

    def _drop(self, reason: str) -> None:
        """Tell why and end the connection; whatever waits is thrown away."""
        if self._leaving:
            return
        self._pending.clear()
        self._idle = anyio.Event()
        self._push(encode_relay_message(RelayNotice(f"error: {reason}")))
        self._leaving = True
        self._server.stats["dropped"] += 1
        self._doomed.set()

    async def _hang_up(self) -> None:
        """Wait for `_drop`, which may be called from outside any task, and end the connection."""
        await self._doomed.wait()
        # The notice goes out if the peer reads at all.
        with anyio.move_on_after(CLOSE_SECONDS):
            await self._idle.wait()
        await self._socket.close(websockets.frames.CloseCode.POLICY_VIOLATION, "see the notice")
        self._tasks.cancel_scope.cancel()


def _explain(error: StoreError) -> str:
    return "error: the query took too long, ask for less" if isinstance(error, QueryTooSlow) else "error: store failed"
