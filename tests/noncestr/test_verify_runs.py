"""The command whole: on files and relays, with processes, from checkpoints, live."""

import gzip
import json
import lzma
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import websockets
from anyio.streams.buffered import BufferedByteReceiveStream

from accounting.archive import ArchiveHeader, canonical_order, stub_of, write_lines
from nips.nip01 import VerifiedEvent, encode_event
from nips.pool.receipt import build_receipt
from noncestr.errors import NoncestrError
from noncestr.verify.run import Asked, run_verify
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy
from relay_bridge.ports import Outcome
from tests.accounting.conftest import KEYS, POOL, LogBuilder, tell_story

ROOT = Path(__file__).parents[2]
# Ends as soon as what is awaited is there; CI has two cores and other work.
PATIENCE = 60


@pytest.fixture(scope="module")
def log() -> LogBuilder:
    return tell_story()


def lines_of(events: list[VerifiedEvent]) -> bytes:
    return b"".join(encode_event(event) + b"\n" for event in events)


async def put(store: SqliteEventStore, event: VerifiedEvent) -> None:
    stored = anyio.Event()

    def done(outcome: Outcome) -> None:
        assert outcome is Outcome.STORED
        stored.set()

    store.put(event, done)
    await stored.wait()


async def publish(url: str, events: list[VerifiedEvent]) -> None:
    """As anybody would."""
    async with websockets.connect(url) as socket:
        for event in events:
            await socket.send('["EVENT",' + encode_event(event).decode() + "]")
            while (answer := json.loads(await socket.recv()))[0] != "OK":
                pass
            assert answer[2] is True


@asynccontextmanager
async def relay(folder: Path, port: int = 0) -> AsyncIterator[tuple[RelayServer, SqliteEventStore]]:
    async with (
        SqliteEventStore(folder / "relay.sqlite") as store,
        RelayServer("127.0.0.1", port, store, OpenPolicy()) as server,
    ):
        yield server, store


async def run(capsys: pytest.CaptureFixture[str], **asked: Any) -> tuple[int, dict[str, Any]]:
    status = await run_verify(Asked(**{"relays": "", "pool": POOL.pubkey, "json": True, **asked}))
    return status, json.loads(capsys.readouterr().out)


def findings(report: dict[str, Any]) -> set[str]:
    return {found["code"] for found in report["findings"] if found["grade"] != "not checked"}


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["plain", "gzip", "xz", "archive"])
async def test_a_file_is_read_in_any_form(
    log: LogBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    data, by_id = lines_of(log.all()), {event.id: event for event in log.all()}
    if form == "archive":
        header = ArchiveHeader(POOL, 1_600_000_000, 1_800_000_000)
        ordered = [by_id[event] for event in canonical_order(map(stub_of, by_id.values()))]
        data = b"".join(write_lines(header, ordered))
    (tmp_path / "log").write_bytes({"gzip": gzip.compress, "xz": lzma.compress}.get(form, bytes)(data))
    status, report = await run(capsys, archives=(tmp_path / "log",), now_ms=log.t0 + 70_000)
    assert (status, findings(report)) == (0, set())
    assert {row["name"]: row["held"] for row in report["claims"]}["shares' work and binding"] == 25


@pytest.mark.anyio
async def test_a_file_that_is_cut_or_is_none_is_said(log: LogBuilder, tmp_path: Path) -> None:
    archive = b"".join(write_lines(ArchiveHeader(POOL, 1_600_000_000, 1_800_000_000), []))
    for data in (archive.splitlines(keepends=True)[0], gzip.compress(lines_of(log.all()))[:-9], b"\xfd7zXZ"):
        (tmp_path / "log").write_bytes(data)
        with pytest.raises(NoncestrError):
            await run_verify(Asked("", POOL.pubkey, archives=(tmp_path / "log",)))
    with pytest.raises(NoncestrError):
        await run_verify(Asked("", POOL.pubkey, archives=(tmp_path / "nowhere",)))


@pytest.mark.anyio
async def test_processes_make_no_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log: LogBuilder
) -> None:
    """Forged lines, a fork and a lie among them; with a record, whose shares come back whole."""
    body = log.bodies["batch 0/3"]
    fork = KEYS.edge.sign(build_receipt(POOL, body, log.events["batch 0/3"].created_at + 1))
    data = lines_of([*log.all(), fork]).replace(b'"height":102', b'"height":103', 1) + b"nonsense\n"
    (tmp_path / "log").write_bytes(data)
    reports = [await run(capsys, archives=(tmp_path / "log",), jobs=jobs, now_ms=log.t0 + 70_000) for jobs in (1, 2, 3)]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0][0] == 1
    assert "fork" in findings(reports[0][1])


@pytest.mark.anyio
async def test_relays_are_read_slice_by_slice_and_gone_on_with_from_a_checkpoint(
    log: LogBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = log.all()
    file = tmp_path / "checkpoint"
    async with relay(tmp_path) as (server, store):
        for event in events[:30]:
            await put(store, event)
        now = {"relays": server.url, "checkpoint": file, "now_ms": log.t0 + 70_000}
        status, first = await run(capsys, **now)
        assert file.exists()
        for event in events[30:]:
            await put(store, event)
        status, resumed = await run(capsys, **now)
        assert status == 0
        _, whole = await run(capsys, relays=server.url, now_ms=log.t0 + 70_000)
        (note,) = resumed.pop("notes")
        assert "goes on from a checkpoint of 2023-11-14" in note
        assert whole.pop("notes") == []
        assert resumed == whole
        assert first != whole
        good = file.read_bytes()
        file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(NoncestrError, match="changed or damaged"):
            await run(capsys, **now)


@pytest.mark.anyio
async def test_what_came_late_is_read_from_a_checkpoint_however_old_it_is(
    log: LogBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job, an announced block and a zap receipt, in no chain, reach the relay after an audit that missed them."""
    late = ("job B", "block 0", "receipt 0")
    now = {"now_ms": log.t0 + 70_000}
    async with relay(tmp_path) as (server, store):
        for event in log.all(*late):
            await put(store, event)
        asked = {"relays": server.url, "checkpoint": tmp_path / "checkpoint", **now}
        status, first = await run(capsys, **asked)
        assert status == 1
        assert {"missing-job", "statement-no-block", "payout-claimed"} <= {found["code"] for found in first["findings"]}
        for label in late:
            await put(store, log.events[label])
        # No chain makes it ask so far back.
        monkeypatch.setattr("noncestr.verify.run.resume_since", lambda log, resume_s: resume_s)
        status, resumed = await run(capsys, **asked)
        _, whole = await run(capsys, relays=server.url, **now)
        del resumed["notes"], whole["notes"]
        assert resumed == whole
        assert status == 0


@pytest.mark.anyio
async def test_the_options_that_do_not_go_together_are_said(tmp_path: Path) -> None:
    for asked, says in (
        ({}, "name a relay"),
        ({"npub": POOL.pubkey}, "--npub and --record"),
        ({"npub": "x", "record": tmp_path / "none"}, "--record|--npub"),
        ({"headers": tmp_path / "none"}, "--headers"),
        ({"bitcoin_rpc": "ftp://x"}, "--bitcoin-rpc"),
        ({"bitcoin_rpc": "http://127.0.0.1:1"}, "user and password"),
        ({"watch": True, "archives": (tmp_path,)}, "--watch"),
        ({"headers": tmp_path, "bitcoin_rpc": "http://x"}, "one chain"),
    ):
        given = {"archives": (tmp_path / "log",), **asked} if asked else {}
        (tmp_path / "log").write_bytes(b"")
        with pytest.raises(NoncestrError, match=says):
            await run_verify(Asked(**{"relays": "", "pool": POOL.pubkey, **given}))


class Watching:
    """`noncestr verify --watch` as a process of its own."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self.process = process
        assert process.stdout is not None
        self._lines = BufferedByteReceiveStream(process.stdout)
        self.seen: list[str] = []

    async def until(self, fits: Callable[[str], bool]) -> str:
        with anyio.fail_after(PATIENCE):
            while True:
                self.seen.append((await self._lines.receive_until(b"\n", 1 << 16)).decode())
                if fits(self.seen[-1]):
                    return self.seen[-1]

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    self.seen.append((await self._lines.receive_until(b"\n", 1 << 16)).decode())
                except (anyio.EndOfStream, anyio.IncompleteRead):
                    return await self.process.wait()


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Watching]:
    command = [sys.executable, "-m", "noncestr", "verify", "--relay", url, "--pool", POOL.pubkey, "--watch"]
    async with await anyio.open_process(command, cwd=ROOT, stderr=None) as process:
        try:
            yield Watching(process)
        finally:
            if process.returncode is None:
                process.kill()


@pytest.mark.anyio
async def test_what_is_tampered_with_is_said_as_it_comes_and_after_a_relay_came_back(
    log: LogBuilder, tmp_path: Path
) -> None:
    events = log.all()
    body = log.bodies["batch 0/3"]
    fork = KEYS.edge.sign(build_receipt(POOL, body, log.events["batch 0/3"].created_at + 1))
    async with relay(tmp_path) as (server, store):
        for event in events[:-8]:
            await put(store, event)
        port = int(server.url.rpartition(":")[2].strip("/"))
        async with watching(server.url) as watch:
            await watch.until(lambda line: "following" in line)
            await publish(server.url, events[-8:])
            await watch.until(lambda line: "6 of 6 statements" in line)
            await publish(server.url, [fork])
            said = await watch.until(lambda line: " fork: " in line)
            assert fork.id in said
            # The relay goes away and comes back with more.
            await server.__aexit__(None, None, None)
            again = RelayServer("127.0.0.1", port, store, OpenPolicy())
            async with again:
                await watch.until(lambda line: "is back" in line)
                late = KEYS.edge.sign(build_receipt(POOL, body, log.events["batch 0/3"].created_at + 2))
                await publish(again.url, [late])
                await watch.until(lambda line: late.id in line)
                assert await watch.stop() == 1
            assert watch.seen[-1] == "not all holds"
