"""What the accounting asks of a database: small enough that SQLite and PostgreSQL are two short modules beside it.

Everything above speaks one SQL, which both understand, with `?` for values. What they write differently (types of
columns, the version of the tables, errors) is in accounting.adapters.sqlite_database and .postgres_database alone.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from accounting.errors import AccountingError

Row = Sequence[Any]


class StoreError(AccountingError):
    """The accounting's store cannot be used: damaged, of another pool or key, or of a newer version."""

    def __init__(self, place: object, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


def reason_of(error: Exception) -> str:
    """What is shown of a failure. Whoever asks for our health need not know where the store is."""
    return error.reason if isinstance(error, StoreError) else repr(error)


class StoreHeld(StoreError):
    """Another accounting has this store open."""


class StoreFailed(StoreError):
    """The disk or the server failed. A write did not happen, or it did and its answer was lost: look, and ask again."""


class Refused(StoreError):
    """A write would break a rule of the tables; nothing of its transaction stands."""


class Writer(Protocol):
    """A transaction under way."""

    async def execute(self, query: str, *values: object) -> None:
        """Run one statement."""

    async def executemany(self, query: str, rows: Iterable[Row]) -> None:
        """Run one statement for each row of values."""


class Database(Protocol):
    """An open database. Tasks may share it: transactions go one after another, each whole or not at all.

    Everything raises StoreFailed; a transaction also Refused.
    """

    @property
    def place(self) -> object:
        """Where it is, for people: without secrets."""

    async def fetch(self, query: str, *values: object) -> Sequence[Row]:
        """The rows of a query."""

    def transaction(self) -> AbstractAsyncContextManager[Writer]:
        """Writes that stand together, on disk when the block is left."""

    async def version(self) -> int:
        """The number of the last migration; 0 in an empty database."""

    async def migrate(self, number: int, statements: Sequence[str]) -> None:
        """Change the tables, and their version with them, in one transaction. `statements` are in SQLite's words."""

    async def close(self) -> None:
        """Let go of it."""
