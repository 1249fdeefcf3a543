"""The books' tables, entry by entry (`accounting.entries.BookEntries`), in SQL that both databases understand."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from accounting.entries import Entry, RewardOf, Spot
from accounting.kept_events import unpack_event
from accounting.ledger import Posting, Transaction, miner_account
from nips.nip01 import VerifiedEvent

# A page of statements is 200 times some 400 rows: 20 MB at most.
PAGE = 200
# After every date.
_EVER = 1 << 62


class Source(Protocol):
    """An open database."""

    async def fetch(self, query: str, *values: object) -> Iterable[Sequence[Any]]:
        """The rows of a query, `?` for values."""


class StoredEntries:
    """Reads pages; what is booked meanwhile with an older date than the page's is not seen."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def entries_after(self, spot: Spot, miner: str | None, before_s: int | None) -> list[Entry]:
        """See `BookEntries`."""
        end = _EVER if before_s is None else before_s
        if miner is None:
            found = await self._source.fetch(
                "SELECT id, created_at, text FROM transactions WHERE (created_at, id) > (?, ?) AND created_at < ?"
                " ORDER BY created_at, id LIMIT ?",
                *(spot.created_at, spot.id, end, PAGE),
            )
        else:
            parts = [miner_account(miner, part) for part in ("owed", "paid", "fees")]
            found = await self._source.fetch(
                "SELECT DISTINCT transactions.id, created_at, text FROM postings"
                " JOIN transactions ON transactions.id = postings.transaction_id"
                " WHERE account IN (?, ?, ?) AND (created_at, transactions.id) > (?, ?) AND created_at < ?"
                " ORDER BY created_at, transactions.id LIMIT ?",
                *(*parts, spot.created_at, spot.id, end, PAGE),
            )
        rows = list(found)
        names = [str(name) for name, _, _ in rows]
        events, postings = await self._events(names), await self._postings(names, miner)
        return [
            Entry(Transaction(str(name), int(second), str(text), tuple(postings[name])), events[name])
            for name, second, text in rows
        ]

    async def rewards(self, statements: Sequence[str]) -> Mapping[str, RewardOf]:
        """See `BookEntries`."""
        if not statements:
            return {}
        rows = await self._source.fetch(
            f"SELECT statement, block, height, found_ms FROM rewards WHERE statement IN ({_marks(statements)})",  # noqa: S608  marks alone
            *statements,
        )
        return {str(name): RewardOf(str(block), int(height), int(found)) for name, block, height, found in rows}

    async def _events(self, names: Sequence[str]) -> dict[str, VerifiedEvent]:
        if not names:
            return {}
        query = f"SELECT id, raw FROM events WHERE id IN ({_marks(names)})"  # noqa: S608  marks alone
        rows = await self._source.fetch(query, *names)
        return {str(name): unpack_event(raw) for name, raw in rows}

    async def _postings(self, names: Sequence[str], miner: str | None) -> dict[str, list[Posting]]:
        found: dict[str, list[Posting]] = {name: [] for name in names}
        if not names:
            return found
        query = f"SELECT transaction_id, account, msat FROM postings WHERE transaction_id IN ({_marks(names)})"  # noqa: S608  marks alone
        bounds: tuple[str, ...] = ()
        if miner is not None:
            # A year of statements would else be read with everybody's rows.
            query, bounds = f"{query} AND account >= ? AND account < ?", (f"miner:{miner}:", f"miner:{miner};")
        for name, account, msat in await self._source.fetch(
            f"{query} ORDER BY transaction_id, account", *names, *bounds
        ):
            found[str(name)].append(Posting(str(account), int(msat)))
        return found


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)
