"""The operator's socket: what is asked of it, and a drain that is brought to its end."""

import hashlib
import stat
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from noncestr.edge.control import CONTROL, Control, Desk, ask
from noncestr.edge.edges import NOTHING, Drained
from noncestr.edge.orders import LaneReport
from noncestr.errors import NoncestrError
from relay_bridge.status import RelayStatus
from stratum_edge.errors import EdgeError
from stratum_edge.status import SessionRow

KEY = SecretKey(hashlib.sha256(b"noncestr test key control").digest())

pytestmark = pytest.mark.anyio


class FakeEdge:
    ports = {"main": 3333}

    def __init__(self) -> None:
        self.fin: bool | None = None
        self.hold: anyio.Event | None = None

    def status(self):
        return replace(NOTHING, sessions=1)

    def lanes(self):
        return [LaneReport(1, 42, 7, self.ports, self.status())]

    async def sessions(self):
        return [(1, SessionRow("10.0.0.1", "main", KEY.pubkey, ("rig",), "", "1", 0, 0, 0, 0, 0))]

    async def drain(self, *, fin: bool) -> Drained:
        self.fin = fin
        if self.hold is not None:
            await self.hold.wait()
        return Drained(1, 1, 0)


class FakeRelays:
    timeout: float = 0.0

    def status(self):
        return [RelayStatus("ws://r", True, "", 1, 0, 0, 0, 5)]

    async def flush(self, timeout_s: float) -> bool:
        self.timeout = timeout_s
        return True


class Rig:
    def __init__(self, folder: Path) -> None:
        self.edge, self.relays = FakeEdge(), FakeRelays()
        self.ended: list[tuple[bool, int]] = []
        self.over = anyio.Event()
        self.control = Control(
            folder / CONTROL,
            pool=PoolAddress(KEY.pubkey, "regtest"),
            edge_key=KEY.pubkey,
            edge=self.edge,
            relays=self.relays,
            ended=self.end,
            desk=Desk(lambda: {"watermarks": [1]}, {"close": self.close}),
        )

    async def close(self, name: str, at_once: bool) -> str:
        if not at_once:
            raise NoncestrError(f"{name} has its grace")
        return name

    def end(self, fin: bool, left: int) -> None:
        self.ended.append((fin, left))
        self.over.set()


async def test_questions_are_answered(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(rig.control.run)
        assert stat.S_IMODE((tmp_path / CONTROL).stat().st_mode) == 0o600
        found = await ask(tmp_path, "status")
        assert (found["network"], found["total"]["sessions"], found["lanes"][0]["lane"]) == ("regtest", 1, 7)
        assert found["relays"][0]["backlog"] == 5
        (row,) = await ask(tmp_path, "sessions")
        assert (row["lane"], row["miner"]) == (7, KEY.pubkey)
        assert await ask(tmp_path, "drain", True, 9.0) == {
            "lanes": 1, "sessions": 1, "left": 0, "published": True,
        }  # fmt: skip
        assert (rig.edge.fin, rig.relays.timeout, rig.ended) == (True, 9.0, [(True, 0)])
        with pytest.raises(NoncestrError, match="being drained already"):
            await ask(tmp_path, "drain", False, 9.0)
        assert found["watermarks"] == [1]
        assert await ask(tmp_path, "close", "npub/0", True) == "npub/0"
        with pytest.raises(NoncestrError, match="npub/0 has its grace"):
            await ask(tmp_path, "close", "npub/0", False)
        with pytest.raises(NoncestrError, match="there is no such here"):
            await ask(tmp_path, "such")
        tasks.cancel_scope.cancel()


async def test_a_drain_goes_on_when_whoever_asked_has_gone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.edge.hold = anyio.Event()
    async with anyio.create_task_group() as tasks:
        await tasks.start(rig.control.run)
        with pytest.raises(NoncestrError, match="has not answered for"):
            await ask(tmp_path, "drain", False, 9.0, timeout_s=0.1)
        rig.edge.hold.set()
        with anyio.fail_after(5):
            await rig.over.wait()
        assert rig.ended == [(False, 0)]
        tasks.cancel_scope.cancel()


async def test_nobody_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoncestrError, match="no pool and no edge runs on"):
        await ask(tmp_path, "status")


async def test_a_drain_that_fails_may_be_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path)
    drain = rig.edge.drain

    async def fails(*, fin: bool) -> Drained:
        raise EdgeError("a lane is away")

    async with anyio.create_task_group() as tasks:
        await tasks.start(rig.control.run)
        monkeypatch.setattr(rig.edge, "drain", fails)
        with pytest.raises(NoncestrError, match="a lane is away"):
            await ask(tmp_path, "drain", False, 9.0)
        monkeypatch.setattr(rig.edge, "drain", drain)
        assert (await ask(tmp_path, "drain", False, 9.0))["published"] is True
        tasks.cancel_scope.cancel()
