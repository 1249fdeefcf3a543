"""The log in the accounting's file, for whoever reads it from outside: archives are made of it while the pool runs.

It is read in a transaction of its own and never held up by, nor holds up, the accounting. The one thing written from
outside is the request to announce an archive: only the accounting itself signs in its chain.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from accounting.adapters.store import ANNOUNCING_VERSION, StoreError
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress, parse_address
from nips.pool.archive import ArchiveBody
from nips.pool.kinds import TERMS

# The accounting commits within milliseconds; a disk that is busy may take longer.
BUSY_S = 30


class StoredLog:
    """Opened by its constructor, closed as a context manager. Raises StoreError for a file that can't be read."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StoreError(path, "there is no ledger")
        self._path = path
        try:
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            self._version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            rows = self._db.execute("SELECT pool, signer FROM identity").fetchall()
        except sqlite3.Error as error:
            raise StoreError(path, str(error)) from error
        if not rows:
            raise StoreError(path, "it holds no books yet")
        self.pool: PoolAddress = parse_address(rows[0][0])
        self.signer = str(rows[0][1])

    def __enter__(self) -> "StoredLog":
        self._db.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def terms(self) -> list[VerifiedEvent]:
        """All 4210 events, whoever signed them."""
        return list(self._events("SELECT raw FROM events WHERE kind = ? ORDER BY created_at", TERMS))

    def between(self, from_s: int, to_s: int) -> Iterator[VerifiedEvent]:
        """The events with from_s <= created_at < to_s (Unix seconds), by date."""
        query = "SELECT raw FROM events WHERE created_at >= ? AND created_at < ? ORDER BY created_at"
        return self._events(query, from_s, to_s)

    def event(self, name: str) -> VerifiedEvent | None:
        """One event by id."""
        return next(self._events("SELECT raw FROM events WHERE id = ?", name), None)

    def bounds(self) -> tuple[int, int] | None:
        """The oldest and the newest created_at; None for an empty log."""
        oldest, newest = self._db.execute("SELECT min(created_at), max(created_at) FROM events").fetchone()
        return None if oldest is None else (int(oldest), int(newest))

    def _events(self, query: str, *values: object) -> Iterator[VerifiedEvent]:
        for (raw,) in self._db.execute(query, values):
            yield msgspec.json.decode(raw, type=VerifiedEvent)

    def request_announcement(self, body: ArchiveBody) -> None:
        """Ask the accounting to announce an archive: it does so at once if it runs, else when it is started next.

        Raises StoreError for a file of an older version: the pool must have been started once with this one.
        """
        if self._version < ANNOUNCING_VERSION:
            raise StoreError(self._path, "it is of an older version: start the pool once, then announce")
        try:
            self._db.execute("COMMIT")
            self._db.execute(
                "INSERT OR IGNORE INTO archives (stream, body) VALUES (?, ?)",
                (body.stream.sha256, msgspec.json.encode(body)),
            )
            self._db.execute("BEGIN")
        except sqlite3.Error as error:
            raise StoreError(self._path, str(error)) from error

    def announced(self, stream: str) -> str | None:
        """The id of the 4220 that announces the archive with that hash of its lines, once it is signed."""
        self._db.execute("COMMIT")
        row = self._db.execute("SELECT event FROM archives WHERE stream = ?", (stream,)).fetchone()
        self._db.execute("BEGIN")
        return None if row is None or row[0] is None else str(row[0])
