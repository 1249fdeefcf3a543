"""A connection: PROXY headers and TLS before the lines, floods throttled and ended, silence let go."""

import asyncio
import json
import logging
import socket
import ssl
import struct
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from stratum_edge.adapters import connection
from stratum_edge.adapters.stratum_server import StratumServer
from stratum_edge.config import Limits

pytestmark = pytest.mark.anyio

PING = b'{"id":1,"method":"mining.ping"}\n'
PONG = b'"result":"pong"'
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 3333\r\n"
V2 = bytes.fromhex("0D0A0D0A000D0A515549540A2111000C") + struct.pack(
    "!4s4sHH", socket.inet_aton("203.0.113.8"), socket.inet_aton("192.0.2.1"), 1, 2
)
LOCAL = bytes.fromhex("0D0A0D0A000D0A515549540A20000000")


@asynccontextmanager
async def serving(edge, *, limits=None, **port):
    bench = edge.Bench()
    server = StratumServer(bench.desk, limits or Limits(), lambda: edge.NOW, lambda: None, lambda _: None)
    number = await server.listen(edge.replace(bench.port, port=0, **port))
    try:
        yield server, number
    finally:
        await server.close()


def login(edge):
    lines = [
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": [edge.NPUB, "x"]},
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def until(condition):
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - the server's state has no event of its own
            await anyio.sleep(0.002)


class Miner:
    """The other end, plain or TLS."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def line(self):
        with anyio.fail_after(5):
            return await self.reader.readline()

    async def rest(self):
        with anyio.fail_after(5):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def send(self, data):
        self.writer.write(data)


@asynccontextmanager
async def connect(number, context=None):
    reader, writer = await asyncio.open_connection("127.0.0.1", number, ssl=context)
    try:
        yield Miner(reader, writer)
    finally:
        writer.transport.abort()


def trusting(files):
    return ssl.create_default_context(cafile=str(files.certificate))


# PROXY


@pytest.mark.parametrize(
    ("header", "address"),
    [(V1, "203.0.113.7"), (V2, "203.0.113.8"), (LOCAL, "127.0.0.1"), (b"PROXY UNKNOWN\r\n", "127.0.0.1")],
)
async def test_the_header_s_address_counts_whether_lines_come_with_it_or_byte_by_byte(edge, header, address):
    async with serving(edge, proxy_protocol=True) as (server, number):
        async with connect(number) as miner:
            miner.send(header + PING)
            assert PONG in await miner.line()
            assert [c.address for c in server.connections] == [address]
        async with connect(number) as miner:
            miner.writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in header + PING:
                miner.send(bytes([byte]))
                await anyio.lowlevel.checkpoint()
            assert PONG in await miner.line()
            miner.send(PING)
            assert PONG in await miner.line()


async def test_every_split_of_header_and_lines(edge):
    async with serving(edge, proxy_protocol=True) as (_, number):
        data = V2 + PING
        for at in range(1, len(data)):
            async with connect(number) as miner:
                miner.send(data[:at])
                await anyio.lowlevel.checkpoint()
                miner.send(data[at:])
                assert PONG in await miner.line()


@pytest.mark.parametrize("data", [PING, b"GET / HTTP/1.1\r\n\r\n", V1[:-2] + b"\n", b"PROXY UNKNOWN " + b"x" * 200])
async def test_without_a_proper_header_nothing_is_served(edge, data, caplog):
    with caplog.at_level(logging.INFO):
        async with serving(edge, proxy_protocol=True) as (server, number), connect(number) as miner:
            miner.send(data)
            assert await miner.rest() == b""
            await until(lambda: not server.connections)
    assert any("header" in record.getMessage() for record in caplog.records)


async def test_a_port_that_expects_no_header_takes_it_for_garbage(edge):
    async with serving(edge) as (server, number), connect(number) as miner:
        miner.send(V1 + PING)
        assert b"error" in await miner.line()
        assert [c.address for c in server.connections] == ["127.0.0.1"]


async def test_the_cap_is_the_miner_s_not_the_proxy_s(edge):
    async with serving(edge, proxy_protocol=True, limits=Limits(max_per_address=1)) as (server, number):
        async with connect(number) as first, connect(number) as second, connect(number) as third:
            first.send(V1 + PING)
            second.send(V2 + PING)
            assert PONG in await first.line()
            assert PONG in await second.line()
            third.send(V1 + PING)
            assert b"too many connections from this address" in await third.rest()
        await until(lambda: not server.connections)


async def test_a_header_or_a_handshake_that_does_not_come_is_not_waited_for(edge, authority, monkeypatch):
    monkeypatch.setattr(connection, "HEADER_DEADLINE_MS", 0)
    monkeypatch.setattr(connection, "HANDSHAKE_DEADLINE_MS", 0)
    for port in ({"proxy_protocol": True}, {"tls": authority.make()}):
        async with serving(edge, **port) as (server, number), connect(number) as miner:
            await until(lambda: server.connections)
            await server.sweep()
            assert await miner.rest() == b""


# TLS


async def test_a_miner_logs_in_over_tls_and_hears_of_jobs(edge, authority):
    files = authority.make()
    async with serving(edge, tls=files) as (server, number), connect(number, trusting(files)) as miner:
        miner.send(login(edge))
        got = b"".join([await miner.line() for _ in range(4)])
        assert got.count(b'"method":"mining.notify"') == 1
        await server.announce({"main": server.desk.current("main")}, False)
        assert b"mining.notify" in await miner.line()
        server.let_go("no node answers")
        assert b"no node answers" in await miner.rest()


async def test_the_proxy_s_header_comes_before_the_handshake(edge, authority):
    """What follows the header in the same packet is the beginning of the handshake."""
    files = authority.make()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(files).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    async with serving(edge, tls=files, proxy_protocol=True) as (server, number), connect(number) as miner:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        miner.send(V2 + outgoing.read())
        with anyio.fail_after(5):
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    incoming.write(await miner.reader.read(65536))
        tls.write(PING)
        miner.send(outgoing.read())
        got = b""
        with anyio.fail_after(5):
            while PONG not in got:
                try:
                    got += tls.read()
                except ssl.SSLWantReadError:
                    incoming.write(await miner.reader.read(65536))
        assert [c.address for c in server.connections] == ["203.0.113.8"]


async def test_plain_text_on_a_tls_port_and_a_cap_before_the_handshake(edge, authority):
    files = authority.make()
    async with serving(edge, tls=files, limits=Limits(max_per_address=1)) as (server, number):
        async with connect(number) as miner:
            miner.send(PING)
            assert PONG not in await miner.rest()
        await until(lambda: not server.connections)
        async with connect(number) as idle:  # holds the address's place, with no handshake
            await until(lambda: server.connections)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with connect(number, trusting(files)):
                    pass
            assert not idle.reader.at_eof()


async def test_a_client_that_speaks_only_old_tls_hears_why_it_can_not(edge, authority):
    files = authority.make()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    async with serving(edge, tls=files) as (server, number):
        with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
            async with connect(number, old):
                pass
        await until(lambda: not server.connections)


# Misbehaviour and silence


async def test_who_misbehaves_somewhat_is_read_from_only_now_and_then(edge, monkeypatch):
    monkeypatch.setattr(connection, "PAUSE_MS", 20)
    async with serving(edge) as (server, number), connect(number) as miner:
        miner.send(b"garbage\n" * 15)
        for _ in range(15):
            assert b"error" in await miner.line()
        (peer,) = server.connections
        await until(lambda: peer._pause is not None)
        miner.send(PING)
        assert PONG in await miner.line(), "read again after the pause"


@pytest.mark.parametrize(
    "line", [b"garbage\n", b"\n", PING, b'{"id":1,"method":"mining.no_such"}\n', b'{"id":1,"method":"pong"}\n']
)
async def test_every_flood_ends_the_connection(edge, line, monkeypatch, caplog):
    monkeypatch.setattr(connection, "PAUSE_MS", 1)
    with caplog.at_level(logging.INFO):
        async with serving(edge) as (server, number), connect(number) as miner:
            miner.send(line * 6000)
            await miner.rest()
            await until(lambda: not server.connections)
    assert "closing 127.0.0.1: too many errors" in caplog.text


async def test_who_hands_in_nothing_good_for_long_is_told_and_let_go(edge):
    async with serving(edge, limits=Limits(idle_s=0.0)) as (server, number), connect(number) as miner:
        miner.send(login(edge))
        await until(lambda: [c.session.state.value for c in server.connections] == ["mining"])
        await server.sweep()
        assert b"no good share for 0 s" in await miner.rest()
        await until(lambda: not server.connections)


async def test_a_pause_does_not_outlive_its_connection(edge):
    async with serving(edge) as (server, number):
        async with connect(number) as miner:
            miner.send(b"garbage\n" * 15)
            await until(lambda: any(c._pause for c in server.connections))
            (peer,) = server.connections
            pause = peer._pause
        peer.drop("the test ends it")
        await until(lambda: not server.connections)
        assert pause.cancelled()
