"""Names looked up at domains that lie, stall, flood, redirect, change their mind, or point inside."""

import json
import logging
import ssl
import subprocess
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener

from nips.keys import SecretKey
from stratum_edge.adapters import nip05_names
from stratum_edge.adapters.name_pins import NamePins
from stratum_edge.adapters.nip05_names import NameLimits, is_public, open_names
from stratum_edge.errors import NameRefused

pytestmark = pytest.mark.anyio

KEY, OTHER = SecretKey(b"\x03" * 32).pubkey, SecretKey(b"\x04" * 32).pubkey
NOW = 1_700_000_000_000


def reply(body: bytes, head: str = "200 OK", extra: str = "") -> bytes:
    return f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{extra}\r\n".encode() + body


def names_reply(**names: str) -> bytes:
    return reply(json.dumps({"names": names}).encode())


class Domain:
    """A server on loopback for `b.example`: `answer` is what it sends, or a function that sends it."""

    def __init__(self) -> None:
        self.answer: bytes | Callable = names_reply(alice=KEY)
        self.requests: list[bytes] = []
        self.port = 0

    async def handle(self, stream) -> None:
        async with stream:
            try:
                self.requests.append(await stream.receive())
                if callable(self.answer):
                    await self.answer(stream)
                else:
                    await stream.send(self.answer)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                pass  # the client has heard enough

    @property
    def limits(self) -> NameLimits:
        return NameLimits(deadline_s=5, local={"b.example": self.port})

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None):
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        self.port = listener.extra(SocketAttribute.local_port)
        if tls is not None:
            listener = TLSListener(listener, tls, standard_compatible=False)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self.handle)
            yield self
            tasks.cancel_scope.cancel()


@pytest.fixture
async def domain():
    async with Domain().serving() as served:
        yield served


@pytest.fixture
def path(tmp_path):
    return tmp_path / "names.sqlite"


@pytest.fixture
def forgetful(monkeypatch):
    """Nothing is remembered but on disk: each call asks again."""
    for name in ("GOOD_S", "AWAY_S", "BAD_S"):
        monkeypatch.setattr(nip05_names, name, 0.0)


async def resolve_anew(path, limits: NameLimits, address: str = "alice@b.example") -> str:
    async with open_names(path, lambda: NOW, limits) as names:
        return await names.resolve(address)


async def test_a_name_is_asked_for_as_the_nip_says_pinned_and_remembered(domain, path):
    async with open_names(path, lambda: NOW, domain.limits) as names:
        assert await names.resolve("Alice@B.example") == KEY
        assert await names.resolve("alice@b.example") == KEY
        assert dict(names.counts) == {"pinned": 1, "resolved": 1}
    [request] = domain.requests
    lines = request.decode().split("\r\n")
    assert lines[0] == "GET /.well-known/nostr.json?name=alice HTTP/1.1"
    assert "Host: b.example" in lines
    with NamePins(path) as pins:
        assert pins.get("alice@b.example").pubkey == KEY


async def test_a_changed_answer_is_refused_logged_counted_and_shown_even_after_a_restart(
    domain, path, caplog, forgetful
):
    assert await resolve_anew(path, domain.limits) == KEY
    domain.answer = names_reply(alice=OTHER)
    caplog.set_level(logging.WARNING)
    async with open_names(path, lambda: NOW, domain.limits) as names:
        for _ in range(2):
            with pytest.raises(NameRefused, match="another key now"):
                await names.resolve("alice@b.example")
        assert names.counts["changed"] == 2
    assert OTHER in caplog.text
    with NamePins(path) as pins:
        assert pins.get("alice@b.example").other == OTHER
    domain.answer = names_reply(alice=KEY)
    assert await resolve_anew(path, domain.limits) == KEY
    domain.answer = names_reply(alice=OTHER)
    with NamePins(path) as pins:
        assert pins.forget("alice@b.example")
    assert await resolve_anew(path, domain.limits) == OTHER


@pytest.mark.parametrize("answer", [reply(b"", "503 Away"), names_reply(bob=KEY), reply(b"<html>"), b""])
async def test_a_pin_holds_while_its_domain_is_away_or_has_nothing_to_say(domain, path, answer):
    assert await resolve_anew(path, domain.limits) == KEY
    domain.answer = answer
    async with open_names(path, lambda: NOW, domain.limits) as names:
        assert await names.resolve("alice@b.example") == KEY
        assert names.counts["away"] == 1


async def stall(stream) -> None:
    await anyio.sleep_forever()


async def dribble(stream) -> None:
    await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.send(b" ")
        await anyio.sleep(0.02)


async def flood(stream) -> None:
    await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.send(b" " * 65536)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (stall, "within"),
        (dribble, "within"),
        (flood, "more than 65536 bytes"),
        (reply(b"", "302 Found", "Location: https://c.example/.well-known/nostr.json?name=alice\r\n"), "status 302"),
        (reply(b"", "301 Moved", "Location: /elsewhere\r\n"), "status 301"),
        (reply(b"", "404 Not Found"), "status 404"),
        (reply(b"x", extra="Content-Encoding: gzip\r\n"), "compressed"),
        (reply(b"<html>"), "JSON"),
        (names_reply(bob=KEY), "knows no alice"),
        (names_reply(alice="npub1x"), "public key in hex"),
        (b"nonsense\r\n\r\n", "can't be reached"),
        (b"", "can't be reached"),
    ],
)
async def test_no_answer_is_a_sentence_for_the_miner_and_not_asked_again_at_once(domain, path, answer, says):
    domain.answer = answer
    async with open_names(path, lambda: NOW, replace(domain.limits, deadline_s=0.3)) as names:
        for _ in range(2):
            with pytest.raises(NameRefused, match=rf"b\.example.*{says}|{says}.*b\.example") as caught:
                await names.resolve("alice@b.example")
            assert "Nostr app" in str(caught.value)
        assert names.counts == {"refused": 1}
    assert len(domain.requests) == 1


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
     "64:ff9b::7f00:1", "2002:7f00:1::", "::7f00:1", "2001:db8::1", "64:ff9b::a00:1"],
)  # fmt: skip
async def test_addresses_inside_are_never_asked_whatever_they_are_wrapped_in(address, path):
    assert not is_public(address)

    async def look_up(host: str) -> list[str]:
        return ["93.184.216.34", address]

    async with open_names(path, lambda: NOW, look_up=look_up) as names:
        with pytest.raises(NameRefused, match="not on the public internet"):
            await names.resolve("alice@c.example")


def test_public_addresses_are_public():
    for address in ("93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"):
        assert is_public(address)


@pytest.mark.parametrize("found", [OSError("no such host"), UnicodeError(), []])
async def test_a_domain_that_does_not_exist(found, path):
    async def look_up(host: str) -> list[str]:
        if isinstance(found, Exception):
            raise found
        return found

    async with open_names(path, lambda: NOW, look_up=look_up) as names:
        with pytest.raises(NameRefused, match=r"no domain c\.example"):
            await names.resolve("alice@c.example")


async def test_the_systems_resolver_is_asked_off_the_loop(path, monkeypatch):
    asked = []

    def getaddrinfo(host, port, **kinds):
        asked.append((host, port))
        return [(2, 1, 6, "", ("127.0.0.1", 443))]

    monkeypatch.setattr(nip05_names.socket, "getaddrinfo", getaddrinfo)
    async with open_names(path, lambda: NOW) as names:
        with pytest.raises(NameRefused, match="not on the public internet"):
            await names.resolve("alice@c.example")
    assert asked == [("c.example", 443)]


async def test_a_farm_with_one_name_asks_once(domain, path):
    found = []
    async with open_names(path, lambda: NOW, domain.limits) as names, anyio.create_task_group() as tasks:

        async def login() -> None:
            found.append(await names.resolve("alice@b.example"))

        for _ in range(100):
            tasks.start_soon(login)
    assert found == [KEY] * 100
    assert len(domain.requests) == 1
    assert names._asked == {}


async def test_who_gives_up_waiting_leaves_the_next_to_ask(domain, path):
    asked, go = anyio.Event(), anyio.Event()

    async def late(stream) -> None:
        asked.set()
        await go.wait()
        await stream.send(names_reply(alice=KEY))

    domain.answer = late
    found = []
    async with open_names(path, lambda: NOW, domain.limits) as names, anyio.create_task_group() as tasks:

        async def login(scope: anyio.CancelScope) -> None:
            with scope:
                found.append(await names.resolve("alice@b.example"))

        first = anyio.CancelScope()
        tasks.start_soon(login, first)
        await asked.wait()
        tasks.start_soon(login, anyio.CancelScope())
        await anyio.lowlevel.checkpoint()
        first.cancel()
        go.set()
    assert found == [KEY]
    assert len(domain.requests) == 2
    assert names._asked == {}


async def test_a_domain_is_not_knocked_at_more_than_so_often_and_pins_still_hold(domain, path, forgetful):
    domain.answer = names_reply(**{f"n{i}": KEY for i in range(9)})
    async with open_names(path, lambda: NOW, replace(domain.limits, per_domain=(0.0, 3))) as names:
        for number in range(3):
            await names.resolve(f"n{number}@b.example")
        with pytest.raises(NameRefused, match="too many names"):
            await names.resolve("n3@b.example")
        assert await names.resolve("n0@b.example") == KEY
        assert names.counts["limited"] == 2
    assert len(domain.requests) == 3


async def test_all_domains_together_are_limited_too(domain, path):
    async with open_names(path, lambda: NOW, replace(domain.limits, in_all=(0.0, 1))) as names:
        await names.resolve("alice@b.example")
        with pytest.raises(NameRefused, match="too many names"):
            await names.resolve("alice@c.example")


async def test_a_disk_that_fails_is_said_and_no_name_is_taken_unpinned(domain, path, monkeypatch):
    monkeypatch.setattr(nip05_names.NamePins, "_room", lambda self, address: self._run("SELECT * FROM nothing"))
    async with open_names(path, lambda: NOW, domain.limits) as names:
        with pytest.raises(NameRefused, match="mine with your npub"):
            await names.resolve("alice@b.example")


@pytest.mark.parametrize("text", ["alice", "alice@localhost", "alice@127.0.0.1", ""])
async def test_what_is_no_address(path, text):
    async with open_names(path, lambda: NOW) as names:
        with pytest.raises(NameRefused):
            await names.resolve(text)


def certificate(folder, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for this name, and a client's that trusts it."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=x", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run(command, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))


@pytest.mark.parametrize(("name", "good"), [("b.example", True), ("c.example", False), ("127.0.0.1", False)])
async def test_tls_is_checked_for_the_name_although_the_address_is_pinned(tmp_path, path, name, good):
    try:
        server, client = certificate(tmp_path, name)
    except FileNotFoundError:
        pytest.skip("there is no openssl command to make a certificate with")
    async with (
        Domain().serving(server) as domain,
        open_names(path, lambda: NOW, replace(domain.limits, tls=client)) as names,
    ):
        if good:
            assert await names.resolve("alice@b.example") == KEY
        else:
            with pytest.raises(NameRefused, match="can't be reached over HTTPS"):
                await names.resolve("alice@b.example")
            assert domain.requests == []
