"""What is said over relays and kept by none."""

import json
from contextlib import asynccontextmanager

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, make_filter
from relay_bridge.adapters.talk import Talk
from relay_bridge.errors import RelayUnavailable

# An ephemeral kind (NIP-01): relays pass it on and forget it.
KIND = 24133
WAIT = 30


@asynccontextmanager
async def talking(relays, *, signer=None):
    heard = []
    arrived = [anyio.Event()]

    def hear(event):
        heard.append(event)
        arrived[0].set()

    async def next_one():
        with anyio.fail_after(WAIT):
            await arrived[0].wait()
        arrived[0] = anyio.Event()
        return heard

    talk = Talk(relays, [make_filter(kinds=[KIND])], hear, signer=signer)
    async with anyio.create_task_group() as tasks:
        await tasks.start(talk.run)
        yield talk, next_one
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_who_speaks_is_heard_by_everybody_once(relay, other_relay, sign, eventually):
    relays = [relay.url, other_relay.url]
    async with talking(relays) as (one, heard_by_one), talking(relays) as (two, heard_by_two):
        # Until both hear on both, what is said is lost: nobody keeps it.
        await eventually(lambda: one.heard_on == two.heard_on == 2)
        said = [sign(KIND, content=text) for text in ("hello", "answer", "last")]
        for talk, word in zip((two, one, one), said, strict=True):
            await talk.say(word, timeout_s=WAIT)
        for heard in (heard_by_one, heard_by_two):
            while said[-1] not in (found := await heard()):
                pass
            # In the order of the relays, which need not be that of the words; each once though both relays told it.
            assert sorted(event.id for event in found) == sorted(event.id for event in said)


@pytest.mark.anyio
async def test_nobody_there(free_tcp_port):
    unused_url = f"ws://127.0.0.1:{free_tcp_port}"
    async with talking([unused_url]) as (talk, _):
        with pytest.raises(RelayUnavailable, match=unused_url):
            await talk.say(SecretKey(b"\1" * 32).sign(UnsignedEvent(KIND, 1, (), "")), timeout_s=0.2)


@pytest.mark.anyio
async def test_a_relay_that_wants_to_know_who_asks(scripted, sign):
    """Both the request and the word are refused until the challenge was answered."""
    known = anyio.Event()

    async def script(socket):
        await socket.send(json.dumps(["AUTH", "who are you"]))
        async for frame in socket:
            match json.loads(frame):
                case ["AUTH", proof]:
                    known.set()
                    await socket.send(json.dumps(["OK", proof["id"], True, ""]))
                case ["REQ", sub_id, *_] if not known.is_set():
                    await socket.send(json.dumps(["CLOSED", sub_id, "auth-required: who asks?"]))
                case ["REQ", sub_id, *_]:
                    name = sub_id
                    await socket.send(json.dumps(["EOSE", sub_id]))
                case ["EVENT", event]:
                    await socket.send(json.dumps(["OK", event["id"], True, ""]))
                    await socket.send(json.dumps(["EVENT", name, event]))

    async with scripted(script) as url, talking([url], signer=SecretKey(b"\2" * 32)) as (talk, heard):
        word = sign(KIND)
        await talk.say(word, timeout_s=WAIT)
        assert await heard() == [word]
        assert known.is_set()


@pytest.mark.anyio
async def test_lies_are_not_heard(scripted, sign):
    """An event whose signature is wrong, then a good one: only the good one comes."""
    good = sign(KIND, content="good")

    async def script(socket):
        async for frame in socket:
            match json.loads(frame):
                case ["REQ", sub_id, *_]:
                    fields = {
                        name: getattr(good, name) for name in ("id", "pubkey", "created_at", "kind", "content", "sig")
                    }
                    fields["tags"] = []
                    forged = {**fields, "sig": "00" * 64}
                    for event in (forged, fields):
                        await socket.send(json.dumps(["EVENT", sub_id, event]))
                    await socket.send(json.dumps(["EOSE", sub_id]))

    async with scripted(script) as url, talking([url]) as (_, heard):
        assert await heard() == [good]


def test_a_talk_needs_a_relay():
    with pytest.raises(ValueError, match="relay"):
        Talk([], [make_filter(kinds=[KIND])], lambda event: None)
