"""The ports: framing over TCP, caps, bans, deadlines, slow readers, HTTP, a reload."""

import asyncio
import json
import os
import resource
import socket
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from stratum_edge.adapters import connection, stratum_server
from stratum_edge.adapters.ban_files import BanFiles, bans_in, clear_bans
from stratum_edge.adapters.stratum_server import StratumServer
from stratum_edge.config import Limits
from stratum_edge.errors import PortUnavailable
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
        assert await server.announce({"main": bench.desk.current("main")}, clean) == 7
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


# Who is let in


@asynccontextmanager
async def behind_a_proxy(edge, folder, **limits):
    """A server whose peers' addresses a test can choose, with its bans in a folder."""
    bench = edge.Bench()
    bans = BanFiles(folder, "0")
    server = StratumServer(bench.desk, Limits(**limits), lambda: edge.NOW, lambda: None, lambda _: None, bans)
    port = await server.listen(edge.replace(bench.port, port=0, proxy_protocol=True))
    try:
        yield server, port
    finally:
        await server.close()


@asynccontextmanager
async def peer(port, address):
    family = "TCP6" if ":" in address else "TCP4"
    other = "::1" if ":" in address else "192.0.2.1"
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"PROXY {family} {address} {other} 1 3333\r\n".encode())
        yield stream


async def misbehave(server, port, address):
    async with peer(port, address) as stream:
        await stream.send(b"garbage\n" * 30)
        await ended(stream)
    await until(lambda: not server.connections)


async def is_banned(port, address):
    async with peer(port, address) as stream:
        await stream.send(b'{"id":1,"method":"mining.ping"}\n')
        return b"banned" in await stream.receive()


async def test_who_errs_too_often_is_banned_also_after_a_restart_until_it_is_cleared(edge, tmp_path):
    bad, neighbour = "2001:db8:0:1::7", "2001:db8:0:2::7"
    async with behind_a_proxy(edge, tmp_path, strikes=2) as (server, port):
        await misbehave(server, port, bad)
        assert not await is_banned(port, bad)
        await misbehave(server, port, "2001:db8:0:1::8")
        assert await is_banned(port, bad)
        assert not await is_banned(port, neighbour)
        await server.sweep()
    async with behind_a_proxy(edge, tmp_path, strikes=2) as (server, port):
        assert await is_banned(port, bad)
        assert [ban.address for ban in bans_in(tmp_path, edge.NOW)] == ["2001:db8:0:1::/64"]
        clear_bans(tmp_path, None, edge.NOW)
        await server.sweep()
        assert not await is_banned(port, bad)


async def test_the_proxy_itself_is_never_banned(edge, tmp_path):
    async with behind_a_proxy(edge, tmp_path, strikes=1) as (server, port):
        for _ in range(3):
            await misbehave(server, port, "127.0.0.1")
        assert not await is_banned(port, "127.0.0.1")


async def test_trusted_networks_are_never_banned_and_can_change(edge, tmp_path):
    async with behind_a_proxy(edge, tmp_path, strikes=1, trusted=("198.51.100.0/24",)) as (server, port):
        await misbehave(server, port, "198.51.100.7")
        assert not await is_banned(port, "198.51.100.7")
        await server.apply([edge.replace(edge.Bench().port, port=0, proxy_protocol=True)], Limits(strikes=1))
        await misbehave(server, port, "198.51.100.7")
        assert await is_banned(port, "198.51.100.7")
    with pytest.raises(ValueError, match="is no network"):
        Limits(trusted=("everywhere",))


async def test_an_ipv6_household_has_one_cap(edge, tmp_path):
    async with (
        behind_a_proxy(edge, tmp_path, max_per_address=1) as (_, port),
        peer(port, "2001:db8::1") as first,
        peer(port, "2001:db8::2") as second,
        peer(port, "2001:db8:0:1::2") as other,
    ):
        await first.send(b'{"id":1,"method":"mining.ping"}\n')
        assert await read_line(first)
        assert b"too many connections" in await ended(second)
        await other.send(b'{"id":1,"method":"mining.ping"}\n')
        assert await read_line(other)


async def test_the_cap_on_all_connections_holds_over_all_ports(edge, caplog):
    async with serving(edge, max_connections=1) as (bench, server, port):
        other = await server.listen(edge.replace(bench.port, name="other", port=0))
        async with await anyio.connect_tcp("127.0.0.1", port) as first:
            await first.send(b'{"id":1,"method":"mining.ping"}\n')
            await read_line(first)
            for _ in range(3):
                async with await anyio.connect_tcp("127.0.0.1", other) as second:
                    assert b"no room for more connections" in await ended(second)
            await server.sweep()
    assert "connections turned away: the pool has no room for more connections: 3" in caplog.text


async def test_files_are_kept_free_for_the_journal(edge, monkeypatch, caplog):
    monkeypatch.setattr(stratum_server, "file_limit", lambda: 8)
    async with serving(edge) as (bench, server, port):
        assert "this process may open 8 files: that is room for 4 connections" in caplog.text
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            assert b"no file left" in await ended(stream)
        await server.sweep()
        assert "connections turned away: the pool has no file left for a connection: 1" in caplog.text
        monkeypatch.setattr(stratum_server, "file_limit", lambda: 1 << 20)
        await server.apply([edge.replace(bench.port, port=0)], server.limits)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b'{"id":1,"method":"mining.ping"}\n')
            assert await read_line(stream)


async def test_a_process_without_files_lets_nobody_in_and_recovers(edge, monkeypatch):
    """The kernel's own limit, as when another part of the process took all files."""
    monkeypatch.setattr(stratum_server, "file_limit", lambda: 1 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(edge) as (_, server, port):
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        # From here on no file is free: the gaps below the limit are filled.
        limit = max(int(name) for name in os.listdir("/proc/self/fd")) + 50
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        filling = []
        try:
            with suppress(OSError):
                while True:
                    filling.append(os.dup(0))
            with anyio.fail_after(5):
                for client in clients:  # taken and closed at once: who waits would wait for ever
                    client.setblocking(False)
                    with suppress(ConnectionError):
                        assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
            assert not server.connections
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for file in filling:
                os.close(file)
            for client in clients:
                client.close()
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b'{"id":1,"method":"mining.ping"}\n')
            assert await read_line(stream)


# A reload


async def test_ports_and_limits_change_while_miners_mine(edge):
    async with serving(edge) as (bench, server, port):
        first = edge.replace(bench.port, port=0)
        second = edge.replace(bench.port, name="second", port=0)
        await server.apply([first, second], Limits(max_per_address=2))
        assert server.ports["main"] == port
        async with (
            await anyio.connect_tcp("127.0.0.1", port) as stays,
            await anyio.connect_tcp("127.0.0.1", server.ports["second"]) as goes,
        ):
            for stream in (stays, goes):
                await stream.send(login(edge))
                await read_line(stream)
            await until(lambda: [c.session.state.value for c in server.connections] == ["mining"] * 2)
            async with await anyio.connect_tcp("127.0.0.1", port) as third:
                assert b"too many connections from this address" in await ended(third)
            await server.apply([edge.replace(first, shares_per_minute=20)], Limits())
            assert b"this port was closed" in await ended(goes)
            assert server.ports == {"main": port}
            await stays.send(b'{"id":9,"method":"mining.ping"}\n')
            assert any(line.get("id") == 9 for line in await read_line(stays))
            async with await anyio.connect_tcp("127.0.0.1", port) as new:
                await new.send(b'{"id":1,"method":"mining.ping"}\n')
                await read_line(new)
                rates = sorted(c.session.port.shares_per_minute for c in server.connections)
                assert rates == [12, 20], "settings hold for who comes in from now on"


async def test_a_port_that_promises_something_else_lets_its_miners_go(edge):
    async with serving(edge) as (bench, server, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(login(edge))
        await read_line(stream)
        await server.apply([edge.replace(bench.port, port=0, offer="other")], server.limits)
        assert b"this port was closed" in await ended(stream)
        assert server.ports == {"main": port}


async def test_a_reload_that_can_not_be_done_changes_nothing(edge):
    async with serving(edge) as (bench, server, port):
        limits = server.limits
        with socket.create_server(("127.0.0.1", 0)) as busy:
            taken = edge.replace(bench.port, name="taken", port=busy.getsockname()[1])
            with pytest.raises(PortUnavailable):
                await server.apply([taken], Limits(max_per_address=1))
        assert server.limits is limits
        assert server.ports == {"main": port}
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b'{"id":1,"method":"mining.ping"}\n')
            assert await read_line(stream)


async def test_a_fault_in_a_turn_ends_those_who_wait_and_nobody_else(edge, monkeypatch, caplog):
    async with (
        serving(edge) as (bench, _, port),
        await anyio.connect_tcp("127.0.0.1", port) as first,
        await anyio.connect_tcp("127.0.0.1", port) as other,
    ):
        for stream in (first, other):
            await stream.send(login(edge))
            while b"mining.notify" not in await stream.receive():
                pass
        live = bench.desk.current("main")
        id = live.grade(bench.port.start_difficulty).stratum_id
        monkeypatch.setattr(bench.desk, "time_for", lambda *_: 1 // 0)
        share = {
            "id": 3,
            "method": "mining.submit",
            "params": [edge.NPUB, id, "00" * 8, f"{live.job.ntime:08x}", "0" * 8],
        }
        await first.send(json.dumps(share).encode() + b"\n")
        assert b'"id":3' not in await ended(first), "rather gone than silent for ever"
        await other.send(b'{"id":4,"method":"mining.ping"}\n')
        assert (await read_line(other))[-1]["result"] == "pong"
    assert "could not all be judged" in caplog.text
