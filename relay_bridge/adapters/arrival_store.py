"""What has arrived, on disk: the ids that a reader has taken, so that the next start need not read them again.

Some 60 bytes an event, one file for all readers of a bridge.
"""

import hashlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiosqlite
import anyio
import msgspec

from nips.nip01 import Event, Filter
from relay_bridge.errors import StoreError
from relay_bridge.ports import Held

_log = logging.getLogger("relay_bridge")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS reader(
    reader INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    filters TEXT NOT NULL,
    chains TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE TABLE IF NOT EXISTS arrival(
    reader INTEGER NOT NULL,
    part INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY(reader, part, created_at, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cursor(
    reader INTEGER NOT NULL,
    relay TEXT NOT NULL,
    newest INTEGER NOT NULL,
    compared_s INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(reader, relay)
) STRICT, WITHOUT ROWID;
"""
_OF_READER = ("reader", "arrival", "cursor")
_DAY = 86_400


class ArrivalStore:
    """The file. Raises StoreError when the disk fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lock = anyio.Lock()

    async def open(self) -> None:
        """Open or create the file."""
        try:
            self.db = await aiosqlite.connect(self._path)
            await self.db.execute("PRAGMA journal_mode=WAL")
            # NORMAL: what power loss takes is read from the relays once more.
            await self.db.execute("PRAGMA synchronous=NORMAL")
            await self.db.executescript(_SCHEMA)
            await self.db.commit()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    async def close(self) -> None:
        """Close the file."""
        await self.db.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """One writer at a time, to the end even if its task is cancelled."""
        with anyio.CancelScope(shield=True):
            async with self.lock:
                try:
                    yield self.db
                    await self.db.commit()
                except sqlite3.Error as error:
                    await self.db.rollback()
                    raise StoreError(f"{self._path}: {error}") from error

    async def reader(self, name: str, filters: Sequence[Filter], held: Held | None = None) -> "Arrivals":
        """The arrivals of a reader; what it had read by other filters is forgotten, and all if it is more than `held`:
        then the reader has lost what it had.
        """
        texts = [msgspec.json.encode(each.to_json()).decode() for each in filters]
        told = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        async with self.transaction() as db:
            rows = list(await db.execute_fetchall("SELECT reader, filters FROM reader WHERE name = ?", (name,)))
            lost = bool(rows) and held is not None and await _is_ahead(db, rows[0][0], len(filters), held)
            if lost:
                _log.warning("%s holds less than it had taken: everything is read anew", name)
            if rows and (lost or rows[0][1] != told):
                for table in _OF_READER:
                    await db.execute(f"DELETE FROM {table} WHERE reader = ?", (rows[0][0],))  # noqa: S608  our names
                rows = []
            if not rows:
                inserted = await db.execute("INSERT INTO reader(name, filters) VALUES (?, ?)", (name, told))
                return Arrivals(self, inserted.lastrowid or 0, tuple(filters))
        return Arrivals(self, rows[0][0], tuple(filters))


async def _is_ahead(db: aiosqlite.Connection, reader: int, parts: int, held: Held) -> bool:
    """Whether more was taken than the reader holds."""
    sql = "SELECT count(*), coalesce(max(created_at), 0) FROM arrival WHERE reader = ? AND part = ?"
    for part in range(parts):
        (count, newest), *_ = await db.execute_fetchall(sql, (reader, part))
        if count > held.events or (count and newest > held.newest_s):
            return True
    return False


def forget_reader(path: Path, name: str) -> None:
    """Have a reader of a bridge that does not run begin anew; `path` is the bridge's outbox. Raises StoreError."""
    path = arrivals_path(path)
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path)) as db, db:
            row = db.execute("SELECT reader FROM reader WHERE name = ?", (name,)).fetchone()
            for table in _OF_READER if row is not None else ():
                db.execute(f"DELETE FROM {table} WHERE reader = ?", row)  # noqa: S608  our own table names
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error


def arrivals_path(outbox: Path) -> Path:
    """Where a bridge notes what its readers have taken: beside its outbox."""
    return outbox.with_name(f"{outbox.stem}-arrivals.sqlite")


class Arrivals:
    """What one reader has taken. `part` is the number of a filter: an event is noted under each that it matches."""

    def __init__(self, store: ArrivalStore, reader: int, filters: tuple[Filter, ...]) -> None:
        self._store = store
        self._reader = reader
        self.filters = filters

    async def add(self, events: Iterable[Event]) -> None:
        """These were taken."""
        rows = [
            (self._reader, part, event.created_at, bytes.fromhex(event.id))
            for event in events
            for part, asked in enumerate(self.filters)
            if asked.matches(event)
        ]
        async with self._store.transaction() as db:
            await db.executemany(
                "INSERT OR IGNORE INTO arrival(reader, part, created_at, id) VALUES (?, ?, ?, ?)", rows
            )

    async def known(self, events: Sequence[Event]) -> set[str]:
        """Which of the events were taken: by id and date, and an id tells its date."""
        found = set()
        for event in events:
            part = next((part for part, asked in enumerate(self.filters) if asked.matches(event)), None)
            key = (self._reader, part, event.created_at, bytes.fromhex(event.id))
            sql = "SELECT 1 FROM arrival WHERE reader = ? AND part = ? AND created_at = ? AND id = ?"
            if await self._rows(sql, key):
                found.add(event.id)
        return found

    async def total(self) -> int:
        """How many were taken, counting an event once for each filter it matches."""
        return int((await self._rows("SELECT count(*) FROM arrival WHERE reader = ?", (self._reader,)))[0][0])

    async def count(self, part: int, since: int, until: int) -> int:
        """How many were taken that were created in these seconds, both included."""
        sql = "SELECT count(*) FROM arrival WHERE reader = ? AND part = ? AND created_at BETWEEN ? AND ?"
        return int((await self._rows(sql, (self._reader, part, since, until)))[0][0])

    async def records(self, part: int, since: int, until: int) -> list[tuple[int, str]]:
        """(created_at, id) of these."""
        sql = "SELECT created_at, id FROM arrival WHERE reader = ? AND part = ? AND created_at BETWEEN ? AND ?"
        rows = await self._rows(sql, (self._reader, part, since, until))
        return [(created_at, event_id.hex()) for created_at, event_id in rows]

    async def slices(self, part: int, most: int) -> list[tuple[int | None, int | None]]:
        """Spans of whole days that together are all of time, newest first, with at most `most` arrivals each (a single
        day may have more). None: without bound."""
        sql = (
            "SELECT created_at / 86400, count(*) FROM arrival WHERE reader = ? AND part = ? GROUP BY 1 ORDER BY 1 DESC"
        )
        bounds: list[int] = []
        held = 0
        for day, count in await self._rows(sql, (self._reader, part)):
            if held and held + count > most:
                bounds.append((day + 1) * _DAY)
                held = 0
            held += count
        ends = [None, *(bound - 1 for bound in bounds)]
        starts = [*bounds, None]
        return list(zip(starts, ends, strict=True))

    async def cursor(self, relay: str) -> int | None:
        """The newest created_at when the relay's stored events had last come whole; None before they ever did."""
        sql = "SELECT newest FROM cursor WHERE reader = ? AND relay = ?"
        rows = await self._rows(sql, (self._reader, relay))
        return int(rows[0][0]) if rows else None

    async def set_cursor(self, relay: str, newest: int) -> None:
        """The relay's stored events have come whole, the newest of them created then."""
        async with self._store.transaction() as db:
            await db.execute(
                "INSERT INTO cursor(reader, relay, newest) VALUES (?, ?, ?)"
                " ON CONFLICT(reader, relay) DO UPDATE SET newest = excluded.newest",
                (self._reader, relay, newest),
            )

    async def compared_s(self, relay: str) -> int:
        """When (Unix seconds) all that the relay holds was last compared with what was taken; 0 for never."""
        sql = "SELECT compared_s FROM cursor WHERE reader = ? AND relay = ?"
        rows = await self._rows(sql, (self._reader, relay))
        return int(rows[0][0]) if rows else 0

    async def set_compared(self, relay: str, now_s: int) -> None:
        """All that the relay holds was compared just now."""
        async with self._store.transaction() as db:
            await db.execute(
                "UPDATE cursor SET compared_s = ? WHERE reader = ? AND relay = ?", (now_s, self._reader, relay)
            )

    async def load_chains(self) -> list[list[object]]:
        """The state of the chains as it was saved, [] at first."""
        rows = await self._rows("SELECT chains FROM reader WHERE reader = ?", (self._reader,))
        return msgspec.json.decode(rows[0][0], type=list[list[object]]) if rows else []

    async def save_chains(self, state: object) -> None:
        """Keep the state of the chains."""
        async with self._store.transaction() as db:
            text = msgspec.json.encode(state).decode()
            await db.execute("UPDATE reader SET chains = ? WHERE reader = ?", (text, self._reader))

    async def _rows(self, sql: str, values: Sequence[object]) -> list[sqlite3.Row]:
        try:
            return list(await self._store.db.execute_fetchall(sql, values))
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error
