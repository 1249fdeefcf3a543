"""The server on a real loopback socket, inside a task group: start, serve, stop."""

import errno
import socket

import anyio
import httpx
import pytest
import websockets
from websockets.exceptions import ConnectionClosed

from client_web.adapters.http_server import bind, serve
from client_web.fakes import FakeReadModel, FakeRelayGate
from client_web.server import create_app
from client_web.site import Site

pytestmark = pytest.mark.anyio


async def test_it_serves_until_cancelled_and_frees_the_port(site: Site) -> None:
    bound = bind("127.0.0.1", 0)
    host, port = bound.getsockname()
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve, create_app(site, FakeReadModel(), FakeRelayGate()), bound)
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://{host}:{port}") as client:
            assert (await client.get("/healthz")).status_code == 200
            page = await client.get("/")
            assert f"ws://{host}:{port}" in page.headers["content-security-policy"]
            assert "server" not in page.headers
        tasks.cancel_scope.cancel()
    assert bound.fileno() == -1
    bind(host, port).close()


async def test_a_websocket_is_carried_and_told_of_the_restart(site: Site) -> None:
    bound = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve, create_app(site, FakeReadModel(), FakeRelayGate()), bound)
        async with websockets.connect(f"ws://127.0.0.1:{port}/relay") as websocket:
            await websocket.send('["REQ","x",{}]')
            assert await websocket.recv() == '["REQ","x",{}]'
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True), pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012


async def test_no_websocket_elsewhere(site: Site) -> None:
    bound = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve, create_app(site, FakeReadModel(), FakeRelayGate()), bound)
        for path in ("/", "/api/v1/pool", "/nothing"):
            with pytest.raises(websockets.InvalidStatusCode) as refused:
                await websockets.connect(f"ws://127.0.0.1:{port}{path}")
            assert refused.value.status_code == 403
        tasks.cancel_scope.cancel()


async def test_garbage_on_the_socket_is_refused_and_the_next_is_served(site: Site) -> None:
    bound = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve, create_app(site, FakeReadModel(), FakeRelayGate()), bound)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"\x00\xff{}\r\n\r\n")
            assert b"400" in await stream.receive()
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        tasks.cancel_scope.cancel()


async def test_a_busy_port_is_an_error_the_caller_can_tell() -> None:
    first = bind("127.0.0.1", 0)
    first.listen()
    with pytest.raises(OSError, match="in use") as error:
        bind("127.0.0.1", first.getsockname()[1])
    assert error.value.errno == errno.EADDRINUSE
    first.close()


async def test_it_binds_ipv6() -> None:
    try:
        bound = bind("::1", 0)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    assert bound.family is socket.AF_INET6
    bound.close()
