"""The port: framing over TCP, caps, deadlines, slow readers, HTTP."""

import json
import socket
from contextlib import asynccontextmanager

import anyio
import pytest

from stratum_edge.adapters import connection, stratum_server
from stratum_edge.adapters.stratum_server import StratumServer
from stratum_edge.config import Limits
from stratum_edge.framing import HTTP_ANSWER

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def serving(edge, **limits):
    bench = edge.Bench()
    server = StratumServer(bench.desk, Limits(**limits), lambda: edge.NOW, lambda: None, lambda _: None)
    port = await server.listen(edge.replace(bench.port, port=0))
    try:
        yield bench, server, port
    finally:
        await server.close()


def login(edge):
    lines = [
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": [edge.NPUB, "x"]},
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def read_line(stream):
    data = b""
    while not data.endswith(b"\n"):
        data += await stream.receive()
    return [json.loads(line) for line in data.splitlines()]


async def until(condition):
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - the server's state has no event of its own
            await anyio.sleep(0.005)


async def ended(stream):
    """What is left to read before the end."""
    data = b""
    with anyio.fail_after(5):
        try:
            while True:
                data += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return data


async def test_a_request_byte_by_byte_and_many_in_one_read(edge):
    async with serving(edge) as (_, _, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        for byte in b'{"id":1,"method":"mining.ping"}\n':
            await stream.send(bytes([byte]))
        assert (await read_line(stream))[0]["result"] == "pong"
        await stream.send(b'{"id":2,"method":"mining.ping"}\n' * 50)
        got = []
        while len(got) < 50:
            got += await read_line(stream)


async def test_an_oversize_line_is_answered_and_the_next_one_served(edge):
    async with serving(edge) as (bench, _, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"x" * 20_000 + b"\n" + b'{"id":2,"method":"mining.ping"}\n')
        got = []
        while len(got) < 2:
            got += await read_line(stream)
        assert got[0]["error"][1] == "line too long"
        assert got[1]["result"] == "pong"
        assert bench.desk.counts.bad_lines == 1


async def test_http_and_floods_are_answered_and_closed(edge):
    async with serving(edge) as (_, server, port):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n")
            assert await ended(stream) == HTTP_ANSWER
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"garbage\n" * 200)
            assert b"too many errors" in await ended(stream)
        await until(lambda: not server.connections)


async def test_an_address_has_a_cap_and_frees_it(edge):
    async with serving(edge, max_per_address=1) as (_, server, port):
        async with await anyio.connect_tcp("127.0.0.1", port) as first:
            await first.send(b'{"id":1,"method":"mining.ping"}\n')
            await read_line(first)
            async with await anyio.connect_tcp("127.0.0.1", port) as second:
                assert b"too many connections from this address" in await ended(second)
        await until(lambda: not server.connections)
        async with await anyio.connect_tcp("127.0.0.1", port) as third:
            await third.send(b'{"id":1,"method":"mining.ping"}\n')
            assert await read_line(third)


async def test_who_does_not_log_in_is_dropped_and_who_did_stays(edge):
    async with (
        serving(edge, login_deadline_s=0.0) as (_, server, port),
        await anyio.connect_tcp("127.0.0.1", port) as idle,
        await anyio.connect_tcp("127.0.0.1", port) as miner,
    ):
        lines = [
            {"id": 1, "method": "mining.subscribe", "params": []},
            {"id": 2, "method": "mining.authorize", "params": [edge.NPUB, "x"]},
        ]
        await miner.send(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        await read_line(miner)
        await server.sweep()
        assert await ended(idle) == b""
        await until(lambda: len(server.connections) == 1)


async def test_a_slow_reader_is_dropped_with_its_buffer_capped(edge, monkeypatch):
    monkeypatch.setattr(connection, "MAX_UNREAD", 64 * 1024)
    async with serving(edge) as (bench, server, port):
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", port))
        raw.sendall(login(edge))
        await until(lambda: [c.session.state.value for c in server.connections] == ["mining"])
        live = {"main": bench.desk.current("main")}
        sent = 0
        with anyio.fail_after(20):
            while server.connections:
                await server.announce(live, False)
                await anyio.lowlevel.checkpoint()
                sent += 1
        assert sent > 50, "what a job takes fits many times"
        raw.close()


async def test_a_new_job_reaches_all_in_chunks(edge, monkeypatch):
    monkeypatch.setattr(stratum_server, "JOB_CHUNK", 2)
    async with serving(edge) as (bench, server, port), anyio.create_task_group() as group:
        notified = []

        async def miner(number):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b'{"id":1,"method":"mining.subscribe","params":[]}\n')
                await stream.send(
                    json.dumps({"id": 2, "method": "mining.authorize", "params": [edge.NPUB, "x"]}).encode() + b"\n"
                )
                data = b""
                while data.count(b"mining.notify") < 4:  # two in the subscribe reply's channel list and their job
                    data += await stream.receive()
                    if data.count(b'"method":"mining.notify"') == 2:
                        break
                notified.append(number)

        for number in range(7):
            group.start_soon(miner, number)
        await until(lambda: sum(c.session.state.value == "mining" for c in server.connections) == 7)
        clean = bench.desk.renew(edge.make_template(height=201, prevhash=b"\xbb" * 32), bench.terms, edge.NOW + 1)
        await server.announce({"main": bench.desk.current("main")}, clean)
        await until(lambda: len(notified) == 7)


async def test_nothing_is_acknowledged_that_the_journal_did_not_take(edge):
    async with serving(edge) as (bench, _, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        lines = [
            {"id": 1, "method": "mining.authorize", "params": [edge.NPUB, "x"]},
            {"id": 2, "method": "mining.subscribe", "params": []},
        ]
        await stream.send(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        messages = []
        while len(messages) < 4:
            messages += await read_line(stream)
        extranonce1 = bytes.fromhex(messages[1]["result"][1])
        notify = edge.read_notify(messages[3]["params"])
        shares = [edge.mine(notify, extranonce1, (0xFFFF << 208) << 24, start=n) for n in range(2)]

        async def submit(found):
            params = found.params(edge.NPUB, notify.job)
            await stream.send(json.dumps({"id": 3, "method": "mining.submit", "params": params}).encode() + b"\n")

        bench.journal.full = bench.journal.failed = True
        await submit(shares[0])
        assert "can't store" in (await read_line(stream))[0]["error"][1]
        bench.journal.failed = False
        await submit(shares[1])
        assert await ended(stream) == b"", "the disk fills up with this very share"
