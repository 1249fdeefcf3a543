"""Relays that lost events get them again: from a store beside us or from other relays, in order, once."""

from pathlib import Path

import anyio
import pytest

from nips.nip01 import VerifiedEvent, make_filter
from nips.nip11 import Limitation, RelayInformation
from nips.pool import kinds
from relay_bridge.adapters import refill
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.chains import Place
from relay_bridge.policy import OpenPolicy
from relay_bridge.service import RelayBridge

pytestmark = pytest.mark.anyio
WAIT = 60
DAY = 86_400
KINDS = [kinds.RECEIPT, kinds.STATEMENT, 0, 1]


@pytest.fixture(autouse=True)
def at_once(monkeypatch) -> None:
    monkeypatch.setattr(refill, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(refill, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(refill, "EVENTS_A_SECOND", 1_000)


@pytest.fixture
def log(sign) -> list[VerifiedEvent]:
    """Three days of receipts, ten a second at times, a profile, a statement a day."""
    receipts = [sign(kinds.RECEIPT, day * DAY + at // 10, content=str(at)) for day in range(3) for at in range(60)]
    return [*receipts, sign(0, 5), *(sign(kinds.STATEMENT, day * DAY + 9) for day in range(3))]


@pytest.fixture
async def filled(tmp_path: Path, relay, running, log) -> RelayServer:
    """A relay of ours that has the log."""
    async with running(RelayBridge([relay.url], outbox_path=tmp_path / "writer.db")) as bridge:
        await bridge.publish_many(log)
        assert await bridge.flush(WAIT)
    return relay


async def ids_of(server: RelayServer) -> set[str]:
    return {event_id for _, event_id in await server.store.records(make_filter(kinds=KINDS), most=10_000)}


def keep(log, *let_go: tuple[int, int]) -> list[refill.Keep]:
    return [refill.Keep(make_filter(authors=[log[0].pubkey], kinds=KINDS), lambda: let_go)]


@pytest.mark.parametrize("source", ["store", "relay"])
async def test_an_empty_relay_is_filled(
    tmp_path: Path, filled, other_relay, running, log, eventually, source: str
) -> None:
    """As if it had lost its disk. The profile is no part of the log: a newer one may have replaced it."""
    bridge = RelayBridge(
        [filled.url, other_relay.url],
        outbox_path=tmp_path / "o.db",
        keep=keep(log),
        source=(filled.url, filled.store) if source == "store" else None,
    )
    async with running(bridge):
        await eventually(lambda: bridge.status()[1].refilled == len(log) - 1)
        assert await ids_of(other_relay) == {event.id for event in log if event.kind != 0}
        assert bridge.status()[0].refilled == 0
        # Another look finds nothing to do.
        stored = other_relay.stats["events_duplicate"]
        await anyio.sleep(0.5)
        assert other_relay.stats["events_duplicate"] == stored


@pytest.mark.parametrize("serves", ["negentropy", "pages"])
async def test_what_was_let_go_is_not_filled_in(
    tmp_path: Path, filled, other_relay, telling, keeper, running, log, eventually, serves: str
) -> None:
    """An archive holds the first day and half of the second: a relay that dropped it has no hole, before and after it
    it has.
    """
    first = min(event.created_at for event in log)
    let_go = (first // DAY * DAY, first + DAY + 3)
    due = {event.id for event in log if event.kind != 0 and event.created_at >= let_go[1]}
    assert 0 < len(due) < len(log) - 1
    has: dict[str, VerifiedEvent] = {}
    async with telling(RelayInformation(), keeper(has)) as plain:
        bridge = RelayBridge(
            [filled.url, other_relay.url if serves == "negentropy" else plain],
            outbox_path=tmp_path / "o.db",
            keep=keep(log, let_go),
            source=(filled.url, filled.store),
        )
        async with running(bridge):
            await eventually(lambda: bridge.status()[1].refilled == len(due))
            looks = 2 * refill.LOOK_SECONDS
            await anyio.sleep(looks)
            assert bridge.status()[1].refilled == len(due)
            assert (await ids_of(other_relay) if serves == "negentropy" else set(has)) == due


async def test_holes_are_filled_in_the_order_of_chains(
    tmp_path: Path, filled, telling, keeper, running, log, eventually
) -> None:
    """A relay that offers nothing but pages and refuses duplicates' cost: only what lacks is sent, oldest first."""
    kept = {event.id: event for number, event in enumerate(log) if number % 3}
    lacking = [event for number, event in enumerate(log) if number % 3 == 0 and event.kind != 0]
    had = set(kept)

    def where(event) -> Place | None:
        # The reverse of the ids' own order within a second.
        return Place("lane", 10**9 - int(event.id[:6], 16), None) if event.kind == kinds.RECEIPT else None

    async with telling(RelayInformation(), keeper(kept)) as url:
        bridge = RelayBridge(
            [filled.url, url],
            outbox_path=tmp_path / "o.db",
            keep=keep(log),
            source=(filled.url, filled.store),
            chain_of=where,
        )
        async with running(bridge):
            await eventually(lambda: bridge.status()[1].refilled == len(lacking))
    sent = [event for event_id, event in kept.items() if event_id not in had]
    assert {event.id for event in sent} == {event.id for event in lacking}
    receipts = [event for event in sent if event.kind == kinds.RECEIPT]
    assert receipts == sorted(receipts, key=lambda event: (event.created_at, where(event).seq))


async def test_the_source_itself_is_filled_from_others(
    tmp_path: Path, filled, other_relay, running, log, eventually
) -> None:
    bridge = RelayBridge(
        [other_relay.url, filled.url],
        outbox_path=tmp_path / "o.db",
        keep=keep(log),
        source=(other_relay.url, other_relay.store),
    )
    async with running(bridge):
        await eventually(lambda: bridge.status()[0].refilled == len(log) - 1)


async def test_a_social_relay_gets_its_part_back(tmp_path: Path, filled, other_relay, running, log, eventually) -> None:
    bridge = RelayBridge(
        [filled.url],
        social=[other_relay.url],
        outbox_path=tmp_path / "o.db",
        keep=keep(log),
        source=(filled.url, filled.store),
    )
    async with running(bridge):
        await eventually(lambda: bridge.status()[1].refilled == 3)
        assert await ids_of(other_relay) == {event.id for event in log if event.kind == kinds.STATEMENT}


async def test_after_a_loss_while_we_are_connected(tmp_path: Path, filled, running, log, eventually) -> None:
    """The relay goes away, comes back at its address with an empty disk, and is filled again."""
    async with SqliteEventStore(tmp_path / "first.db") as first, SqliteEventStore(tmp_path / "second.db") as second:
        server = RelayServer("127.0.0.1", 0, first, OpenPolicy())
        bridge = RelayBridge([filled.url, "ws://127.0.0.1:1"], outbox_path=tmp_path / "o.db")
        async with server:
            bridge = RelayBridge(
                [filled.url, server.url],
                outbox_path=tmp_path / "o.db",
                keep=keep(log),
                source=(filled.url, filled.store),
            )
            port = server.port
            tasks = anyio.create_task_group()
            await tasks.__aenter__()
            await tasks.start(bridge.run)
            await eventually(lambda: bridge.status()[1].refilled == len(log) - 1)
        async with RelayServer("127.0.0.1", port, second, OpenPolicy()) as again:
            await eventually(lambda: bridge.status()[1].refilled == 2 * (len(log) - 1))
            assert await ids_of(again) == {event.id for event in log if event.kind != 0}
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)


async def test_a_relay_that_keeps_nothing_is_found_out(
    tmp_path: Path, filled, scripted, running, log, eventually
) -> None:
    """It says OK true to everything, and stores nothing: one filling, then a complaint and no more."""
    import json

    taken: list[str] = []

    async def liar(socket) -> None:
        async for text in socket:
            name, *items = json.loads(text)
            if name == "EVENT":
                taken.append(items[0]["id"])
                await socket.send(json.dumps(["OK", items[0]["id"], True, ""]))
            elif name == "REQ":
                await socket.send(json.dumps(["EOSE", items[0]]))

    async with scripted(liar) as url:
        bridge = RelayBridge(
            [filled.url, url], outbox_path=tmp_path / "o.db", keep=keep(log), source=(filled.url, filled.store)
        )
        async with running(bridge):
            await eventually(lambda: bool(bridge.status()[1].complaints))
            assert "does not keep them" in bridge.status()[1].complaints[0]
            await anyio.sleep(0.5)
    assert len(taken) == len(set(taken)) == len(log) - 1


async def test_what_is_refused_is_not_tried_every_hour(
    tmp_path: Path, filled, telling, keeper, running, log, sign, eventually
) -> None:
    kept = {event.id: event for event in log}
    small = RelayInformation(limitation=Limitation(max_message_length=2_000))
    async with (
        telling(small, keeper(kept)) as url,
        running(RelayBridge([filled.url], outbox_path=tmp_path / "w.db")) as writer,
    ):
        big = sign(kinds.RECEIPT, 2 * DAY + 50, content="x" * 3_000)
        await writer.publish(big)
        assert await writer.flush(WAIT)
        bridge = RelayBridge(
            [filled.url, url], outbox_path=tmp_path / "o.db", keep=keep(log), source=(filled.url, filled.store)
        )
        async with running(bridge):
            [work] = bridge._refills
            await eventually(lambda: work._refused[url] == {big.id})
            await anyio.sleep(0.5)
            assert bridge.status()[1].refilled == 0
    assert big.id not in kept
