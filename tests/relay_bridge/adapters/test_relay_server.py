"""The relay as a server: its document, its limits, readers that are too slow."""

import json
from pathlib import Path

import anyio
import httpx
import pytest
import websockets

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.nip11 import Limitation, RelayInformation
from nips.nip42 import client_auth
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.messages import ClientAuth, ClientEvent, encode_client_message
from relay_bridge.policy import OpenPolicy, PoolPolicy
from relay_bridge.relay import RelayLimits

pytestmark = pytest.mark.anyio
WAIT = 60


async def hear(socket, *names: str) -> list:
    with anyio.fail_after(WAIT):
        while True:
            message = json.loads(await socket.recv())
            if not names or message[0] in names:
                return message


async def test_the_information_document_and_the_page_for_people(tmp_path: Path) -> None:
    told = RelayInformation(name="pool", description="d", limitation=Limitation(restricted_writes=True))
    async with (
        SqliteEventStore(tmp_path / "e.db") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy(), told) as server,
        httpx.AsyncClient(base_url=server.url.replace("ws:", "http:")) as web,
    ):
        answer = await web.get("/", headers={"Accept": "application/nostr+json"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
        document = answer.json()
        assert (document["name"], document["description"]) == ("pool", "d")
        assert {1, 11} <= set(document["supported_nips"])
        assert document["limitation"]["max_message_length"] == 131_072
        assert document["limitation"]["restricted_writes"] is True
        page = await web.get("/anything")
        assert page.headers["content-type"].startswith("text/plain")
        assert "application/nostr+json" in page.text


async def test_a_message_too_large_ends_the_connection(relay) -> None:
    async with websockets.connect(relay.url) as socket:
        await socket.send('["CLOSE","' + "x" * 131_072 + '"]')
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await hear(socket, "nothing")
        assert closed.value.rcvd.code == 1009


async def test_the_largest_event_fits(relay, sign) -> None:
    """65,536 bytes of JSON, in its envelope."""
    event = sign(content="x" * (65_536 - len(encode_client_message(ClientEvent(sign()))) + len('["EVENT",]')))
    async with websockets.connect(relay.url) as socket:
        await socket.send(encode_client_message(ClientEvent(event)))
        assert (await hear(socket, "OK"))[1:3] == [event.id, True]
        await socket.send(encode_client_message(ClientEvent(sign(content=event.content + "x"))))
        answer = await hear(socket, "OK")
        assert answer[2:] == [False, "invalid: the event has 65537 bytes, the limit is 65536"]


async def test_a_pool_relay_refuses_with_a_reason_and_counts(tmp_path: Path, sign) -> None:
    async with SqliteEventStore(tmp_path / "e.db") as store:
        policy = PoolPolicy(sign().pubkey, "regtest", frozenset, store.is_known)
        async with RelayServer("127.0.0.1", 0, store, policy) as server, websockets.connect(server.url) as socket:
            for event, accepted in (
                (sign(1, who=2), False),
                (sign(9735, who=3, tags=(("p", sign(who=2).pubkey),)), False),
                (sign(0, who=2), True),
                (sign(9735, who=3, tags=(("p", sign(who=2).pubkey),)), True),
            ):
                await socket.send(encode_client_message(ClientEvent(event)))
                answer = await hear(socket, "OK")
                assert answer[2] is accepted
                assert accepted or answer[3].startswith("blocked: ")
            assert (server.stats["events_refused"], server.stats["refused_blocked"]) == (2, 2)
            assert server.stats["events_stored"] == 2


async def test_authentication_over_the_wire(relay) -> None:
    key = SecretKey(b"\x09" * 32)
    protected = key.sign(UnsignedEvent(1, 1_700_000_000, (("-",),), ""))
    async with websockets.connect(relay.url) as socket:
        challenge = (await hear(socket, "AUTH"))[1]
        await socket.send(encode_client_message(ClientEvent(protected)))
        assert (await hear(socket))[3].startswith("auth-required: ")
        answer = key.sign(client_auth(relay.url, challenge, relay.clock_ms() // 1000))
        await socket.send(encode_client_message(ClientAuth(answer)))
        assert (await hear(socket))[2] is True
        await socket.send(encode_client_message(ClientEvent(protected)))
        assert (await hear(socket))[2] is True
    async with websockets.connect(relay.url) as socket:
        # The answer is worth nothing to another connection.
        await socket.send(encode_client_message(ClientAuth(answer)))
        assert (await hear(socket, "OK"))[2] is False


async def test_a_slow_reader_is_dropped_and_nobody_waits_for_it(tmp_path: Path, sign, eventually) -> None:
    """One client stops reading a live feed of 8 MB; another gets all of it."""
    events = [sign(at=at, content="x" * 60_000) for at in range(140)]
    async with (
        SqliteEventStore(tmp_path / "e.db") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy(), max_pending=1_000_000) as server,
        websockets.connect(server.url, max_queue=1, read_limit=1024, ping_interval=None, close_timeout=0.1) as slow,
        websockets.connect(server.url) as reader,
        websockets.connect(server.url) as writer,
    ):
        for socket in (slow, reader):
            await socket.send('["REQ","s",{}]')
            await hear(socket, "EOSE")
        slow.transport.pause_reading()
        for event in events:
            await writer.send(encode_client_message(ClientEvent(event)))
            assert (await hear(writer, "OK"))[2] is True
            assert (await hear(reader))[2]["id"] == event.id
        assert server.stats["slow_dropped"] == 1
        assert server.stats["events_sent_live"] < 2 * len(events)
        await eventually(lambda: server.connections == 2)
        slow.transport.resume_reading()


async def test_a_slow_reader_of_stored_events_is_waited_for(relay, sign) -> None:
    """4 MB of stored events, read at leisure: nobody is dropped and all arrive."""
    async with websockets.connect(relay.url, max_queue=1, read_limit=1024) as socket:
        for at in range(70):
            await socket.send(encode_client_message(ClientEvent(sign(at=at, content="x" * 60_000))))
            await hear(socket, "OK")
        await socket.send('["REQ","s",{}]')
        await anyio.sleep(0.2)
        for at in reversed(range(70)):
            assert (await hear(socket))[2]["id"] == sign(at=at, content="x" * 60_000).id
        assert await hear(socket) == ["EOSE", "s"]


async def test_too_much_nonsense_ends_the_connection(tmp_path: Path) -> None:
    async with (
        SqliteEventStore(tmp_path / "e.db") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy(), limits=RelayLimits(bad_messages=5)) as server,
        websockets.connect(server.url) as socket,
    ):
        for _ in range(4):
            await socket.send("junk")
            assert (await hear(socket, "NOTICE"))[1].startswith("invalid: ")
        await socket.send("junk")
        assert (await hear(socket, "NOTICE"))[1].startswith("error: too many messages")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await hear(socket, "nothing")
        assert closed.value.rcvd.code == 1008


async def test_subscriptions_end_with_their_connection(relay, eventually) -> None:
    async with websockets.connect(relay.url) as socket:
        for name in "abc":
            await socket.send(json.dumps(["REQ", name, {}]))
            await hear(socket, "EOSE")
        await socket.send('["CLOSE","a"]')
        await socket.send('["REQ","b",{"kinds":[1]}]')
        await hear(socket, "EOSE")
        assert len(relay.subscriptions) == 2
    await eventually(lambda: relay.connections == 0)
    assert len(relay.subscriptions) == 0


async def test_stored_and_live_leave_no_gap_and_no_repeat(relay, sign, eventually) -> None:
    """Requests made in the middle of a stream of events: each sees every event once."""
    total = 300

    async def publish() -> None:
        async with websockets.connect(relay.url) as socket:
            for at in range(total):
                await socket.send(encode_client_message(ClientEvent(sign(at=at))))
            for _ in range(total):
                await hear(socket, "OK")

    async def read(socket, name: str, after: int) -> None:
        await eventually(lambda: relay.stats["events_stored"] >= after)
        await socket.send(json.dumps(["REQ", name, {"limit": 5_000}]))
        seen: list[str] = []
        while len(seen) < total:
            message = await hear(socket)
            if message[0] == "EVENT":
                assert message[1] == name
                seen.append(message[2]["id"])
        assert len(set(seen)) == total

    async with (
        websockets.connect(relay.url) as first,
        websockets.connect(relay.url) as second,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(read, first, "a", 1)
        tasks.start_soon(read, second, "b", 100)
        tasks.start_soon(publish)
