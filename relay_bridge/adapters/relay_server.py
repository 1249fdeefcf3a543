"""The embedded relay on a WebSocket, with its information document on the same address (NIP-01, NIP-11)."""

import http
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from types import TracebackType

import anyio
import anyio.abc
import websockets
from websockets.datastructures import Headers
from websockets.legacy.server import WebSocketServer, WebSocketServerProtocol

from nips.nip01 import VerifiedEvent, is_ephemeral
from nips.nip11 import CORS_HEADERS, MEDIA_TYPE, Limitation, RelayInformation, encode_information, wants_information
from relay_bridge.errors import QueryTooSlow, StoreError
from relay_bridge.messages import MAX_SUB_ID, RelayClosed, RelayEose, RelayNotice, encode_relay_message, event_frame
from relay_bridge.policy import MAX_AHEAD_S, MAX_TAGS
from relay_bridge.ports import EventStore, Outcome, Policy
from relay_bridge.relay import Action, Count, Hangup, Query, RelayLimits, RelaySession, Send, Store, Unsubscribe
from relay_bridge.subscriptions import Subscriptions

SUPPORTED_NIPS = (1, 9, 11, 40, 42, 45, 70)
# Open connections at a time: below a usual limit of 1024 file descriptors a process.
MAX_CONNECTIONS = 800
# Frames waiting for one connection, in characters. A reader that is this far behind a live feed is dropped: it can
# ask again for what it missed, and others do not pay for it.
MAX_PENDING = 8 * 1024 * 1024
# Stored events are sent while less than this waits: they come at the reader's own speed.
STORED_PENDING = 512 * 1024
# Events of one connection on their way to the disk. A faster writer waits on its socket.
MAX_STORING = 1_024
# Queries of one connection at a time: one busy page cannot hold both readers of the store.
MAX_QUERIES = 1
# Counts of one connection that wait for their turn.
MAX_COUNTS = 16
# Bytes in the kernel-side buffer before a send waits.
_WRITE_LIMIT = 256 * 1024
# Seconds a peer has to answer a close; the relay does not wait long for those who leave.
_CLOSE_SECONDS = 1.0


# The library logs a traceback for every port scan and HEAD request; what matters is counted in `stats`.
_socket_log = logging.getLogger("relay_bridge.socket")
_socket_log.setLevel(logging.CRITICAL)


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class RelayServer:
    """A relay on `host`:`port` (0: any free port, then see `port`). An async context manager, or `run` in a task group.

    `information` is completed with NIPs and limits. `hosts` are the names clients reach it under (NIP-42), besides
    `host` and localhost. `stats` counts what happened.
    """

    def __init__(
        self,
        host: str,
        port: int,
        store: EventStore,
        policy: Policy,
        information: RelayInformation | None = None,
        *,
        limits: RelayLimits | None = None,
        hosts: frozenset[str] = frozenset(),
        max_pending: int = MAX_PENDING,
        clock_ms: Callable[[], int] = _wall_clock_ms,
    ) -> None:
        self.host = host
        self.port = port
        self.store = store
        self.policy = policy
        self.limits = limits or RelayLimits()
        self.hosts = hosts | {host, "localhost", "127.0.0.1", "::1"}
        self.max_pending = max_pending
        self.clock_ms = clock_ms
        self.stats: Counter[str] = Counter()
        self.subscriptions = Subscriptions()
        self.information = information or RelayInformation(name="relay")
        self._connections: set[Connection] = set()
        self._server: WebSocketServer | None = None

    @property
    def url(self) -> str:
        """ws://host:port, once started."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ws://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def __aenter__(self) -> "RelayServer":
        self._server = await websockets.serve(
            self._serve,
            self.host,
            self.port,
            process_request=self._process_request,
            # Compression costs more processor time than loopback and LAN save; a proxy in front may add it.
            compression=None,
            max_size=self.limits.message_bytes,
            # Messages read ahead of the one being judged.
            max_queue=64,
            write_limit=_WRITE_LIMIT,
            ping_interval=20,
            ping_timeout=30,
            close_timeout=_CLOSE_SECONDS,
            logger=_socket_log,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            with anyio.CancelScope(shield=True):
                await self._server.wait_closed()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once the port is open."""
        async with self:
            task_status.started()
            await anyio.sleep_forever()

    def fan_out(self, event: VerifiedEvent, text: str) -> None:
        """Send the event to every subscription that asks for it."""
        for connection, sub_id in list(self.subscriptions.matching(event)):
            assert isinstance(connection, Connection)
            connection.push_live(sub_id, event.id, text)

    async def _serve(self, socket: WebSocketServerProtocol) -> None:
        connection = Connection(self, socket)
        self._connections.add(connection)
        self.stats["connections"] += 1
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    async def _process_request(
        self,
        path: str,  # noqa: ARG002 - the library's signature; every path is the relay
        headers: Headers,
    ) -> tuple[http.HTTPStatus, list[tuple[str, str]], bytes] | None:
        """Answer plain HTTP, and let WebSocket handshakes pass while there is room."""
        if headers.get("Upgrade", "").lower() == "websocket":
            if len(self._connections) < MAX_CONNECTIONS:
                return None
            self.stats["connections_refused"] += 1
            return http.HTTPStatus.SERVICE_UNAVAILABLE, [("Retry-After", "30")], b"too many connections\n"
        if wants_information(headers.get("Accept", "")):
            return http.HTTPStatus.OK, [("Content-Type", MEDIA_TYPE), *CORS_HEADERS], self.document()
        text = (
            f"{self.information.name or 'This'} is a Nostr relay.\n"
            f"{self.information.description or ''}\n\n"
            "Open this address with a Nostr client (as ws:// or wss://), or ask for its information document:\n"
            f"  curl -H 'Accept: {MEDIA_TYPE}' http://{headers.get('Host', f'{self.host}:{self.port}')}/\n"
        )
        return http.HTTPStatus.OK, [("Content-Type", "text/plain; charset=utf-8"), *CORS_HEADERS], text.encode()

    def document(self) -> bytes:
        """The information document (NIP-11)."""
        told = self.information
        limitation = Limitation(
            max_message_length=self.limits.message_bytes,
            max_subscriptions=self.limits.subscriptions,
            max_limit=self.limits.max_results,
            default_limit=self.limits.default_results,
            max_subid_length=MAX_SUB_ID,
            max_event_tags=MAX_TAGS,
            created_at_upper_limit=MAX_AHEAD_S,
            auth_required=False,
            payment_required=False,
            restricted_writes=told.limitation.restricted_writes if told.limitation else None,
        )
        return encode_information(
            RelayInformation(
                name=told.name,
                description=told.description,
                pubkey=told.pubkey,
                contact=told.contact,
                supported_nips=SUPPORTED_NIPS,
                software=told.software,
                version=told.version,
                icon=told.icon,
                limitation=limitation,
            )
        )


class Connection:
    """One client: a reader that judges messages, a writer with a bounded queue, and the queries under way."""

    def __init__(self, server: RelayServer, socket: WebSocketServerProtocol) -> None:
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
        with anyio.move_on_after(_CLOSE_SECONDS):
            await self._idle.wait()
        await self._socket.close(websockets.frames.CloseCode.POLICY_VIOLATION, "see the notice")
        self._tasks.cancel_scope.cancel()


def _explain(error: StoreError) -> str:
    return "error: the query took too long, ask for less" if isinstance(error, QueryTooSlow) else "error: store failed"
