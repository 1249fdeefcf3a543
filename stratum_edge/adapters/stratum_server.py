"""The Stratum ports: TCP connections around sessions.

What comes in within one turn of the loop is handled together: its lines, one call to hash its submits, one write to
the journal, one write of replies a connection. No task and no await a share.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import anyio.lowlevel

from stratum_edge.config import Limits, PortConfig
from stratum_edge.desk import Desk
from stratum_edge.framing import LineBuffer
from stratum_edge.jobs import LiveJob
from stratum_edge.session import Session, State

log = logging.getLogger(__name__)

# Connections that may wait for accept: a restart brings all miners back within the same second.
BACKLOG: Final = 4096
# A miner reads a few hundred bytes a share; with this much unread it is gone or hostile.
MAX_UNREAD: Final = 256 * 1024
# Sessions served before the loop gets a turn, when a new job goes to all or all are looked at: about 2 ms of work.
JOB_CHUNK: Final = 100


class Connection(asyncio.Protocol):
    """One miner's connection."""

    def __init__(self, server: "StratumServer", port: PortConfig) -> None:
        self._server = server
        self._lines = LineBuffer(server.limits.max_line)
        self._transport: asyncio.Transport | None = None
        self.address = ""
        self.counted = False
        self.session = Session(server.desk, port, server.mono())
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
        refusal = self._server.admit(self)
        if refusal:
            self.drop(refusal)

    def data_received(self, data: bytes) -> None:
        """Take one read; its submits wait for the turn's end."""
        server = self._server
        session = self.session
        if session.closing or session.state is State.CLOSED:
            return
        session.receive(self._lines.feed(data), server.mono())
        if session.has_news:
            server.on_news(self)
        if session.unsettled:
            server.touched.append(self)
        else:
            self.send()

    def send(self) -> None:
        """Write what the session has to say."""
        transport = self._transport
        if transport is None:
            return
        output = self.session.take_output()
        if output and not transport.is_closing():
            transport.write(output)
        if self.session.closing and not self.session.unsettled:
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
    """The listening ports and their connections. `after_commit` is called when a turn may have left work for the
    service, `on_news` when a session has some.
    """

    def __init__(
        self,
        desk: Desk,
        limits: Limits,
        now: Callable[[], int],
        after_commit: Callable[[], None],
        on_news: Callable[[Connection], None],
    ) -> None:
        self.desk = desk
        self.limits = limits
        self.now = now
        self.connections: set[Connection] = set()
        # Connections with submits in the desk's turn, once a read.
        self.touched: list[Connection] = []
        # Why nobody is let in, "" when they are: no node, going down.
        self.shut = ""
        self._after_commit = after_commit
        self.on_news = on_news
        self._loop = asyncio.get_running_loop()
        self._per_address: Counter[str] = Counter()
        self._doors: dict[str, asyncio.Server] = {}
        desk.turn.first = self._at_turn_end

    def mono(self) -> int:
        """Monotonic ms."""
        return int(self._loop.time() * 1000)

    @property
    def ports(self) -> dict[str, int]:
        """The TCP port of each port's name."""
        return {name: int(door.sockets[0].getsockname()[1]) for name, door in self._doors.items()}

    async def listen(self, port: PortConfig) -> int:
        """Begin to accept, on a bound socket if the port has one; the TCP port it is. Raises OSError."""
        if port.sock is not None:
            door = await self._loop.create_server(lambda: Connection(self, port), sock=port.sock, backlog=BACKLOG)
        else:
            door = await self._loop.create_server(
                lambda: Connection(self, port),
                port.host,
                port.port,
                backlog=BACKLOG,
                reuse_port=port.reuse_port or None,
            )
        self._doors[port.name] = door
        return self.ports[port.name]

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections stay."""
        for door in self._doors.values():
            door.close()

    def let_go(self, reason: str) -> None:
        """End all connections and let nobody in until `shut` is cleared: miners fail over to their next pool."""
        self.shut = reason
        for connection in list(self.connections):
            connection.close()

    async def close(self) -> None:
        """Close the ports and all connections."""
        self.stop_accepting()
        self.settle()
        for connection in list(self.connections):
            connection.close()
        # Two turns of the loop: connections report their loss in the next.
        for _ in range(2):
            await anyio.lowlevel.checkpoint()
        for connection in list(self.connections):
            connection.drop("the edge stops")
        for door in self._doors.values():
            await door.wait_closed()

    def admit(self, connection: Connection) -> str:
        """Count a connection in; else why it can't be."""
        if self.shut:
            return self.shut
        if len(self.connections) >= self.limits.max_connections:
            return "too many connections"
        if self._per_address[connection.address] >= self.limits.max_per_address:
            return "too many connections from this address"
        self._per_address[connection.address] += 1
        connection.counted = True
        self.connections.add(connection)
        return ""

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        self.connections.discard(connection)
        if connection.counted:
            connection.counted = False
            self._per_address[connection.address] -= 1
            if not self._per_address[connection.address]:
                del self._per_address[connection.address]

    def _at_turn_end(self) -> None:
        # Behind the reads of this turn of the loop: what they bring is settled at once.
        self._loop.call_soon(self.settle)

    def settle(self) -> None:
        """Judge the turn's submits, write the journal, answer. Nothing is acknowledged that the journal did not take:
        those connections end, and their miners hand in again elsewhere or later.
        """
        touched, self.touched = self.touched, []
        journal = self.desk.journal
        before = journal.size
        self.desk.turn.settle(self.now(), self.mono())
        put = journal.size != before
        stored = journal.flush()
        self._after_commit()
        for connection in touched:
            if stored or not put:
                connection.send()
            else:
                connection.drop("the journal can't be written")

    async def announce(self, lives: Mapping[str, LiveJob], clean: bool) -> None:
        """Give all mining sessions their offer's job, the loop a turn every JOB_CHUNK of them."""
        for count, connection in enumerate(list(self.connections), 1):
            session = connection.session
            live = lives.get(session.port.offer)
            if live is not None and session.state is State.MINING and not session.closing:
                if self.desk.current(session.port.offer) is not live:
                    return  # a newer one is going round
                session.assign(live, clean)
                connection.send()
            if count % JOB_CHUNK == 0:
                await anyio.lowlevel.checkpoint()

    async def sweep(self) -> None:
        """Look at every connection's difficulty, and let those go that did not log in."""
        for count, connection in enumerate(list(self.connections), 1):
            mono = self.mono()
            if connection.session.closing:
                # It was told, and still holds the connection open: it does not read.
                connection.drop("it does not take its leave")
            elif connection.session.state is State.MINING:
                connection.session.tick(mono)
                connection.send()
            elif mono >= connection.deadline:
                connection.drop("it did not log in")
            if count % JOB_CHUNK == 0:
                await anyio.lowlevel.checkpoint()

    def of_ports(self, names: Sequence[str]) -> list[Connection]:
        """The connections of some ports."""
        return [connection for connection in self.connections if connection.session.port.name in names]
