"""The accounting's database as one SQLite file."""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

import aiosqlite
import anyio

from accounting.adapters.database import Refused, Row, StoreError, StoreFailed, Writer

# The check at start reads the whole file, a second for each 400 MB. Of a larger one it leaves out the copy of the log:
# that can be had back, and a damaged page of it is noticed when it is read.
CHECKED_BYTES = 4 << 30
# The one large table, and what it is indexed by.
LOG_TABLE = "events"
# Another program may look into the file.
BUSY_S = 30
REMEDY = (
    "stop the pool and run `noncestr accounting rebuild`: it makes the books anew from relays and archives, "
    "and carries over what only this file has, as far as it can be read"
)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise Refused(path, str(error)) from None
    except sqlite3.Error as error:
        raise StoreFailed(path, str(error)) from error


class _Writer:
    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def execute(self, query: str, *values: object) -> None:
        await self._connection.execute(query, values)

    async def executemany(self, query: str, rows: Iterable[Row]) -> None:
        await self._connection.executemany(query, rows)


class SqliteDatabase:
    """Opened by `open_sqlite`."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._busy = anyio.Lock()

    @property
    def place(self) -> Path:
        return self._path

    async def fetch(self, query: str, *values: object) -> Sequence[Row]:
        # One connection sees what it has not committed: nobody may act on what a failed write takes back.
        async with self._busy:
            with _said(self._path):
                return list(await self._connection.execute_fetchall(query, values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Writer]:
        async with self._busy:
            with _said(self._path):
                try:
                    await self._connection.execute("BEGIN IMMEDIATE")
                    yield _Writer(self._connection)
                    await self._connection.commit()
                except BaseException:
                    # Cancelled or failed: nothing of it stands, and the next writer begins clean.
                    with anyio.CancelScope(shield=True):
                        await self._connection.rollback()
                    raise

    async def version(self) -> int:
        return int((await self.fetch("PRAGMA user_version"))[0][0])

    async def migrate(self, number: int, statements: Sequence[str]) -> None:
        async with self.transaction() as writer:
            for statement in statements:
                await writer.execute(statement)
            await writer.execute(f"PRAGMA user_version = {number}")

    async def check(self) -> None:
        """Look for damage. Raises StoreError that says what to do."""
        checks = ["PRAGMA integrity_check(1)"]
        if self._path.stat().st_size > CHECKED_BYTES:
            tables = await self.fetch("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> ?", LOG_TABLE)
            checks = [f'PRAGMA integrity_check("{name}")' for (name,) in tables]
        try:
            for check in checks:
                found = (await self.fetch(check))[0][0]
                if found != "ok":
                    raise StoreError(self._path, f"the file is damaged: {' '.join(found.split())}; {REMEDY}")
        except StoreFailed as error:
            if isinstance(error.__cause__, sqlite3.OperationalError):
                # Busy or not ours to read: no damage.
                raise
            raise StoreError(self._path, f"the file is damaged: {error.reason}; {REMEDY}") from None

    async def prepare(self) -> None:
        """Set how it is written."""
        for pragma in (
            "journal_mode = WAL",
            # A commit is on disk before anything is published on its strength.
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            await self.fetch(f"PRAGMA {pragma}")

    async def close(self) -> None:
        # The connection has a thread of its own: it ends also when we are cancelled.
        with anyio.CancelScope(shield=True):
            await self._connection.close()


@asynccontextmanager
async def open_sqlite(path: Path, *, read_only: bool = False) -> AsyncIterator[SqliteDatabase]:
    """The database in a file; for writing it is made if there is none, and checked. Raises StoreError."""
    with _said(path):
        uri = f"file:{quote(str(path))}?mode={'ro' if read_only else 'rwc'}"
        database = SqliteDatabase(await aiosqlite.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None), path)
    try:
        if not read_only:
            await database.check()
            await database.prepare()
        yield database
    finally:
        await database.close()
