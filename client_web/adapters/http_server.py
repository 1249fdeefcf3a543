"""uvicorn inside a task group that is already running: no signals, no loop and no logging set-up of its own."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.types import ASGIApp

from client_web.adapters.http_connection import LOOK_S, DoorConfig, HttpConnection, WebSocketConnection, look_at
from client_web.adapters.relay_proxy import MAX_MESSAGE_BYTES, MAX_QUEUED_MESSAGES
from client_web.doors import Doors

# What an idle page may keep open between two of its requests.
KEEP_ALIVE_SECONDS = 15
# Requests in flight get this long when the server stops; it shares Ctrl-C's patience with the other parts.
GRACE_SECONDS = 3
# A browser that vanished without a word is noticed after the two together.
PING_SECONDS = 20.0
PONG_SECONDS = 20.0


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket bound to `host` (a name or an IPv4 or IPv6 address) and `port` (0: any free one), not yet listening.

    Raises OSError, with errno EADDRINUSE when the port is taken.
    """
    family, kind, protocol, _name, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        # A restart takes its port back while old connections are still in TIME_WAIT.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


class _EmbeddedServer(uvicorn.Server):
    """A uvicorn server that leaves signals to the process it lives in and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = anyio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()


async def serve(
    app: ASGIApp,
    bound: socket.socket,
    doors: Doors | None = None,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `bound` (taken over, and closed at the end) until cancelled; `started()` once it listens. `doors`:
    who may hold how many connections, those of the application; its own when not given.

    When cancelled it stops accepting, tells WebSockets 1012 (service restart), gives requests GRACE_SECONDS, then ends.
    """
    config = DoorConfig(
        app,
        loop="none",
        http=HttpConnection,
        ws=WebSocketConnection,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Whom an X-Forwarded-For names is not believed: the relay's door counts connections by address.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_max_queue=MAX_QUEUED_MESSAGES,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        # The relay speaks uncompressed to us, and most pages are on this machine or its LAN.
        ws_per_message_deflate=False,
    )
    config.doors = Doors() if doors is None else doors
    server = _EmbeddedServer(config)
    ended = anyio.Event()

    async def run() -> None:
        # Shielded: uvicorn stops in its own order once it is told to, and a cancelled uvicorn leaks its connections.
        with anyio.CancelScope(shield=True):
            try:
                await server.serve(sockets=[bound])
            finally:
                # Who did not take the end of its answer within the grace.
                for connection in list(server.server_state.connections):
                    connection.transport.abort()
                ended.set()

    async def look() -> None:
        while True:
            await anyio.sleep(LOOK_S)
            look_at(server.server_state.connections, anyio.current_time())

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            try:
                await server.listening.wait()
                task_status.started()
                tasks.start_soon(look)
                await ended.wait()
            finally:
                server.should_exit = True
            tasks.cancel_scope.cancel()
    finally:
        with suppress(OSError):
            bound.close()
