"""The accounting's SQLite file: the verified log as it was read, our own chain, and the books folded from them.

What cannot be had back from elsewhere is only what we signed and have not published yet: it is committed before
anybody is shown it, and a statement once signed is re-sent as it is. All else is a copy of the log or a fold of it: the
books' tables are for whoever reads them with SQL, and are rebuilt when they differ from what the log says.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiosqlite
import anyio
import msgspec

from accounting.errors import AccountingError
from accounting.ledger import Ledger, Transaction
from nips.nip01 import VerifiedEvent, encode_event
from nips.pool.address import PoolAddress
from nips.pool.archive import ArchiveBody
from nips.pool.chain import Head, link_of

# One transaction a version; a number once released is never changed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE identity (pool TEXT NOT NULL, signer TEXT NOT NULL)",
        # `position` is the order of arrival; `checked` what hashing a batch's shares came to, so that it is done once.
        """CREATE TABLE events (
            position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL, created_at INTEGER NOT NULL,
            raw BLOB NOT NULL, checked BLOB)""",
        "CREATE INDEX events_by_time ON events (created_at)",
        "CREATE TABLE own_chain (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE REFERENCES events (id))",
        "CREATE TABLE unpublished (seq INTEGER PRIMARY KEY REFERENCES own_chain (seq))",
        # The disk itself refuses a second statement of one reward; a void one gives the name free.
        """CREATE TABLE own_statements (
            id TEXT PRIMARY KEY REFERENCES events (id), block TEXT NOT NULL, void INTEGER NOT NULL DEFAULT 0)""",
        "CREATE UNIQUE INDEX one_statement_a_reward ON own_statements (block) WHERE void = 0",
        """CREATE TABLE transactions (
            id TEXT PRIMARY KEY, created_at INTEGER NOT NULL, text TEXT NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE postings (
            transaction_id TEXT NOT NULL REFERENCES transactions (id), account TEXT NOT NULL, msat INTEGER NOT NULL,
            PRIMARY KEY (transaction_id, account)) WITHOUT ROWID""",
        "CREATE INDEX postings_by_account ON postings (account)",
        """CREATE TABLE rewards (
            statement TEXT PRIMARY KEY, block TEXT NOT NULL, height INTEGER NOT NULL, found_ms INTEGER NOT NULL,
            gross_msat INTEGER NOT NULL, fee_msat INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE payouts (
            payout_id TEXT PRIMARY KEY, event TEXT NOT NULL, miner TEXT NOT NULL, amount_msat INTEGER NOT NULL,
            network_fee_msat INTEGER NOT NULL, method TEXT NOT NULL) WITHOUT ROWID""",
        # The newest of each addressable event, so that a restart does not tell everybody what they know.
        "CREATE TABLE views (address TEXT PRIMARY KEY, created_at INTEGER NOT NULL, content TEXT NOT NULL)",
    ),
    (
        # Archives to announce, by the hash of their lines, and the 4220 that does; `noncestr archive` asks.
        "CREATE TABLE archives (stream TEXT PRIMARY KEY, body BLOB NOT NULL, event TEXT REFERENCES events (id))",
    ),
)
# From this version on the file takes requests to announce archives.
ANNOUNCING_VERSION = 2
# Rows read at a time when the log is replayed: some MB of receipts.
_REPLAY_ROWS = 500
_BOOKS = ("postings", "transactions", "rewards", "payouts")


class StoreError(AccountingError):
    """The accounting's file cannot be used: damaged, of another pool or key, or of a newer version."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class StoredEvent(NamedTuple):
    """An event of the log and what the check of its shares came to, if it was a batch and is checked."""

    event: VerifiedEvent
    checked: bytes | None


class StoredView(NamedTuple):
    """The newest addressable event published at an address: its second, and what it said as far as it matters."""

    created_at: int
    content: str


def _event_row(event: VerifiedEvent) -> tuple[str, int, int, bytes]:
    return event.id, event.kind, event.created_at, encode_event(event)


class AccountingStore:
    """Opened by `open_store`. Tasks may share it: writes go one after another, each whole or not at all."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._db = connection
        self._path = path
        self._writing = anyio.Lock()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        async with self._writing:
            try:
                yield self._db
                await self._db.commit()
            except BaseException:
                # Cancelled or failed: nothing of it stands, and the next writer begins clean.
                with anyio.CancelScope(shield=True):
                    await self._db.rollback()
                raise

    async def replay(self, position: int = 0) -> AsyncIterator[StoredEvent]:
        """The log in the order it came, from what follows a position on. Its signatures were checked before it was put
        here.
        """
        while True:
            query = "SELECT position, raw, checked FROM events WHERE position > ? ORDER BY position LIMIT ?"
            rows = list(await self._db.execute_fetchall(query, (position, _REPLAY_ROWS)))
            for position, raw, checked in rows:  # noqa: B007  the last position is where the next page begins
                yield StoredEvent(msgspec.json.decode(raw, type=VerifiedEvent), checked)
            if len(rows) < _REPLAY_ROWS:
                return

    async def newest(self) -> tuple[int, str]:
        """The position and id of the event that came last; (0, "") in an empty store."""
        rows = list(await self._db.execute_fetchall("SELECT position, id FROM events ORDER BY position DESC LIMIT 1"))
        return (int(rows[0][0]), str(rows[0][1])) if rows else (0, "")

    async def at(self, position: int) -> str | None:
        """The id of the event at a position."""
        rows = list(await self._db.execute_fetchall("SELECT id FROM events WHERE position = ?", (position,)))
        return str(rows[0][0]) if rows else None

    async def count(self) -> int:
        """How many events are stored."""
        return int(await self._one("SELECT count(*) FROM events"))

    async def newest_second(self) -> int:
        """The newest created_at stored; 0 in an empty store."""
        return int(await self._one("SELECT coalesce(max(created_at), 0) FROM events"))

    async def add_events(self, events: Iterable[VerifiedEvent]) -> None:
        """Keep events of the log, in one transaction; known ones stay as they are."""
        async with self._transaction() as db:
            await db.executemany(
                "INSERT OR IGNORE INTO events (id, kind, created_at, raw) VALUES (?, ?, ?, ?)", map(_event_row, events)
            )

    async def add_checked(self, checked: Mapping[str, bytes | None]) -> None:
        """Keep what the check of batches came to, by receipt id; None forgets it, so that they are checked again."""
        async with self._transaction() as db:
            await db.executemany(
                "UPDATE events SET checked = ? WHERE id = ?", [(blob, batch) for batch, blob in checked.items()]
            )

    async def chain(self) -> dict[int, str]:
        """Our own chain: seq -> event id."""
        rows = await self._db.execute_fetchall("SELECT seq, id FROM own_chain ORDER BY seq")
        return {int(seq): str(event) for seq, event in rows}

    async def of_kind(self, kind: int) -> list[VerifiedEvent]:
        """The stored events of one kind, whoever signed them, as they came. Looks at all of the log."""
        rows = await self._db.execute_fetchall("SELECT raw FROM events WHERE kind = ? ORDER BY position", (kind,))
        return [msgspec.json.decode(raw, type=VerifiedEvent) for (raw,) in rows]

    async def own_of_kind(self, kind: int) -> list[VerifiedEvent]:
        """The events of our own chain of one kind, in the chain's order."""
        query = "SELECT raw FROM own_chain JOIN events USING (id) WHERE kind = ? ORDER BY seq"
        rows = await self._db.execute_fetchall(query, (kind,))
        return [msgspec.json.decode(raw, type=VerifiedEvent) for (raw,) in rows]

    async def head(self) -> tuple[Head, int] | None:
        """The newest event of our chain and its created_at."""
        query = "SELECT seq, id, created_at FROM own_chain JOIN events USING (id) ORDER BY seq DESC LIMIT 1"
        rows = list(await self._db.execute_fetchall(query))
        return (Head(int(rows[0][0]), str(rows[0][1])), int(rows[0][2])) if rows else None

    async def add_own(
        self,
        event: VerifiedEvent,
        *,
        block: str | None = None,
        voids: str | None = None,
        archive: str | None = None,
        published: bool = False,
    ) -> None:
        """Commit an event of our chain, before it is published. `block`: the reward a statement names; `voids`: the
        statement a void status takes back; `archive`: the hash of the lines that a 4220 announces.

        Raises StoreError for a second event at one place of the chain, or a second statement of one reward.
        """
        seq = link_of(event).seq
        try:
            async with self._transaction() as db:
                await db.execute(
                    "INSERT OR IGNORE INTO events (id, kind, created_at, raw) VALUES (?, ?, ?, ?)", _event_row(event)
                )
                await db.execute("INSERT INTO own_chain (seq, id) VALUES (?, ?)", (seq, event.id))
                if not published:
                    await db.execute("INSERT INTO unpublished (seq) VALUES (?)", (seq,))
                if voids is not None:
                    await db.execute("UPDATE own_statements SET void = 1 WHERE id = ?", (voids,))
                if archive is not None:
                    await db.execute("UPDATE archives SET event = ? WHERE stream = ?", (event.id, archive))
                if block is not None:
                    await db.execute("INSERT INTO own_statements (id, block) VALUES (?, ?)", (event.id, block))
        except sqlite3.IntegrityError as error:
            raise StoreError(self._path, f"event {event.id} at {seq} of our chain is refused: {error}") from None

    async def archives(self) -> list[ArchiveBody]:
        """The archives that are to be announced, oldest request first."""
        rows = await self._db.execute_fetchall("SELECT body FROM archives WHERE event IS NULL ORDER BY rowid")
        return [msgspec.json.decode(body, type=ArchiveBody) for (body,) in rows]

    async def add_archives(self, archives: Iterable[ArchiveBody]) -> None:
        """Note archives to announce."""
        async with self._transaction() as db:
            await db.executemany(
                "INSERT OR IGNORE INTO archives (stream, body) VALUES (?, ?)",
                [(body.stream.sha256, msgspec.json.encode(body)) for body in archives],
            )

    async def stated(self) -> set[str]:
        """The blocks whose reward has a statement of ours that is not void."""
        rows = await self._db.execute_fetchall("SELECT block FROM own_statements WHERE void = 0")
        return {str(block) for (block,) in rows}

    async def unpublished(self) -> list[VerifiedEvent]:
        """What we signed and no relay is known to have, in the chain's order."""
        query = "SELECT raw FROM unpublished JOIN own_chain USING (seq) JOIN events USING (id) ORDER BY seq"
        rows = await self._db.execute_fetchall(query)
        return [msgspec.json.decode(raw, type=VerifiedEvent) for (raw,) in rows]

    async def mark_published(self, event: VerifiedEvent) -> None:
        """The feed has taken over an event of our chain."""
        async with self._transaction() as db:
            await db.execute("DELETE FROM unpublished WHERE seq = ?", (link_of(event).seq,))

    async def views(self) -> dict[str, StoredView]:
        """address -> the newest view published there."""
        rows = await self._db.execute_fetchall("SELECT address, created_at, content FROM views")
        return {address: StoredView(created_at, content) for address, created_at, content in rows}

    async def add_views(self, views: Mapping[str, StoredView]) -> None:
        """Remember what was published, in one transaction."""
        async with self._transaction() as db:
            await db.executemany(
                "INSERT OR REPLACE INTO views (address, created_at, content) VALUES (?, ?, ?)",
                [(address, *view) for address, view in views.items()],
            )

    async def forget_checked(self) -> None:
        """Have every batch checked again at the next replay."""
        async with self._transaction() as db:
            await db.execute("UPDATE events SET checked = NULL WHERE checked IS NOT NULL")

    async def account_sums(self) -> dict[str, int]:
        """account -> msat by the stored postings; accounts at zero are left out."""
        rows = await self._db.execute_fetchall(
            "SELECT account, sum(msat) FROM postings GROUP BY account HAVING sum(msat) <> 0"
        )
        return {str(account): int(msat) for account, msat in rows}

    async def add_books(self, transactions: Sequence[Transaction], ledger: Ledger) -> None:
        """Write transactions that `ledger` has booked, with the rewards and payouts they touch, in one transaction."""
        async with self._transaction():
            await self._insert_books(transactions)
            await self._insert_positions(ledger)

    async def rebuild_books(self, transactions: Sequence[Transaction], ledger: Ledger) -> None:
        """Put the books' tables in the place of what stands there, in one transaction."""
        async with self._transaction() as db:
            for table in _BOOKS:
                await db.execute(f"DELETE FROM {table}")  # noqa: S608  our own table names
            await self._insert_books(transactions)
            await self._insert_positions(ledger)

    async def _insert_books(self, transactions: Sequence[Transaction]) -> None:
        await self._db.executemany(
            "INSERT OR IGNORE INTO transactions (id, created_at, text) VALUES (?, ?, ?)",
            [(one.id, one.created_at, one.text) for one in transactions],
        )
        await self._db.executemany(
            "INSERT OR IGNORE INTO postings (transaction_id, account, msat) VALUES (?, ?, ?)",
            [(one.id, posting.account, posting.msat) for one in transactions for posting in one.postings],
        )

    async def _insert_positions(self, ledger: Ledger) -> None:
        touched = ledger.take_touched()
        await self._db.executemany(
            "INSERT OR REPLACE INTO rewards (statement, block, height, found_ms, gross_msat, fee_msat, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    booked.statement.id,
                    booked.statement.reward.block,
                    booked.statement.reward.height,
                    booked.statement.reward.found_ms,
                    booked.statement.reward.gross_msat,
                    booked.statement.fee_msat,
                    booked.state,
                )
                for booked in touched.rewards
            ],
        )
        await self._db.executemany(
            "INSERT OR REPLACE INTO payouts (payout_id, event, miner, amount_msat, network_fee_msat, method)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    booked.payout.payout_id,
                    booked.payout.id,
                    booked.payout.miner,
                    booked.payout.amount_msat,
                    booked.payout.network_fee_msat,
                    booked.payout.method,
                )
                for booked in touched.payouts
            ],
        )

    async def _one(self, query: str) -> int:
        rows = list(await self._db.execute_fetchall(query))
        return int(rows[0][0])


async def _migrate(db: aiosqlite.Connection, path: Path) -> None:
    rows = list(await db.execute_fetchall("PRAGMA user_version"))
    version = int(rows[0][0])
    if version > len(MIGRATIONS):
        raise StoreError(path, f"it is of version {version}, this program knows {len(MIGRATIONS)}")
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        await db.execute("BEGIN IMMEDIATE")
        for statement in statements:
            await db.execute(statement)
        await db.execute(f"PRAGMA user_version = {number}")
        await db.commit()


async def _identify(db: aiosqlite.Connection, path: Path, pool: PoolAddress, signer: str) -> None:
    rows = list(await db.execute_fetchall("SELECT pool, signer FROM identity"))
    if not rows:
        await db.execute("INSERT INTO identity (pool, signer) VALUES (?, ?)", (str(pool), signer))
        await db.commit()
    elif tuple(rows[0]) != (str(pool), signer):
        raise StoreError(path, f"it holds the books of {rows[0][0]}, signed by {rows[0][1]}")


async def _prepare(db: aiosqlite.Connection, path: Path, pool: PoolAddress, signer: str) -> None:
    try:
        check = list(await db.execute_fetchall("PRAGMA integrity_check(1)"))
        if check[0][0] != "ok":
            raise StoreError(path, f"the file is damaged: {check[0][0]}")
        await db.execute("PRAGMA journal_mode = WAL")
        # A commit is on disk before anything is published on its strength.
        await db.execute("PRAGMA synchronous = FULL")
        await db.execute("PRAGMA foreign_keys = ON")
        await _migrate(db, path)
        await _identify(db, path, pool, signer)
    except sqlite3.DatabaseError as error:
        raise StoreError(path, str(error)) from error


@asynccontextmanager
async def open_store(path: Path, pool: PoolAddress, signer: str) -> AsyncIterator[AccountingStore]:
    """Open the file or make it, check it and bring it to this version.

    Raises StoreError if it is damaged, newer, or of another pool or key.
    """
    db = await aiosqlite.connect(path)
    try:
        await _prepare(db, path, pool, signer)
        yield AccountingStore(db, path)
    finally:
        # The connection has a thread of its own: it ends also when we are cancelled.
        with anyio.CancelScope(shield=True):
            await db.close()
