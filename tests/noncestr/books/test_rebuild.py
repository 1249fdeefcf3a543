"""The accounting's file anew: the same books from a relay, from archives, and not at all where something lacks."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import msgspec
import pytest
from typer.testing import CliRunner

from accounting.adapters.database import StoreError
from accounting.adapters.postgres_database import PostgresPlace, open_postgres
from accounting.adapters.slots import slots_of
from accounting.adapters.store import open_store
from accounting.adapters.stored_log import StoredLog
from nips.nip01 import encode_event
from nips.pool import kinds
from noncestr.books.archive import archive_ledger
from noncestr.books.place import LEDGER
from noncestr.books.rebuild import Rebuild
from noncestr.cli import command_line
from noncestr.commands.accounting import accounting_app
from noncestr.errors import NoncestrError
from noncestr.running import only_one
from tests.vectors.example_log import ACCOUNTING, POOL

pytestmark = pytest.mark.anyio


def forget(data: Path, kind: int) -> None:
    """Let the relay lose its events of a kind."""
    with closing(sqlite3.connect(data / "relay.sqlite")) as database, database:
        database.execute("DELETE FROM event WHERE kind = ?", (kind,))


def of_log(log):
    return [event for event in log.events.values() if event.kind in kinds.LEDGER_KINDS]


async def lose(place) -> None:
    if isinstance(place, Path):
        place.unlink()
        return
    async with open_postgres(place) as database, database.transaction() as writer:
        await writer.execute(f'DROP SCHEMA "{place.schema}" CASCADE')


async def dump(place) -> list[object]:
    async with open_store(place, POOL, ACCOUNTING.pubkey) as store:
        return [stored async for stored in store.replay()]


async def is_there(place) -> bool:
    return await slots_of(place).is_there()


async def test_the_same_books_again(data, log, ledger, rebuild):
    first, said = await rebuild(data)
    assert (first.before, first.events, first.carried) == (None, len(of_log(log)), 0)
    assert any("own relay" in line for line in said)
    second, _ = await rebuild(data)
    assert second.identical
    assert second.before == first.sha256
    assert (second.lost, second.late, second.differences) == (0, 0, ())
    assert await is_there(slots_of(ledger).before)
    assert not await is_there(slots_of(ledger).draft)
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        chain = await store.chain()
        assert list(chain.values()) == [log.events[name].id for name in ("statement", "status", "summary", "archive")]
        assert await store.unpublished() == []
        assert len(await store.account_sums()) > 3


async def test_what_the_old_file_had_not_read_is_no_difference(data, log, ledger, rebuild):
    shutil.copytree(data, data.parent / "less")
    less = data.parent / "less"
    forget(less, kinds.PAYOUT)
    await rebuild(less)
    shutil.copy(data / "relay.sqlite", less / "relay.sqlite")
    done, _ = await rebuild(less)
    assert (done.identical, done.late) == (True, 1)


async def test_what_no_relay_has_yet_is_carried_over(data, log, ledger, rebuild):
    await rebuild(data)
    forget(data, kinds.ARCHIVE)
    done, _ = await rebuild(data)
    assert (done.carried, done.identical) == (1, True)
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        assert [event.id for event in await store.unpublished()] == [log.events["archive"].id]


async def test_lost_receipts_come_from_the_archive(data, log, ledger, rebuild):
    first, _ = await rebuild(data)
    file = data.parent / "log.jsonl.gz"
    with StoredLog(ledger) as stored:
        archive_ledger(stored, file, None, None)
    forget(data, kinds.RECEIPT)
    forget(data, kinds.JOB)
    lacking, _ = await rebuild(data)
    assert not lacking.identical
    assert lacking.lost == sum(event.kind in (kinds.RECEIPT, kinds.JOB) for event in log.events.values())
    assert any(line.startswith("- ") for line in lacking.differences)
    assert await is_there(slots_of(ledger).rebuilt)
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        assert await store.count() == first.events, "the old books stand"
    await lose(ledger)
    whole, said = await rebuild(data, file)
    assert whole.sha256 == first.sha256
    assert said[0] == f"{file}: {first.events} events"


async def test_an_archive_that_is_cut_off_changes_nothing(data, ledger, rebuild):
    await rebuild(data)
    file = data.parent / "log.jsonl.gz"
    with StoredLog(ledger) as stored:
        archive_ledger(stored, file, None, None)
    before = await dump(ledger)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(Exception, match=r"cut off|damaged"):
        await rebuild(data, file)
    assert await dump(ledger) == before
    assert not await is_there(slots_of(ledger).draft)


async def test_a_hole_in_our_own_chain_is_refused(data, ledger, rebuild):
    forget(data, kinds.STATUS)
    with pytest.raises(Exception, match="a part of the accounting's own chain"):
        await rebuild(data)
    assert not await is_there(ledger)


async def test_a_changed_event_is_refused(data, log, ledger, rebuild):
    receipt = log.events["receipt"]
    with closing(sqlite3.connect(data / "relay.sqlite")) as database, database:
        changed = encode_event(receipt).decode().replace("rig-1", "rig-2")
        database.execute("UPDATE event SET json = ? WHERE id = ?", (changed, bytes.fromhex(receipt.id)))
    with pytest.raises(Exception, match=receipt.id):
        await rebuild(data)


async def test_a_requested_announcement_is_not_lost(data, log, ledger, rebuild):
    await rebuild(data)
    with StoredLog(ledger) as stored:
        made = archive_ledger(stored, data.parent / "log.jsonl.gz", None, None)
        stored.request_announcement(made.body(("https://pool.example.com/log",)))
    await rebuild(data)
    async with open_store(ledger, POOL, ACCOUNTING.pubkey) as store:
        assert await store.archives() == [made.body(("https://pool.example.com/log",))]


async def invoke_app(*asked):
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(command_line(), [str(one) for one in asked]))


async def invoke(*asked):
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(accounting_app, [str(one) for one in asked]))


async def test_a_damaged_file_gives_what_only_it_has(data, log):
    """Pages other than our own chain's are lost: what was signed is carried over, and nothing is signed twice."""
    said: list[str] = []
    await Rebuild(data, POOL, ACCOUNTING.pubkey, said.append).run((), (), timeout_s=5)
    forget(data, kinds.ARCHIVE)
    with closing(sqlite3.connect(data / LEDGER)) as database, database:
        page_size = database.execute("PRAGMA page_size").fetchone()[0]
        page = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'postings_by_account'").fetchone()[0]
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (data / LEDGER).open("r+b") as file:
        file.seek((page - 1) * page_size)
        file.write(b"\xff" * page_size)
    with pytest.raises(StoreError, match=r"damaged.*noncestr accounting rebuild"):
        async with open_store(data / LEDGER, POOL, ACCOUNTING.pubkey):
            pass
    done = await Rebuild(data, POOL, ACCOUNTING.pubkey, said.append).run((), (), timeout_s=5)
    assert (done.before, done.carried) == (None, 1)
    assert "4 events of our own chain were saved from them" in said
    async with open_store(data / LEDGER, POOL, ACCOUNTING.pubkey) as store:
        assert [event.id for event in await store.unpublished()] == [log.events["archive"].id]


async def test_the_command_on_a_server(data, monkeypatch, postgres_place):
    monkeypatch.chdir(data.parent)
    url = postgres_place.url
    (data.parent / "noncestr.toml").write_text(f'[relay]\nrelays = []\n[accounting]\ndatabase = "{url}"\n')
    try:
        first = await invoke("rebuild", "--data", data)
        assert first.exit_code == 0, (first.output, first.exception)
        again = await invoke("rebuild", "--data", data, "--json")
        assert msgspec.json.decode(again.output)["identical"] is True
        made = await invoke_app("archive", "--data", data, "--out", data.parent / "out.jsonl.gz", "--no-announce")
        assert made.exit_code == 0, (made.output, made.exception)
        told = await invoke("export", "beancount", "--data", data)
        assert "open" in told.output
        assert not (data / LEDGER).exists()
    finally:
        slots = slots_of(PostgresPlace(url))
        await lose(slots.ledger)
        await lose(slots.before)


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
