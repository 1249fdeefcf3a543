"""An edge of several processes on the same ports, each with a lane of its own: started, kept running, asked, ended."""

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc
import msgspec
from anyio.abc import TaskStatus

from nips.pool.address import PoolAddress
from noncestr.addresses import Hold
from noncestr.config.sections import LogConfig
from noncestr.edge.edges import Drained, total
from noncestr.edge.lane_process import HOUSE
from noncestr.edge.orders import LaneReport, Orders, encode_orders, report_of, rows_of
from noncestr.errors import NoncestrError
from noncestr.held_ports import HeldPorts
from stratum_edge.adapters.house_server import HiddenTable, Household, HouseServer, SignedTerms
from stratum_edge.adapters.house_wire import Link
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.errors import EdgeError, HouseGone, HouseRefused
from stratum_edge.ports import Names, Payability, Publisher, TemplateSource
from stratum_edge.status import EdgeStatus, SessionRow

logger = logging.getLogger("noncestr.workers")

# A lane's process that ends by itself is started again after the first wait, then after twice as long each time.
FIRST_WAIT_S: Final = 0.5
LAST_WAIT_S: Final = 30.0
# One that lived so long ended of something else than its start.
STEADY_S: Final = 60.0
# A lane may take SHUTDOWN_S (stratum_edge.service) to go down, and a moment to end.
STOP_S: Final = 15.0
# Interpreter and journal: a start takes a second or two; a journal to read through, longer.
START_S: Final = 120.0


class _Lane:
    """A lane's process as its parent sees it."""

    def __init__(self, process: int, orders: Orders) -> None:
        self.process = process
        self.orders = orders
        self.link: Link | None = None
        self.report: LaneReport | None = None
        self.child: anyio.abc.Process | None = None
        self.up = anyio.Event()


class Workers:
    """An edge of several processes on the same ports."""

    def __init__(
        self,
        *,
        data: Path,
        pool: PoolAddress,
        config: EdgeConfig,
        lanes: Sequence[int],
        log: LogConfig,
        source: TemplateSource,
        terms: SignedTerms,
        publisher: Publisher,
        names: Names | None = None,
        payability: Payability | None = None,
        privacy: HiddenTable | None = None,
        hold_of: Callable[[PortConfig], Hold | None] = lambda _: None,
    ) -> None:
        """`lanes`: each process's. `hold_of`: who holds a port for us."""
        self._held = HeldPorts(hold_of)
        # As configured: their numbers, where any free one will do, are known once they are held.
        self._ports = config.ports
        self._data = data
        self._household = Household(terms, publisher, self, names, payability, privacy)
        self._source = source
        self._lanes = [
            _Lane(
                process,
                Orders(
                    pool=str(pool),
                    edge=replace(config, lane=lane, process=process),
                    log=log,
                    names=names is not None,
                    payability=payability is not None,
                    privacy=privacy is not None,
                ),
            )
            for process, lane in enumerate(lanes)
        ]
        self._stopping = False
        self._ended = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the processes running until cancelled or drained.

        Raises NoFreePort, and NoncestrError when one does not start.
        """
        try:
            self._share(self._held.share(self._ports))
            await self._run(task_status)
        finally:
            self._held.close()

    def _share(self, ports: tuple[PortConfig, ...]) -> None:
        for lane in self._lanes:
            lane.orders = msgspec.structs.replace(lane.orders, edge=replace(lane.orders.edge, ports=ports))

    async def _run(self, task_status: TaskStatus[None]) -> None:
        server = HouseServer(self._data / HOUSE, self._source, self._household)
        async with anyio.create_task_group() as serving:
            house = anyio.CancelScope(shield=True)
            await serving.start(_run_in, house, server)
            try:
                async with anyio.create_task_group() as tasks:
                    for lane in self._lanes:
                        tasks.start_soon(self._keep_running, lane)
                    await self._all_up()
                    task_status.started()
                    await self._ended.wait()
                    tasks.cancel_scope.cancel()
            finally:
                with anyio.CancelScope(shield=True):
                    # What they have goes out through us: the house closes last.
                    await self._stop()
                house.cancel()

    # The processes

    async def _all_up(self) -> None:
        for lane in self._lanes:
            with anyio.move_on_after(START_S):
                await lane.up.wait()
                continue
            raise NoncestrError(f"lane {lane.orders.edge.lane} does not serve miners after {START_S:g} s, see the log")

    def _command(self, lane: _Lane) -> list[str]:
        log = lane.orders.log
        return [
            *(sys.executable, "-m", "noncestr", "edge", "lane", "--data", str(self._data)),
            *("--process", str(lane.process)),
            *("--log-level", log.level, "--log-format", log.format, "--log-to", log.to),
        ]

    async def _keep_running(self, lane: _Lane) -> None:
        wait = FIRST_WAIT_S
        while not self._stopping:
            began = anyio.current_time()
            try:
                # Its input is a pipe from us: when we die, however we do, it hears of it.
                lane.child = await anyio.open_process(
                    self._command(lane), stdin=subprocess.PIPE, stdout=None, stderr=None
                )
            except OSError as error:
                if not lane.up.is_set():
                    raise
                # Out of memory or of processes for a moment: the other lanes serve on meanwhile.
                logger.error("lane %d could not be started again: %s", lane.orders.edge.lane, error)
                await anyio.sleep(wait)
                wait = min(2 * wait, LAST_WAIT_S)
                continue
            code = await lane.child.wait()
            await lane.child.aclose()
            lane.report = None
            if self._stopping:
                return
            if not lane.up.is_set():
                raise NoncestrError(f"the process of lane {lane.orders.edge.lane} did not start, see the log")
            if anyio.current_time() - began > STEADY_S:
                wait = FIRST_WAIT_S
            logger.error(
                "the process of lane %d ended with status %d: starting it again in %.1f s",
                lane.orders.edge.lane, code, wait,
            )  # fmt: skip
            await anyio.sleep(wait)
            wait = min(2 * wait, LAST_WAIT_S)

    async def _stop(self) -> None:
        self._stopping = True
        async with anyio.create_task_group() as tasks:
            for lane in self._lanes:
                if lane.child is not None:
                    tasks.start_soon(_end, lane.child)

    # Household: the lanes come, tell, go

    def join(self, process: int, link: Link) -> Any:
        """A lane's process has come: its orders. Raises HouseRefused."""
        if self._stopping or not 0 <= process < len(self._lanes):
            raise HouseRefused(f"no process {process} is wanted")
        self._lanes[process].link = link
        return encode_orders(self._lanes[process].orders)

    def leave(self, process: int, link: Link) -> None:
        """It has gone."""
        if 0 <= process < len(self._lanes) and self._lanes[process].link is link:
            self._lanes[process].link = None
            self._lanes[process].report = None

    def hear(self, process: int, status: Any) -> None:
        """How it is."""
        lane = self._lanes[process]
        lane.report = report_of(status)
        lane.up.set()

    # What is asked of all

    @property
    def ports(self) -> dict[str, int]:
        """The TCP port of each port's name."""
        return {port.name: port.port for port in self._lanes[0].orders.edge.ports}

    def lanes(self) -> list[LaneReport]:
        """The lanes that are up, as they last told, a second ago at most."""
        return [lane.report for lane in self._lanes if lane.report is not None]

    def status(self) -> EdgeStatus:
        """All lanes that are up together; stalled when one is down, too."""
        up = self.lanes()
        together = total(report.edge for report in up)
        return replace(together, stalled=together.stalled or len(up) < len(self._lanes))

    async def sessions(self) -> list[tuple[int, SessionRow]]:
        """Every connection with the number of its process."""
        rows: list[tuple[int, SessionRow]] = []
        for lane in self._lanes:
            if lane.link is not None:
                try:
                    rows += [(lane.process, row) for row in rows_of(await lane.link.call("sessions"))]
                except HouseGone:
                    continue
        return rows

    async def reload(self, config: EdgeConfig, log: LogConfig) -> None:
        """Go by other ports, limits, certificates and log level, in all processes or in none.

        Raises EdgeError, NoncestrError.
        """
        before = [lane.orders for lane in self._lanes]
        try:
            ports = self._held.share(config.ports)
            for lane in self._lanes:
                edge = replace(lane.orders.edge, ports=ports, limits=config.limits)
                await self._order(lane, msgspec.structs.replace(lane.orders, edge=edge, log=log))
        except (EdgeError, NoncestrError):
            for lane, orders in zip(self._lanes, before, strict=True):
                if lane.orders is not orders:
                    await self._order(lane, orders)
            self._held.keep_only(self._ports)
            raise
        self._ports = config.ports
        self._held.keep_only(config.ports)

    async def _order(self, lane: _Lane, orders: Orders) -> None:
        """New orders; a process that is down has them when it is back."""
        if lane.link is not None:
            with suppress(HouseGone):
                await lane.link.call("reload", encode_orders(orders))
        lane.orders = orders

    async def drain(self, *, fin: bool) -> Drained:
        """Empty all lanes at the same time; `run` then ends."""
        self._stopping = True
        sessions = self.status().sessions
        left: dict[int, int] = {}

        async def drain_one(lane: _Lane) -> None:
            if lane.link is None:
                left[lane.process] = 1  # it is down: whatever its journal holds waits there
                return
            try:
                left[lane.process] = await lane.link.call("drain", fin)
            except EdgeError as error:
                logger.error("lane %d did not drain: %s", lane.orders.edge.lane, error)
                left[lane.process] = 1

        async with anyio.create_task_group() as tasks:
            for lane in self._lanes:
                tasks.start_soon(drain_one, lane)
        self._ended.set()
        return Drained(len(self._lanes), sessions, sum(left.values()))


async def _run_in(
    scope: anyio.CancelScope, server: HouseServer, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with scope:
        await server.run(task_status=task_status)


async def _end(child: anyio.abc.Process) -> None:
    """Have a process go, and wait for it."""
    if child.returncode is None:
        assert child.stdin is not None
        await child.stdin.aclose()
        with anyio.move_on_after(STOP_S):
            await child.wait()
        if child.returncode is None:
            logger.error("process %d does not end: it is killed, its journal has what it acknowledged", child.pid)
            child.kill()
            await child.wait()
    await child.aclose()
