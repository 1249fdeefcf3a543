"""A stranger's relay: read as far as it is honest, never followed into the house."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from websockets.legacy.server import WebSocketServerProtocol, serve

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event, make_filter
from zapper.adapters.relay_reader import MAX_EVENTS, RelayReader

pytestmark = pytest.mark.anyio
KEY, OTHER = SecretKey(b"\x01" * 32), SecretKey(b"\x02" * 32)
WANTED = make_filter(authors=[KEY.pubkey], kinds=[0])


def profile(text: str, key: SecretKey = KEY) -> VerifiedEvent:
    return key.sign(UnsignedEvent(0, 1_800_000_000, (), text))


def sent(event: VerifiedEvent, question: str = "p") -> str:
    return f'["EVENT","{question}",{encode_event(event).decode()}]'


@asynccontextmanager
async def relay(*messages: str, then: Callable[[WebSocketServerProtocol], Any] | None = None) -> AsyncIterator[str]:
    """A relay that says this to whoever asks."""
    asked: list[Any] = []

    async def handle(socket: WebSocketServerProtocol) -> None:
        asked.append(msgspec.json.decode(await socket.recv()))
        assert asked[-1][:2] == ["REQ", "p"]
        assert asked[-1][2]["authors"] == [KEY.pubkey]
        for message in messages:
            await socket.send(message)
        if then is not None:
            await then(socket)
        else:
            await socket.wait_closed()

    async with serve(handle, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def ask(*urls: str, timeout_s: float = 20, private: bool = True) -> set[str]:
    with anyio.fail_after(60):
        found = await RelayReader(allow_private=private).ask(urls, [WANTED], timeout_s=timeout_s)
    return {event.content for event in found}


async def test_what_matches_is_read_from_all() -> None:
    async with relay(sent(profile("a")), '["EOSE","p"]') as one, relay(sent(profile("b")), '["EOSE","p"]') as two:
        assert await ask(one, two, one) == {"a", "b"}
        assert await ask() == set()


async def test_noise_others_events_and_lies_are_left_out() -> None:
    forged = sent(profile("a")).replace('"content":"a"', '"content":"forged"')
    noise = ('["NOTICE","hi"]', sent(profile("x"), "q"), sent(profile("other", OTHER)), "[]", "7")
    async with relay(*noise, sent(profile("good")), forged, sent(profile("later"))) as url:
        assert await ask(url) == {"good"}


@pytest.mark.parametrize("last", ["not json", '["CLOSED","p","auth-required: no"]', '["EVENT","p",{}]', "x" * 200_000])
async def test_what_came_before_the_end_counts(last: str) -> None:
    async with relay(sent(profile("good")), last) as url:
        assert await ask(url) == {"good"}


async def test_a_silent_relay_is_not_waited_for_and_a_flood_is_cut_off() -> None:
    async def flood(socket: WebSocketServerProtocol) -> None:
        number = 0
        while not socket.closed:
            number += 1
            await socket.send(sent(profile(str(number))))

    async with relay(sent(profile("good"))) as silent:
        assert await ask(silent, timeout_s=2) <= {"good"}
    async with relay(then=flood) as url:
        assert len(await ask(url)) == MAX_EVENTS


async def test_relays_inside_or_without_tls_are_not_asked() -> None:
    async with relay(sent(profile("inside")), '["EOSE","p"]') as url:
        assert await ask(url, private=False) == set()
        assert await ask(url.replace("ws://", "wss://"), private=False) == set()
        assert await ask("wss://nowhere.invalid", "ws://127.0.0.1:1", private=True) == set()


async def test_a_redirect_is_not_followed() -> None:
    """It would lead past the address that was judged."""
    async with relay(sent(profile("inside")), '["EOSE","p"]') as inside:

        async def elsewhere(_path: str, _headers: Any) -> Any:
            return 302, {"Location": inside}, b""

        async def never(_socket: WebSocketServerProtocol) -> None:
            raise AssertionError

        async with serve(never, "127.0.0.1", 0, process_request=elsewhere) as server:
            port = server.sockets[0].getsockname()[1]
            assert await ask(f"ws://127.0.0.1:{port}") == set()


@pytest.mark.parametrize("garbage", [b'["EVENT","p","\xff"]', b"[" * 5000])
async def test_bytes_that_are_no_text_and_endless_json_cost_that_relay_alone(garbage: bytes) -> None:
    async def then(socket: WebSocketServerProtocol) -> None:
        await socket.send(garbage)
        await socket.wait_closed()

    async with relay(then=then) as hostile, relay(sent(profile("b")), '["EOSE","p"]') as honest:
        assert await ask(hostile, honest) == {"b"}
