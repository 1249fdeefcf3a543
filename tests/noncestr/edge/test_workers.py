"""Several processes as one edge: one that does not start, one that comes back, a reload, a drain, strangers."""

import hashlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

import noncestr.edge.workers
from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST
from nips.pool.terms import Offer, Terms, TermsBody, build_terms, parse_terms
from noncestr.config.sections import LogConfig
from noncestr.edge.edges import Drained
from noncestr.edge.workers import Workers
from noncestr.errors import NoncestrError
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.errors import HouseRefused
from stratum_edge.ports import Tip

KEY = SecretKey(hashlib.sha256(b"noncestr test key edges").digest())
POOL = PoolAddress(KEY.pubkey, "regtest")

pytestmark = pytest.mark.anyio

# A lane's process without an edge: it tells of itself, answers what is asked, and dies of SIGTERM.
STUB = """
import os, sys
from pathlib import Path
import anyio
from noncestr.edge.edges import NOTHING
from noncestr.edge.orders import LaneReport, decode_orders, plain
from stratum_edge.adapters.house_client import HouseClient
from stratum_edge.errors import PortUnavailable
from stratum_edge.status import SessionRow

data, process = Path(sys.argv[1]), int(sys.argv[2])
orders = []

async def which(): return process
async def take(given): orders.append(decode_orders(given))
async def reload(given):
    new = decode_orders(given)
    if process == 1 and any(port.name == "bad" for port in new.edge.ports):
        raise PortUnavailable("port bad is busy")
    orders[:] = [new]
async def sessions(): return plain([SessionRow("127.0.0.1", "main", "ab", (), "", "1", 0, 0, 0, 0, process)])

async def main():
    left = anyio.Event()
    async def drain(fin):
        left.set()
        return process
    async def end():
        await anyio.wait_readable(sys.stdin)
        tasks.cancel_scope.cancel()
    serves = {"lane": which, "orders": take, "sessions": sessions, "drain": drain, "reload": reload}
    house = HouseClient(data / "house.sock", serves)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        await tasks.start(house.run)
        await house.terms.changed("")
        while not left.is_set():
            if orders:
                edge = orders[0].edge
                ports = {port.name: port.port for port in edge.ports}
                report = LaneReport(process, os.getpid(), edge.lane, ports, NOTHING)
                house.tell("status", process, plain(report))
            await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()

anyio.run(main, backend_options={"use_uvloop": True})
"""


class StillChain:
    network = "regtest"

    async def wait_tip(self, known: bytes) -> Tip:
        if known:
            await anyio.sleep_forever()
        return Tip(1, b"\x01" * 32)

    def lost_s(self) -> float:
        return 0.0

    async def confirmations(self, block_hash: bytes) -> int | None:
        return None


class FixedTerms:
    event = KEY.sign(build_terms(POOL, FIRST, 1000, TermsBody(offers={"main": Offer()}, keys=((KEY.pubkey, "edge"),))))

    def current(self) -> Terms:
        return parse_terms(self.event)

    def current_event(self) -> VerifiedEvent:
        return self.event

    async def changed(self, known: str) -> Terms:
        if known:
            await anyio.sleep_forever()
        return self.current()


class StubWorkers(Workers):
    code = STUB

    def _command(self, lane: Any) -> list[str]:
        return [sys.executable, "-c", self.code, str(self._data), str(lane.process)]


def make(data: Path, lanes: tuple[int, ...] = (4, 7), code: str = STUB) -> StubWorkers:
    workers = StubWorkers(
        data=data,
        pool=POOL,
        config=EdgeConfig(b"\x51", (PortConfig(port=0),)),
        lanes=lanes,
        log=LogConfig(),
        source=StillChain(),
        terms=FixedTerms(),
        publisher=None,
    )
    workers.code = code
    return workers


async def until(ready) -> None:
    with anyio.fail_after(60):
        while not ready():  # noqa: ASYNC110 - processes come and go without an event here
            await anyio.sleep(0.02)


async def test_processes_get_their_lanes_and_one_that_dies_comes_back(tmp_path: Path) -> None:
    workers = make(tmp_path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(workers.run)
        first = workers.lanes()
        assert [(report.process, report.lane, report.ports) for report in first] == [
            (0, 4, workers.ports),
            (1, 7, workers.ports),
        ]
        assert [row.idle_ms for _, row in await workers.sessions()] == [0, 1]
        assert not workers.status().stalled
        os.kill(first[1].pid, signal.SIGKILL)
        await until(lambda: len(workers.lanes()) == 1)
        assert workers.status().stalled
        await until(lambda: len(workers.lanes()) == 2)
        again = workers.lanes()
        assert (again[0].pid, again[1].lane) == (first[0].pid, 7)
        assert again[1].pid != first[1].pid
        tasks.cancel_scope.cancel()
    for report in again:
        with pytest.raises(ProcessLookupError):
            os.kill(report.pid, 0)
    assert not (tmp_path / "house.sock").exists()


async def test_a_drain_empties_all_and_ends_the_run(tmp_path: Path) -> None:
    workers = make(tmp_path)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            await tasks.start(workers.run)
            assert await workers.drain(fin=False) == Drained(lanes=2, sessions=0, left=1)


async def test_a_reload_reaches_all_processes_or_none(tmp_path: Path) -> None:
    workers = make(tmp_path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(workers.run)
        main = workers.ports["main"]
        two = EdgeConfig(b"\x51", (PortConfig(port=0), PortConfig(name="tls", port=0)))
        await workers.reload(two, LogConfig("debug"))
        ports = workers.ports
        assert ports["main"] == main
        await until(lambda: [report.ports for report in workers.lanes()] == [ports, ports])
        bad = EdgeConfig(b"\x51", (PortConfig(port=0), PortConfig(name="bad", port=0)))
        with pytest.raises(HouseRefused, match="port bad is busy"):
            await workers.reload(bad, LogConfig())
        assert workers.ports == ports
        await until(lambda: [report.ports for report in workers.lanes()] == [ports, ports])
        tasks.cancel_scope.cancel()


async def test_a_process_that_does_not_start_is_said(tmp_path: Path) -> None:
    workers = make(tmp_path, code="raise SystemExit(3)")
    with pytest.raises(ExceptionGroup) as raised:
        await workers.run()
    assert raised.group_contains(NoncestrError, match="did not start")


async def test_a_process_nobody_asked_for_is_sent_away(tmp_path: Path) -> None:
    with pytest.raises(HouseRefused, match="no process 2 is wanted"):
        make(tmp_path).join(2, None)


async def test_a_process_that_cannot_be_started_again_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The system has no process to give: the other lane serves on, and the lane comes back when it has."""
    monkeypatch.setattr(noncestr.edge.workers, "FIRST_WAIT_S", 0.01)
    workers = make(tmp_path)
    open_process, refusals = anyio.open_process, [OSError(11, "no process")] * 3

    async def scarce(*args: Any, **kwargs: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return await open_process(*args, **kwargs)

    async with anyio.create_task_group() as tasks:
        await tasks.start(workers.run)
        first = workers.lanes()
        monkeypatch.setattr(noncestr.edge.workers.anyio, "open_process", scarce)
        os.kill(first[1].pid, signal.SIGKILL)
        await until(lambda: not refusals and len(workers.lanes()) == 2 and workers.lanes()[1].pid != first[1].pid)
        assert workers.lanes()[0].pid == first[0].pid
        tasks.cancel_scope.cancel()
    assert caplog.text.count("could not be started again") == 3
