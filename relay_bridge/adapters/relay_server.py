"""The embedded relay on a WebSocket, with its information document on the same address (NIP-01, NIP-11)."""

import http
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

import anyio
import anyio.abc
import websockets
from websockets.datastructures import Headers
from websockets.legacy.server import WebSocketServer, WebSocketServerProtocol

from nips.nip01 import VerifiedEvent
from nips.nip11 import CORS_HEADERS, MEDIA_TYPE, Limitation, RelayInformation, encode_information, wants_information
from relay_bridge.adapters.served_connection import CLOSE_SECONDS, Connection
from relay_bridge.messages import MAX_SUB_ID
from relay_bridge.policy import MAX_AHEAD_S, MAX_TAGS
from relay_bridge.ports import EventStore, Policy
from relay_bridge.relay import RelayLimits
from relay_bridge.subscriptions import Subscriptions

SUPPORTED_NIPS = (1, 9, 11, 40, 42, 45, 70, 77)
# Open connections at a time: below a usual limit of 1024 file descriptors a process.
MAX_CONNECTIONS = 800
# Frames waiting for one connection, in characters. A reader that is this far behind a live feed is dropped: it can
# ask again for what it missed, and others do not pay for it.
MAX_PENDING = 8 * 1024 * 1024
# Bytes in the kernel-side buffer before a send waits.
_WRITE_LIMIT = 256 * 1024


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
        listener: socket.socket | None = None,
    ) -> None:
        """`listener`: a socket at `host`:`port` that listens already, taken over."""
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
        # How many reconciliations are open, over all connections.
        self.reconciling: Counter[str] = Counter()
        self._connections: set[Connection] = set()
        self._server: WebSocketServer | None = None
        self._listener = listener

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
        place = {"host": self.host, "port": self.port} if self._listener is None else {"sock": self._listener}
        self._server = await websockets.serve(
            self._serve,
            **place,
            process_request=self._process_request,
            # Compression costs more processor time than loopback and LAN save; a proxy in front may add it.
            compression=None,
            max_size=self.limits.message_bytes,
            # Messages read ahead of the one being judged.
            max_queue=64,
            write_limit=_WRITE_LIMIT,
            ping_interval=20,
            ping_timeout=30,
            close_timeout=CLOSE_SECONDS,
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
            max_filters=self.limits.filters,
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
