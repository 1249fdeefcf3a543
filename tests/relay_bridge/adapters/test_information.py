"""Reading a relay's document from relays that have one, have none, or try to do harm with it."""

import contextlib
import http

import anyio
import pytest
import websockets

from relay_bridge.adapters import information as module
from relay_bridge.adapters.information import MAX_DOCUMENT, fetch_information, http_url

pytestmark = pytest.mark.anyio


async def test_our_own(relay) -> None:
    told = await fetch_information(relay.url)
    assert told is not None
    assert told.limitation is not None
    assert told.limitation.max_message_length == relay.limits.message_bytes


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (http.HTTPStatus.OK, b"a relay, hello"),
        (http.HTTPStatus.OK, b"[1]"),
        (http.HTTPStatus.OK, b'{"name":"' + b"x" * MAX_DOCUMENT + b'"}'),
        (http.HTTPStatus.MOVED_PERMANENTLY, b"{}"),
        (http.HTTPStatus.NOT_FOUND, b"{}"),
    ],
)
async def test_nothing_that_can_be_used(status: http.HTTPStatus, text: bytes) -> None:
    async def answer(path, headers):
        return status, [("Location", "http://127.0.0.1:1/")], text

    async def nobody(socket) -> None:
        raise AssertionError

    async with websockets.serve(nobody, "127.0.0.1", 0, process_request=answer) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        assert await fetch_information(f"ws://127.0.0.1:{port}") is None
    assert await fetch_information(f"ws://127.0.0.1:{port}") is None


async def test_a_relay_that_never_finishes(monkeypatch) -> None:
    """The whole exchange is bounded, not each of its bytes."""
    monkeypatch.setattr(module, "READ_SECONDS", 0.3)

    async def drip(stream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{")
            with contextlib.suppress(anyio.BrokenResourceError):
                while True:
                    await anyio.sleep(0.05)
                    await stream.send(b" ")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, drip)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        with anyio.fail_after(60):
            assert await fetch_information(f"ws://127.0.0.1:{port}") is None
        tasks.cancel_scope.cancel()


def test_where_it_is() -> None:
    assert http_url("ws://a:7777/x") == "http://a:7777/x"
    assert http_url("wss://a") == "https://a"
