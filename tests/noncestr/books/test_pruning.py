"""Receipts that archives have: let go of, in both databases, without losing books, checks or re-verification."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import msgspec
import pytest
from typer.testing import CliRunner

from accounting.adapters.database import StoreError
from accounting.adapters.store import open_store
from accounting.adapters.stored_log import StoredLog
from accounting.loading import load_fold
from nips.keys import SecretKey
from nips.pool import kinds
from nips.pool.archive import build_archive
from nips.pool.chain import Head, next_link
from noncestr.books.archive import archive_ledger
from noncestr.books.pruning import Pruned, prune
from noncestr.commands.accounting import accounting_app
from noncestr.errors import NoncestrError
from tests.vectors.example_log import ACCOUNTING, POOL

pytestmark = pytest.mark.anyio
STRANGER = SecretKey(b"\x09" * 32)


async def directly(work):
    work()


async def books(place, *, trusted=True):
    async with open_store(place, POOL, ACCOUNTING.pubkey) as store:
        loaded = await load_fold(store, POOL, trusted=trusted, in_thread=directly)
        return list(loaded.fold.dump())


def forget(data: Path, kind: int) -> None:
    """Let the relay lose its events of a kind."""
    with closing(sqlite3.connect(data / "relay.sqlite")) as database, database:
        database.execute("DELETE FROM event WHERE kind = ?", (kind,))


async def announced(place, body) -> None:
    """The accounting signs the archive's announcement."""
    async with open_store(place, POOL, ACCOUNTING.pubkey) as store:
        head, second = await store.head()
        event = ACCOUNTING.sign(build_archive(POOL, next_link(Head(*head)), body, second))
        await store.add_own(event, archive=body.stream.sha256)


@pytest.fixture
async def archived(data, ledger, rebuild):
    """The books, and an announced archive of all of the log."""
    await rebuild(data)
    path = data.parent / "log.jsonl.gz"
    with StoredLog(ledger) as log:
        body = archive_ledger(log, path, None, None).body(("https://pool.example.com/log",))
        log.request_announcement(body)
        with pytest.raises(NoncestrError, match="was not announced"):
            prune(log, path)
    await announced(ledger, body)
    return path


async def test_the_books_stand_without_the_receipts(archived, data, ledger, log, rebuild):
    before = await books(ledger)
    with StoredLog(ledger) as stored:
        done = prune(stored, archived)
        assert (done.let_go, done.stay) == (3, 0)
        assert done.size > 1000
        # Once more finds nothing to do.
        assert prune(stored, archived) == Pruned(0, 0, 0)
        # Receipts alone went, and whoever needs them is told where they are.
        assert stored.event(log.events["job"].id) == log.events["job"]
        with pytest.raises(StoreError, match="an archive has them"):
            archive_ledger(stored, data.parent / "again.gz", None, None)
    assert not (data.parent / "again.gz").exists()
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        gone = [stored async for stored in store.replay() if stored.is_archived]
        assert {stored.id for stored in gone} == {
            log.events[name].id for name in ("empty_receipt", "receipt", "last_receipt")
        }
        assert all(stored.known is not None for stored in gone)
        with pytest.raises(StoreError, match="noncestr accounting rebuild"):
            _ = gone[0].event
    # A start without the kept fold goes by the checks.
    assert await books(ledger) == before
    # Nothing is hashed anew without the archives...
    with pytest.raises(StoreError, match="noncestr accounting rebuild"):
        await books(ledger, trusted=False)
    # ... and with them the books come out the same, everything checked, and are whole again.
    forget(data, kinds.RECEIPT)
    again, _ = await rebuild(data, archived)
    assert (again.identical, again.lost) == (True, 0)
    with StoredLog(ledger) as stored:
        # What the new file was never asked to announce is announced all the same.
        assert prune(stored, archived).let_go == 3
    again, _ = await rebuild(data, archived)
    assert (again.identical, again.lost) == (True, 0)
    assert await books(ledger, trusted=False) == before
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        assert not [stored async for stored in store.replay() if stored.is_archived]


async def test_an_announcement_by_a_stranger_is_none(data, ledger, rebuild):
    await rebuild(data)
    path = data.parent / "log.jsonl.gz"
    with StoredLog(ledger) as log:
        body = archive_ledger(log, path, None, None).body()
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        await store.add_events([STRANGER.sign(build_archive(POOL, next_link(None), body, 1_800_000_000))])
    with StoredLog(ledger) as log, pytest.raises(NoncestrError, match="was not announced"):
        prune(log, path)


async def test_checks_of_another_version_need_the_archives(archived, data, ledger, rebuild):
    before = await books(ledger)
    with StoredLog(ledger) as stored:
        prune(stored, archived)
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        await store.forget_checked()
    with pytest.raises(StoreError, match="noncestr accounting rebuild"):
        await books(ledger)
    again, said = await rebuild(data, archived)
    assert again.before is None
    assert any("nothing is compared" in line for line in said)
    assert await books(ledger) == before


async def test_a_receipt_that_was_wrong_or_never_checked_stays(archived, ledger, log):
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        await store.add_checked({log.events["receipt"].id: None, log.events["empty_receipt"].id: b"damaged"})
    with StoredLog(ledger) as stored:
        done = prune(stored, archived)
        assert (done.let_go, done.stay) == (1, 2)
        assert stored.event(log.events["receipt"].id) == log.events["receipt"]


async def test_an_open_lane_must_have_gone_on(archived, data, ledger, log):
    """Up to before its last batch the lane is open, and its next batch came seconds later."""
    path = data.parent / "part.jsonl.gz"
    with StoredLog(ledger) as stored:
        body = archive_ledger(stored, path, None, log.events["last_receipt"].created_at).body()
        stored.request_announcement(body)
    await announced(ledger, body)
    with StoredLog(ledger) as stored:
        with pytest.raises(NoncestrError, match="lanes have not gone on"):
            prune(stored, path)
        assert stored.event(log.events["receipt"].id) == log.events["receipt"]


@pytest.mark.parametrize("store_place", ["sqlite"], indirect=True)
async def test_the_command(archived, data, monkeypatch):
    monkeypatch.chdir(data.parent)

    async def run(*asked):
        return await anyio.to_thread.run_sync(
            lambda: CliRunner().invoke(accounting_app, ["prune", "--data", str(data), *map(str, asked)])
        )

    told = await run("--archive", archived)
    assert told.exit_code == 0, told.output
    assert "3 receipts let go" in told.output
    found = msgspec.json.decode((await run("--archive", archived, "--json")).output)
    assert (found["let_go"], found["stay"], found["path"]) == (0, 0, str(archived))
    archived.write_bytes(archived.read_bytes()[:-9])
    assert isinstance((await run("--archive", archived)).exception, NoncestrError)
    assert isinstance((await run("--archive", data / "none")).exception, NoncestrError)
    assert (await run()).exit_code == 2
