"""Negentropy over a relay (NIP-77): ours and rust-nostr's, and relays that misuse it."""

import json

import anyio
import pytest

from nips.negentropy import Initiator, RecordSet
from nips.nip01 import make_filter
from nips.nip77 import NegClose, NegError, NegMessage, NegOpen
from relay_bridge.adapters import reconciliations as module
from relay_bridge.adapters.relay_link import open_link
from relay_bridge.errors import RelayGone, RelayMisbehaved, RequestClosed
from relay_bridge.messages import encode_client_message, event_json, parse_client_message, parse_relay_message

pytestmark = pytest.mark.anyio
WAIT = 60
ASKED = make_filter(kinds=[1])


async def put(url: str, events) -> None:
    """Few at a time, and few in all: rust-nostr's relay hangs up on who sends some 290 of them."""
    taken = anyio.Semaphore(0)
    async with open_link(url) as link:
        link.on_ok = lambda ok: taken.release()
        for start in range(0, len(events), 32):
            some = events[start : start + 32]
            for event in some:
                await link.publish(event.id, event_json(event))
            with anyio.fail_after(WAIT):
                for _ in some:
                    await taken.acquire()


def records(events) -> RecordSet:
    return RecordSet((event.created_at, event.id) for event in events)


@pytest.fixture(params=["ours", "rust-nostr"])
async def url(request, relay, sdk_relay) -> str:
    return relay.url if request.param == "ours" else sdk_relay


async def test_both_differences_are_found(url: str, sign) -> None:
    everything = [sign(at=at) for at in range(200)]
    theirs, ours = everything[30:], everything[:180]
    await put(url, [*theirs, sign(2, 7)])
    async with open_link(url) as link:
        have, need = await link.reconcile("n", ASKED, records(ours), silence_s=WAIT)
        assert sorted(have) == sorted(event.id for event in everything[:30])
        assert sorted(need) == sorted(event.id for event in everything[180:])
        assert await link.reconcile("n", ASKED, records(theirs), silence_s=WAIT) == ([], [])
        have, need = await link.reconcile("n", ASKED, records([]), silence_s=WAIT)
        assert (have, len(need)) == ([], len(theirs))
        window = make_filter(kinds=[1], since=theirs[0].created_at, until=theirs[4].created_at)
        assert await link.reconcile("n", window, records(theirs[:5]), silence_s=WAIT) == ([], [])


async def test_how_many_there_are(url: str, sign) -> None:
    await put(url, [sign(at=at) for at in range(7)])
    async with open_link(url) as link:
        assert await link.count("c", ASKED, silence_s=WAIT) == 7


async def test_too_many_records_and_too_many_at_once(relay, sign, monkeypatch) -> None:
    await put(relay.url, [sign(at=at) for at in range(5)])
    async with open_link(relay.url) as link:
        monkeypatch.setattr(module, "MAX_RECORDS", 4)
        with pytest.raises(RequestClosed, match="too big"):
            await link.reconcile("n", ASKED, records([]), silence_s=WAIT)
        assert relay.reconciling["open"] == 0
        monkeypatch.setattr(module, "MAX_OPEN", 0)
        monkeypatch.setattr(module, "MAX_RECORDS", 5)
        with pytest.raises(RequestClosed, match="too many reconciliations"):
            await link.reconcile("n", ASKED, records([]), silence_s=WAIT)


async def test_the_relay_forgets_who_is_gone_or_silent(relay, sign, eventually) -> None:
    now_ms = 0
    rooms = module.Reconciliations(relay.store, relay.reconciling, lambda: now_ms)
    opening = Initiator(records([])).open()
    assert isinstance(await rooms.receive(NegOpen("a", ASKED, opening)), NegMessage)
    assert isinstance(await rooms.receive(NegOpen("a", ASKED, opening)), NegMessage)
    assert isinstance(await rooms.receive(NegOpen("b", ASKED, opening)), NegMessage)
    assert relay.reconciling["open"] == 2
    refused = await rooms.receive(NegOpen("c", ASKED, opening))
    assert isinstance(refused, NegError)
    now_ms = module.IDLE_MS + 1
    assert isinstance(await rooms.receive(NegOpen("c", ASKED, opening)), NegMessage)
    assert isinstance(await rooms.receive(NegMessage("a", opening)), NegError)
    broken = await rooms.receive(NegMessage("c", b"\x61\xff"))
    assert isinstance(broken, NegError)
    assert broken.reason.startswith("invalid:")
    assert await rooms.receive(NegClose("c")) is None
    rooms.end()
    assert relay.reconciling["open"] == 0
    async with open_link(relay.url) as link:
        await link.send(encode_client_message(NegOpen("x", ASKED, opening)))
        await eventually(lambda: relay.reconciling["open"] == 1)
    await eventually(lambda: relay.reconciling["open"] == 0)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda sub_id: ["NEG-ERR", sub_id, "blocked: too big", 5], RequestClosed),
        (lambda sub_id: ["NEG-MSG", sub_id, "62"], RelayMisbehaved),
        (lambda sub_id: ["NEG-MSG", sub_id, "61ff"], RelayMisbehaved),
        (lambda sub_id: ["NEG-MSG", sub_id, "xyz"], RelayGone),
        (lambda sub_id: ["COUNT", sub_id, {"count": 4}], RelayMisbehaved),
        (lambda sub_id: ["NEG-MSG", "other", "61"], RelayGone),
        (lambda sub_id: ["NOTICE", "unknown command"], RelayGone),
    ],
)
async def test_relays_that_misuse_it(scripted, answer, error) -> None:
    async def lie(socket) -> None:
        async for text in socket:
            message = json.loads(text)
            if message[0].startswith("NEG-") and message[0] != "NEG-CLOSE":
                await socket.send(json.dumps(answer(message[1])))

    async with scripted(lie) as url, open_link(url) as link:
        with pytest.raises(error):
            await link.reconcile("n", ASKED, records([]), silence_s=0.2)


async def test_a_relay_that_never_comes_to_an_end(scripted) -> None:
    """It answers every message with the fingerprint of something else: the turns are bounded."""
    turns = 0

    async def lie(socket) -> None:
        nonlocal turns
        async for text in socket:
            message = json.loads(text)
            if message[0] in ("NEG-OPEN", "NEG-MSG"):
                turns += 1
                await socket.send(
                    json.dumps(["NEG-MSG", message[1], "6100000" + "1" + turns.to_bytes(16, "big").hex()])
                )

    async with scripted(lie) as url, open_link(url) as link:
        with pytest.raises(RelayMisbehaved, match="no end"):
            await link.reconcile("n", ASKED, records([]), silence_s=WAIT)


def test_the_messages_are_the_clients_and_the_relays() -> None:
    opening = NegOpen("a", ASKED, b"\x61")
    assert parse_client_message(encode_client_message(opening)) == opening
    assert parse_relay_message('["NEG-ERR","a","closed: bye"]') == NegError("a", "closed: bye")
