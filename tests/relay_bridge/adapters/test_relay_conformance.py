"""NIP-01 on the wire: the same tests against our relay and others written by others: so the tests are judged too."""

import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import anyio
import pytest
import websockets

from nips.nip01 import event_id
from relay_bridge.messages import ClientEvent, encode_client_message, event_json

pytestmark = pytest.mark.anyio
WAIT = 60


# What the relays of others do in another way than NIP-01 has it, or don't do.
OTHERWISE = {
    ("npm", "test_a_duplicate_is_ok"): "says OK to a duplicate and nothing of its being one",
    ("npm", "test_deletion"): "takes a deleted event again",
    ("npm", "test_count"): "does not know NIP-45",
    ("strfry", "test_ephemeral_events_are_passed_on_and_not_kept"): "keeps ephemeral events for five minutes",
}


# strfry is built by hand, see docs/relays.md.
PEERS = ["ours", "rust-nostr", "npm", *(["strfry"] if "NONCESTR_STRFRY" in os.environ else [])]


@pytest.fixture(params=PEERS)
async def url(request, relay, peer) -> AsyncIterator[str]:
    reason = OTHERWISE.get((request.param, request.function.__name__))
    if reason is not None:
        pytest.skip(f"{request.param} {reason}")
    if request.param == "ours":
        yield relay.url
        return
    async with peer(request.param) as started:
        yield started.url


class Wire:
    """A client as bare as can be. AUTH challenges and notices are skipped."""

    def __init__(self, url: str) -> None:
        self._connecting = websockets.connect(url, compression=None)
        self.asked = 0

    async def __aenter__(self) -> "Wire":
        self.socket = await self._connecting.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._connecting.__aexit__(*error)

    async def say(self, *message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self) -> list:
        with anyio.fail_after(WAIT):
            while True:
                message = json.loads(await self.socket.recv())
                if message[0] != "AUTH":
                    return message

    async def publish(self, event) -> list:
        await self.socket.send(encode_client_message(ClientEvent(event)))
        return await self.hear()

    async def stored(self, *filters: dict) -> list[str]:
        self.asked += 1
        sub_id = f"stored{self.asked}"
        await self.say("REQ", sub_id, *filters)
        found = []
        while (message := await self.hear())[0] != "EOSE":
            # rust-nostr answers CLOSE with CLOSED.
            if message[0] != "CLOSED":
                assert message[:2] == ["EVENT", sub_id]
                found.append(message[2]["id"])
        assert message == ["EOSE", sub_id]
        await self.say("CLOSE", sub_id)
        return found


async def test_publish_and_ask(url: str, sign) -> None:
    events = [sign(1, at, (("t", "even" if at % 2 == 0 else "odd"),)) for at in range(6)]
    async with Wire(url) as wire:
        for event in events:
            assert (await wire.publish(event))[:3] == ["OK", event.id, True]
        newest_first = [event.id for event in reversed(events)]
        assert await wire.stored({"kinds": [1]}) == newest_first
        assert await wire.stored({"kinds": [1], "limit": 2}) == newest_first[:2]
        assert await wire.stored({"#t": ["odd"]}) == newest_first[0::2]
        since, until = events[1].created_at, events[3].created_at
        assert await wire.stored({"since": since, "until": until}) == newest_first[2:5]
        assert await wire.stored({"ids": [events[4].id]}) == [events[4].id]
        assert await wire.stored({"authors": ["0" * 63 + "1"]}) == []
        assert sorted(await wire.stored({"ids": [events[0].id]}, {"#t": ["even"]})) == sorted(newest_first[1::2])


async def test_stored_then_end_then_live(url: str, sign) -> None:
    first, second, unasked = sign(1, 1), sign(1, 2), sign(2, 3)
    async with Wire(url) as reader, Wire(url) as writer:
        await writer.publish(first)
        await reader.say("REQ", "sub", {"kinds": [1]})
        assert [(await reader.hear())[0] for _ in range(2)] == ["EVENT", "EOSE"]
        await writer.publish(unasked)
        await writer.publish(second)
        message = await reader.hear()
        assert (message[:2], message[2]["id"]) == (["EVENT", "sub"], second.id)
        await reader.say("CLOSE", "sub")
        await reader.say("REQ", "end", {"ids": ["0" * 64]})
        assert await reader.hear() in (["EOSE", "end"], ["CLOSED", "sub", ""])


async def test_a_request_of_the_same_id_replaces_the_first(url: str, sign) -> None:
    async with Wire(url) as wire:
        for kind in (7, 1):
            await wire.say("REQ", "sub", {"kinds": [kind]})
            assert await wire.hear() == ["EOSE", "sub"]
        await wire.socket.send(encode_client_message(ClientEvent(sign(7))))
        wanted = sign(1)
        await wire.socket.send(encode_client_message(ClientEvent(wanted)))
        heard = [await wire.hear() for _ in range(3)]
        assert [message[2]["id"] for message in heard if message[0] == "EVENT"] == [wanted.id]


async def test_a_duplicate_is_ok(url: str, sign) -> None:
    async with Wire(url) as wire:
        await wire.publish(sign())
        answer = await wire.publish(sign())
        assert answer[:3] == ["OK", sign().id, True]
        assert answer[3].startswith("duplicate:")
        assert await wire.stored({}) == [sign().id]


async def test_forged_events_are_refused(url: str, sign) -> None:
    wire_form = json.loads(event_json(sign()))
    async with Wire(url) as wire:
        other_id = event_id(sign().pubkey, sign().created_at, 1, (), "other").hex()
        for forged in (
            {**wire_form, "content": "other"},
            {**wire_form, "content": "other", "id": other_id},
            {**wire_form, "sig": wire_form["sig"][:-2] + ("00" if wire_form["sig"][-2:] != "00" else "01")},
        ):
            await wire.say("EVENT", forged)
            answer = await wire.hear()
            assert answer[0] in ("OK", "NOTICE")
            if answer[0] == "OK":
                assert answer[1:3] == [forged["id"], False]
        assert await wire.stored({}) == []


async def test_replaceable_events(url: str, sign) -> None:
    old, new = sign(10002, 1), sign(10002, 2)
    low, high = sorted((sign(30023, 5, (("d", "x"),), text) for text in "ab"), key=lambda event: event.id)
    async with Wire(url) as wire:
        for event in (old, new, high, low):
            await wire.publish(event)
        assert await wire.stored({"kinds": [10002]}) == [new.id]
        # Of two of one second the lowest id stays.
        assert await wire.stored({"kinds": [30023]}) == [low.id]
        await wire.publish(old)
        assert await wire.stored({"kinds": [10002]}) == [new.id]


async def test_ephemeral_events_are_passed_on_and_not_kept(url: str, sign, now_s: int) -> None:
    event = sign(20001, now_s - 1_700_000_000)
    async with Wire(url) as reader, Wire(url) as writer:
        await reader.say("REQ", "sub", {"kinds": [20001]})
        assert await reader.hear() == ["EOSE", "sub"]
        assert (await writer.publish(event))[2] is True
        assert (await reader.hear())[2]["id"] == event.id
        assert await writer.stored({"kinds": [20001]}) == []


async def test_deletion(url: str, sign) -> None:
    mine, theirs = sign(1, 1), sign(1, 1, who=2)
    async with Wire(url) as wire:
        for event in (mine, theirs, sign(5, 2, (("e", mine.id),))):
            await wire.publish(event)
        assert await wire.stored({"kinds": [1]}) == [theirs.id]
        assert (await wire.publish(mine))[2] is False
        assert await wire.stored({"kinds": [1]}) == [theirs.id]


async def test_count(url: str, sign) -> None:
    async with Wire(url) as wire:
        for at in range(3):
            await wire.publish(sign(1, at))
        await wire.say("COUNT", "n", {"kinds": [1]})
        answer = await wire.hear()
        assert answer[:2] == ["COUNT", "n"]
        assert answer[2]["count"] == 3


async def test_garbage_does_not_end_the_relay(url: str, sign) -> None:
    for garbage in ("junk", "[]", "{}", '["REQ"]', '["EVENT",{}]', '["EVENT",' + "[" * 900, '["NOPE",1]'):
        async with Wire(url) as wire:
            with_answer = [garbage, encode_client_message(ClientEvent(sign()))]
            try:
                for frame in with_answer:
                    await wire.socket.send(frame)
                while (await wire.hear())[0] != "OK":
                    pass
            except websockets.ConnectionClosed:
                # A relay may hang up on who talks nonsense.
                pass
    # A peer that is cut off in the middle of a frame.
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port)) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
    async with Wire(url) as wire:
        assert await wire.stored({}) == [sign().id]
