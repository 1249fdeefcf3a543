"""The outbox on disk: SQLite, write-ahead log, synced at every commit."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
import anyio

from nips.nip01 import VerifiedEvent
from relay_bridge.adapters.damage import said
from relay_bridge.errors import StoreError
from relay_bridge.messages import event_json
from relay_bridge.outbox import Entry

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    chain TEXT NOT NULL,
    json TEXT NOT NULL,
    settled_ms INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS entry_settled ON entry(settled_ms) WHERE settled_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS answer(
    seq INTEGER NOT NULL REFERENCES entry(seq) ON DELETE CASCADE,
    relay TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY(seq, relay)
) STRICT, WITHOUT ROWID;
"""


REMEDY = (
    "move it and the files beside it (outbox.sqlite-*) aside, keep them, and start: "
    "what no relay had taken yet is in them alone (docs/operations.md, When something was lost)"
)


class OutboxStore:
    """The rows behind an `Outbox`. Raises StoreError when the disk fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = anyio.Lock()

    async def open(self) -> None:
        """Open or create the file."""
        try:
            self._db = await aiosqlite.connect(self._path)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
        try:
            # It holds little but what waits for relays: a second for each 400 MB.
            check = list(await self._db.execute_fetchall("PRAGMA integrity_check(1)"))
            if check != [("ok",)]:
                raise sqlite3.DatabaseError(" ".join(" ".join(str(text) for (text,) in check).split()))
            await self._db.execute("PRAGMA journal_mode=WAL")
            # FULL: `publish` returns when the event will survive power loss.
            await self._db.execute("PRAGMA synchronous=FULL")
            await self._db.execute("PRAGMA foreign_keys=ON")
            await self._db.executescript(_SCHEMA)
            await self._db.commit()
        except sqlite3.Error as error:
            await self._db.close()
            raise StoreError(f"{self._path}: {said(error, REMEDY)}") from error

    async def close(self) -> None:
        """Close the file."""
        await self._db.close()

    async def add(self, events: Sequence[tuple[VerifiedEvent, str]]) -> list[tuple[Entry, str]]:
        """Commit (event, chain) pairs in order; returns those that are new, each with its JSON text."""
        added = []
        async with self._transaction():
            for event, chain in events:
                text = event_json(event)
                cursor = await self._db.execute(
                    "INSERT INTO entry(id, chain, json) VALUES (?, ?, ?) ON CONFLICT(id) DO NOTHING",
                    (event.id, chain, text),
                )
                if cursor.rowcount == 1 and cursor.lastrowid is not None:
                    added.append((Entry(cursor.lastrowid, event.id, chain, event.kind, len(text.encode())), text))
                await cursor.close()
        return added

    async def load(self) -> list[Entry]:
        """Every entry kept, in order, with the answers it has."""
        entries: dict[int, Entry] = {}
        columns = "seq, id, chain, json_extract(json, '$.kind'), length(CAST(json AS BLOB))"
        async with self._db.execute(f"SELECT {columns} FROM entry ORDER BY seq") as rows:  # noqa: S608 - our columns
            async for seq, event_id, chain, kind, size in rows:
                entries[seq] = Entry(seq, event_id, chain, kind, size)
        async with self._db.execute("SELECT seq, relay, accepted FROM answer") as rows:
            async for seq, relay, accepted in rows:
                (entries[seq].accepted if accepted else entries[seq].refused).add(relay)
        return list(entries.values())

    async def texts(self, seqs: Sequence[int]) -> dict[int, str]:
        """The JSON text of some entries."""
        marks = ",".join("?" * len(seqs))
        async with self._db.execute(f"SELECT seq, json FROM entry WHERE seq IN ({marks})", seqs) as rows:  # noqa: S608 - marks only
            return {seq: text async for seq, text in rows}

    async def record(self, answers: Sequence[tuple[int, str, bool, str]], settled: Sequence[tuple[int, int]]) -> None:
        """Commit (seq, relay, accepted, message) answers, and (settled_ms, seq) of entries that have every quorum."""
        async with self._transaction():
            await self._db.executemany(
                "INSERT INTO answer(seq, relay, accepted, message) SELECT seq, ?, ?, ? FROM entry WHERE seq = ?"
                " ON CONFLICT(seq, relay) DO UPDATE SET accepted = excluded.accepted, message = excluded.message",
                [(relay, accepted, message, seq) for seq, relay, accepted, message in answers],
            )
            await self._db.executemany("UPDATE entry SET settled_ms = ? WHERE seq = ? AND settled_ms IS NULL", settled)

    async def prune(self, before_ms: int) -> list[str]:
        """Delete what was settled before that time; returns the ids."""
        async with self._transaction():
            gone = await self._db.execute_fetchall("DELETE FROM entry WHERE settled_ms < ? RETURNING id", (before_ms,))
        return [event_id for (event_id,) in gone]

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        """One writer at a time, to the end even if its task is cancelled: all of it is committed, or nothing."""
        with anyio.CancelScope(shield=True):
            async with self._lock:
                try:
                    yield
                    await self._db.commit()
                except sqlite3.Error as error:
                    await self._db.rollback()
                    raise StoreError(f"{self._path}: {error}") from error
