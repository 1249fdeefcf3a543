"""Archive files: the same bytes each time, whole or refused, announced by the accounting alone."""

import gzip
import hashlib
import json

import anyio
import msgspec
import pytest
import typer
from typer.testing import CliRunner

from accounting.adapters.store import open_store
from accounting.adapters.stored_log import StoredLog
from accounting.archive import check_lines
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool import kinds
from nips.pool.archive import Digest
from noncestr.books.archive import archive_ledger, archive_lines, archive_relays, check_archive, read_archive
from noncestr.commands import accounting as accounting_cli
from noncestr.errors import NoncestrError
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy
from tests.vectors.example_log import ACCOUNTING, POOL, T0, ExampleLog

pytestmark = pytest.mark.anyio
ZAP = SecretKey(b"\7" * 32)


@pytest.fixture(scope="module")
def log():
    return ExampleLog()


@pytest.fixture
async def ledger(tmp_path, log):
    """The accounting's file with the example's log, and what strangers wrote the pool's name on."""
    path = tmp_path / "ledger.sqlite"
    stranger = ZAP.sign(UnsignedEvent(kinds.RECEIPT, T0 // 1000, (POOL.tag(),), "{}"))
    async with open_store(path, POOL, ACCOUNTING.pubkey) as store:
        await store.add_events([stranger, *(e for e in log.events.values() if e.kind in kinds.LEDGER_KINDS)])
    return path


def written(log):
    names = ("terms", "empty_receipt", "job", "receipt", "block", "last_receipt", "statement", "status", "payout")
    return {log.events[name].id for name in (*names, "summary", "archive")}


async def test_the_same_bytes_each_time(ledger, tmp_path, log):
    files = []
    for name in ("one.gz", "two.gz"):
        with StoredLog(ledger) as stored:
            files.append(archive_ledger(stored, tmp_path / name, None, None))
    raw = (tmp_path / "one.gz").read_bytes()
    assert raw == (tmp_path / "two.gz").read_bytes()
    assert raw[3:8] == bytes(5), "no name, mtime 0"
    made = files[0]
    assert made.file == Digest(hashlib.sha256(raw).hexdigest(), len(raw))
    stream = gzip.decompress(raw)
    assert made.index.stream == Digest(hashlib.sha256(stream).hexdigest(), len(stream))
    assert {event.id for event in read_archive(tmp_path / "one.gz")} == written(log)
    assert check_archive(tmp_path / "one.gz") == (made.header, made.index)
    # Not compressed it reads the same.
    (tmp_path / "plain.jsonl").write_bytes(stream)
    assert check_archive(tmp_path / "plain.jsonl") == (made.header, made.index)


async def test_a_period(ledger, tmp_path, log):
    middle = log.events["status"].created_at
    with StoredLog(ledger) as stored:
        early = archive_ledger(stored, tmp_path / "early.gz", None, middle)
        late = archive_ledger(stored, tmp_path / "late.gz", middle, None)
        with pytest.raises(NoncestrError, match="nothing of this period"):
            archive_ledger(stored, tmp_path / "none.gz", 1, 2)
    assert early.header.to_s == late.header.from_s == middle
    both = [event.id for name in ("early.gz", "late.gz") for event in read_archive(tmp_path / name)]
    assert sorted(both) == sorted(written(log))
    assert not (tmp_path / "none.gz").exists()


async def test_relays_give_the_same_file(ledger, tmp_path, log):
    async with SqliteEventStore(tmp_path / "relay.sqlite") as store, anyio.create_task_group() as tasks:
        server = RelayServer("127.0.0.1", 0, store, OpenPolicy())
        await tasks.start(server.run)
        for event in log.events.values():
            done = anyio.Event()
            store.put(event, lambda _outcome, done=done: done.set())
            await done.wait()
        made = await archive_relays([server.url], POOL, tmp_path / "relays.gz", None, None, 5)
        with pytest.raises(NoncestrError, match="nothing of this period"):
            await archive_relays([server.url], POOL._replace(network="main"), tmp_path / "x", None, None, 5)
        tasks.cancel_scope.cancel()
    with StoredLog(ledger) as stored:
        own = archive_ledger(stored, tmp_path / "own.gz", made.header.from_s, made.header.to_s)
    assert (tmp_path / "relays.gz").read_bytes() == (tmp_path / "own.gz").read_bytes()
    assert own.index.stream == made.index.stream


@pytest.mark.parametrize("cut", [1, 9, 200, -1])
async def test_a_damaged_file_is_refused_with_the_place(ledger, tmp_path, cut):
    file = tmp_path / "log.gz"
    with StoredLog(ledger) as stored:
        archive_ledger(stored, file, None, None)
    raw = file.read_bytes()
    file.write_bytes(raw[:cut] if cut > 0 else raw[: len(raw) // 2] + bytes(9) + raw[len(raw) // 2 + 9 :])
    with pytest.raises(NoncestrError, match=r"log\.gz: line \d+: "):
        list(read_archive(file))


async def test_a_false_signature_is_refused(ledger, tmp_path):
    file = tmp_path / "log.jsonl"
    with StoredLog(ledger) as stored:
        archive_ledger(stored, tmp_path / "log.gz", None, None)
    lines = list(archive_lines(tmp_path / "log.gz"))
    event = json.loads(lines[2])
    event["sig"] = event["sig"][:-1] + ("0" if event["sig"][-1] != "0" else "1")
    lines[2] = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    index = json.loads(lines[-1])
    index["sha256"] = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    lines[-1] = json.dumps(index, separators=(",", ":")).encode() + b"\n"
    check_lines(lines)
    file.write_bytes(b"".join(lines))
    with pytest.raises(NoncestrError, match="line 3: "):
        list(read_archive(file))


async def run(*asked):
    app = typer.Typer()
    app.command()(accounting_cli.archive)
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(app, [str(one) for one in asked]))


async def test_the_command(ledger, tmp_path, monkeypatch, log):
    monkeypatch.setattr(accounting_cli, "ANNOUNCE_S", 0.05)
    file = tmp_path / "log.gz"
    told = await run("--data", tmp_path, "--out", file, "--url", "https://a", "--url", "https://b")
    assert told.exit_code == 0, told.output
    assert "11 events" in told.output
    assert "announces it when the pool runs" in told.output
    assert hashlib.sha256(file.read_bytes()).hexdigest() in told.output
    with StoredLog(ledger) as stored:
        assert stored.announced(check_archive(file)[1].stream.sha256) is None
    asked = ("--data", tmp_path, "--out", file, "--no-announce", "--json", "--to", log.events["status"].created_at)
    found = msgspec.json.decode((await run(*asked)).output)
    assert (found["announced"], found["to_s"]) == (None, log.events["status"].created_at)
    for wrong in (
        ("--data", tmp_path / "none", "--out", file),
        ("--data", tmp_path, "--out", tmp_path / "no" / "where"),
        ("--data", tmp_path, "--out", file, "--from", "tomorrow"),
        ("--data", tmp_path, "--out", file, "--from", "5", "--to", "5"),
        ("--relay", "ws://127.0.0.1:9", "--out", file),
    ):
        assert isinstance((await run(*wrong)).exception, NoncestrError), wrong
