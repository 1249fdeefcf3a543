"""A lane in a process of its own: an edge whose chain, terms and outbox are the pool's process's.

It never outlives its parent: its standard input is a pipe from there, and when that ends it seals what it has into its
journal and goes. What the parent had not taken by then is sent at the next start.
"""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import anyio

from nips.pool.address import parse_address
from noncestr.clock import WallClock
from noncestr.config.sections import LogConfig
from noncestr.edge.files import BANS
from noncestr.edge.lanes import journal_of
from noncestr.edge.orders import LaneReport, Orders, decode_orders, plain
from noncestr.errors import NoncestrError
from noncestr.garbage import calm, collect_calmly
from noncestr.keys.files import load_or_create
from noncestr.logs import set_level, set_up_logging
from noncestr.running import leaves
from stratum_edge.adapters.ban_files import BanFiles
from stratum_edge.adapters.house_client import HouseClient
from stratum_edge.errors import EdgeError
from stratum_edge.households import parse_networks
from stratum_edge.service import Edge

log = logging.getLogger(__name__)

# Where in the data folder the pool's process serves its lanes.
HOUSE: Final = "house.sock"
# How often a lane tells how it is.
REPORT_S: Final = 1.0
# Without a parent nothing can be sent: time to seal and write, no more. A kill would be no loss either.
ORPHAN_S: Final = 2.0


class LaneProcess:
    """One lane's process, from its orders to its end."""

    def __init__(self, data: Path, process: int) -> None:
        self._data = data
        self._process = process
        self._ordered = anyio.Event()
        self._stop = anyio.Event()
        self._orders: Orders | None = None
        self._edge: Edge | None = None
        self._house = HouseClient(
            data / HOUSE,
            {
                "lane": self._which,
                "orders": self._take_orders,
                "sessions": self._sessions,
                "reload": self._reload,
                "drain": self._drain,
            },
        )

    async def run(self) -> None:
        """Serve miners until the parent closes our input, goes, or drains us. Raises HouseGone without a parent."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_input)
            tasks.start_soon(self._hear_signals)
            tasks.start_soon(self._end_orphaned)
            await tasks.start(self._house.run)
            await self._ordered.wait()
            assert self._orders is not None
            await self._house.terms.changed("")
            if self._orders.privacy:
                # No name that is to be hidden goes into the log meanwhile.
                await self._house.privacy.told()
            await self._house.source.wait_tip(b"")
            self._edge = self._make_edge(self._orders)
            async with anyio.create_task_group() as serving:
                await serving.start(self._edge.run)
                log.info("lane %d serves miners", self._orders.edge.lane)
                serving.start_soon(self._report)
                calm()
                serving.start_soon(collect_calmly)
                await self._stop.wait()
                serving.cancel_scope.cancel()
            tasks.cancel_scope.cancel()

    def _make_edge(self, orders: Orders) -> Edge:
        keys = self._data / "keys"
        return Edge(
            source=self._house.source,
            signer=load_or_create(keys, "edge"),
            pool=parse_address(orders.pool),
            terms=self._house.terms,
            publisher=self._house.publisher,
            journal_dir=journal_of(self._data / "journal", self._process),
            clock=WallClock(),
            config=orders.edge,
            names=self._house.names if orders.names else None,
            payability=self._house.payability if orders.payability else None,
            privacy=self._house.privacy if orders.privacy else None,
            bans=BanFiles(self._data / BANS, str(self._process), parse_networks(orders.edge.limits.trusted)),
        )

    # What the house asks

    async def _which(self) -> int:
        return self._process

    async def _take_orders(self, orders: bytes) -> None:
        self._orders = decode_orders(orders)
        self._ordered.set()

    async def _sessions(self) -> Any:
        return [] if self._edge is None else plain(self._edge.sessions())

    async def _reload(self, orders: bytes) -> None:
        """Raises what `Edge.reload` does."""
        new = decode_orders(orders)
        if self._edge is not None:
            await self._edge.reload(new.edge)
        self._orders = new
        set_level(new.log.level)

    async def _drain(self, fin: bool) -> int:
        """Answered once everything is out; then this process ends."""
        assert self._edge is not None
        left = await self._edge.drain(fin=fin)
        self._stop.set()
        return left

    # Life and end

    async def _report(self) -> None:
        assert self._edge is not None
        assert self._orders is not None
        while True:
            report = LaneReport(
                self._process, os.getpid(), self._orders.edge.lane, self._edge.ports, self._edge.status()
            )
            self._house.tell("status", self._process, plain(report))
            await anyio.sleep(REPORT_S)

    async def _watch_input(self) -> None:
        """The parent closes our input when we are to stop; the system does when it has died."""
        while True:
            await anyio.wait_readable(sys.stdin)
            if not os.read(sys.stdin.fileno(), 4096):
                self._stop.set()
                return

    async def _hear_signals(self) -> None:
        """Ctrl-C and a closed terminal reach all processes of it: the parent tells us what it means to do."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGHUP, signal.SIGTERM) as signals:
            async for number in signals:
                if number == signal.SIGTERM:
                    self._stop.set()

    async def _end_orphaned(self) -> None:
        """Without a parent, do not wait for it to take what is sealed."""
        await self._stop.wait()
        while self._house.connected:  # noqa: ASYNC110 - asked only while going down, four times a second
            await anyio.sleep(ORPHAN_S / 8)
        await anyio.sleep(ORPHAN_S)
        log.warning("the pool has gone: what it did not take stays in the journal")
        logging.shutdown()
        os._exit(0)


async def run_lane(data: Path, process: int, config: LogConfig) -> int:
    """`noncestr edge lane`: what the pool starts for each of its workers. The exit status: 0, or 1 after an error."""
    set_up_logging(config, process)
    try:
        await LaneProcess(data, process).run()
    except ExceptionGroup as group:
        mendable, rest = group.split((EdgeError, NoncestrError, OSError))
        if mendable is None or rest is not None:
            raise
        log.error("%s", "; ".join(str(leaf) for leaf in leaves(mendable)))
        return 1
    return 0
