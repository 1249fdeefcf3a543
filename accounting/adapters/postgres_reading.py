"""A PostgreSQL store read by a program without a loop: the loop runs in a thread of its own."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar

import asyncpg
from anyio.from_thread import start_blocking_portal

from accounting.adapters.database import Row, StoreError, StoreFailed
from accounting.adapters.postgres_database import LOST, PostgresPlace, connect, numbered

T = TypeVar("T")
# Rows fetched at a time: some MB of receipts.
FETCH_ROWS = 200


class PostgresReading:
    """A connection. Raises StoreError."""

    def __init__(self, place: PostgresPlace) -> None:
        self._place = place
        self._transaction: Any = None
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            self._db = self._portal.call(connect, place)
            self._opened = stack.pop_all()

    def rows(self, query: str, *values: object) -> Iterator[Row]:
        """The rows of a query; between `begin` and `end` as they are asked for."""
        if self._transaction is None:
            yield from self._call(lambda: self._db.fetch(numbered(query), *values))
            return
        cursor = self._call(lambda: self._cursor(query, *values))
        while rows := self._call(lambda: cursor.fetch(FETCH_ROWS)):
            yield from rows

    async def _cursor(self, query: str, *values: object) -> Any:
        return await self._db.cursor(numbered(query), *values)

    def version(self) -> int:
        """The number of the last migration."""
        return int(next(self.rows("SELECT version FROM schema_version"))[0])

    def begin(self) -> None:
        """From now on all is read as it stands now."""
        self._transaction = self._db.transaction(isolation="repeatable_read", readonly=True)
        self._call(self._transaction.start)

    def end(self) -> None:
        """No more."""
        transaction, self._transaction = self._transaction, None
        self._call(transaction.commit)

    def write(self, query: str, *values: object) -> None:
        """Run one statement, committed by itself; not between `begin` and `end`."""
        self._call(lambda: self._db.execute(numbered(query), *values))

    def close(self) -> None:
        """Let go of it."""
        with self._opened:
            self._portal.call(self._close)

    async def _close(self) -> None:
        self._db.terminate()

    def _call(self, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return self._portal.call(ask)
        except asyncpg.UndefinedTableError as error:
            raise StoreError(self._place, str(error)) from None
        except LOST as error:
            raise StoreFailed(self._place, str(error)) from error
