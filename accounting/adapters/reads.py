"""The accounting's store, read only, for questions that memory has no answer to. Never waited for by a writer."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from accounting.adapters.database import Database, Row
from accounting.adapters.postgres_database import open_postgres
from accounting.adapters.sqlite_database import open_sqlite
from accounting.adapters.store import StorePlace
from accounting.adapters.stored_entries import StoredEntries
from accounting.entries import BookEntries
from accounting.kept_events import unpack_event
from accounting.ledger import miner_account
from nips.nip01 import VerifiedEvent
from nips.pool.kinds import STATEMENT_PART, SUMMARY

# Events read at once when the summaries of a long chain are taken in: each is 60 kB at most.
MAX_EVENTS = 200


class StoredReads:
    """`accounting.reads.History` on the store. Opened by `open_reads`."""

    def __init__(self, database: Database, pool: str) -> None:
        self._db = database
        # The pool's address, and the books entry by entry.
        self.pool = pool
        self.entries: BookEntries = StoredEntries(self)

    async def fetch(self, query: str, *values: object) -> Sequence[Row]:
        """The rows of a query, `?` for values."""
        return await self._db.fetch(query, *values)

    async def summaries_after(self, seq: int) -> list[tuple[int, VerifiedEvent]]:
        """The next summaries and parts of our chain by their numbers, MAX_EVENTS at most."""
        rows = await self._db.fetch(
            "SELECT seq, raw FROM own_chain JOIN events USING (id) WHERE seq > ? AND kind IN (?, ?)"
            " ORDER BY seq LIMIT ?",
            seq,
            SUMMARY,
            STATEMENT_PART,
            MAX_EVENTS,
        )
        return [(int(number), unpack_event(raw)) for number, raw in rows]

    async def rewards_of(self, miner: str, before: tuple[int, str] | None, limit: int) -> list[str]:
        """The ids of statements with a row of this miner, by (end, id) from the newest down."""
        end_ms, statement = before or (1 << 62, "")
        rows = await self._db.fetch(
            "SELECT rewards.statement FROM postings JOIN rewards ON rewards.statement = postings.transaction_id"
            " WHERE postings.account IN (?, ?) AND (rewards.found_ms, rewards.statement) < (?, ?)"
            " ORDER BY rewards.found_ms DESC, rewards.statement DESC LIMIT ?",
            # A period's rows are owed at once.
            miner_account(miner, "pending"),
            miner_account(miner, "owed"),
            end_ms,
            statement,
            limit,
        )
        return [str(found) for (found,) in rows]


@asynccontextmanager
async def open_reads(place: StorePlace) -> AsyncIterator[StoredReads]:
    """Open the store of an accounting that runs (it has been made). Raises StoreError."""
    opened = open_sqlite(place, read_only=True) if isinstance(place, Path) else open_postgres(place, alone=False)
    async with opened as database:
        rows = await database.fetch("SELECT pool FROM identity")
        yield StoredReads(database, str(rows[0][0]))
