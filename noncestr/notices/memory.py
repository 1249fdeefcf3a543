"""What was told to miners, what waits to be sent, and what is watched. SQLite, synced at once, for nobody else to read.

What is to be told is written with the reason it is not told again, in one transaction: a crash loses neither. A private
message is kept as the very event that is sent, which relays and clients take once however often it comes; mails and
ntfy messages are taken out before they are sent, so that a crash costs one and never gives two.
"""

import json
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import aiosqlite
import anyio

from noncestr.citizen.limits import DAY_MS
from noncestr.errors import NoncestrError
from noncestr.notices.texts import Notice
from noncestr.notices.watch import MinerWatch
from zapper.adapters.transactions import transaction

# Its name in the data folder.
FILE: Final = "notices.sqlite"
MODE: Final = 0o600
# Private messages over Nostr; else a kind of channel.
MESSAGE: Final = "message"
# Longer than anything is news, and than any limit looks back.
KEEP_MS: Final = 8 * DAY_MS
# A process that asks for a test holds the file for a moment.
BUSY_S: Final = 30.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS told(subject TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS destination(
    miner TEXT PRIMARY KEY, since_ms INTEGER NOT NULL, told_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS watch(miner TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS channel(
    kind TEXT NOT NULL, address TEXT NOT NULL, miner TEXT NOT NULL, code TEXT NOT NULL, sent_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, address, miner)
) STRICT;
CREATE TABLE IF NOT EXISTS confirmed(
    miner TEXT NOT NULL, kind TEXT NOT NULL, address TEXT NOT NULL, PRIMARY KEY (miner, kind, address)
) STRICT;
CREATE TABLE IF NOT EXISTS queue(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    miner TEXT NOT NULL,
    way TEXT NOT NULL,
    address TEXT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    event TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_ms INTEGER NOT NULL,
    done INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS waiting ON queue(next_ms) WHERE NOT done;
CREATE TABLE IF NOT EXISTS asked(miner TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""


class Queued(NamedTuple):
    """A notice on its way. `event`: the gift wrap as JSON once it is made, which then stands for title and text."""

    id: int
    at_ms: int
    miner: str
    way: str
    address: str
    title: str
    text: str
    event: str
    attempts: int


class ToSend(NamedTuple):
    """A notice and one way it goes; `address` is "" for private messages."""

    notice: Notice
    way: str
    address: str = ""


class Place(NamedTuple):
    """A miner's place besides Nostr."""

    miner: str
    kind: str
    address: str


class Code(NamedTuple):
    """A code that was sent to a channel."""

    kind: str
    address: str
    miner: str
    code: str
    sent_ms: int


@dataclass(slots=True)
class Batch:
    """What one look found: written together or not at all. `destinations`: miner -> (since_ms, told_ms); `confirmed`
    and `left`: places that are used from now on, or no more.
    """

    subjects: list[str] = field(default_factory=list)
    sends: list[ToSend] = field(default_factory=list)
    destinations: dict[str, tuple[int, int]] = field(default_factory=dict)
    watches: dict[str, MinerWatch | None] = field(default_factory=dict)
    codes: list[Code] = field(default_factory=list)
    confirmed: list[Place] = field(default_factory=list)
    left: list[Place] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        parts = (self.subjects, self.sends, self.destinations, self.watches, self.codes, self.confirmed, self.left)
        return not any(parts)


class NoticeMemory:
    """Made by `open_notice_memory`."""

    def __init__(self, database: aiosqlite.Connection) -> None:
        self._db = database
        # What looks and what sends share the connection: each writes its own transaction whole.
        self._lock = anyio.Lock()
        self.is_new = True
        self.subjects: set[str] = set()
        # miner -> (since when money goes there by what it was told last, when it was told).
        self.destinations: dict[str, tuple[int, int]] = {}
        self.watches: dict[str, MinerWatch] = {}
        self.codes: dict[tuple[str, str, str], Code] = {}
        # The places each miner confirmed.
        self.confirmed: dict[str, set[Place]] = {}
        # When each miner was sent something.
        self.sent: dict[str, list[int]] = {}

    async def load(self, now_ms: int) -> None:
        """Read what is kept, and forget what is old."""
        before = now_ms - KEEP_MS
        await self._act("DELETE FROM told WHERE at_ms < ?", (before,))
        await self._act("DELETE FROM queue WHERE at_ms < ? AND done", (before,))
        self.is_new = not await self._rows("SELECT value FROM meta WHERE name = 'begun'")
        self.subjects = {subject for (subject,) in await self._rows("SELECT subject FROM told")}
        self.destinations = {
            miner: (since, told)
            for miner, since, told in await self._rows("SELECT miner, since_ms, told_ms FROM destination")
        }
        self.watches = _watches(await self._rows("SELECT miner, json FROM watch"))
        codes = await self._rows("SELECT kind, address, miner, code, sent_ms FROM channel")
        self.codes = {(row[0], row[1], row[2]): Code(*row) for row in codes}
        self.confirmed = {}
        for row in await self._rows("SELECT miner, kind, address FROM confirmed"):
            self.confirmed.setdefault(row[0], set()).add(Place(*row))
        self.sent = {}
        # One notice by several ways is one.
        sent = await self._rows(
            "SELECT DISTINCT miner, at_ms, title FROM queue WHERE at_ms > ? ORDER BY at_ms", (now_ms - DAY_MS,)
        )
        for miner, at_ms, _ in sent:
            self.sent.setdefault(miner, []).append(at_ms)

    async def _rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        async with self._db.execute(query, values) as rows:
            return list(await rows.fetchall())

    async def _act(self, statement: str, values: Sequence[object]) -> None:
        async with transaction(self._db, self._lock):
            await self._db.execute(statement, values)

    async def begin(self, now_ms: int) -> None:
        """What there was before is no news."""
        await self._act("INSERT OR IGNORE INTO meta VALUES ('begun', ?)", (now_ms,))
        self.is_new = False

    async def write(self, batch: Batch, now_ms: int) -> None:
        """Keep what a look found."""
        async with transaction(self._db, self._lock):
            await self._write(batch, now_ms)
        self.subjects.update(batch.subjects)
        self.destinations.update(batch.destinations)
        for miner, watch in batch.watches.items():
            if watch is None:
                self.watches.pop(miner, None)
            else:
                self.watches[miner] = watch
        self.codes.update({(code.kind, code.address, code.miner): code for code in batch.codes})
        for place in batch.confirmed:
            self.confirmed.setdefault(place.miner, set()).add(place)
        for place in batch.left:
            self.confirmed.get(place.miner, set()).discard(place)
        for miner, _ in {(send.notice.miner, send.notice.title) for send in batch.sends}:
            self.sent.setdefault(miner, []).append(now_ms)

    def sent_since(self, since_ms: int) -> dict[str, list[int]]:
        """When each miner was sent something since then; what is older is let go."""
        kept = {miner: [at for at in times if at > since_ms] for miner, times in self.sent.items()}
        self.sent = {miner: times for miner, times in kept.items() if times}
        return self.sent

    async def _write(self, batch: Batch, now_ms: int) -> None:
        many = self._db.executemany
        await many("INSERT OR IGNORE INTO told VALUES (?, ?)", [(subject, now_ms) for subject in batch.subjects])
        await many(
            "INSERT OR REPLACE INTO destination VALUES (?, ?, ?)",
            [(miner, since, told) for miner, (since, told) in batch.destinations.items()],
        )
        kept = [(miner, json.dumps(watch.to_plain())) for miner, watch in batch.watches.items() if watch is not None]
        await many("INSERT OR REPLACE INTO watch VALUES (?, ?)", kept)
        gone = [(miner,) for miner, watch in batch.watches.items() if watch is None]
        await many("DELETE FROM watch WHERE miner = ?", gone)
        await many("INSERT OR REPLACE INTO channel VALUES (?, ?, ?, ?, ?)", batch.codes)
        await many("INSERT OR IGNORE INTO confirmed VALUES (?, ?, ?)", batch.confirmed)
        await many("DELETE FROM confirmed WHERE miner = ? AND kind = ? AND address = ?", batch.left)
        await many(
            "INSERT INTO queue (at_ms, miner, way, address, title, text, event, attempts, next_ms, done)"
            " VALUES (?, ?, ?, ?, ?, ?, '', 0, ?, 0)",
            [
                (now_ms, send.notice.miner, send.way, send.address, send.notice.title, send.notice.text, now_ms)
                for send in batch.sends
            ],
        )

    # The way out

    async def due(self, now_ms: int, limit: int) -> list[Queued]:
        """What is to be sent now, oldest first."""
        rows = await self._rows(
            "SELECT id, at_ms, miner, way, address, title, text, event, attempts FROM queue"
            " WHERE NOT done AND next_ms <= ? ORDER BY id LIMIT ?",
            (now_ms, limit),
        )
        return [Queued(*row) for row in rows]

    async def set_event(self, queued: int, event: str) -> None:
        """The gift wrap that is sent, now and at every further attempt; the text is needed no more."""
        await self._act("UPDATE queue SET event = ?, text = '' WHERE id = ?", (event, queued))

    async def put_off(self, queued: int, next_ms: int) -> None:
        """It did not get there: once more then."""
        await self._act("UPDATE queue SET attempts = attempts + 1, next_ms = ? WHERE id = ?", (next_ms, queued))

    async def mark_done(self, queued: int) -> None:
        """Nothing more is to be done about it; of what it said nothing is kept."""
        await self._act("UPDATE queue SET done = 1, text = '', event = '' WHERE id = ?", (queued,))

    async def take_asked(self, since_ms: int) -> list[str]:
        """The miners for whom another process asked for a test since then; each is given once."""
        if not await self._rows("SELECT 1 FROM asked LIMIT 1"):
            return []
        async with transaction(self._db, self._lock):
            rows = await self._rows("DELETE FROM asked RETURNING miner, at_ms")
        return list(dict.fromkeys(miner for miner, at_ms in rows if at_ms >= since_ms))


def _watches(rows: Iterable[sqlite3.Row]) -> dict[str, MinerWatch]:
    found = {}
    for miner, text in rows:
        plain: Mapping[str, Mapping[str, list[object]]] = json.loads(text)
        found[miner] = MinerWatch.from_plain(plain)
    return found


@asynccontextmanager
async def open_notice_memory(path: Path, now_ms: int) -> AsyncIterator[NoticeMemory]:
    """The memory in a file, made if there is none. Raises NoncestrError for a file that can't be used."""
    try:
        # Addresses stand in it: it is nobody else's from the start.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, MODE))
        database = await aiosqlite.connect(path, timeout=BUSY_S, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise NoncestrError(f"{path}: {error}") from error
    try:
        memory = NoticeMemory(database)
        try:
            await database.execute("PRAGMA journal_mode=WAL")
            await database.execute("PRAGMA synchronous=FULL")
            await database.executescript(_SCHEMA)
            await memory.load(now_ms)
        except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoncestrError(f"{path}: {error}; without the file, what is no news yet is not told") from error
        yield memory
    finally:
        await database.close()


def ask_for_test(path: Path, miner: str, now_ms: int) -> None:
    """Have the running pool send a test to this miner (hex). Raises NoncestrError."""
    if not path.exists():
        raise NoncestrError(f"{path} is not there: has a pool with [notices] run on this folder?")
    try:
        with sqlite3.connect(path, timeout=BUSY_S) as database:
            database.execute("INSERT INTO asked VALUES (?, ?)", (miner, now_ms))
        database.close()
    except sqlite3.Error as error:
        raise NoncestrError(f"{path}: {error}") from error


def queue_of(path: Path, miner: str) -> list[tuple[int, str, str, int, bool]]:
    """(at_ms, way, title, attempts, done) of what went to this miner or waits, newest first. Raises NoncestrError."""
    if not path.exists():
        return []
    try:
        database = sqlite3.connect(path, timeout=BUSY_S)
        rows = database.execute(
            "SELECT at_ms, way, title, attempts, done FROM queue WHERE miner = ? ORDER BY id DESC", (miner,)
        ).fetchall()
        database.close()
    except sqlite3.Error as error:
        raise NoncestrError(f"{path}: {error}") from error
    return [(int(at), str(way), str(title), int(attempts), bool(done)) for at, way, title, attempts, done in rows]
