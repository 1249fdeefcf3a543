"""The CPU miner against a scripted pool on loopback: every share is checked by rebuilding its header from raw text."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from stratum_edge.adapters import cpu_miner
from stratum_edge.adapters.cpu_miner import parse_url, run_miner
from stratum_edge.adapters.miner_evidence import Evidence
from stratum_edge.errors import MinerError, Unauthorized
from stratum_edge.miner_dialogue import StratumClient
from stratum_edge.miner_events import (
    Accepted,
    Connected,
    Disconnected,
    Hashrate,
    LoggedIn,
    MinerEvent,
    NewJob,
    PoolSaid,
    Rejected,
)
from stratum_edge.miner_work import NONCES, Work

ROOT = Path(__file__).parents[2]
EXTRANONCE1 = "0a0b0c0d"
COINB1 = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff10027b00"
COINB2 = "ffffffff0100f2052a01000000015100000000"
PREVHASH = "".join(f"{word:08x}" for word in range(8))
BRANCHES = ["11" * 32, "22" * 32]
# Easy enough for thousands of shares a second, so that no test waits for luck.
DIFFICULTY = 2.0**-24


def double_sha(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def rebuilt_header(extranonce2: str, ntime: str, nonce: str, version: int) -> bytes:
    """The header of a submit, by Stratum's description and nothing of the product's."""
    root = double_sha(bytes.fromhex(COINB1 + EXTRANONCE1 + extranonce2 + COINB2))
    for branch in BRANCHES:
        root = double_sha(root + bytes.fromhex(branch))
    words = [bytes.fromhex(PREVHASH[i : i + 8])[::-1] for i in range(0, 64, 8)]
    numbers = [int(ntime, 16), 0x207FFFFF, int(nonce, 16)]
    tail = b"".join(number.to_bytes(4, "little") for number in numbers)
    return version.to_bytes(4, "little") + b"".join(words) + root + tail


class Pool:
    """One connection of a miner, spoken to by the test's script."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self._lines = BufferedByteReceiveStream(stream)

    async def read(self, method: str) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._lines.receive_until(b"\n", 65536))
        assert message["method"] == method
        return message

    async def write(self, **message: Any) -> None:
        await self.stream.send(json.dumps(message).encode() + b"\n")

    async def answer(self, message: dict[str, Any], result: Any, error: Any = None) -> None:
        await self.write(id=message["id"], result=result, error=error)

    async def welcome(self) -> None:
        """The dialogue up to the first job's eve."""
        await self.answer(await self.read("mining.subscribe"), [[["mining.notify", "s1"]], EXTRANONCE1, 8])
        await self.answer(await self.read("mining.authorize"), True)

    async def job(self, job_id: str, *, clean: bool = False, difficulty: float | None = DIFFICULTY) -> None:
        if difficulty is not None:
            await self.write(id=None, method="mining.set_difficulty", params=[difficulty])
        params = [job_id, PREVHASH, COINB1, COINB2, BRANCHES, "20000000", "207fffff", "67b6f938", clean]
        await self.write(id=None, method="mining.notify", params=params)

    async def settled(self) -> None:
        """Wait until the miner has read all that was written: it answers in order."""
        await self.write(id="settled", method="mining.ping", params=[])
        while json.loads(await self._lines.receive_until(b"\n", 65536))["id"] != "settled":
            pass

    async def share(self) -> tuple[dict[str, Any], bytes, int]:
        """The next submit, with its rebuilt header and that one's hash as a number."""
        message = await self.read("mining.submit")
        _, _, extranonce2, ntime, nonce, *bits = message["params"]
        version = 0x20000000 | (int(bits[0], 16) if bits else 0)
        header = rebuilt_header(extranonce2, ntime, nonce, version)
        return message, header, int.from_bytes(double_sha(header), "little")


Script = Callable[[Pool], Awaitable[None]]


@asynccontextmanager
async def pool_of(*scripts: Script) -> AsyncIterator[int]:
    """A pool that plays one script a connection, in order, and closes each when it ends; yields the port."""
    waiting = list(scripts)

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            if waiting:
                await waiting.pop(0)(Pool(stream))

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        group.cancel_scope.cancel()


async def mine_until(done: anyio.Event, port: int, events: list[MinerEvent], **options: Any) -> None:
    """Run the miner until the script says so."""
    async with anyio.create_task_group() as group:

        async def miner() -> None:
            await run_miner(f"stratum+tcp://127.0.0.1:{port}", "npub1x.rig", on_event=events.append, **options)

        group.start_soon(miner)
        with anyio.fail_after(30):
            await done.wait()
        group.cancel_scope.cancel()


def of_type(events: list[MinerEvent], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.anyio
async def test_shares_are_real_counted_and_recorded(tmp_path: Path) -> None:
    done = anyio.Event()
    submits: list[dict[str, Any]] = []
    headers: list[bytes] = []
    events: list[MinerEvent] = []

    async def script(pool: Pool) -> None:
        await pool.welcome()
        await pool.job("one")
        for number in range(30):
            message, header, value = await pool.share()
            assert value <= int((0xFFFF << 208) / DIFFICULTY)
            submits.append(message["params"])
            headers.append(header)
            await pool.answer(message, *((True,) if number % 3 else (None, [23, "Low difficulty share", None])))
        await pool.answer(await pool.read("mining.submit"), True)
        await pool.settled()
        done.set()
        await anyio.sleep_forever()

    async with pool_of(script) as port:
        await mine_until(done, port, events, max_hps=20_000, record=tmp_path / "evidence.jsonl")
    assert events[:3] == [Connected("127.0.0.1", port), LoggedIn("npub1x.rig"), NewJob("one", DIFFICULTY, False)]
    assert len(set(headers)) == 30
    accepted = of_type(events, Accepted)
    assert accepted[0] == Accepted("one", DIFFICULTY, double_sha(headers[1]))
    assert of_type(events, Rejected) == [Rejected("one", 23, "Low difficulty share")] * 10
    records = [json.loads(text) for text in (tmp_path / "evidence.jsonl").read_text().splitlines()]
    assert (records[0]["type"], records[0]["extranonce1"], records[0]["notify"][1]) == ("job", EXTRANONCE1, PREVHASH)
    shares = records[1:31]
    assert [share["params"] for share in shares] == submits
    assert [share["header"] for share in shares] == [header.hex() for header in headers]
    assert [share["answer"] for share in shares[:3]] == [[23, "Low difficulty share", None], True, True]
    assert all(share["answer"] is None for share in records[32:])


@pytest.mark.anyio
async def test_a_new_job_is_turned_to_and_brings_its_difficulty() -> None:
    done = anyio.Event()
    events: list[MinerEvent] = []

    async def script(pool: Pool) -> None:
        await pool.welcome()
        await pool.job("one")
        await pool.share()
        await pool.job("two", clean=True, difficulty=DIFFICULTY * 4)
        extranonces = {"one": set(), "two": set()}  # type: dict[str, set[str]]
        shares = 0
        while shares < 20:
            message, _, value = await pool.share()
            job_id = message["params"][1]
            extranonces[job_id].add(message["params"][2])
            if job_id == "two":
                assert value <= int((0xFFFF << 208) / DIFFICULTY / 4)
                shares += 1
            else:
                assert shares == 0
        assert not extranonces["one"] & extranonces["two"]
        done.set()
        await anyio.sleep_forever()

    async with pool_of(script) as port:
        await mine_until(done, port, events, max_hps=20_000)
    assert of_type(events, NewJob) == [NewJob("one", DIFFICULTY, False), NewJob("two", DIFFICULTY * 4, True)]


@pytest.mark.anyio
async def test_rolled_versions_are_hashed_as_submitted() -> None:
    done = anyio.Event()

    async def script(pool: Pool) -> None:
        configured = await pool.read("mining.configure")
        await pool.answer(configured, {"version-rolling": True, "version-rolling.mask": "1fffe000"})
        await pool.welcome()
        seen = set()
        for number in range(4):
            await pool.job(f"job{number}", clean=True)
            while True:
                message, _, value = await pool.share()
                if message["params"][1] == f"job{number}":
                    break
            assert value <= int((0xFFFF << 208) / DIFFICULTY)
            seen.add(message["params"][5])
        assert len(seen) == 4
        done.set()
        await anyio.sleep_forever()

    async with pool_of(script) as port:
        await mine_until(done, port, [], max_hps=20_000, version_rolling=True)


@pytest.mark.anyio
async def test_a_refused_user_ends_the_miner_with_the_pools_words() -> None:
    async def script(pool: Pool) -> None:
        await pool.answer(await pool.read("mining.subscribe"), [[], EXTRANONCE1, 8])
        await pool.answer(await pool.read("mining.authorize"), None, [24, "the user is no npub", None])
        await anyio.sleep_forever()

    async with pool_of(script) as port:
        with pytest.raises(Unauthorized) as refused, anyio.fail_after(30):
            await run_miner(f"127.0.0.1:{port}", "satoshi", on_event=lambda _: None)
    assert str(refused.value) == "the pool refused satoshi: the user is no npub"


@pytest.mark.anyio
async def test_a_lost_connection_is_made_again_with_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed, broken, flooded, asked to leave: each is reported, each is tried again, shares on the way recorded."""
    monkeypatch.setattr(cpu_miner, "backoff_ms", lambda attempt: attempt)
    done = anyio.Event()
    events: list[MinerEvent] = []
    again = []

    async def closing(pool: Pool) -> None:
        await pool.welcome()
        await pool.job("one")
        await pool.share()

    async def garbage(pool: Pool) -> None:
        await pool.read("mining.subscribe")
        await pool.stream.send(b"HTTP/1.1 400 Bad Request\r\n")
        await anyio.sleep_forever()

    async def flood(pool: Pool) -> None:
        await pool.read("mining.subscribe")
        await pool.stream.send(b"x" * (cpu_miner.MAX_LINE_BYTES + 1))
        await anyio.sleep_forever()

    async def leaving(pool: Pool) -> None:
        await pool.read("mining.subscribe")
        await pool.write(id=None, method="client.reconnect", params=["evil.example", 3333])
        await anyio.sleep_forever()

    async def last(pool: Pool) -> None:
        subscribe = await pool.read("mining.subscribe")
        again.append(subscribe["params"])
        await pool.answer(subscribe, [[["mining.notify", "s1"]], EXTRANONCE1, 8])
        await pool.answer(await pool.read("mining.authorize"), True)
        await pool.write(id=None, method="client.show_message", params=["welcome back"])
        await pool.job("one")
        await pool.share()
        done.set()
        await anyio.sleep_forever()

    async with pool_of(closing, garbage, flood, leaving, last) as port:
        await mine_until(done, port, events, max_hps=20_000, record=tmp_path / "evidence.jsonl")
    reasons = [event.reason for event in of_type(events, Disconnected)]
    assert len(reasons) == 4
    assert reasons[1].startswith("not JSON")
    assert reasons[2] == f"the pool sent a line of more than {cpu_miner.MAX_LINE_BYTES} bytes"
    assert reasons[3] == "the pool asked to reconnect"
    assert [event.retry_ms for event in of_type(events, Disconnected)] == [0, 1, 2, 3]
    assert again == [["noncestr-cpuminer/1", "s1"]]
    assert of_type(events, PoolSaid) == [PoolSaid("welcome back")]
    records = [json.loads(text) for text in (tmp_path / "evidence.jsonl").read_text().splitlines()]
    assert records[1]["type"] == "share"
    assert records[1]["answer"] is None


@pytest.mark.anyio
async def test_a_pool_that_is_not_there_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_miner, "backoff_ms", lambda attempt: attempt)
    tried = anyio.Event()
    events: list[MinerEvent] = []
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    await listener.aclose()

    def on_event(event: MinerEvent) -> None:
        events.append(event)
        if len(events) == 3:
            tried.set()

    async with anyio.create_task_group() as group:

        async def miner() -> None:
            await run_miner(f"127.0.0.1:{port}", "user", on_event=on_event)

        group.start_soon(miner)
        with anyio.fail_after(30):
            await tried.wait()
        group.cancel_scope.cancel()
    assert all(isinstance(event, Disconnected) for event in events)


@pytest.mark.anyio
async def test_a_dead_worker_ends_the_miner() -> None:
    async def script(pool: Pool) -> None:
        await pool.welcome()
        await pool.job("one")
        await pool.share()
        for child in children(os.getpid()):
            if "hash_worker" in command(child):
                os.kill(child, signal.SIGKILL)
        await anyio.sleep_forever()

    async with pool_of(script) as port:
        with pytest.raises(MinerError, match="hashing process died"), anyio.fail_after(30):
            await run_miner(f"127.0.0.1:{port}", "user", max_hps=20_000, on_event=lambda _: None)


class ScriptedWorker:
    """A worker that reports what it is told to."""

    def __init__(self, *reports: dict[str, Any]) -> None:
        self.reports = list(reports)
        self.orders: list[tuple[int, Work | None]] = []

    async def order(self, work_id: int, work: Work | None) -> None:
        self.orders.append((work_id, work))

    async def report(self) -> dict[str, Any]:
        if not self.reports:
            raise MinerError("no more reports")
        return self.reports.pop(0)


@pytest.mark.anyio
async def test_exhausted_nonces_bring_the_next_extranonce2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_miner, "REPORT_S", 0)
    worker = ScriptedWorker(
        {"id": 1, "hashes": NONCES, "found": [], "done": True},
        {"id": 1, "hashes": 0, "found": [], "done": True},  # of the work before: no reason to turn again
        {"id": 2, "hashes": 5, "found": [], "done": False},
    )
    client = StratumClient("user")
    client.open()
    client.receive(b'{"id":1,"result":[[],"0a0b0c0d",8],"error":null}')
    client.receive(b'{"id":2,"result":true,"error":null}')
    params = ["one", PREVHASH, COINB1, COINB2, BRANCHES, "20000000", "207fffff", "67b6f938", True]
    client.receive(json.dumps({"id": None, "method": "mining.notify", "params": params}).encode())
    events: list[MinerEvent] = []
    miner = cpu_miner._Miner(client, worker, Evidence(None), events.append)
    await miner.turn_to_new_work()
    with pytest.raises(MinerError, match="no more reports"):
        await miner.hash_on(None)  # type: ignore[arg-type]  # nothing is found, so nothing is sent
    assert [work_id for work_id, _ in worker.orders] == [1, 2]
    first, second = (work for _, work in worker.orders)
    assert first is not None
    assert second is not None
    assert first.extranonce2 != second.extranonce2
    assert len(of_type(events, Hashrate)) == 3


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("stratum+tcp://pool.example:3333", ("pool.example", 3333, False)),
        ("pool.example:3333", ("pool.example", 3333, False)),
        ("stratum+ssl://pool.example:443", ("pool.example", 443, True)),
        ("stratum+tcp://[::1]:3333", ("::1", 3333, False)),
    ],
)
def test_urls(url: str, expected: tuple[str, int, bool]) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize("url", ["", "pool.example", "http://pool.example:80", "stratum+tcp://:3333", "a:b", "a:99999"])
def test_what_is_no_stratum_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"stratum\+tcp|[Pp]ort"):
        parse_url(url)


@pytest.mark.anyio
async def test_nonsense_options_are_refused() -> None:
    with pytest.raises(ValueError, match="max_hps"):
        await run_miner("127.0.0.1:1", "user", max_hps=0, on_event=lambda _: None)


def children(pid: int) -> list[int]:
    """The child processes of a process's threads."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


MINER = """
import sys
import anyio
from stratum_edge.adapters.cpu_miner import run_miner

async def main():
    await run_miner(sys.argv[1], "npub1x.rig", max_hps=20_000, on_event=lambda event: None)

try:
    anyio.run(main, backend_options={"use_uvloop": True})
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.anyio
@pytest.mark.parametrize("deadly", [signal.SIGINT, signal.SIGKILL])
async def test_the_worker_ends_with_its_miner(deadly: signal.Signals) -> None:
    """As a process of its own, the miner stops on Ctrl-C with nothing to say; killed, it takes the worker along."""
    mining = anyio.Event()

    async def script(pool: Pool) -> None:
        await pool.welcome()
        await pool.job("one")
        await pool.share()
        mining.set()
        await anyio.sleep_forever()

    async with (
        pool_of(script) as port,
        await anyio.open_process(
            [sys.executable, "-c", MINER, f"127.0.0.1:{port}"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as miner,
    ):
        with anyio.fail_after(30):
            await mining.wait()
        (worker,) = children(miner.pid)
        assert "hash_worker" in command(worker)
        worker_end = os.pidfd_open(worker)  # readable once the process is gone, though it is not our child
        try:
            miner.send_signal(deadly)
            with anyio.fail_after(30):
                await miner.wait()
                await anyio.wait_readable(worker_end)
        finally:
            os.close(worker_end)
        assert miner.returncode == (130 if deadly is signal.SIGINT else -signal.SIGKILL)
        assert miner.stderr is not None
        with pytest.raises(anyio.EndOfStream):
            await miner.stderr.receive()
