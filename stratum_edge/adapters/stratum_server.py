"""The Stratum ports: TCP connections around sessions.

What comes in within one turn of the loop is handled together: its lines, one call to hash its submits, one write to
the journal, one write of replies a connection. No task and no await a share.
"""

import asyncio
import logging
import resource
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import anyio.lowlevel

from stratum_edge.adapters.connection import Connection
from stratum_edge.adapters.doors import Doors, unbound
from stratum_edge.bans import BanRule
from stratum_edge.config import Limits, PortConfig
from stratum_edge.desk import Desk
from stratum_edge.households import household, parse_networks
from stratum_edge.jobs import LiveJob
from stratum_edge.ports import Bans
from stratum_edge.states import State

log = logging.getLogger(__name__)

# Sessions served before the loop gets a turn, when a new job goes to all or all are looked at: about 2 ms of work.
JOB_CHUNK: Final = 100
# Files kept free for the journal, the nodes, the relays and whatever else runs in this process.
SPARE_FILES: Final = 128

# Why a connection is not let in, as its peer is told.
FULL: Final = "the pool has no room for more connections"
CROWDED: Final = "too many connections from this address"
BANNED: Final = "this address is banned for a while"
NO_FILES: Final = "the pool has no file left for a connection"


def file_limit() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 30


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
        bans: Bans | None = None,
        listener: Callable[[PortConfig], socket.socket | None] = unbound,
    ) -> None:
        """Without `bans` nobody is banned. `listener`: as for `Doors`."""
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
        # How many were turned away for what, since the last sweep.
        self.refused: Counter[str] = Counter()
        self._bans = bans
        self._per_household: Counter[str] = Counter()
        self._doors = Doors(lambda door: Connection(self, door), listener)
        self._first_spare = 0
        self._go_by(limits)
        desk.turn.first = self._at_turn_end

    def mono(self) -> int:
        """Monotonic ms."""
        return int(self._loop.time() * 1000)

    @property
    def ports(self) -> dict[str, int]:
        """The TCP port of each port's name."""
        return self._doors.numbers

    async def listen(self, port: PortConfig) -> int:
        """Begin to accept; the TCP port it is. Raises PortUnavailable, UnusableCertificate."""
        return await self._doors.open(port)

    async def apply(self, ports: Sequence[PortConfig], limits: Limits) -> None:
        """Go by other ports and limits, and read certificates again.

        Limits hold for all connections at once, a port's settings for those that come in from now on. Who came in by
        a port that is gone, or that promises something else now, is let go. Raises PortUnavailable or
        UnusableCertificate, and then all is as it was.
        """
        await self._doors.apply(ports)
        self._go_by(limits)
        self.settle()
        for connection in list(self.connections):
            if connection.door.server is None or connection.session.port.offer != connection.door.port.offer:
                connection.end("this port was closed: connect again, or elsewhere")

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections stay."""
        self._doors.close()

    def let_go(self, reason: str) -> None:
        """End all connections and let nobody in until `shut` is cleared: miners fail over to their next pool."""
        self.shut = reason
        self.settle()
        for connection in list(self.connections):
            connection.end(reason)

    async def close(self) -> None:
        """Close the ports and all connections."""
        closed = self._doors.close()
        self.settle()
        for connection in list(self.connections):
            connection.close()
        # Two turns of the loop: connections report their loss in the next.
        for _ in range(2):
            await anyio.lowlevel.checkpoint()
        for connection in list(self.connections):
            connection.drop("the edge stops")
        for door in closed:
            await door.wait_closed()

    # Who is let in

    def enter(self, connection: Connection, file: int) -> str:
        """Take a connection in whose address is not known yet, on a file of that number; else why not."""
        if self.shut:
            return self.shut
        if len(self.connections) >= self.limits.max_connections:
            return FULL
        if file >= self._first_spare:  # the least number that was free
            return NO_FILES
        self.connections.add(connection)
        return ""

    def admit(self, connection: Connection) -> str:
        """Count a connection against its address; else why it can't be let in."""
        if self._bans is not None and self._bans.until(connection.address, self.now()):
            return BANNED
        key = household(connection.address)
        if self._per_household[key] >= self.limits.max_per_address:
            return CROWDED
        self._per_household[key] += 1
        connection.counted_as = key
        return ""

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        self.connections.discard(connection)
        key, connection.counted_as = connection.counted_as, None
        if key is not None:
            self._per_household[key] -= 1
            if not self._per_household[key]:
                del self._per_household[key]

    def strike(self, connection: Connection) -> None:
        """A connection ended for its errors: who has too many of these is banned."""
        if self._bans is not None:
            limits = self.limits
            rule = BanRule(limits.strikes, int(limits.strike_window_s * 1000), int(limits.ban_s * 1000))
            self._bans.strike(connection.address, self.now(), rule, "too many errors")

    def _go_by(self, limits: Limits) -> None:
        self.limits = limits
        if self._bans is not None:
            self._bans.trust(parse_networks(limits.trusted))
        files = file_limit()
        self._first_spare = max(files - SPARE_FILES, files // 2)
        if limits.max_connections > self._first_spare:
            log.warning(
                "this process may open %d files: that is room for %d connections, not for %d (raise LimitNOFILE)",
                files,
                self._first_spare,
                limits.max_connections,
            )

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
        fault = ""
        try:
            self.desk.turn.settle(self.now(), self.mono())
        except Exception:
            # A fault of ours: what was judged before it is kept, and nobody may wait for a reply that can't come.
            log.exception("a turn's shares could not all be judged")
            fault = "a fault of the pool"
        put = journal.size != before
        if not journal.flush() and put:
            fault = "the journal can't be written"
        self._after_commit()
        for connection in touched:
            if fault:
                connection.drop(fault)
            else:
                connection.send()

    async def announce(self, lives: Mapping[str, LiveJob], clean: bool) -> int:
        """Give all mining sessions their offer's job, the loop a turn every JOB_CHUNK of them; how many got it."""
        told = 0
        for count, connection in enumerate(list(self.connections), 1):
            session = connection.session
            live = lives.get(session.port.offer)
            if live is not None and session.state is State.MINING and not session.closing:
                if self.desk.current(session.port.offer) is not live:
                    break  # a newer one is going round
                session.assign(live, clean)
                connection.send()
                told += 1
            if count % JOB_CHUNK == 0:
                await anyio.lowlevel.checkpoint()
        return told

    async def sweep(self) -> None:
        """Look at every connection, keep the bans, and say who was turned away."""
        for count, connection in enumerate(list(self.connections), 1):
            connection.sweep(self.mono())
            if count % JOB_CHUNK == 0:
                await anyio.lowlevel.checkpoint()
        if self._bans is not None:
            self._bans.refresh(self.now())
        if self.refused:
            level = logging.ERROR if NO_FILES in self.refused else logging.WARNING
            said = "; ".join(f"{reason}: {count}" for reason, count in self.refused.most_common())
            log.log(level, "connections turned away: %s", said)
            self.refused.clear()
