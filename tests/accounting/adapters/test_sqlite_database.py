"""The database as one file: what is damaged is said, what others hold is not called damaged."""

import sqlite3
from pathlib import Path

import pytest

from accounting.adapters import sqlite_database
from accounting.adapters.database import StoreError, StoreFailed
from accounting.adapters.sqlite_database import REMEDY, open_sqlite

pytestmark = pytest.mark.anyio


async def fill(path: Path) -> None:
    async with open_sqlite(path) as database:
        await database.migrate(1, ("CREATE TABLE events (raw BLOB)", "CREATE TABLE books (id TEXT)"))
        async with database.transaction() as writer:
            await writer.executemany("INSERT INTO events VALUES (?)", [(b"x" * 1000,)] * 100)
            await writer.executemany("INSERT INTO books VALUES (?)", [("y" * 1000,)] * 100)


def pages_of(path: Path, table: str) -> list[int]:
    with sqlite3.connect(path) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    db.close()
    return [root]


def spoil(path: Path, page: int) -> None:
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(data)


async def test_a_commit_is_on_disk_and_keys_are_held_to(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a b?#.sqlite") as database:
        found = [(await database.fetch(f"PRAGMA {name}"))[0][0] for name in ("journal_mode", "synchronous")]
        assert (found, (await database.fetch("PRAGMA foreign_keys"))[0][0]) == (["wal", 2], 1)
    # The name was not read as a URI's question.
    assert (tmp_path / "a b?#.sqlite").exists()


async def test_damage_is_said_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    await fill(path)
    spoil(path, *pages_of(path, "books"))
    with pytest.raises(StoreError, match="the file is damaged") as caught:
        async with open_sqlite(path):
            pass
    assert REMEDY in str(caught.value)


async def test_of_a_large_file_all_but_the_log_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its copy of the log can be had back; its own books and our own chain can not."""
    monkeypatch.setattr(sqlite_database, "CHECKED_BYTES", 1)
    path = tmp_path / "ledger.sqlite"
    await fill(path)
    spoil(path, *pages_of(path, "events"))
    async with open_sqlite(path) as database:
        assert len(await database.fetch("SELECT id FROM books")) == 100
    spoil(path, *pages_of(path, "books"))
    with pytest.raises(StoreError, match="the file is damaged"):
        async with open_sqlite(path):
            pass


async def test_a_file_that_others_hold_is_busy_and_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_database, "BUSY_S", 0.05)
    path = tmp_path / "ledger.sqlite"
    await fill(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with open_sqlite(path) as database:
        with pytest.raises(StoreFailed, match="locked") as caught:
            async with database.transaction():
                pass
        assert REMEDY not in str(caught.value)
        other.execute("COMMIT")
        other.close()
        async with database.transaction() as writer:
            await writer.execute("DELETE FROM books")
        assert await database.fetch("SELECT id FROM books") == []


async def test_who_only_reads_makes_no_file_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with pytest.raises(StoreFailed, match="unable to open"):
        async with open_sqlite(path, read_only=True):
            pass
    assert not path.exists()
    await fill(path)
    async with open_sqlite(path, read_only=True) as database:
        assert await database.version() == 1
        with pytest.raises(StoreFailed, match="readonly"):
            async with database.transaction() as writer:
                await writer.execute("DELETE FROM books")
