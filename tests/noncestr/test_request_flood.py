"""A flood of withdrawal requests at a real relay, over the real bridge: the zapper finds the miner's all the same."""

import hashlib
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.kinds import WITHDRAWAL
from noncestr.feed import BridgeFeed
from noncestr.running import running
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy
from relay_bridge.relay import RelayLimits
from relay_bridge.service import RelayBridge
from zapper.request_reader import PAGE, RequestReader

pytestmark = pytest.mark.anyio
NOW_MS = 1_800_000_000_000
PATIENCE_S = 60
ZAPPER = "bb" * 32


def request(name: str, age_s: int, number: int = 0) -> UnsignedEvent:
    return UnsignedEvent(WITHDRAWAL, NOW_MS // 1000 - age_s, (("p", ZAPPER),), f"{name} {number}")


def key(name: str) -> SecretKey:
    return SecretKey(hashlib.sha256(name.encode()).digest())


@pytest.mark.parametrize("most", [PAGE, PAGE // 5])
@pytest.mark.parametrize("age_s", [9_000, 5])
async def test_a_flood_at_a_relay_hides_no_request(tmp_path: Path, most: int, age_s: int) -> None:
    """`most`: what the relay gives at once; `age_s`: the miner's request is older than the flood, or of its second."""
    miner, other = key("miner"), key("other")
    wanted = miner.sign(request("wanted", age_s))
    flood = [key(f"stranger {number % 7}").sign(request("flood", 5, number)) for number in range(PAGE + PAGE // 5)]
    async with (
        SqliteEventStore(tmp_path / "relay.sqlite") as store,
        RelayServer(
            "127.0.0.1", 0, store, OpenPolicy(), limits=RelayLimits(max_results=most, default_results=most)
        ) as server,
    ):
        stored = anyio.Event()
        left = len(flood) + 1

        def count(_outcome: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                stored.set()

        for event in (*flood, wanted):
            store.put(event, count)
        with anyio.fail_after(PATIENCE_S):
            await stored.wait()
        bridge = RelayBridge([server.url], outbox_path=tmp_path / "outbox.sqlite")
        async with running(bridge.run):
            asked = 0

            async def owed() -> list[str]:
                nonlocal asked
                asked += 1
                await anyio.lowlevel.checkpoint()
                return [miner.pubkey, other.pubkey]

            reader = RequestReader(BridgeFeed(bridge), ZAPPER, fetch_timeout_s=PATIENCE_S, clock=lambda: NOW_MS)
            found = await reader.read(owed)
    assert asked == 1
    assert wanted in found
