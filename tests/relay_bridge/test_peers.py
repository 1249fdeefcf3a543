"""The bridge and relays we don't control, each a process of its own: ours, rust-nostr's, npm's @nostr-relay/core.

strfry too, if NONCESTR_STRFRY names its program: it is built by hand, outside of the tree (docs/relays.md).
"""

import os
from pathlib import Path

import anyio
import pytest

from nips.nip01 import VerifiedEvent, make_filter
from nips.pool import kinds
from relay_bridge.adapters import refill
from relay_bridge.adapters.subscription import EndOfStored
from relay_bridge.chains import Place
from relay_bridge.service import RelayBridge

pytestmark = pytest.mark.anyio
PEERS = ["ours", "rust-nostr", "npm", *(["strfry"] if "NONCESTR_STRFRY" in os.environ else [])]
WAIT = 60


def where(event) -> Place | None:
    seq = event.tag_value("seq")
    return None if seq is None else Place("lane", int(seq), event.tag_value("prev"))


@pytest.fixture
def log(sign) -> list[VerifiedEvent]:
    """A chain of receipts, some of them as large as SPEC.md allows, two a second."""
    events: list[VerifiedEvent] = []
    for seq in range(120):
        prev = (("prev", events[-1].id),) if events else ()
        content = "x" * (59_000 if seq % 40 == 7 else 200)
        events.append(sign(kinds.RECEIPT, seq // 2, (("seq", str(seq)), *prev, ("p", "ab" * 32)), content))
    return events


ASKED = [make_filter(kinds=[kinds.RECEIPT])]


async def stored(bridge: RelayBridge, **how) -> list[VerifiedEvent]:
    got: list[VerifiedEvent] = []
    with anyio.fail_after(WAIT):
        async with bridge.subscribe(ASKED, name="reader", **how) as subscription:
            async for delivered in subscription:
                if isinstance(delivered, EndOfStored):
                    return got
                got.append(delivered)
    raise AssertionError


@pytest.mark.parametrize("kind", PEERS)
async def test_a_chain_out_and_in(tmp_path: Path, peer, running, log, kind: str) -> None:
    """Published in order, read back in order, live after that, and a restart of the reader gets nothing twice."""
    async with peer(kind) as relay:
        async with running(RelayBridge([relay.url], outbox_path=tmp_path / "o.db", chain_of=where)) as bridge:
            await bridge.publish_many(log[:100], chain="lane")
            assert await bridge.flush(WAIT)
            assert await stored(bridge, resume=True, ordered=True) == log[:100]
            async with bridge.subscribe(ASKED, name="reader", resume=True, ordered=True) as subscription:
                with anyio.fail_after(WAIT):
                    assert isinstance(await anext(subscription), EndOfStored)
                    for event in log[100:110]:
                        await bridge.publish(event, chain="lane")
                        assert await anext(subscription) == event
            # A relay may send an event to its subscribers before it says OK to who published it.
            assert await bridge.flush(WAIT)
            [status] = bridge.status()
            assert (status.refused, status.backlog) == (0, 0)
            assert bridge.alarms == {}
        async with running(RelayBridge([relay.url], outbox_path=tmp_path / "o.db", chain_of=where)) as bridge:
            await bridge.publish_many(log[110:], chain="lane")
            assert await bridge.flush(WAIT)
            assert await stored(bridge, resume=True, ordered=True) == log[110:]


@pytest.mark.parametrize("kind", PEERS)
async def test_killed_under_load_and_back(
    tmp_path: Path, peer, relay, running, log, monkeypatch, eventually, kind: str
) -> None:
    """The relay is killed while a chain is published, and comes back at its address, with or without what it had:
    in the end it has everything."""
    monkeypatch.setattr(refill, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(refill, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(refill, "EVENTS_A_SECOND", 1_000)
    keep = [refill.Keep(make_filter(authors=[log[0].pubkey], kinds=[kinds.RECEIPT]))]

    async def whole(bridge: RelayBridge) -> None:
        with anyio.fail_after(WAIT):
            while True:
                status = bridge.status()[1]
                if status.connected and status.backlog == 0:
                    async with running(RelayBridge([status.url], outbox_path=tmp_path / "check.db")) as reader:
                        if await reader.fetch(ASKED) == sorted(log, key=lambda event: (event.created_at, event.id)):
                            return
                await anyio.sleep(0.1)

    async with running(RelayBridge([relay.url], outbox_path=tmp_path / "w.db")) as bridge:
        # The log so far, as the other relay has it.
        await bridge.publish_many(log[:60], chain="lane")
        assert await bridge.flush(WAIT)
    async with peer(kind) as first:
        port = int(first.url.rpartition(":")[2])
        bridge = RelayBridge(
            [relay.url, first.url], outbox_path=tmp_path / "o.db", keep=keep, source=(relay.url, relay.store)
        )
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        await tasks.start(bridge.run)
        await bridge.publish_many(log[60:80], chain="lane")
        with anyio.fail_after(WAIT):
            while bridge.status()[1].published < 10:  # noqa: ASYNC110 - the status has no event to wait for
                await anyio.sleep(0.01)
    await bridge.publish_many(log[80:], chain="lane")
    await eventually(lambda: bridge.status()[1].down_since_ms is not None)
    async with peer(kind, port):
        await whole(bridge)
        assert bridge.status()[1].down_since_ms is None
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)


@pytest.mark.parametrize("kind", PEERS)
async def test_what_one_lost_the_others_give(tmp_path: Path, peer, relay, running, log, kind: str) -> None:
    """Two relays with different holes: a reader gets the whole chain, in order, and no alarm."""
    async with peer(kind) as other:
        for url, some in ((relay.url, 2), (other.url, 3)):
            async with running(RelayBridge([url], outbox_path=tmp_path / f"w{some}.db")) as bridge:
                await bridge.publish_many([event for seq, event in enumerate(log) if seq % some or seq == 0])
                assert await bridge.flush(WAIT)
        bridge = RelayBridge([relay.url, other.url], outbox_path=tmp_path / "o.db", chain_of=where)
        async with running(bridge):
            got = await stored(bridge, ordered=True)
            lacking = {seq for seq in range(1, 120) if seq % 6 == 0}
            assert got == [event for seq, event in enumerate(log) if seq not in lacking]
            async with bridge.subscribe(ASKED, name="live", ordered=True) as subscription:
                with anyio.fail_after(WAIT):
                    while not isinstance(await anext(subscription), EndOfStored):
                        pass
                    await bridge.publish_many([log[seq] for seq in sorted(lacking)])
                    assert {(await anext(subscription)).id for _ in lacking} == {log[seq].id for seq in lacking}
                    assert subscription.gaps() == []
        assert bridge.alarms == {}
