"""Which lanes the house lets in, and how it hears of their going."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from stratum_edge.adapters.house_server import Household, HouseServer
from stratum_edge.adapters.house_wire import Link, open_link
from stratum_edge.errors import HouseRefused
from stratum_edge.ports import Tip

pytestmark = pytest.mark.anyio


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


class NoTerms:
    async def changed(self, known: str) -> Any:
        await anyio.sleep_forever()


class Lanes:
    def __init__(self) -> None:
        self.log: list[tuple[str, int, Any]] = []
        self.changed = anyio.Event()

    def _note(self, what: str, lane: int, value: Any) -> None:
        self.log.append((what, lane, value))
        changed, self.changed = self.changed, anyio.Event()
        changed.set()

    async def until(self, count: int) -> None:
        while len(self.log) < count:
            await self.changed.wait()

    def join(self, lane: int, link: Link) -> Any:
        if lane != 1:
            raise HouseRefused("only lane 1 lives here")
        self._note("join", lane, None)
        return {"ports": ["main"]}

    def leave(self, lane: int, link: Link) -> None:
        self._note("leave", lane, None)

    def hear(self, lane: int, status: Any) -> None:
        self._note("hear", lane, status)


async def test_a_lane_gets_its_orders_and_a_stranger_is_sent_away(tmp_path: Path) -> None:
    lanes = Lanes()
    server = HouseServer(tmp_path / "house.sock", StillChain(), Household(NoTerms(), None, lanes))
    given: list[Any] = []
    ordered = anyio.Event()

    async def orders(what: Any) -> None:
        given.append(what)
        ordered.set()

    async def lane() -> int:
        return number

    async with anyio.create_task_group() as tasks:
        await tasks.start(server.run)
        number = 1
        link = await open_link(tmp_path / "house.sock", {"lane": lane, "orders": orders}, {})
        tasks.start_soon(link.run)
        await ordered.wait()
        assert given == [{"ports": ["main"]}]
        link.tell("status", 1, {"sessions": 3})
        await lanes.until(2)
        link.close()
        await lanes.until(3)
        assert lanes.log == [("join", 1, None), ("hear", 1, {"sessions": 3}), ("leave", 1, None)]
        number = 2
        stranger = await open_link(tmp_path / "house.sock", {"lane": lane, "orders": orders}, {})
        await stranger.run()
        assert not stranger.is_open
        assert len(given) == 1
        tasks.cancel_scope.cancel()
