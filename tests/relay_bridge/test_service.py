"""The bridge, against honest relays, relays that come and go, and relays that lie."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import msgspec
import pytest

from nips.nip01 import Event, make_filter, parse_event, parse_filter, verify
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.fetch import fetch_events
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.adapters.subscription import EndOfStored
from relay_bridge.errors import BridgeNotRunning, RelayUnavailable
from relay_bridge.messages import event_frame, event_json
from relay_bridge.policy import OpenPolicy
from relay_bridge.service import RelayBridge

pytestmark = pytest.mark.anyio
WAIT = 60
NOWHERE = "ws://127.0.0.1:1"


async def until_end(subscription) -> tuple[list[Event], EndOfStored]:
    stored = []
    with anyio.fail_after(WAIT):
        async for delivered in subscription:
            if isinstance(delivered, EndOfStored):
                return stored, delivered
            stored.append(delivered)
    raise AssertionError("the subscription ended")


async def next_of(subscription):
    with anyio.fail_after(WAIT):
        return await anext(subscription)


def in_order(events) -> list[Event]:
    return sorted(events, key=lambda event: (event.created_at, event.id))


async def test_publish_fetch_subscribe(tmp_path: Path, relay, other_relay, running, sign) -> None:
    events = [sign(at=at // 3, content=str(at)) for at in range(20)]
    async with running(RelayBridge([relay.url, other_relay.url], outbox_path=tmp_path / "o.db", quorum=2)) as bridge:
        await bridge.publish_many(events, chain="lane")
        await bridge.publish(events[3], chain="lane")
        assert await bridge.flush(WAIT)
        assert await bridge.fetch([make_filter(kinds=[1])]) == in_order(events)
        newest = in_order(events)[-2:]
        first = in_order(events)[0]
        assert await bridge.fetch([make_filter(limit=2), make_filter(ids=[first.id])]) == [first, *newest]
        async with bridge.subscribe([make_filter(kinds=[1, 2])], name="test") as subscription:
            stored, end = await until_end(subscription)
            assert stored == in_order(events)
            assert end == EndOfStored(tuple(sorted((relay.url, other_relay.url))), {}, True)
            live = sign(2, 99)
            await bridge.publish(live)
            assert await next_of(subscription) == live
            # It comes from both relays, and is delivered once.
            last = sign(2, 100)
            assert await bridge.flush(WAIT)
            await bridge.publish(last)
            assert await next_of(subscription) == last
        assert await bridge.flush(WAIT)
        for status in bridge.status():
            assert (status.connected, status.published, status.backlog, status.bad) == (True, 22, 0, 0)
            assert status.received > 0


async def test_more_than_a_page_and_more_than_a_page_in_one_second(tmp_path: Path, relay, running, sign) -> None:
    events = [sign(at=at, content="a") for at in range(700)] + [sign(at=300, content=str(n)) for n in range(1_200)]
    async with running(RelayBridge([relay.url], outbox_path=tmp_path / "o.db")) as bridge:
        await bridge.publish_many(events)
        assert await bridge.flush(30)
        assert await bridge.fetch([make_filter(kinds=[1])]) == in_order(events)
        async with bridge.subscribe([make_filter(kinds=[1])], name="t") as subscription:
            assert (await until_end(subscription))[0] == in_order(events)
        progress: list[int] = []
        result = await fetch_events([relay.url, NOWHERE], [make_filter()], timeout_s=5, on_progress=progress.append)
        assert result.events == in_order(events)
        assert progress[-1] == len(events)
        reports = {report.url: report for report in result.relays}
        assert (reports[relay.url].complete, reports[relay.url].count) == (True, len(events))
        assert not reports[NOWHERE].reached
        assert reports[NOWHERE].error


async def test_the_independent_relay_serves_the_bridge_as_well(tmp_path: Path, sdk_relay, running, sign) -> None:
    events = [sign(at=at) for at in range(600)]
    async with running(RelayBridge([sdk_relay], outbox_path=tmp_path / "o.db")) as bridge:
        await bridge.publish_many(events[:50], chain="x")
        await bridge.publish_many(events[50:])
        assert await bridge.flush(30)
        async with bridge.subscribe([make_filter(kinds=[1])], name="t") as subscription:
            assert (await until_end(subscription))[0] == in_order(events)
            await bridge.publish(sign(at=9_999))
            assert await next_of(subscription) == sign(at=9_999)


async def test_nothing_works_outside_of_run(tmp_path: Path, relay, running, sign) -> None:
    bridge = RelayBridge([relay.url], outbox_path=tmp_path / "o.db")
    for _ in range(2):
        with pytest.raises(BridgeNotRunning):
            await bridge.publish(sign())
        with pytest.raises(BridgeNotRunning):
            await bridge.fetch([make_filter()])
        with pytest.raises(BridgeNotRunning):
            bridge.subscribe([make_filter()], name="x")
        async with running(bridge):
            pass
    with pytest.raises(ValueError, match="quorum"):
        RelayBridge([relay.url, relay.url], outbox_path=tmp_path / "o.db", quorum=2)


async def test_no_relay_no_fetch(tmp_path: Path, running, sign) -> None:
    async with running(RelayBridge([NOWHERE], outbox_path=tmp_path / "o.db")) as bridge:
        with pytest.raises(RelayUnavailable, match=r"127\.0\.0\.1:1"):
            await bridge.fetch([make_filter()], timeout_s=0.2)
        await bridge.publish(sign())
        assert not await bridge.flush(0.05)
        [status] = bridge.status()
        assert (status.connected, status.backlog) == (False, 1)
        assert status.last_error


async def test_a_relay_that_comes_back(tmp_path: Path, running, sign) -> None:
    """While it is away, events wait; when it is back they are sent, and a subscription goes on where it was."""
    async with SqliteEventStore(tmp_path / "e.db") as store:
        server = RelayServer("127.0.0.1", 0, store, OpenPolicy())
        async with server:
            url, port = server.url, server.port
            bridge = RelayBridge([url], outbox_path=tmp_path / "o.db")
            tasks = anyio.create_task_group()
            await tasks.__aenter__()
            await tasks.start(bridge.run)
            subscription = bridge.subscribe([make_filter()], name="s")
            await subscription.__aenter__()
            await bridge.publish(sign(at=1))
            assert await bridge.flush(WAIT)
            first = [await next_of(subscription), await next_of(subscription)]
            assert sign(at=1) in first
        await bridge.publish(sign(at=2))
        assert not await bridge.flush(0.05)
        async with RelayServer("127.0.0.1", port, store, OpenPolicy()) as again:
            assert await bridge.flush(WAIT)
            assert await next_of(subscription) == sign(at=2)
            assert again.stats["events_stored"] == 1
            await subscription.__aexit__(None, None, None)
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)


async def test_one_relay_down_does_not_hold_up_the_rest(tmp_path: Path, relay, running, sign) -> None:
    async with running(RelayBridge([NOWHERE, relay.url], outbox_path=tmp_path / "o.db")) as bridge:
        await bridge.publish(sign())
        assert await bridge.flush(WAIT)
        async with bridge.subscribe([make_filter()], name="s") as subscription:
            stored, end = await until_end(subscription)
            assert stored == [sign()]
            assert end.answered == (relay.url,)
            assert list(end.silent) == [NOWHERE]
        # The relay that is away is not waited for.
        with anyio.fail_after(WAIT):
            assert await bridge.fetch([make_filter()], timeout_s=3_600) == [sign()]


_PUBLISHER = """
import sys
from pathlib import Path
import anyio
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from relay_bridge.service import RelayBridge

async def main():
    key = SecretKey(b"\\1" * 32)
    async with anyio.create_task_group() as tasks:
        bridge = RelayBridge([sys.argv[1]], outbox_path=Path(sys.argv[2]))
        await tasks.start(bridge.run)
        for n in range(100_000):
            event = key.sign(UnsignedEvent(4212, 1_700_000_000 + n, (), ""))
            await bridge.publish(event, chain="lane")
            print(event.id, flush=True)

anyio.run(main)
"""


@pytest.mark.parametrize("reachable", [True, False])
async def test_what_was_published_survives_kill_9(tmp_path: Path, relay, running, reachable: bool) -> None:
    """A publisher is killed, with its relay up or away; the next start sends what lacks, each once, in order."""
    url = relay.url if reachable else NOWHERE
    process = await anyio.to_thread.run_sync(
        lambda: subprocess.Popen(
            [sys.executable, "-c", _PUBLISHER, url, str(tmp_path / "o.db")], stdout=subprocess.PIPE, text=True
        )
    )

    def read_and_kill() -> list[str]:
        published = [process.stdout.readline().strip() for _ in range(150)]
        process.send_signal(signal.SIGKILL)
        published += [line.strip() for line in process.stdout if len(line) == 65]
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        return published

    published = await anyio.to_thread.run_sync(read_and_kill)
    bridge = RelayBridge([relay.url], outbox_path=tmp_path / "o.db")
    async with running(bridge):
        assert await bridge.flush(30)
        fetched = [event.id for event in await bridge.fetch([make_filter(kinds=[4212])])]
    # One more may have been committed whose line was not written yet.
    assert fetched[: len(published)] == published
    assert len(fetched) <= len(published) + 1
    again = RelayBridge([relay.url], outbox_path=tmp_path / "o.db")
    async with running(again):
        assert await again.flush(0)
        assert again.status()[0].backlog == 0


# Relays that lie


async def test_hostile_answers_to_a_request(tmp_path: Path, scripted, running, sign) -> None:
    """Garbage, forgeries, unasked events, wrong ids: none gets through, all are counted, the good ones arrive."""
    good = [sign(at=1), sign(at=2)]
    wire = json.loads(event_json(good[0]))

    async def lie(socket) -> None:
        async for text in socket:
            name, sub_id, *filters = json.loads(text)
            if name != "REQ":
                continue
            asked = [parse_filter(item) for item in filters]
            await socket.send("garbage")
            await socket.send(b"\xff\x00")
            await socket.send("[" * 2_000)
            await socket.send(event_frame("unknown", event_json(good[1])))
            await socket.send(event_frame(sub_id, event_json(sign(kind=2))))
            await socket.send(event_frame(sub_id, json.dumps({**wire, "content": "forged"})))
            await socket.send(event_frame(sub_id, json.dumps({**wire, "sig": "0" * 128})))
            await socket.send(event_frame(sub_id, json.dumps({**wire, "tags": [[]]})))
            await socket.send('["OK","' + "a" * 64 + '",true,""]')
            for event in good:
                if any(each.matches(event) for each in asked):
                    await socket.send(event_frame(sub_id, event_json(event)))
                    await socket.send(event_frame(sub_id, event_json(event)))
            await socket.send(json.dumps(["EOSE", sub_id]))
            await socket.send(json.dumps(["EOSE", sub_id]))

    async with scripted(lie) as url:
        async with running(RelayBridge([url], outbox_path=tmp_path / "o.db")) as bridge:
            assert await bridge.fetch([make_filter(kinds=[1])]) == good
            assert bridge.status()[0].bad >= 8
            async with bridge.subscribe([make_filter(kinds=[1])], name="s") as subscription:
                assert (await until_end(subscription))[0] == good
        result = await fetch_events([url], [make_filter(kinds=[1])], timeout_s=5)
        assert result.events == good
        reasons = " / ".join(reason for _, _, reason in result.unverified)
        for part in ("is not the event's hash", "is not signed by", "not JSON", "non-empty array", "does not match"):
            assert part in reasons
        forged = [event for _, event, reason in result.unverified if event is not None]
        assert {event.content for event in forged} == {"forged", ""}
        assert result.relays[0].bad == len(result.unverified)


async def test_lies_about_what_was_published(tmp_path: Path, scripted, running, sign, eventually, caplog) -> None:
    """OKs for other ids count for nothing; refusals are reported and not repeated; rate limits are waited out."""
    heard: list[str] = []
    rate_limited, refused = sign(content="later"), sign(content="never")

    async def lie(socket) -> None:
        async for text in socket:
            name, event = json.loads(text)
            assert name == "EVENT"
            heard.append(event["content"])
            await socket.send('["OK","' + "b" * 64 + '",true,""]')
            await socket.send(json.dumps(["OK", event["id"][:-1], True, ""]))
            if event["content"] == "never":
                await socket.send(json.dumps(["OK", event["id"], False, "blocked: not you"]))
            elif heard.count("later") == 1:
                await socket.send(json.dumps(["OK", event["id"], False, "rate-limited: slow down"]))
            else:
                await socket.send(json.dumps(["OK", event["id"], True, ""]))

    async with (
        scripted(lie) as url,
        running(RelayBridge([url], outbox_path=tmp_path / "o.db")) as bridge,
    ):
        await bridge.publish(refused, chain="c")
        await bridge.publish(sign(content="behind"), chain="c")
        await bridge.publish(rate_limited)
        await eventually(lambda: bridge.status()[0].published == 1)
        [status] = bridge.status()
        assert (status.refused, status.published, status.backlog) == (1, 1, 2)
        assert heard == ["never", "later", "later"]
        assert not await bridge.flush(0)
    assert "refuses event" in caplog.text


async def test_a_relay_that_closes_in_the_middle(tmp_path: Path, scripted, running, sign) -> None:
    """It hangs up in the middle of stored events, then in the middle of a frame; then it serves: nothing is missed."""
    events = [sign(at=at) for at in range(5)]
    visits = 0

    async def flaky(socket) -> None:
        nonlocal visits
        visits += 1
        visit = visits
        async for text in socket:
            name, sub_id, *filters = json.loads(text)
            if name != "REQ":
                continue
            asked = parse_filter(filters[0])
            matching = sorted((e for e in events if asked.matches(e)), key=lambda e: -e.created_at)[: asked.limit]
            for event in matching:
                await socket.send(event_frame(sub_id, event_json(event)))
                if visit == 1:
                    await socket.close()
                elif visit == 2:
                    # A text frame of 100 bytes announced, three sent.
                    socket.transport.write(b'\x81\x64["E')
                    socket.transport.close()
            await socket.send(json.dumps(["EOSE", sub_id]))

    async with (
        scripted(flaky) as url,
        running(RelayBridge([url], outbox_path=tmp_path / "o.db")) as bridge,
        bridge.subscribe([make_filter()], name="s") as subscription,
    ):
        stored, end = await until_end(subscription)
        assert stored == events
        assert end.answered == (url,)
        assert visits >= 3


async def test_a_relay_that_never_answers(tmp_path: Path, scripted, relay, running, sign) -> None:
    async def mute(socket) -> None:
        async for _ in socket:
            pass

    async with (
        scripted(mute) as url,
        running(RelayBridge([url, relay.url], outbox_path=tmp_path / "o.db")) as bridge,
    ):
        await bridge.publish(sign())
        assert await bridge.flush(WAIT)
        assert await bridge.fetch([make_filter()], timeout_s=0.3) == [sign()]


async def test_closed_requests_are_reported(tmp_path: Path, scripted, running) -> None:
    async def refuse(socket) -> None:
        async for text in socket:
            await socket.send(json.dumps(["CLOSED", json.loads(text)[1], "auth-required: who are you"]))

    async with scripted(refuse) as url, running(RelayBridge([url], outbox_path=tmp_path / "o.db")) as bridge:
        with pytest.raises(RelayUnavailable, match="auth-required: who are you"):
            await bridge.fetch([make_filter()])


async def test_a_published_event_is_what_was_signed(tmp_path: Path, scripted, running, sign) -> None:
    """Byte for byte what a verifier hashes, whatever is in it."""
    event = sign(content='€\n"\\\t😀', tags=(("t", "é"), ("x", "")))
    seen: list[Event] = []

    async def take(socket) -> None:
        async for text in socket:
            seen.append(parse_event(json.loads(text)[1]))
            await socket.send(json.dumps(["OK", seen[-1].id, True, ""]))

    async with scripted(take) as url, running(RelayBridge([url], outbox_path=tmp_path / "o.db")) as bridge:
        await bridge.publish(event)
        assert await bridge.flush(WAIT)
    assert [verify(one) for one in seen] == [event]
    assert msgspec.structs.asdict(seen[0]) == msgspec.structs.asdict(event)
