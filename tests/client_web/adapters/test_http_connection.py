"""Real sockets that hold, dribble, or do not read: nobody takes the server from the others."""

import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import anyio
import httpx
import pytest
import websockets
from anyio.abc import SocketStream

from client_web.adapters import http_connection, http_server
from client_web.adapters.http_connection import MAX_HEAD_BYTES, TAKEN_BYTES, Taking
from client_web.adapters.http_server import bind, serve
from client_web.adapters.live import LiveFeed
from client_web.api.limits import parse_proxies
from client_web.doors import Doors
from client_web.fakes import FakeReadModel, FakeRelayGate
from client_web.server import create_app
from client_web.site import Site

pytestmark = pytest.mark.anyio
GET = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
PROXY = "127.0.0.9"
# More than the buffers of both ends together.
LARGE = 24 << 20


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of time that a test can wait for."""
    monkeypatch.setattr(http_server, "LOOK_S", 0.02)
    monkeypatch.setattr(http_server, "KEEP_ALIVE_SECONDS", 1)
    for name in ("REQUEST_S", "TAKE_S", "REFUSED_S"):
        monkeypatch.setattr(http_connection, name, 0.3)


class Served:
    """A server on loopback and its doors."""

    def __init__(self, port: int, doors: Doors, feed: LiveFeed, stop: Callable[[], None]) -> None:
        self.port = port
        self.doors = doors
        self.feed = feed
        self.stop = stop

    async def connect(self, source: str = "127.0.0.1") -> SocketStream:
        return await anyio.connect_tcp("127.0.0.1", self.port, local_host=source)

    @contextmanager
    def asking(self, path: str) -> Iterator[None]:
        """A client that asks and reads nothing."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # The kernel takes it, whether the server is there yet or not.
            raw.connect(("127.0.0.1", self.port))
            raw.sendall(f"GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            yield

    async def until_open(self, count: int) -> None:
        with anyio.fail_after(20):
            while self.doors.tally.open != count:  # noqa: ASYNC110  the server tells nobody of it
                await anyio.sleep(0.01)


@asynccontextmanager
async def serving(site: Site, model: FakeReadModel | None = None, **limits: object) -> AsyncIterator[Served]:
    model = FakeReadModel() if model is None else model
    doors = Doors(proxies=parse_proxies([PROXY]), **limits)  # type: ignore[arg-type]  # the tests name them
    feed, bound = LiveFeed(model, look_s=0.02, send_s=0.3), bind("127.0.0.1", 0)
    app = create_app(site, model, FakeRelayGate(), live=feed, doors=doors)
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve, app, bound, doors)
        try:
            yield Served(bound.getsockname()[1], doors, feed, tasks.cancel_scope.cancel)
        finally:
            feed.close()
            tasks.cancel_scope.cancel()
    assert doors.tally.open == 0


async def told(stream: SocketStream) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and body of an answer after which the connection ends, or of one with a length."""
    raw = b""
    with anyio.fail_after(20):
        while b"\r\n\r\n" not in raw:
            raw += await stream.receive()
        head, _, body = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        while len(body) < int(headers["content-length"]):
            body += await stream.receive()
    return int(status.split()[1]), headers, body


async def ended(stream: SocketStream) -> None:
    """Wait until the other side is gone."""
    with anyio.fail_after(20):
        try:
            while True:
                await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


async def test_an_address_that_holds_its_connections_leaves_the_others_theirs(site: Site) -> None:
    async with serving(site, most_of_one=3) as served, AsyncExitStack() as stack:
        held = [await stack.enter_async_context(await served.connect()) for _ in range(3)]
        await served.until_open(3)
        async with await served.connect() as fourth:
            await fourth.send(GET)
            status, headers, body = await told(fourth)
            assert (status, headers["retry-after"], headers["connection"]) == (429, "5", "close")
            assert "your address" in json.loads(body)["error"]
            await ended(fourth)
        async with await served.connect("127.0.0.2") as other:
            await other.send(GET)
            assert (await told(other))[0] == 200
        assert served.doors.tally.refused == {"address": 1}
        await held[0].aclose()
        await served.until_open(2)
        async with await served.connect() as again:
            await again.send(GET)
            assert (await told(again))[0] == 200


async def test_a_full_server_says_so(site: Site) -> None:
    async with serving(site, most=2) as served, AsyncExitStack() as stack:
        for source in ("127.0.0.1", "127.0.0.2"):
            await stack.enter_async_context(await served.connect(source))
        await served.until_open(2)
        async with await served.connect("127.0.0.3") as third:
            await third.send(GET)
            status, headers, body = await told(third)
            assert (status, headers["retry-after"]) == (503, "5")
            assert "no connection free" in json.loads(body)["error"]
        assert served.doors.tally.refused == {"full": 1}


async def test_who_is_refused_and_says_nothing_holds_nothing(
    site: Site, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "MAX_REFUSED", 1)
    monkeypatch.setattr(http_connection, "REQUEST_S", 60.0)
    async with serving(site, most_of_one=1) as served, await served.connect():
        await served.until_open(1)
        async with await served.connect() as waits, await served.connect() as beyond:
            await ended(beyond)
            await ended(waits)
        assert served.doors.tally.refused == {"address": 2}
        async with await served.connect() as another:
            await another.send(GET)
            assert (await told(another))[0] == 429


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /heal", GET[:-2], GET + b"\r\n", GET + b"GET / HT"])
async def test_who_does_not_end_its_request_is_let_go(site: Site, hasty: None, sent: bytes) -> None:
    async with serving(site) as served, await served.connect() as stream:
        if sent:
            await stream.send(sent)
        await served.until_open(1)
        with anyio.fail_after(20):
            raw = b""
            try:
                while True:
                    raw += await stream.receive()
            except anyio.EndOfStream:
                pass
        asked = sent.startswith(GET)
        assert raw.startswith(b"HTTP/1.1 200") == asked
        assert (b"HTTP/1.1 408" in raw) == (sent == b"\r\n" or sent.endswith((b"/heal", b"a\r\n", b"/ HT")))


async def test_line_feeds_now_and_then_keep_no_connection(site: Site, hasty: None) -> None:
    async with serving(site) as served, await served.connect() as stream:
        await stream.send(GET)
        assert (await told(stream))[0] == 200
        with anyio.fail_after(20):
            try:
                while True:
                    await stream.send(b"\r\n")
                    await anyio.sleep(0.05)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
        await served.until_open(0)


async def test_headers_without_end_are_refused(site: Site) -> None:
    async with serving(site) as served, await served.connect() as stream:
        await stream.send(b"GET / HTTP/1.1\r\nx: ")
        with anyio.fail_after(20):
            try:
                for _ in range(10):
                    await stream.send(b"a" * (MAX_HEAD_BYTES // 4))
                    await anyio.sleep(0.01)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
        await served.until_open(0)
        assert served.doors.tally.refused == {"long": 1}


async def test_requests_far_ahead_of_their_answers_end_it(site: Site) -> None:
    async with serving(site) as served, await served.connect() as stream:
        await stream.send(GET * 5)
        assert (await told(stream))[0] == 200
        await stream.send(GET * 500)
        await ended(stream)
        assert served.doors.tally.refused == {"pipelined": 1}


async def test_an_answer_that_is_not_taken_is_dropped(site: Site, hasty: None) -> None:
    async with serving(site, FakeReadModel({"text": "a" * LARGE})) as served:
        with served.asking("api/v1/pool"):
            await served.until_open(1)
            await served.until_open(0)
        assert served.doors.tally.refused == {"unread": 1}


@pytest.mark.parametrize(
    ("sizes", "dropped"),
    [
        # One size a second: what is still to be taken.
        ([1_000_000 - 2 * second * TAKEN_BYTES // 30 for second in range(200)], False),
        ([1_000_000 - second * TAKEN_BYTES // 40 for second in range(200)], True),
        ([5] * 30 + [0] + [5] * 30, False),
        ([5] * 33, True),
        # What grows is not taken; nor is it when it grew before.
        ([1000 * second for second in range(1, 40)], True),
        ([1000, 500_000, *[500_000 - 700 * second for second in range(60)]], False),
        ([0] * 100, False),
    ],
)
async def test_how_fast_an_answer_must_be_taken(sizes: list[int], dropped: bool) -> None:
    taking = Taking()
    assert any(taking.has_stopped(size, float(second)) for second, size in enumerate(sizes)) == dropped


async def test_a_websocket_holds_its_place_until_it_ends(site: Site) -> None:
    async with serving(site, most_of_one=1) as served:
        url = f"ws://127.0.0.1:{served.port}/relay"
        async with websockets.connect(url) as websocket:
            await websocket.send("x")
            assert await websocket.recv() == "x"
            assert served.doors.held("127.0.0.1") == 1
            with pytest.raises(websockets.InvalidStatusCode) as refused:
                await websockets.connect(url)
            assert refused.value.status_code == 429
        await served.until_open(0)
        async with websockets.connect(url):
            pass


async def test_behind_a_proxy_each_asker_is_bounded_by_itself(site: Site) -> None:
    async with serving(site, most_of_one=2) as served, AsyncExitStack() as stack:

        async def ask(asker: str, path: str = "healthz") -> SocketStream:
            stream = await stack.enter_async_context(await served.connect(PROXY))
            await stream.send(f"GET /{path} HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {asker}\r\n\r\n".encode())
            return stream

        for number in (1, 2):
            stream = await ask("2001:db8::1", "api/v1/live")
            assert (await stream.receive()).startswith(b"HTTP/1.1 200")
            assert served.doors.held("2001:db8::/64") == number
        status, headers, body = await told(await ask("2001:db8::2"))
        assert (status, headers["retry-after"]) == (429, "5")
        assert "your address" in json.loads(body)["error"]
        assert (await told(await ask("2001:db8:0:1::2")))[0] == 200
        # The proxy itself, as its checks of health do, and a stranger who only says that it is one.
        assert (await told(await ask("garbage")))[0] == 200
        url = f"ws://127.0.0.1:{served.port}/relay"
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            await websockets.connect(url, extra_headers={"x-forwarded-for": "2001:db8::1"}, local_addr=(PROXY, 0))
        assert refused.value.status_code == 429
        async with websockets.connect(url, extra_headers={"x-forwarded-for": "2001:db8::1"}):
            assert served.doors.held("127.0.0.1") == 1


async def test_a_live_reader_that_does_not_read_is_dropped_without_a_word(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    pool = {"text": "a" * LARGE, "number": 0}
    async with serving(site, FakeReadModel(pool)) as served:
        with served.asking("api/v1/live"):
            await served.until_open(1)
            with anyio.fail_after(20):
                while served.doors.tally.open:
                    pool["number"] += 1  # type: ignore[operator]  # it is one
                    await anyio.sleep(0.05)
        assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_readers_who_do_not_read_keep_no_server_from_stopping(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FakeReadModel({"text": "a" * LARGE})
    async with serving(site, model) as served:
        served.feed._send_s = 60.0
        with served.asking("api/v1/live"), served.asking("api/v1/pool"):
            reader = await served.connect()
            await reader.send(GET.replace(b"healthz", b"api/v1/live"))
            assert (await reader.receive()).startswith(b"HTTP/1.1 200")
            await served.until_open(3)
            served.feed.close()
            served.stop()
            with anyio.CancelScope(shield=True):
                await served.until_open(0)
                await reader.aclose()


async def test_it_is_served_as_before(site: Site) -> None:
    async with serving(site) as served, httpx.AsyncClient(trust_env=False) as client:
        for _ in range(3):
            answer = await client.get(f"http://127.0.0.1:{served.port}/api/v1/config")
            assert (answer.status_code, answer.json()["network"]) == (200, "regtest")
        assert served.doors.tally.open == 1
        assert served.doors.tally.refused == {}
