"""When an edge serves: named, by a clock that is right, in lanes that are open; it goes on after each change."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import encode_event
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head, Link
from nips.pool.terms import Offer, TermsBody, build_terms
from noncestr.config.file import load_config
from noncestr.edge.clock import EdgeClock
from noncestr.edge.lanes import LanePlan
from noncestr.errors import NoncestrError
from noncestr.keys.files import load_or_create
from noncestr.parts.edge import LoneEdge
from noncestr.terms.follower import TermsFollower

POOL_KEY = SecretKey(hashlib.sha256(b"noncestr test key edge run").digest())
POOL = PoolAddress(POOL_KEY.pubkey, "regtest")
# Nobody listens there: terms come from the file, and from the test.
AWAY = "ws://127.0.0.1:9"

pytestmark = pytest.mark.anyio


class Scene:
    """An edge whose serving is only noted. `clock_off` is what its clock check says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock_off = False
        self.said: list[str] = []
        self.served: list[int] = []
        self.serving = anyio.Event()
        self.stop = anyio.Event()
        self.terms: TermsFollower
        self.edge_key = load_or_create(folder / "keys", "edge").pubkey
        self.body = TermsBody({"main": Offer()}, ((self.edge_key, "edge"),))
        self.first = POOL_KEY.sign(build_terms(POOL, FIRST, 1, self.body))
        (folder / "terms.json").write_bytes(encode_event(self.first))
        monkeypatch.setattr(EdgeClock, "is_off", property(lambda _: self.clock_off))
        monkeypatch.setattr("noncestr.edge.clock.LOOK_S", 0.001)
        monkeypatch.setattr(LoneEdge, "_serve", lambda _, *args: self.serve(*args))
        self.edge = LoneEdge(
            load_config(None, {"NONCESTR_STRATUM_PORT": "0"}), folder,
            pool=POOL, relays=(AWAY,), chain_of=folder, lan=False, say=self.said.append,
        )  # fmt: skip

    async def serve(self, _stack: Any, terms: TermsFollower, _bridge: Any, _clock: Any) -> LanePlan:
        self.terms = terms
        self.served.append(len(self.served))
        self.serving.set()
        return LanePlan((len(self.served) - 1,), {})

    async def until_served(self, times: int) -> None:
        while len(self.served) < times:
            await self.serving.wait()
            self.serving = anyio.Event()
        await anyio.wait_all_tasks_blocked()

    def issue(self, body: TermsBody, seq: int = 1) -> None:
        self.terms.take(POOL_KEY.sign(build_terms(POOL, Link(seq, self.first.id), 2, body)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.edge.run, self.stop.wait)
                yield
                self.stop.set()


async def test_an_edge_whose_clock_is_off_lets_its_miners_go_until_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, monkeypatch)
    scene.clock_off = True
    waiting = "waiting: the clock is too far from the pool's"
    async with scene.running():
        while waiting not in scene.said:  # noqa: ASYNC110 - it says so in a line, which is no event
            await anyio.sleep(0.001)
        assert scene.served == []
        scene.clock_off = False
        await scene.until_served(1)
        scene.clock_off = True
        while scene.said.count(waiting) < 2:  # noqa: ASYNC110 - as above
            await anyio.sleep(0.001)
        assert "the clock is too far from the pool's: miners are let go until it is set" in scene.said
        scene.clock_off = False
        await scene.until_served(2)


async def test_an_edge_begins_anew_when_its_lane_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch)
    async with scene.running():
        await scene.until_served(1)
        others = {f"{scene.edge_key}/7": Head(1, "ab" * 32), f"{POOL_KEY.pubkey}/0": Head(1, "ab" * 32)}
        scene.issue(TermsBody(scene.body.offers, scene.body.keys, others))
        await anyio.wait_all_tasks_blocked()
        assert scene.served == [0]
        ours = {**others, f"{scene.edge_key}/0": Head(1, "cd" * 32)}
        scene.issue(TermsBody(scene.body.offers, scene.body.keys, ours), seq=2)
        await scene.until_served(2)
        assert any("a lane was closed by the pool" in line for line in scene.said)
    assert scene.said[-1].startswith("stopped; everything is kept")


async def test_an_edge_that_is_left_out_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch)

    async def leave_it_out() -> None:
        await scene.until_served(1)
        scene.issue(TermsBody(scene.body.offers, ()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave_it_out)
        with pytest.raises(NoncestrError, match="name this edge no more"), anyio.fail_after(20):
            await scene.edge.run(scene.stop.wait)
    assert not any("a lane was closed" in line for line in scene.said)
