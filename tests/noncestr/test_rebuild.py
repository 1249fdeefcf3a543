"""The accounting's file anew: the same books from a relay, from archives, and not at all where something lacks."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import msgspec
import pytest
from typer.testing import CliRunner

from accounting.adapters.store import open_store
from accounting.adapters.stored_log import StoredLog
from nips.nip01 import encode_event
from nips.nip19 import encode_nsec
from nips.pool import kinds
from noncestr.accounting_cli import accounting_app
from noncestr.archive import archive_ledger
from noncestr.errors import NoncestrError
from noncestr.rebuild import BEFORE, DRAFT, LEDGER, REBUILT, Rebuild
from noncestr.running import only_one
from relay_bridge.adapters.event_store import SqliteEventStore
from tests.vectors.example_log import ACCOUNTING, EDGE, POOL, POOL_KEY, ZAPPER, ExampleLog

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def log():
    return ExampleLog()


async def fill_relay(data: Path, events) -> None:
    async with SqliteEventStore(data / "relay.sqlite") as store:
        left = len(events)
        done = anyio.Event()

        def count(_outcome) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        for event in events:
            store.put(event, count)
        await done.wait()


def forget(data: Path, kind: int) -> None:
    """Let the relay lose its events of a kind."""
    with closing(sqlite3.connect(data / "relay.sqlite")) as database, database:
        database.execute("DELETE FROM event WHERE kind = ?", (kind,))


def of_log(log):
    return [event for event in log.events.values() if event.kind in kinds.LEDGER_KINDS]


@pytest.fixture
async def data(tmp_path, log):
    """A data folder: keys, and a relay that has the example's log."""
    folder = tmp_path / "data"
    (folder / "keys").mkdir(parents=True)
    for name, key in (("pool", POOL_KEY), ("edge", EDGE), ("accounting", ACCOUNTING), ("zapper", ZAPPER)):
        path = folder / "keys" / f"{name}.nsec"
        path.write_text(encode_nsec(key.secret_bytes()))
        path.chmod(0o600)
    await fill_relay(folder, list(log.events.values()))
    return folder


async def rebuild(data: Path, *archives: Path, force: bool = False):
    said: list[str] = []
    done = await Rebuild(data, POOL, ACCOUNTING, said.append).run(archives, (), timeout_s=5, force=force)
    return done, said


async def test_the_same_books_again(data, log):
    first, said = await rebuild(data)
    assert (first.before, first.events, first.carried) == (None, len(of_log(log)), 0)
    assert any("own relay" in line for line in said)
    second, _ = await rebuild(data)
    assert second.identical
    assert second.before == first.sha256
    assert (second.lost, second.late, second.differences) == (0, 0, ())
    assert (data / BEFORE).exists()
    assert not (data / DRAFT).exists()
    async with open_store(data / LEDGER, POOL, ACCOUNTING.pubkey) as store:
        chain = await store.chain()
        assert list(chain.values()) == [log.events[name].id for name in ("statement", "status", "summary", "archive")]
        assert await store.unpublished() == []
        assert len(await store.account_sums()) > 3


async def test_what_the_old_file_had_not_read_is_no_difference(data, log):
    shutil.copytree(data, data.parent / "less")
    less = data.parent / "less"
    forget(less, kinds.PAYOUT)
    await rebuild(less)
    shutil.copy(data / "relay.sqlite", less / "relay.sqlite")
    done, _ = await rebuild(less)
    assert (done.identical, done.late) == (True, 1)


async def test_what_no_relay_has_yet_is_carried_over(data, log):
    await rebuild(data)
    forget(data, kinds.ARCHIVE)
    done, _ = await rebuild(data)
    assert (done.carried, done.identical) == (1, True)
    async with open_store(data / LEDGER, POOL, ACCOUNTING.pubkey) as store:
        assert [event.id for event in await store.unpublished()] == [log.events["archive"].id]


async def test_lost_receipts_come_from_the_archive(data, log):
    first, _ = await rebuild(data)
    file = data.parent / "log.jsonl.gz"
    with StoredLog(data / LEDGER) as stored:
        archive_ledger(stored, file, None, None)
    forget(data, kinds.RECEIPT)
    forget(data, kinds.JOB)
    lacking, _ = await rebuild(data)
    assert not lacking.identical
    assert lacking.lost == 3
    assert any(line.startswith("- ") for line in lacking.differences)
    assert (data / REBUILT).exists()
    async with open_store(data / LEDGER, POOL, ACCOUNTING.pubkey) as store:
        assert await store.count() == first.events, "the old books stand"
    (data / LEDGER).unlink()
    whole, said = await rebuild(data, file)
    assert whole.sha256 == first.sha256
    assert said[0] == f"{file}: {first.events} events"


async def test_an_archive_that_is_cut_off_changes_nothing(data):
    await rebuild(data)
    file = data.parent / "log.jsonl.gz"
    with StoredLog(data / LEDGER) as stored:
        archive_ledger(stored, file, None, None)
    before = (data / LEDGER).read_bytes()
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(Exception, match=r"cut off|damaged"):
        await rebuild(data, file)
    assert (data / LEDGER).read_bytes() == before
    assert not (data / DRAFT).exists()


async def test_a_hole_in_our_own_chain_is_refused(data):
    forget(data, kinds.STATUS)
    with pytest.raises(Exception, match="a part of the accounting's own chain"):
        await rebuild(data)
    assert not (data / LEDGER).exists()


async def test_a_changed_event_is_refused(data, log):
    receipt = log.events["receipt"]
    with closing(sqlite3.connect(data / "relay.sqlite")) as database, database:
        changed = encode_event(receipt).decode().replace("rig-1", "rig-2")
        database.execute("UPDATE event SET json = ? WHERE id = ?", (changed, bytes.fromhex(receipt.id)))
    with pytest.raises(Exception, match=receipt.id):
        await rebuild(data)


async def test_a_requested_announcement_is_not_lost(data, log):
    await rebuild(data)
    with StoredLog(data / LEDGER) as stored:
        made = archive_ledger(stored, data.parent / "log.jsonl.gz", None, None)
        stored.request_announcement(made.body(("https://pool.example.com/log",)))
    await rebuild(data)
    async with open_store(data / LEDGER, POOL, ACCOUNTING.pubkey) as store:
        assert await store.archives() == [made.body(("https://pool.example.com/log",))]


async def invoke(*asked):
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(accounting_app, [str(one) for one in asked]))


async def test_the_command(data, monkeypatch):
    monkeypatch.chdir(data.parent)
    (data.parent / "noncestr.toml").write_text("[relay]\nrelays = []\n")
    wrong = await invoke("rebuild", "--data", data, "--relay", "x")
    assert isinstance(wrong.exception, NoncestrError)
    first = await invoke("rebuild", "--data", data)
    assert first.exit_code == 0, first.output
    assert "no books to compare with" in first.output
    second = await invoke("rebuild", "--data", data, "--json")
    assert second.exit_code == 0
    assert msgspec.json.decode(second.output)["identical"] is True
    forget(data, kinds.BLOCK)
    third = await invoke("rebuild", "--data", data)
    assert third.exit_code == 1
    assert "they differ" in third.output
    forced = await invoke("rebuild", "--data", data, "--force")
    assert forced.exit_code == 0
    with only_one(data):
        busy = await invoke("rebuild", "--data", data)
    assert "another noncestr is running" in str(busy.exception)
