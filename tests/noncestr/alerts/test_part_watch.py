"""What one part of a pool in parts tells its operator: all that it alone sees, and nothing else."""

from contextlib import AsyncExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from noncestr.alerts import part_watch
from noncestr.alerts.conditions import SETTLE_MS
from noncestr.alerts.part_watch import PartModel, watch_part
from noncestr.alerts.parts import make_watch
from noncestr.alerts.watch import AlertWatch
from noncestr.config.alerts import AlertsSection
from noncestr.config.sections import Config
from noncestr.web.parts import no_edge
from relay_bridge.status import RelayStatus
from zapper.config import ZapperStatus

pytestmark = pytest.mark.anyio
START = 1_800_000_000_000
RELAY = RelayStatus("wss://a.example", True, "", 0, 0, 0, 0, 0)
CONFIG = replace(Config(), alerts=AlertsSection(disk_mib=0, disk_days=0, report="0 8 * * *"))


class Told:
    """A watch over a part in memory, and what it told."""

    def __init__(self, tmp_path: Any, part: str, **parts: Any) -> None:
        self.now_ms = START
        self.relays = [RELAY]
        self.sent: list[tuple[str, str]] = []
        self.count = 1
        self.watch: AlertWatch = make_watch(
            CONFIG,
            tmp_path,
            model=PartModel(lambda: self.relays, lambda: self.now_ms, **parts),
            edge=parts.get("edge"),
            zapper=parts.get("zapper", ZapperStatus),
            payouts=tmp_path / "payouts.sqlite",
            clock=SimpleNamespace(now_ms=lambda: self.now_ms),  # type: ignore[arg-type]  # all of it that is asked
            part=part,
        )
        self.watch._line = self

    async def send(self, title: str, text: str) -> list[str]:
        """An operator who is always there."""
        self.sent.append((title, text))
        return []

    async def lines(self) -> list[str]:
        """What two looks tell, far enough apart for what settles."""
        await self.watch.look()
        self.now_ms += SETTLE_MS
        await self.watch.look()
        told, self.sent = [line for _, text in self.sent for line in text.splitlines()], []
        return told


async def test_a_part_that_is_well_tells_nothing_and_sends_no_report(tmp_path: Any) -> None:
    told = Told(tmp_path, "pool")
    assert await told.lines() == []
    told.now_ms += 25 * 3_600_000
    assert await told.lines() == []


async def test_the_zapper_tells_of_payouts(tmp_path: Any) -> None:
    status = ZapperStatus(blocked="the intent store is behind", alerts=("pay1",), dead={"ab" * 32: "no address"})
    told = Told(tmp_path, "zapper", zapper=lambda: status)
    await told.watch.look()
    [(title, text)] = told.sent
    assert title == f"{CONFIG.pool.name} zapper: 3 alerts"
    assert "Nothing is paid: the intent store is behind" in text
    assert "1 payouts have been unknown for too long: pay1" in text
    assert "no address" in text


async def test_the_pools_process_tells_of_silent_lanes(tmp_path: Any) -> None:
    lanes: list[dict[str, Any]] = [{"lane": "npub1x/0", "quiet_ms": 20 * 60_000}]
    told = Told(tmp_path, "pool", lanes=lambda: lanes)
    assert await told.lines() == ["Lane npub1x/0 has been silent for 20 minutes: statements wait for it"]
    lanes.clear()
    assert [line.split(" after ")[0] for line in await told.lines()] == ["Over"]


async def test_an_edge_tells_of_its_node_and_its_lanes(tmp_path: Any) -> None:
    told = Told(tmp_path, "edge", edge=lambda: replace(no_edge(), stalled=True, node_lost_s=200.0))
    lines = await told.lines()
    assert "No node has answered for 3 minutes" in lines
    assert "The edge cannot store shares, or a lane's process is down" in lines


@pytest.mark.parametrize("part", ["pool", "edge", "zapper"])
async def test_each_tells_of_the_relays_as_it_reaches_them(tmp_path: Any, part: str) -> None:
    told = Told(tmp_path, part)
    told.relays = [replace(RELAY, connected=False, down_since_ms=START - 3_600_000, backlog=50_000)]
    assert await told.lines() == [
        "The relay wss://a.example has been away for more than ten minutes",
        "No relay of the log is connected: receipts wait on disk",
        "50,000 events wait for wss://a.example",
    ]


async def test_a_part_is_watched_until_its_stack_closes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = []

    def watching(run: Any) -> AsyncExitStack:
        watched.append(run.__self__)
        return AsyncExitStack()

    monkeypatch.setattr(part_watch, "looping", watching)
    bridge: Any = SimpleNamespace(status=lambda: [RELAY])
    clock: Any = SimpleNamespace(now_ms=lambda: START)
    async with AsyncExitStack() as stack:
        await watch_part(stack, "edge", CONFIG, tmp_path, bridge, clock)
    [watch] = watched
    assert isinstance(watch, AlertWatch)
