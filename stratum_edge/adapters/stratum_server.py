"""The Stratum port: TCP connections around sessions.

One read is handled whole: its lines, one write to the journal, one write of all replies. No task and no await a
share.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import anyio.lowlevel

from stratum_edge.desk import Desk
from stratum_edge.framing import MAX_LINE, LineBuffer
from stratum_edge.jobs import LiveJob
from stratum_edge.session import Session, State

log = logging.getLogger(__name__)

# Connections that may wait for accept: a restart brings all miners back within the same second.
BACKLOG: Final = 4096
# A miner reads a few hundred bytes a share; with this much unread it is gone or hostile.
MAX_UNREAD: Final = 256 * 1024
# Sessions served before the loop gets a turn, when a new job goes to all.
JOB_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """What connections are held to: lines in bytes, connections from one address, seconds until authorized."""

    max_line: int = MAX_LINE
    max_per_address: int = 1024
    login_deadline_s: float = 60.0


class Connection(asyncio.Protocol):
    """One miner's connection."""

    def __init__(self, server: "StratumServer") -> None:
        self._server = server
        self._lines = LineBuffer(server.limits.max_line)
        self._transport: asyncio.Transport | None = None
        self.address = ""
        self.counted = False
        self.session = Session(server.desk, server.mono())
        self.deadline = server.mono() + int(server.limits.login_deadline_s * 1000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept, unless the address has too many connections already."""
        stream = cast(asyncio.Transport, transport)
        self._transport = stream
        peer = stream.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        raw = stream.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            # Replies are small and waited for.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.set_write_buffer_limits(high=MAX_UNREAD)
        if not self._server.admit(self):
            self.drop("too many connections from this address")

    def data_received(self, data: bytes) -> None:
        """Handle one read."""
        server = self._server
        session = self.session
        if session.closing or session.state is State.CLOSED:
            return
        before = server.desk.journal.size
        session.receive(self._lines.feed(data), server.now(), server.mono())
        self.send(committed=server.commit(before))

    def send(self, *, committed: bool = True) -> None:
        """Write what the session has to say; nothing is acknowledged that the journal did not take."""
        transport = self._transport
        if transport is None:
            return
        if not committed:
            self.drop("the journal can't be written")
            return
        output = self.session.take_output()
        if output and not transport.is_closing():
            transport.write(output)
        if self.session.closing:
            log.info("closing %s: %s", self.address, self.session.closing)
            transport.close()

    def drop(self, reason: str) -> None:
        """End the connection now."""
        log.info("dropping %s: %s", self.address, reason)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End the connection once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """The peer does not read: it is not waited for."""
        self.drop("it does not read")

    def connection_lost(self, _exc: Exception | None) -> None:
        """Free what the connection held."""
        self.session.close(self._server.mono())
        self._server.leave(self)
        self._transport = None


class StratumServer:
    """A listening port and its connections. `after_commit` is called when a read may have left work for the service."""

    def __init__(self, desk: Desk, limits: Limits, now: Callable[[], int], after_commit: Callable[[], None]) -> None:
        self.desk = desk
        self.limits = limits
        self.now = now
        self.connections: set[Connection] = set()
        self._after_commit = after_commit
        self._loop = asyncio.get_running_loop()
        self._per_address: Counter[str] = Counter()
        self._server: asyncio.Server | None = None

    def mono(self) -> int:
        """Monotonic ms."""
        return int(self._loop.time() * 1000)

    async def listen(self, host: str, port: int, sock: socket.socket | None = None) -> int:
        """Begin to accept, on a bound socket if one is given; the port it is."""
        if sock is not None:
            self._server = await self._loop.create_server(lambda: Connection(self), sock=sock, backlog=BACKLOG)
        else:
            self._server = await self._loop.create_server(lambda: Connection(self), host, port, backlog=BACKLOG)
        return int(self._server.sockets[0].getsockname()[1])

    def stop_accepting(self) -> None:
        """Close the listening socket; connections stay."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Close the port and all connections."""
        self.stop_accepting()
        for connection in list(self.connections):
            connection.close()
        # Two turns of the loop: connections report their loss in the next.
        for _ in range(2):
            await anyio.lowlevel.checkpoint()
        for connection in list(self.connections):
            connection.drop("the edge stops")
        if self._server is not None:
            await self._server.wait_closed()

    def admit(self, connection: Connection) -> bool:
        """Count a connection in; False when its address has too many."""
        if self._per_address[connection.address] >= self.limits.max_per_address:
            return False
        self._per_address[connection.address] += 1
        connection.counted = True
        self.connections.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        self.connections.discard(connection)
        if connection.counted:
            connection.counted = False
            self._per_address[connection.address] -= 1
            if not self._per_address[connection.address]:
                del self._per_address[connection.address]

    def commit(self, before: int) -> bool:
        """Write the journal; False when a read that began at size `before` put something that is not stored."""
        journal = self.desk.journal
        put = journal.size != before
        stored = journal.flush()
        self._after_commit()
        return stored or not put

    async def announce(self, live: LiveJob, clean: bool) -> None:
        """Give all mining sessions a job, the loop a turn every JOB_CHUNK of them."""
        for count, connection in enumerate(list(self.connections), 1):
            if self.desk.book.current is not live:
                return  # a newer one is going round
            if connection.session.state is State.MINING and not connection.session.closing:
                connection.session.assign(live, clean)
                connection.send()
            if count % JOB_CHUNK == 0:
                await anyio.lowlevel.checkpoint()

    def sweep(self) -> None:
        """Look at every connection's difficulty, and let those go that did not log in."""
        mono = self.mono()
        for connection in list(self.connections):
            if connection.session.closing:
                # It was told, and still holds the connection open: it does not read.
                connection.drop("it does not take its leave")
            elif connection.session.state is State.MINING:
                connection.session.tick(mono)
                connection.send()
            elif mono >= connection.deadline:
                connection.drop("it did not log in")
