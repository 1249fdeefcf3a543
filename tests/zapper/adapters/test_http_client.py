"""The HTTP client against servers that lie, stall, flood and redirect, and against names that point inside."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from zapper.adapters.http_client import HttpLimits, open_http_client
from zapper.errors import AddressRefused, HttpFailed, PoolFault

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def serving(answer: bytes | Callable[[SocketStream], Any]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers each request with these bytes, or as the function does; yields its URL and the requests."""
    requests: list[bytes] = []

    async def handle(stream: SocketStream) -> None:
        async with stream:
            requests.append(await stream.receive())
            try:
                if callable(answer):
                    await answer(stream)
                else:
                    await stream.send(answer)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # the client has heard enough

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/x?y=1", requests
        tasks.cancel_scope.cancel()


def reply(body: bytes, head: str = "200 OK", extra: str = "") -> bytes:
    return f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{extra}\r\n".encode() + body


LOCAL = HttpLimits(allow_private=True, timeout_s=5, max_body=1000)


async def test_an_answer_is_read() -> None:
    async with serving(reply(b'{"a":[1,"\xc3\xa9"]}')) as (url, requests), open_http_client(LOCAL) as http:
        assert await http.get_json(url) == {"a": [1, "é"]}
    [request] = requests
    lines = request.decode().split("\r\n")
    assert lines[0] == "GET /x?y=1 HTTP/1.1"
    assert "Accept-Encoding: identity" in lines
    assert "Host: " + url.split("/")[2] in lines


@pytest.mark.parametrize("target", ["/a/b?t=x/y&nostr=%7B%22a%22%3A1%7D", "/%2F?q=%25", "/", "/a?b=c|d'[]"])
async def test_paths_and_queries_go_out_to_the_letter(target: str) -> None:
    """An escape beside a bare slash must not be escaped again: the invoice's hash depends on what arrives."""
    async with serving(reply(b"1")) as (url, requests), open_http_client(LOCAL) as http:
        await http.get_json(url.removesuffix("/x?y=1") + target)
    assert requests[0].startswith(f"GET {target} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    "url", ["https://x.example/a b", "https://x.example/\r\nX: y", "https://x.example/é", "https://x.example/\x7f"]
)
async def test_urls_that_could_smuggle_are_not_asked(url: str) -> None:
    async with open_http_client(LOCAL) as http:
        with pytest.raises(AddressRefused):
            await http.get_json(url)


async def test_a_name_keeps_its_host_header_while_the_address_is_pinned() -> None:
    async with serving(reply(b"1")) as (url, requests), open_http_client(LOCAL) as http:
        assert await http.get_json(url.replace("127.0.0.1", "localhost")) == 1
    assert b"Host: localhost:" in requests[0]


async def test_an_error_status_with_json_is_an_answer() -> None:
    body = b'{"status":"ERROR","reason":"no"}'
    for head in ("404 Not Found", "500 Oops"):
        async with serving(reply(body, head)) as (url, _), open_http_client(LOCAL) as http:
            assert await http.get_json(url) == {"status": "ERROR", "reason": "no"}


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (reply(b"", "302 Found", "Location: http://127.0.0.1:1/\r\n"), "redirect"),
        (reply(b"{}", "301 Moved"), "redirect"),
        (reply(b"<html>"), "not JSON"),
        (reply(b""), "not JSON"),
        (reply(b"\xff\xfe"), "not JSON"),
        (reply(b"[" * 900), "not JSON"),
        (reply(b"busy", "503 Busy"), "status 503"),
        (reply(b'"' + b"a" * 1000 + b'"'), "more than 1000"),
        (reply(b"{}", extra="Content-Encoding: gzip\r\n"), "compressed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", "RemoteProtocolError"),
        (b"SSH-2.0-hello\r\n", "RemoteProtocolError"),
        (b"", "RemoteProtocolError"),
    ],
)
async def test_what_is_no_short_json_is_refused(answer: bytes, word: str) -> None:
    async with serving(answer) as (url, requests), open_http_client(LOCAL) as http:
        with pytest.raises(HttpFailed, match=word):
            await http.get_json(url)
        assert len(requests) == 1


async def test_a_flood_is_cut_off() -> None:
    """Endless bodies end at the cap, not in memory."""

    async def flood(stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send(b" " * 65536)

    async with serving(flood) as (url, _), open_http_client(LOCAL) as http:
        with pytest.raises(HttpFailed, match="more than 1000"):
            await http.get_json(url)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"])
async def test_a_server_that_stalls_or_drips_is_left(first: bytes) -> None:
    """The time is for the whole answer: a byte now and then does not stretch it."""

    async def drip(stream: SocketStream) -> None:
        await stream.send(first)
        for _ in range(1000):
            await anyio.sleep(0.05)
            if first:
                await stream.send(b" ")

    limits = HttpLimits(allow_private=True, timeout_s=0.2, max_body=10_000)
    async with serving(drip) as (url, _), open_http_client(limits) as http:
        with pytest.raises(HttpFailed, match=r"within 0\.2 s|RemoteProtocol"):
            await http.get_json(url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "[::1]",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "[::7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "2130706433",
        "0x7f.1",
    ],
)
async def test_private_addresses_are_not_asked(host: str) -> None:
    async with open_http_client(HttpLimits(timeout_s=1)) as http:
        with pytest.raises(HttpFailed) as told:
            await http.get_json(f"https://{host}/x")
        assert isinstance(told.value, AddressRefused) or "resolve" in str(told.value)


@pytest.mark.parametrize(
    "url", ["http://pay.example/", "ftp://pay.example/", "file:///etc/passwd", "https:///x", "http://abc.onion/x"]
)
async def test_only_https_to_a_host_is_asked(url: str) -> None:
    async with open_http_client() as http:
        with pytest.raises(AddressRefused):
            await http.get_json(url)


async def test_one_private_address_among_public_ones_spoils_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that mixes them, hoping for a retry, gets none; the connection goes to the judged address."""

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(2, 1, 6, "", (address, port)) for address in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr(anyio, "getaddrinfo", resolve)
    async with open_http_client() as http:
        with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
            await http.get_json("https://pay.example/")


async def test_a_dead_address_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(reply(b"7")) as (url, _), open_http_client(LOCAL) as http:

        async def resolve(host: str, port: int, **_: Any) -> list[Any]:
            return [(10, 1, 6, "", ("::1", port, 0, 0)), (2, 1, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(anyio, "getaddrinfo", resolve)
        assert await http.get_json(url.replace("127.0.0.1", "twice.example")) == 7


async def test_only_the_named_private_host_is_asked() -> None:
    async with serving(reply(b"1")) as (url, _), serving(reply(b"2")) as (other, asked):
        limits = HttpLimits(private_hosts=frozenset({url.split("/")[2]}))
        async with open_http_client(limits) as http:
            assert await http.get_json(url) == 1
            with pytest.raises(AddressRefused, match="only https"):
                await http.get_json(other)
            with pytest.raises(AddressRefused, match="not a public address"):
                await http.get_json(other.replace("http:", "https:"))
    assert asked == []


async def test_a_port_beyond_65535_is_refused() -> None:
    async with open_http_client(LOCAL) as http:
        with pytest.raises(AddressRefused, match="port"):
            await http.get_json("https://x.example:99999/")


ONION = "a" * 55 + "d.onion"


@asynccontextmanager
async def tor() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A SOCKS5 proxy (RFC 1928) that answers in the place of whom it was asked for."""
    asked: list[bytes] = []

    async def handle(stream: SocketStream) -> None:
        async with stream:
            assert (await stream.receive())[0] == 5
            await stream.send(b"\x05\x00")
            asked.append(await stream.receive())
            await stream.send(b"\x05\x00\x00\x01" + bytes(6))
            asked.append(await stream.receive())
            await stream.send(reply(b'{"tag":"payRequest"}'))

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}", asked
        tasks.cancel_scope.cancel()


async def test_an_onion_is_asked_through_tor_which_gets_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[object] = []
    look_up = anyio.getaddrinfo

    async def watched(host: Any, *rest: Any, **more: Any) -> Any:
        looked_up.append(host)
        return await look_up(host, *rest, **more)

    monkeypatch.setattr(anyio, "getaddrinfo", watched)
    async with tor() as (proxy, asked), open_http_client(HttpLimits(tor_proxy=proxy)) as http:
        assert await http.get_json(f"http://{ONION}/.well-known/lnurlp/far?a=%2F") == {"tag": "payRequest"}
        # What is no onion goes past the proxy, by the rules that hold for it.
        for url in ("http://pay.example/", "https://127.0.0.1/x"):
            with pytest.raises(AddressRefused):
                await http.get_json(url)
    command, request = asked
    # CONNECT to a domain name (ATYP 3), port 80.
    assert command == b"\x05\x01\x00\x03" + bytes([len(ONION)]) + ONION.encode() + b"\x00\x50"
    assert request.startswith(b"GET /.well-known/lnurlp/far?a=%2F HTTP/1.1\r\n")
    assert f"Host: {ONION}\r\n".encode() in request
    assert ONION not in looked_up


@pytest.mark.parametrize("host", ["abc.onion", "a" * 56 + ".onion.", "a" * 55 + "1.onion", "127.0.0.1.onion"])
async def test_what_only_looks_like_an_onion_reaches_no_proxy(host: str) -> None:
    async with tor() as (proxy, asked), open_http_client(HttpLimits(tor_proxy=proxy)) as http:
        with pytest.raises(AddressRefused):
            await http.get_json(f"http://{host}/x")
    assert asked == []


async def test_a_tor_proxy_that_is_away_is_no_payees_doing(free_tcp_port: int) -> None:
    async with open_http_client(HttpLimits(tor_proxy=f"127.0.0.1:{free_tcp_port}")) as http:
        with pytest.raises(PoolFault, match="not the payee's doing: the Tor proxy"):
            await http.get_json(f"http://{ONION}/")


async def test_an_onion_without_a_proxy_is_told_why() -> None:
    async with open_http_client() as http:
        with pytest.raises(AddressRefused, match="need a Tor proxy, and none is configured"):
            await http.get_json(f"http://{ONION}/x")


async def test_a_url_is_judged_before_anything_is_made_for_it() -> None:
    async with open_http_client() as client:
        for url in (
            "http://shop.example",
            "https://[",
            "https://shop.example:99999",
            "ftp://shop.example",
            "https://a b",
        ):
            with pytest.raises(AddressRefused):
                client.check_url(url)
        with pytest.raises(AddressRefused, match="tor_proxy"):
            client.check_url(f"https://{'a' * 56}.onion")
        assert client.check_url("https://shop.example/pay?x=1") == ("shop.example", 443)
