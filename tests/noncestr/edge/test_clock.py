"""The clock check at work: live events alone are heard, templates' times are noted, the bound comes from the terms."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST
from nips.pool.kinds import STATISTICS
from nips.pool.terms import Limits, Offer, TermsBody, build_terms
from noncestr.edge.clock import ClockedSource, EdgeClock
from noncestr.feed import Delivery
from noncestr.terms.follower import TermsFollower

KEY = SecretKey(hashlib.sha256(b"noncestr test key edge clock").digest())
POOL = PoolAddress(KEY.pubkey, "regtest")
T0_S = 1_800_000_000
BODY = TermsBody(
    {"main": Offer()}, ((KEY.pubkey, "edge"), (KEY.pubkey, "accounting")), limits=Limits(anchor_ms=100_000)
)

pytestmark = pytest.mark.anyio


class Rig:
    """A clock that is `ahead_s`; the pool's events come when they are given."""

    def __init__(self, folder: Path, ahead_s: int) -> None:
        self.ahead_s = ahead_s
        self.mono = 0.0
        self.filters: list[Any] = []
        self.give, self.events = anyio.create_memory_object_stream[object](100)
        self.terms = TermsFollower(folder / "terms.json", POOL, self)
        self.clock = EdgeClock(POOL, self.terms, cast(Any, self), self, lambda: self.mono)

    def now_ms(self) -> int:
        return round((T0_S + self.mono + self.ahead_s) * 1000)

    @asynccontextmanager
    async def subscribe(self, filters: Any, *, name: str) -> AsyncIterator[Any]:
        assert name == "clock"
        self.filters += filters
        yield self.events

    def issue(self) -> None:
        self.terms.take(KEY.sign(build_terms(POOL, FIRST, 1, BODY)))

    def told(self) -> VerifiedEvent:
        return KEY.sign(UnsignedEvent(STATISTICS, T0_S + int(self.mono), (POOL.tag(),), ""))

    async def tell(self, seconds: int) -> None:
        """Let time go by, and an event come."""
        self.mono += seconds
        await self.give.send(Delivery(self.told()))
        await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize(("ahead_s", "off"), [(0, False), (100, False), (102, True), (-102, True)])
async def test_only_what_comes_live_is_heard(tmp_path: Path, ahead_s: int, off: bool) -> None:
    rig = Rig(tmp_path, ahead_s)
    with rig.give, rig.events:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.clock.watch)
            await anyio.wait_all_tasks_blocked()
            assert rig.filters == []  # whose events they are is in the terms
            rig.issue()
            await rig.tell(0)
            await rig.tell(500)
            assert rig.clock.check.pool_ms(rig.clock.mono_ms()) is None
            await rig.give.send(object())
            for _ in range(3):
                await rig.tell(15)
            assert rig.clock.check.pool_ms(rig.clock.mono_ms()) == ahead_s * 1000
            assert (rig.clock.anchor_ms, rig.clock.is_off) == (100_000, off)
            with anyio.fail_after(5):
                await rig.clock.until(off=off)
            tasks.cancel_scope.cancel()
    (wanted,) = rig.filters
    assert wanted.authors == {KEY.pubkey}


async def test_templates_pass_and_their_times_are_noted(tmp_path: Path) -> None:
    rig = Rig(tmp_path, 5)
    template = SimpleNamespace(curtime=T0_S, mintime=T0_S - 1)

    class Source:
        network = "regtest"

        async def template(self) -> Any:
            return template

        async def quick_template(self) -> Any:
            return None

        async def wait_tip(self, known: bytes) -> Any:
            return known

        def tip(self) -> Any:
            return "tip"

        async def submit(self, block: bytes) -> Any:
            return block

        async def confirmations(self, block_hash: bytes) -> int | None:
            return len(block_hash)

        def lost_s(self) -> float:
            return 1.5

    source = ClockedSource(cast(Any, Source()), rig, rig.clock.check)
    assert await source.template() is cast(Any, template)
    assert rig.clock.check.node_ms == 5000
    assert (source.network, source.tip(), source.lost_s()) == ("regtest", cast(Any, "tip"), 1.5)
    assert await source.quick_template() is None
    assert (await source.wait_tip(b"k"), await source.submit(b"b"), await source.confirmations(b"12")) == (
        b"k", b"b", 2,
    )  # fmt: skip
    rig.give.close()
    rig.events.close()
