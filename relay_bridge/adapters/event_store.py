"""The event store in SQLite: write-ahead log, one writer thread that commits in groups, two readers."""

import asyncio
import contextlib
import functools
import logging
import queue
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from nips.nip01 import Event, Filter, VerifiedEvent, address, decode_event, supersedes
from nips.pool import kinds
from relay_bridge.adapters.damage import said
from relay_bridge.deletion import KIND_DELETION, is_deletable, parse_deletion
from relay_bridge.errors import QueryTooSlow, StoreError, TooManyRecords
from relay_bridge.messages import event_json
from relay_bridge.ports import Outcome
from relay_bridge.query import count_query, page_query, records_query
from relay_bridge.relay import expiration

_log = logging.getLogger("relay_bridge")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS event(
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    pubkey BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    address TEXT,
    expires_at INTEGER,
    json TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS event_time ON event(created_at DESC, id);
CREATE INDEX IF NOT EXISTS event_kind ON event(kind, created_at DESC, id);
CREATE INDEX IF NOT EXISTS event_author ON event(pubkey, kind, created_at DESC, id);
CREATE UNIQUE INDEX IF NOT EXISTS event_address ON event(address) WHERE address IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_expiry ON event(expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS tag(
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    kind INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY(name, value, kind, created_at DESC, event)
) STRICT, WITHOUT ROWID;
"""
# Events of one commit. A commit costs one fsync, about a millisecond on a good disk; 512 events take some 20 ms to
# insert, which is the most that waiting for company can cost.
GROUP_SIZE = 512
# A query that runs longer is ended: it would hold a reader and its snapshot would keep the log from being reset.
QUERY_SECONDS = 5.0
# SQLite asks whether to go on after this many of its virtual machine's steps, about every millisecond.
_PROGRESS_STEPS = 20_000
# JSON of one query's answer in bytes. The rest is left out, oldest first; clients page on by `until`.
ANSWER_BYTES = 32 * 1024 * 1024
# How often expired events (NIP-40) are removed. Until then queries leave them out.
EXPIRY_SECONDS = 60.0
_READERS = 2
REMEDY = (
    "move it and the files beside it (relay.sqlite-*) aside, keep them, put a copy in its place if there is one, and "
    "start; without one the log is where other relays, archives and the ledger have it (docs/operations.md, When "
    "something was lost)"
)

_HEX64 = re.compile(r"[0-9a-f]{64}")
_Put = tuple[VerifiedEvent, Callable[[Outcome], None]]


def _connect(path: Path) -> sqlite3.Connection:
    # check_same_thread: a connection is used by one thread, then closed by another.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    # FULL: the log is synced before a commit returns, so what was answered "OK true" survives power loss.
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA busy_timeout=5000")
    db.execute("PRAGMA cache_size=-16000")
    return db


def _indexed_tags(event: Event) -> set[tuple[str, str]]:
    """NIP-01: only the first value of single-letter tags is indexed."""
    return {(tag[0], tag[1]) for tag in event.tags if len(tag) > 1 and len(tag[0]) == 1 and tag[0].isalpha()}


class SqliteEventStore:
    """An `EventStore` in one file. Use as an async context manager, in a running event loop."""

    def __init__(self, path: Path, *, query_seconds: float = QUERY_SECONDS) -> None:
        self._path = path
        self._query_seconds = query_seconds
        self._queue: queue.SimpleQueue[_Put | None] = queue.SimpleQueue()
        self._known_kinds: frozenset[int] = frozenset()
        self._local = threading.local()
        self._reader_dbs: list[sqlite3.Connection] = []
        self._closed = True
        self._told = ""

    async def __aenter__(self) -> "SqliteEventStore":
        self._loop = asyncio.get_running_loop()
        try:
            self._writer_db = _connect(self._path)
            self._writer_db.executescript(_SCHEMA)
            self._lookup_db = _connect(self._path)
            self._known_kinds = frozenset(k for (k,) in self._writer_db.execute("SELECT DISTINCT kind FROM event"))
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {said(error, REMEDY)}") from error
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="event-store-reader")
        self._writer = threading.Thread(target=self._write, name="event-store-writer", daemon=True)
        self._closed = False
        self._writer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._queue.put(None)
        # The writer commits what is queued first; both waits are bounded by one group and one query.
        await self._loop.run_in_executor(None, self._writer.join)
        await self._loop.run_in_executor(None, self._readers.shutdown)
        for db in (self._writer_db, self._lookup_db, *self._reader_dbs):
            db.close()

    def put(self, event: VerifiedEvent, done: Callable[[Outcome], None]) -> None:
        """See `EventStore.put`. STORED is told after the commit that holds the event has been synced."""
        if self._closed:
            done(Outcome.FAILED)
        else:
            self._queue.put((event, done))

    async def query(self, filters: Sequence[Filter], *, default_limit: int, max_limit: int) -> list[tuple[str, str]]:
        """See `EventStore.query`."""
        work = functools.partial(self._query, filters, default_limit, max_limit)
        return await self._loop.run_in_executor(self._readers, work)

    async def count(self, filters: Sequence[Filter]) -> int:
        """See `EventStore.count`."""
        return await self._loop.run_in_executor(self._readers, functools.partial(self._count, filters))

    async def records(self, asked: Filter, *, most: int) -> list[tuple[int, str]]:
        """See `EventStore.records`."""
        return await self._loop.run_in_executor(self._readers, functools.partial(self._records, asked, most))

    def is_known(self, pubkey: str) -> bool:
        """Whether a public key has a profile here or is named in a share receipt: a miner of ours.

        Two index look-ups, some 20 microseconds. Text that is no key is not known.
        """
        if not _HEX64.fullmatch(pubkey):
            return False
        found = self._lookup_db.execute(
            "SELECT EXISTS(SELECT 1 FROM event WHERE pubkey = ? AND kind = 0)"
            " OR EXISTS(SELECT 1 FROM tag WHERE name = 'p' AND value = ? AND kind = ?)",
            (bytes.fromhex(pubkey), pubkey, kinds.RECEIPT),
        ).fetchone()
        return bool(found[0])

    # Readers

    def _reader(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = _connect(self._path)
            self._reader_dbs.append(db)
        deadline = time.monotonic() + self._query_seconds
        db.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_STEPS)
        return db

    def _query(self, filters: Sequence[Filter], default_limit: int, max_limit: int) -> list[tuple[str, str]]:
        found: dict[bytes, tuple[int, str]] = {}
        now_s = int(time.time())
        try:
            db = self._reader()
            for asked in filters:
                limit = min(default_limit if asked.limit is None else asked.limit, max_limit)
                if limit == 0:
                    continue
                page = page_query(asked, limit, known_kinds=self._known_kinds, now_s=now_s)
                room = ANSWER_BYTES
                for created_at, event_id, text in db.execute(page.sql, page.parameters):
                    room -= len(text)
                    if room < 0 and found:
                        break
                    found[event_id] = (created_at, text)
        except sqlite3.DatabaseError as error:
            raise self._explain(error) from error
        newest_first = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
        return [(event_id.hex(), text) for event_id, (_, text) in newest_first]

    def _count(self, filters: Sequence[Filter]) -> int:
        now_s = int(time.time())
        try:
            db = self._reader()
            if len(filters) == 1:
                one = count_query(filters[0], known_kinds=self._known_kinds, now_s=now_s)
                return int(db.execute(f"SELECT count(*) FROM ({one.sql})", one.parameters).fetchone()[0])  # noqa: S608 - the SQL is ours, values are bound
            found: set[bytes] = set()
            for asked in filters:
                each = count_query(asked, known_kinds=self._known_kinds, now_s=now_s)
                found.update(row[0] for row in db.execute(each.sql, each.parameters))
            return len(found)
        except sqlite3.DatabaseError as error:
            raise self._explain(error) from error

    def _records(self, asked: Filter, most: int) -> list[tuple[int, str]]:
        query = records_query(asked, most + 1, known_kinds=self._known_kinds, now_s=int(time.time()))
        try:
            rows = self._reader().execute(query.sql, query.parameters).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._explain(error) from error
        if len(rows) > most:
            raise TooManyRecords(f"more than {most} events match")
        return [(created_at, event_id.hex()) for created_at, event_id in rows]

    def _explain(self, error: sqlite3.DatabaseError) -> StoreError:
        if "interrupted" in str(error):
            return QueryTooSlow(f"the query took more than {self._query_seconds:g} seconds")
        text = f"{self._path}: {said(error, REMEDY)}"
        if text != self._told:
            # Each query may fail the same way: it is said once.
            self._told = text
            _log.error("a query failed: %s", text)
        return StoreError(text)

    # The writer thread

    def _write(self) -> None:
        purged = 0.0
        while True:
            group = self._next_group()
            if group is None:
                return
            if group:
                outcomes = self._commit(group)
                self._tell([(done, outcome) for (_, done), outcome in zip(group, outcomes, strict=True)])
            if time.monotonic() - purged > EXPIRY_SECONDS:
                purged = time.monotonic()
                self._purge()

    def _next_group(self) -> list[_Put] | None:
        """What is queued, at most GROUP_SIZE; empty when it is time to look for expired events; None at the end."""
        try:
            first = self._queue.get(timeout=EXPIRY_SECONDS)
        except queue.Empty:
            return []
        if first is None:
            return None
        group = [first]
        while len(group) < GROUP_SIZE:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self._queue.put(None)
                break
            group.append(item)
        return group

    def _commit(self, group: list[_Put]) -> list[Outcome]:
        db = self._writer_db
        try:
            db.execute("BEGIN IMMEDIATE")
            outcomes = [self._insert(event) for event, _ in group]
            db.execute("COMMIT")
        except Exception:  # whatever an event does to us, the one writer must live on for the others
            _log.exception("a group of %d events could not be stored", len(group))
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            return [Outcome.FAILED] * len(group)
        stored = {event.kind for (event, _), outcome in zip(group, outcomes, strict=True) if outcome is Outcome.STORED}
        if not stored <= self._known_kinds:
            self._known_kinds |= stored
        return outcomes

    def _tell(self, told: list[tuple[Callable[[Outcome], None], Outcome]]) -> None:
        def deliver() -> None:
            for done, outcome in told:
                done(outcome)

        try:
            self._loop.call_soon_threadsafe(deliver)
        except RuntimeError:
            # The loop is closed: nobody is left to be told, and what is committed stays committed.
            return

    def _insert(self, event: VerifiedEvent) -> Outcome:
        db = self._writer_db
        event_id = bytes.fromhex(event.id)
        if db.execute("SELECT 1 FROM event WHERE id = ?", (event_id,)).fetchone():
            return Outcome.DUPLICATE
        place = address(event)
        if self._deletion_asked(event, place):
            return Outcome.DELETED
        if place is not None:
            older = db.execute("SELECT row, json FROM event WHERE address = ?", (place,)).fetchone()
            if older is not None:
                if not supersedes(event, decode_event(older[1])):
                    return Outcome.SUPERSEDED
                self._remove(*older)
        inserted = db.execute(
            "INSERT INTO event(id, pubkey, created_at, kind, address, expires_at, json) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                event_id,
                bytes.fromhex(event.pubkey),
                event.created_at,
                event.kind,
                place,
                expiration(event),
                event_json(event),
            ),
        )
        db.executemany(
            "INSERT INTO tag(name, value, kind, created_at, event) VALUES (?, ?, ?, ?, ?)",
            [(name, value, event.kind, event.created_at, inserted.lastrowid) for name, value in _indexed_tags(event)],
        )
        self._apply_deletion(event)
        return Outcome.STORED

    def _deletion_asked(self, event: Event, place: str | None) -> bool:
        """Whether its author asked for the deletion of this event, or of its address at or after its date (NIP-09)."""
        if not is_deletable(event.kind):
            return False
        by_author = "FROM tag t JOIN event e ON e.row = t.event WHERE t.kind = ? AND t.name = ? AND t.value = ?"
        author = bytes.fromhex(event.pubkey)
        asked = self._writer_db.execute(
            f"SELECT 1 {by_author} AND e.pubkey = ?",
            (KIND_DELETION, "e", event.id, author),
        ).fetchone()
        if asked is None and place is not None:
            asked = self._writer_db.execute(
                f"SELECT 1 {by_author} AND e.pubkey = ? AND t.created_at >= ?",
                (KIND_DELETION, "a", place, author, event.created_at),
            ).fetchone()
        return asked is not None

    def _apply_deletion(self, event: Event) -> None:
        asked = parse_deletion(event)
        if asked is None:
            return
        db = self._writer_db
        author = bytes.fromhex(asked.author)
        rows: list[tuple[int, str, int]] = []
        for named in asked.ids:
            if _HEX64.fullmatch(named):
                rows += db.execute(
                    "SELECT row, json, kind FROM event WHERE id = ? AND pubkey = ?", (bytes.fromhex(named), author)
                ).fetchall()
        for place in asked.addresses:
            rows += db.execute(
                "SELECT row, json, kind FROM event WHERE address = ? AND created_at <= ?", (place, asked.until)
            ).fetchall()
        for row, text, kind in rows:
            if is_deletable(kind):
                self._remove(row, text)

    def _remove(self, row: int, text: str) -> None:
        event = decode_event(text)
        self._writer_db.executemany(
            "DELETE FROM tag WHERE name = ? AND value = ? AND kind = ? AND created_at = ? AND event = ?",
            [(name, value, event.kind, event.created_at, row) for name, value in _indexed_tags(event)],
        )
        self._writer_db.execute("DELETE FROM event WHERE row = ?", (row,))

    def _purge(self) -> None:
        """Remove what has expired. A failure is left to the next round: queries leave expired events out anyway."""
        db = self._writer_db
        try:
            db.execute("BEGIN IMMEDIATE")
            expired = db.execute(
                "SELECT row, json FROM event WHERE expires_at <= ? LIMIT ?", (int(time.time()), GROUP_SIZE)
            ).fetchall()
            for row, text in expired:
                self._remove(row, text)
            db.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
