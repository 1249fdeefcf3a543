"""The accounting's store: the verified log as it was read, our own chain, and the books folded from them.

What cannot be had back from elsewhere is only what we signed and have not published yet: it is committed before
anybody is shown it, and a statement once signed is re-sent as it is. All else is a copy of the log or a fold of it: the
books' tables are for whoever reads them with SQL, and are rebuilt when they differ from what the log says.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from accounting.adapters.database import Database, Refused, StoreError, Writer
from accounting.adapters.postgres_database import PostgresPlace, open_postgres
from accounting.adapters.schema import migrate
from accounting.adapters.sqlite_database import open_sqlite
from accounting.bonuses import BonusSum
from accounting.checks import Known, open_check
from accounting.kept_events import pack_event, unpack_event
from accounting.ledger import Ledger, Transaction
from accounting.strangers import LetGo
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.archive import ArchiveBody
from nips.pool.chain import Head, link_of

# A file, or a schema of a server.
StorePlace = Path | PostgresPlace
# Rows read at a time when the log is replayed: a full receipt and its check have some 80 KB.
_REPLAY_ROWS = 100
# Of receipts that were let go, what is kept of their check is all there is here.
IN_ARCHIVES = (
    "it was let go since an archive has it, and is needed: stop the pool and run `noncestr accounting rebuild` with "
    "every `--archive` of the log"
)
_BOOKS = ("postings", "transactions", "rewards", "payouts", "bonuses")


class StoredEvent(NamedTuple):
    """An event of the log by id, as it is kept (accounting.kept_events; empty if archives alone have it); what is kept
    of it if it was a batch and is checked, and of the batches that end with it.
    """

    id: str
    raw: bytes
    checked: bytes | None
    span: bytes | None

    @property
    def is_archived(self) -> bool:
        """Whether it is a receipt that archives alone have."""
        return not self.raw

    @property
    def event(self) -> VerifiedEvent:
        """The event. Its signature was checked before it was put here. Raises StoreError if archives alone have it."""
        if self.is_archived:
            raise StoreError(f"event {self.id}", IN_ARCHIVES)
        return unpack_event(self.raw)

    @property
    def known(self) -> Known | None:
        """The batch as it was kept; None if it is none, or what was kept is of an older form or damaged."""
        return None if self.checked is None else open_check(self.id, self.checked, self.raw, self.span)


class StoredView(NamedTuple):
    """The newest addressable event published at an address: its second, and what it said as far as it matters."""

    created_at: int
    content: str


def _event_row(event: VerifiedEvent) -> tuple[str, int, int, bytes]:
    return event.id, event.kind, event.created_at, pack_event(event)


class AccountingStore:
    """Opened by `open_store`. Tasks may share it: writes go one after another, each whole or not at all."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def ready(self) -> None:
        """Ask something small. Raises StoreFailed while disk or server do not answer."""
        await self.newest()

    async def replay(self, position: int = 0) -> AsyncIterator[StoredEvent]:
        """The log in the order it came, from what follows a position on."""
        query = (
            "SELECT position, id, raw, checked, body FROM events LEFT JOIN spans USING (id)"
            " WHERE position > ? ORDER BY position LIMIT ?"
        )
        while True:
            rows = await self._db.fetch(query, position, _REPLAY_ROWS)
            for position, *stored in rows:  # noqa: B007  the last position is where the next page begins
                yield StoredEvent(*stored)
            if len(rows) < _REPLAY_ROWS:
                return

    async def newest(self) -> tuple[int, str]:
        """The position and id of the event that came last; (0, "") in an empty store."""
        rows = await self._db.fetch("SELECT position, id FROM events ORDER BY position DESC LIMIT 1")
        return (int(rows[0][0]), str(rows[0][1])) if rows else (0, "")

    async def at(self, position: int) -> str | None:
        """The id of the event at a position."""
        rows = await self._db.fetch("SELECT id FROM events WHERE position = ?", position)
        return str(rows[0][0]) if rows else None

    async def count(self) -> int:
        """How many events are stored."""
        return int(await self._one("SELECT count(*) FROM events"))

    async def newest_second(self) -> int:
        """The newest created_at stored; 0 in an empty store."""
        return int(await self._one("SELECT coalesce(max(created_at), 0) FROM events"))

    async def add_events(self, events: Iterable[VerifiedEvent]) -> None:
        """Keep events of the log, in one transaction; known ones stay as they are."""
        async with self._db.transaction() as db:
            await db.executemany(
                "INSERT INTO events (id, kind, created_at, raw) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                map(_event_row, events),
            )

    async def let_go(self) -> LetGo:
        """What was let go of strangers' events."""
        events, newest, keys, again = (await self._db.fetch("SELECT events, newest, keys, again FROM let_go"))[0]
        return LetGo(int(events), int(newest), int(keys), bool(again))

    async def set_let_go(self, told: LetGo) -> None:
        """Put this in its place."""
        async with self._db.transaction() as db:
            await db.execute(
                "UPDATE let_go SET events = ?, newest = ?, keys = ?, again = ?",
                *(told.events, told.newest_s, told.keys, int(told.again)),
            )

    async def add_checked(self, checked: Mapping[str, bytes | None]) -> None:
        """Keep what the check of batches came to, by receipt id; None forgets it, so that they are checked again."""
        async with self._db.transaction() as db:
            await db.executemany(
                "UPDATE events SET checked = ? WHERE id = ?", [(blob, batch) for batch, blob in checked.items()]
            )

    async def add_spans(self, spans: Mapping[str, bytes]) -> None:
        """Keep what batches came to together, by the receipt of the last."""
        async with self._db.transaction() as db:
            await db.executemany(
                "INSERT INTO spans (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                list(spans.items()),
            )

    async def chain(self) -> dict[int, str]:
        """Our own chain: seq -> event id."""
        rows = await self._db.fetch("SELECT seq, id FROM own_chain ORDER BY seq")
        return {int(seq): str(event) for seq, event in rows}

    async def of_kind(self, kind: int) -> list[VerifiedEvent]:
        """The stored events of one kind, whoever signed them, as they came. Looks at all of the log."""
        rows = await self._db.fetch("SELECT raw FROM events WHERE kind = ? ORDER BY position", kind)
        return [unpack_event(raw) for (raw,) in rows]

    async def own_of_kind(self, kind: int) -> list[VerifiedEvent]:
        """The events of our own chain of one kind, in the chain's order."""
        query = "SELECT raw FROM own_chain JOIN events USING (id) WHERE kind = ? ORDER BY seq"
        rows = await self._db.fetch(query, kind)
        return [unpack_event(raw) for (raw,) in rows]

    async def head(self) -> tuple[Head, int] | None:
        """The newest event of our chain and its created_at."""
        query = "SELECT seq, id, created_at FROM own_chain JOIN events USING (id) ORDER BY seq DESC LIMIT 1"
        rows = await self._db.fetch(query)
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
            async with self._db.transaction() as db:
                await db.execute(
                    "INSERT INTO events (id, kind, created_at, raw) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    *_event_row(event),
                )
                await db.execute("INSERT INTO own_chain (seq, id) VALUES (?, ?)", seq, event.id)
                if not published:
                    await db.execute("INSERT INTO unpublished (seq) VALUES (?)", seq)
                if voids is not None:
                    await db.execute("UPDATE own_statements SET void = 1 WHERE id = ?", voids)
                if archive is not None:
                    await db.execute("UPDATE archives SET event = ? WHERE stream = ?", event.id, archive)
                if block is not None:
                    await db.execute("INSERT INTO own_statements (id, block) VALUES (?, ?)", event.id, block)
        except Refused as error:
            raise StoreError(
                self._db.place, f"event {event.id} at {seq} of our chain is refused: {error.reason}"
            ) from None

    async def archives(self) -> list[ArchiveBody]:
        """The archives that are to be announced, oldest request first."""
        rows = await self._db.fetch("SELECT body FROM archives WHERE event IS NULL ORDER BY number")
        return [msgspec.json.decode(body, type=ArchiveBody) for (body,) in rows]

    async def add_archives(self, archives: Iterable[ArchiveBody]) -> None:
        """Note archives to announce."""
        async with self._db.transaction() as db:
            await db.executemany(
                "INSERT INTO archives (stream, body) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(body.stream.sha256, msgspec.json.encode(body)) for body in archives],
            )

    async def stated(self) -> set[str]:
        """The blocks whose reward has a statement of ours that is not void."""
        rows = await self._db.fetch("SELECT block FROM own_statements WHERE void = 0")
        return {str(block) for (block,) in rows}

    async def unpublished(self) -> list[VerifiedEvent]:
        """What we signed and no relay is known to have, in the chain's order."""
        query = "SELECT raw FROM unpublished JOIN own_chain USING (seq) JOIN events USING (id) ORDER BY seq"
        rows = await self._db.fetch(query)
        return [unpack_event(raw) for (raw,) in rows]

    async def mark_published(self, event: VerifiedEvent) -> None:
        """The feed has taken over an event of our chain."""
        async with self._db.transaction() as db:
            await db.execute("DELETE FROM unpublished WHERE seq = ?", link_of(event).seq)

    async def views(self) -> dict[str, StoredView]:
        """address -> the newest view published there."""
        rows = await self._db.fetch("SELECT address, created_at, content FROM views")
        return {address: StoredView(created_at, content) for address, created_at, content in rows}

    async def add_views(self, views: Mapping[str, StoredView]) -> None:
        """Remember what was published, in one transaction."""
        async with self._db.transaction() as db:
            await db.executemany(
                "INSERT INTO views (address, created_at, content) VALUES (?, ?, ?) ON CONFLICT (address)"
                " DO UPDATE SET created_at = excluded.created_at, content = excluded.content",
                [(address, *view) for address, view in views.items()],
            )

    async def forget_checked(self) -> None:
        """Have every batch checked again at the next replay, which takes the archives of those that were let go."""
        async with self._db.transaction() as db:
            await db.execute("UPDATE events SET checked = NULL WHERE checked IS NOT NULL")

    async def account_sums(self) -> dict[str, int]:
        """account -> msat by the stored postings; accounts at zero are left out."""
        rows = await self._db.fetch("SELECT account, sum(msat) FROM postings GROUP BY account HAVING sum(msat) <> 0")
        return {str(account): int(msat) for account, msat in rows}

    async def bonus_sums(self) -> dict[str, BonusSum]:
        """miner -> what it got out of fees, as stored; who got nothing is left out."""
        rows = await self._db.fetch(
            "SELECT miner, pending_msat, matured_msat FROM bonuses WHERE pending_msat <> 0 OR matured_msat <> 0"
        )
        return {str(miner): BonusSum(int(pending), int(matured)) for miner, pending, matured in rows}

    async def add_books(self, transactions: Sequence[Transaction], ledger: Ledger) -> None:
        """Write transactions that `ledger` has booked, with the rewards, payouts and sums of bonuses they touch, in one
        transaction.
        """
        async with self._db.transaction() as db:
            await _insert_books(db, transactions)
            await _insert_positions(db, ledger)

    async def rebuild_books(self, transactions: Sequence[Transaction], ledger: Ledger) -> None:
        """Put the books' tables in the place of what stands there, in one transaction."""
        async with self._db.transaction() as db:
            for table in _BOOKS:
                await db.execute(f"DELETE FROM {table}")  # noqa: S608  our own table names
            await _insert_books(db, transactions)
            await _insert_positions(db, ledger)

    async def _one(self, query: str) -> int:
        rows = await self._db.fetch(query)
        return int(rows[0][0])


async def _insert_books(db: Writer, transactions: Sequence[Transaction]) -> None:
    await db.executemany(
        "INSERT INTO transactions (id, created_at, text) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(one.id, one.created_at, one.text) for one in transactions],
    )
    await db.executemany(
        "INSERT INTO postings (transaction_id, account, msat) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(one.id, posting.account, posting.msat) for one in transactions for posting in one.postings],
    )


async def _insert_positions(db: Writer, ledger: Ledger) -> None:
    touched = ledger.take_touched()
    await db.executemany(
        "INSERT INTO rewards (statement, block, height, found_ms, gross_msat, fee_msat, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (statement) DO UPDATE SET block = excluded.block,"
        " height = excluded.height, found_ms = excluded.found_ms, gross_msat = excluded.gross_msat,"
        " fee_msat = excluded.fee_msat, state = excluded.state",
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
    await db.executemany(
        "INSERT INTO payouts (payout_id, event, miner, amount_msat, network_fee_msat, method)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (payout_id) DO UPDATE SET event = excluded.event,"
        " miner = excluded.miner, amount_msat = excluded.amount_msat,"
        " network_fee_msat = excluded.network_fee_msat, method = excluded.method",
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
    await db.executemany(
        "INSERT INTO bonuses (miner, pending_msat, matured_msat) VALUES (?, ?, ?) ON CONFLICT (miner) DO UPDATE"
        " SET pending_msat = excluded.pending_msat, matured_msat = excluded.matured_msat",
        [(miner, *bonus) for miner, bonus in touched.bonuses.items()],
    )


async def _identify(db: Database, pool: PoolAddress, signer: str) -> None:
    rows = await db.fetch("SELECT pool, signer FROM identity")
    if not rows:
        async with db.transaction() as writer:
            await writer.execute("INSERT INTO identity (pool, signer) VALUES (?, ?)", str(pool), signer)
    elif tuple(rows[0]) != (str(pool), signer):
        raise StoreError(db.place, f"it holds the books of {rows[0][0]}, signed by {rows[0][1]}")


@asynccontextmanager
async def open_store(place: StorePlace, pool: PoolAddress, signer: str) -> AsyncIterator[AccountingStore]:
    """Open the store or make it, check it and bring it to this version.

    Raises StoreError if it is damaged, newer, held by another accounting, or of another pool or key.
    """
    async with open_sqlite(place) if isinstance(place, Path) else open_postgres(place) as db:
        await migrate(db)
        await _identify(db, pool, signer)
        yield AccountingStore(db)
