"""The log in the accounting's store, for whoever reads it from outside: archives are made of it while the pool runs.

It is read in a transaction of its own and never held up by, nor holds up, the accounting. The one thing written from
outside is the request to announce an archive: only the accounting itself signs in its chain.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

import msgspec

from accounting.adapters.database import Row, StoreError, StoreFailed
from accounting.adapters.postgres_reading import PostgresReading
from accounting.adapters.schema import ANNOUNCING_VERSION, PRUNING_VERSION
from accounting.adapters.store import StorePlace
from accounting.checks import Known, open_check
from accounting.kept_events import unpack_event
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress, parse_address
from nips.pool.archive import ArchiveBody
from nips.pool.kinds import RECEIPT, TERMS

# Of receipts that were let go (accounting.pruning).
GONE = "receipts of this time were let go since an archive has them: that archive is the log of it"
# The accounting commits within milliseconds; a disk that is busy may take longer.
BUSY_S = 30


class _Reading(Protocol):
    """A connection for one thread, without a loop. Raises StoreError."""

    def rows(self, query: str, *values: object) -> Iterator[Row]:
        """The rows of a query, as they are asked for."""

    def version(self) -> int:
        """The number of the last migration."""

    def begin(self) -> None:
        """From now on all is read as it stands now."""

    def end(self) -> None:
        """No more."""

    def write(self, query: str, *values: object) -> None:
        """Run one statement, committed by itself; not between `begin` and `end`."""

    def close(self) -> None:
        """Let go of it."""


class _SqliteReading:
    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise StoreError(path, "there is no ledger")
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)

    def rows(self, query: str, *values: object) -> Iterator[Row]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as error:
            raise StoreError(self._path, str(error)) from error

    def version(self) -> int:
        return int(next(self.rows("PRAGMA user_version"))[0])

    def begin(self) -> None:
        self.write("BEGIN")

    def end(self) -> None:
        self.write("COMMIT")

    def write(self, query: str, *values: object) -> None:
        try:
            self._db.execute(query, values)
        except sqlite3.Error as error:
            raise StoreError(self._path, str(error)) from error

    def close(self) -> None:
        self._db.close()


class StoredLog:
    """Opened by its constructor, closed as a context manager. Raises StoreError for a store that can't be read."""

    def __init__(self, place: StorePlace) -> None:
        self._place = place
        with ExitStack() as opened:
            self._db: _Reading = _SqliteReading(place) if isinstance(place, Path) else PostgresReading(place)
            opened.callback(self._db.close)
            try:
                self._version = self._db.version()
                rows = list(self._db.rows("SELECT pool, signer FROM identity"))
            except StoreFailed:
                raise
            except StoreError as error:
                raise StoreError(place, f"it holds no books: {error.reason}") from error
            if not rows:
                raise StoreError(place, "it holds no books yet")
            opened.pop_all()
        self.pool: PoolAddress = parse_address(rows[0][0])
        self.signer = str(rows[0][1])

    def __enter__(self) -> "StoredLog":
        self._db.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def terms(self) -> list[VerifiedEvent]:
        """All 4210 events, whoever signed them."""
        return self.of_kind(TERMS)

    def of_kind(self, kind: int) -> list[VerifiedEvent]:
        """The events of a kind that is not frequent, whoever signed them, by date."""
        return list(self._events("SELECT raw FROM events WHERE kind = ? ORDER BY created_at", kind))

    def between(self, from_s: int, to_s: int) -> Iterator[VerifiedEvent]:
        """The events with from_s <= created_at < to_s (Unix seconds), by date."""
        query = "SELECT raw FROM events WHERE created_at >= ? AND created_at < ? ORDER BY created_at"
        return self._events(query, from_s, to_s)

    def event(self, name: str) -> VerifiedEvent | None:
        """One event by id."""
        return next(self._events("SELECT raw FROM events WHERE id = ?", name), None)

    def bounds(self) -> tuple[int, int] | None:
        """The oldest and the newest created_at; None for an empty log."""
        oldest, newest = next(self._db.rows("SELECT min(created_at), max(created_at) FROM events"))
        return None if oldest is None else (int(oldest), int(newest))

    def _events(self, query: str, *values: object) -> Iterator[VerifiedEvent]:
        for (raw,) in self._db.rows(query, *values):
            if not raw:
                raise StoreError(self._place, GONE)
            yield unpack_event(raw)

    def kept(self, names: Sequence[str]) -> Iterator[tuple[str, bytes, bytes | None]]:
        """Of events by id: the event as it is kept (accounting.kept_events), and what is kept of its check."""
        marks = ", ".join("?" for _ in names)
        query = f"SELECT id, raw, checked FROM events WHERE id IN ({marks})"  # noqa: S608  marks alone
        return ((str(name), raw, check) for name, raw, check in self._db.rows(query, *names))

    def batches_since(self, second: int) -> Iterator[Known]:
        """The checked batches from a time (Unix s) on, by date."""
        query = (
            "SELECT id, checked, raw FROM events WHERE kind = ? AND created_at >= ? AND checked IS NOT NULL"
            " ORDER BY created_at"
        )
        for name, check, raw in self._db.rows(query, RECEIPT, second):
            known = open_check(str(name), check, raw)
            if known is not None:
                yield known

    def let_go(self, names: Sequence[str]) -> None:
        """Let go of receipts that an archive has, less what is kept of their checks. It may run beside the pool.

        Raises StoreError for a store of an older version.
        """
        if self._version < PRUNING_VERSION:
            raise StoreError(self._place, "it is of an older version: start the pool once")
        self._db.end()
        marks = ", ".join("?" for _ in names)
        # One statement: a kill leaves all of these or none.
        self._db.write(f"UPDATE events SET raw = ? WHERE kind = ? AND id IN ({marks})", b"", RECEIPT, *names)  # noqa: S608  marks alone
        self._db.begin()

    def request_announcement(self, body: ArchiveBody) -> None:
        """Ask the accounting to announce an archive: it does so at once if it runs, else when it is started next.

        Raises StoreError for a store of an older version: the pool must have been started once with this one.
        """
        if self._version < ANNOUNCING_VERSION:
            raise StoreError(self._place, "it is of an older version: start the pool once, then announce")
        self._db.end()
        self._db.write(
            "INSERT INTO archives (stream, body) VALUES (?, ?) ON CONFLICT DO NOTHING",
            body.stream.sha256,
            msgspec.json.encode(body),
        )
        self._db.begin()

    def announced(self, stream: str) -> str | None:
        """The id of the 4220 that announces the archive with that hash of its lines, once it is signed."""
        self._db.end()
        rows = list(self._db.rows("SELECT event FROM archives WHERE stream = ?", stream))
        self._db.begin()
        return None if not rows or rows[0][0] is None else str(rows[0][0])
