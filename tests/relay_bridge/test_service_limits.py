"""The bridge and relays with limits, doors and roles of their own."""

import json
from pathlib import Path

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import make_filter, parse_event, parse_filter, verify
from nips.nip11 import Limitation, RelayInformation
from nips.nip42 import check_client_auth
from nips.pool import kinds
from relay_bridge.messages import event_frame, event_json
from relay_bridge.roles import Role
from relay_bridge.service import RelayBridge

pytestmark = pytest.mark.anyio
WAIT = 60
KEY = SecretKey(b"\x0a" * 32)


async def test_what_is_too_large_is_not_sent_and_said_loudly(
    tmp_path: Path, relay, telling, keeper, running, sign, caplog
) -> None:
    kept: dict = {}
    small = RelayInformation(limitation=Limitation(max_message_length=2_000))
    events = [sign(at=0), sign(at=1, content="x" * 3_000), sign(at=2)]
    async with telling(small, keeper(kept)) as url:
        bridge = RelayBridge([url, relay.url], outbox_path=tmp_path / "o.db", quorum=1)
        async with running(bridge):
            await bridge.publish_many(events, chain="lane")
            assert await bridge.flush(WAIT)
            assert await bridge.fetch([make_filter()]) == events
            [status] = [each for each in bridge.status() if each.url == url]
            assert "unfit as a log relay" in status.complaints[0]
    assert list(kept) == [events[0].id, events[2].id]
    assert "unfit as a log relay" in caplog.text
    assert f"can't take event {events[1].id}" in caplog.text


async def test_the_refusal_by_size_is_kept_and_counted(
    tmp_path: Path, telling, keeper, running, sign, eventually
) -> None:
    kept: dict = {}
    small = RelayInformation(limitation=Limitation(max_message_length=2_000))
    async with telling(small, keeper(kept)) as url:
        bridge = RelayBridge([url], outbox_path=tmp_path / "o.db")
        async with running(bridge):
            await bridge.publish_many([sign(content="x" * 3_000), sign(at=1)], chain="lane")
            await eventually(lambda: bridge.status()[0].published == 1)
            [status] = bridge.status()
            assert (status.refused, status.refused_by_size, status.backlog) == (1, 1, 0)
            assert "the limit is 1900" in status.last_error
            assert not await bridge.flush(0), "it has no quorum"


async def test_pages_and_filters_fit_the_relay(tmp_path: Path, telling, keeper, running, sign) -> None:
    events = [sign(at=at) for at in range(70)]
    kept, asked = {event.id: event for event in events}, []
    told = RelayInformation(limitation=Limitation(max_limit=20, max_filters=1, max_subscriptions=3))
    async with telling(told, keeper(kept, asked)) as url:
        bridge = RelayBridge([url], outbox_path=tmp_path / "o.db")
        async with running(bridge):
            assert await bridge.fetch([make_filter(kinds=[1])]) == events
            assert max(item["limit"] for item in asked) == 20
            filters = [make_filter(kinds=[1]), make_filter(kinds=[2])]
            async with bridge.subscribe(filters, name="two") as subscription:
                # Two live requests of one filter each, and one for the pages.
                assert [await anext(subscription) for _ in events] == events
                end = await anext(subscription)
                assert end.answered == (url,)
            async with bridge.subscribe(
                [*filters, make_filter(kinds=[3]), make_filter(kinds=[4])], name="four"
            ) as much:
                assert "it allows 3 subscriptions" in (await _silence(bridge, much))


async def _silence(bridge, subscription) -> str:

    with anyio.fail_after(WAIT):
        while not subscription.silent:  # noqa: ASYNC110 - nothing tells of it until a relay has answered
            await anyio.sleep(0.01)
    return next(iter(subscription.silent.values()))


async def test_social_relays_get_their_part(tmp_path: Path, relay, other_relay, running, sign) -> None:
    log, social = relay.url, other_relay.url
    events = [sign(kinds.JOB), sign(1), sign(kinds.STATEMENT), sign(0)]
    async with running(RelayBridge([log], social=[social], outbox_path=tmp_path / "o.db")) as bridge:
        await bridge.publish_many(events)
        assert await bridge.flush(WAIT)
        assert {event.id for event in await bridge.fetch([make_filter()])} == {event.id for event in events}
        assert [status.roles for status in bridge.status()] == [(Role.LOG,), (Role.SOCIAL,)]
    async with running(RelayBridge([social], outbox_path=tmp_path / "p.db")) as reader:
        assert {event.kind for event in await reader.fetch([make_filter()])} == {1, kinds.STATEMENT, 0}


@pytest.mark.parametrize("key", [KEY, None])
async def test_a_relay_that_wants_to_know_who(tmp_path: Path, scripted, running, sign, eventually, key) -> None:
    """EVENT and REQ are refused with auth-required until the challenge is answered; without a key it stays so."""
    kept: dict = {}
    stored = sign(at=9)
    proofs: list[str] = []

    async def closed_door(socket) -> None:
        authed = False
        await socket.send('["AUTH","riddle"]')
        async for text in socket:
            name, *items = json.loads(text)
            if name == "AUTH":
                event = verify(parse_event(items[0]))
                check = {"challenge": "riddle", "hosts": frozenset({"127.0.0.1"}), "now_s": event.created_at}
                proofs.append(check_client_auth(event, **check))
                authed = True
                await socket.send(json.dumps(["OK", event.id, True, ""]))
            elif name == "EVENT":
                said = "" if authed else "auth-required: who are you?"
                if authed:
                    kept[items[0]["id"]] = items[0]
                await socket.send(json.dumps(["OK", items[0]["id"], authed, said]))
            elif name == "REQ" and not authed:
                await socket.send(json.dumps(["CLOSED", items[0], "auth-required: who asks?"]))
            elif name == "REQ":
                if parse_filter(items[1]).matches(stored):
                    await socket.send(event_frame(items[0], event_json(stored)))
                await socket.send(json.dumps(["EOSE", items[0]]))

    async with scripted(closed_door) as url:
        bridge = RelayBridge([url], outbox_path=tmp_path / "o.db", signer=key)
        async with running(bridge):
            await bridge.publish_many([sign(at=1), sign(at=2)], chain="c")
            if key is None:
                await eventually(lambda: bridge.status()[0].refused == 1)
                assert proofs == []
                return
            assert await bridge.flush(WAIT)
            assert list(kept) == [sign(at=1).id, sign(at=2).id]
            assert await bridge.fetch([make_filter()]) == [stored]
            async with bridge.subscribe([make_filter()], name="s") as subscription:
                assert await anext(subscription) == stored
            # A single answer for the whole connection.
            assert proofs == [KEY.pubkey]
        async with running(RelayBridge([url], outbox_path=tmp_path / "p.db", signer=key)) as reader:
            async with reader.subscribe([make_filter()], name="s") as subscription:
                assert await anext(subscription) == stored
            assert proofs == [KEY.pubkey] * 2
