"""The relay's door against scripted relays on loopback: frames, close codes, caps, a relay that is down."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import anyio
import httpx
import pytest
import websockets
from websockets.exceptions import ConnectionClosed
from websockets.server import WebSocketServerProtocol

from client_web.adapters.http_server import bind, serve
from client_web.adapters.relay_proxy import MAX_INFORMATION_BYTES, MAX_MESSAGE_BYTES, RelayProxy
from client_web.fakes import FakeReadModel
from client_web.server import create_app
from client_web.site import Site

pytestmark = pytest.mark.anyio

Script = Callable[[WebSocketServerProtocol], Awaitable[None]]


async def echo(websocket: WebSocketServerProtocol) -> None:
    async for frame in websocket:
        await websocket.send(frame)


@pytest.fixture
def door(site: Site):
    """A function: a scripted relay, and our server before it; gives the URL of the door and the proxy."""

    @asynccontextmanager
    async def open_door(
        script: Script, document: bytes | None = None, **caps: int
    ) -> AsyncIterator[tuple[str, RelayProxy]]:
        async def process(path: str, headers: websockets.Headers):
            if headers.get("accept") == "application/nostr+json":
                return (HTTPStatus.OK if document is not None else HTTPStatus.NOT_FOUND), [], document or b""
            return None

        async with websockets.serve(script, "127.0.0.1", 0, process_request=process, compression=None) as relay:
            port = relay.sockets[0].getsockname()[1]
            async with open_before(f"ws://127.0.0.1:{port}", **caps) as opened:
                yield opened

    @asynccontextmanager
    async def open_before(url: str, **caps: int) -> AsyncIterator[tuple[str, RelayProxy]]:
        proxy = RelayProxy(url, **caps)
        bound = bind("127.0.0.1", 0)
        async with anyio.create_task_group() as tasks:
            await tasks.start(serve, create_app(site, FakeReadModel(), proxy), bound)
            yield f"127.0.0.1:{bound.getsockname()[1]}/relay", proxy
            tasks.cancel_scope.cancel()

    open_door.before = open_before  # type: ignore[attr-defined]  # the second door, for a relay that is not there
    return open_door


async def test_frames_pass_byte_for_byte_and_keep_their_type(door) -> None:
    frames: list[str | bytes] = [
        '["REQ","x",{"kinds":[4212]}]',
        "é\u0000 \ud7ff\U0001f600",
        "",
        b"",
        bytes(range(256)),
        "a" * MAX_MESSAGE_BYTES,
    ]
    async with door(echo) as (url, _proxy), websockets.connect(f"ws://{url}", max_size=None) as websocket:
        for frame in frames:
            await websocket.send(frame)
            assert await websocket.recv() == frame


async def test_many_frames_keep_their_order(door) -> None:
    async with door(echo) as (url, _proxy), websockets.connect(f"ws://{url}") as websocket:
        for number in range(500):
            await websocket.send(str(number))
        assert [await websocket.recv() for _ in range(500)] == [str(number) for number in range(500)]


async def test_the_relays_close_code_reaches_the_browser(door) -> None:
    async def closes(websocket: WebSocketServerProtocol) -> None:
        await websocket.recv()
        await websocket.close(4001, "not today")

    async with door(closes) as (url, proxy), websockets.connect(f"ws://{url}") as websocket:
        await websocket.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "not today")
        await _until(lambda: proxy.connections == 0)


async def test_the_browsers_close_reaches_the_relay(door) -> None:
    seen: list[tuple[int | None, str | None]] = []
    gone = anyio.Event()

    async def watches(websocket: WebSocketServerProtocol) -> None:
        await websocket.wait_closed()
        seen.append((websocket.close_code, websocket.close_reason))
        gone.set()

    async with door(watches) as (url, _proxy):
        websocket = await websockets.connect(f"ws://{url}")
        await websocket.close(4002, "bye")
        await gone.wait()
    assert seen == [(4002, "bye")]


async def test_a_browser_that_vanishes_is_let_go(door) -> None:
    gone = anyio.Event()

    async def floods(websocket: WebSocketServerProtocol) -> None:
        try:
            while True:
                await websocket.send("x" * 1000)
        except ConnectionClosed:
            gone.set()

    async with door(floods) as (url, proxy):
        websocket = await websockets.connect(f"ws://{url}")
        await websocket.recv()
        websocket.transport.abort()
        await gone.wait()
        await _until(lambda: proxy.connections == 0)


async def test_an_oversize_message_ends_that_connection_only(door) -> None:
    async with door(echo) as (url, _proxy), websockets.connect(f"ws://{url}", max_size=None) as other:
        async with websockets.connect(f"ws://{url}", max_size=None) as websocket:
            await websocket.send("a" * (MAX_MESSAGE_BYTES + 1))
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
        await other.send("still here")
        assert await other.recv() == "still here"


async def test_an_oversize_message_of_the_relay_ends_the_connection(door) -> None:
    async def large(websocket: WebSocketServerProtocol) -> None:
        await websocket.send("a" * (MAX_MESSAGE_BYTES + 1))
        await websocket.wait_closed()

    async with door(large) as (url, _proxy), websockets.connect(f"ws://{url}", max_size=None) as websocket:
        with pytest.raises(ConnectionClosed):
            await websocket.recv()


async def test_caps_refuse_before_the_connection_is_accepted(door) -> None:
    async with (
        door(echo, max_connections_per_client=2) as (url, proxy),
        websockets.connect(f"ws://{url}") as one,
        websockets.connect(f"ws://{url}"),
    ):
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            await websockets.connect(f"ws://{url}")
        assert refused.value.status_code == 429
        await one.close()
        await _until(lambda: proxy.connections == 1)
        async with websockets.connect(f"ws://{url}") as again:
            await again.send("x")
            assert await again.recv() == "x"


async def test_a_full_door_is_503(door) -> None:
    async with door(echo, max_connections=0) as (url, _proxy):
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            await websockets.connect(f"ws://{url}")
        assert refused.value.status_code == 503


async def test_a_relay_that_is_down_is_502(door) -> None:
    free = bind("127.0.0.1", 0)
    port = free.getsockname()[1]
    free.close()
    async with door.before(f"ws://127.0.0.1:{port}") as (url, proxy):
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            await websockets.connect(f"ws://{url}")
        assert refused.value.status_code == 502
        assert proxy.connections == 0
        assert (await _ask(url)).status_code == 502


async def test_the_relays_document_is_passed_on(door) -> None:
    async with door(echo, document=b'{"name":"embedded","x":1 }') as (url, _proxy):
        answer = await _ask(url)
        assert (answer.status_code, answer.content) == (200, b'{"name":"embedded","x":1 }')
        assert answer.headers["content-type"] == "application/nostr+json"
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("document", [None, b"x" * (MAX_INFORMATION_BYTES + 1)])
async def test_a_missing_or_huge_document_is_502(door, document: bytes | None) -> None:
    async with door(echo, document=document) as (url, _proxy):
        answer = await _ask(url)
        assert answer.status_code == 502
        assert "relay" in answer.json()["error"]


def test_only_relay_urls_are_taken() -> None:
    with pytest.raises(ValueError, match="ws://"):
        RelayProxy("http://127.0.0.1:7777")


async def _ask(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://{url}", headers={"accept": "application/nostr+json"})


async def _until(holds: Callable[[], bool]) -> None:
    """The proxy frees its place after the closing handshake: let the loop run until then."""
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110 - the proxy has no event for a place that became free
            await anyio.sleep(0.005)
