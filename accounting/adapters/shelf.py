"""Shelves in a SQLite file, for a fold whose memory must not grow with the log.

The file is scratch: it is written without regard to crashes, and copied whole once the fold is at rest.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from accounting.freeze import Codec
from accounting.shelves import END

# Values of a shelf kept in memory: what a fold in order asks for again is the newest.
KEPT_VALUES = 384
# The same where a value may take some 60 KB: receipts, batches and what their shares came to.
KEPT_BULKY = 48
BULKY = frozenset(
    {"batches", "drafts", "held", "evidence", "parked", "rewards", "spans", "tallies", "turnout days", "turnout hours"}
)
# Rows fetched at a time when a shelf is read from end to end.
FETCH_ROWS = 128
# What SQLite may keep of the file in memory, KiB.
CACHE_KIB = 8192
# Pages of 4 KiB copied at a time.
COPY_PAGES = 1024
_GONE: Any = object()


class SqliteShelf:
    """One table. Values are written when they fall out of memory, so that what soon goes never touches the file."""

    def __init__(self, database: sqlite3.Connection, name: str, codec: Codec) -> None:
        self._database = database
        self._codec = codec
        self._kept = KEPT_BULKY if name in BULKY else KEPT_VALUES
        # Newest last; _GONE is to be deleted in the file, which lacks what stands in `_dirty`.
        self._values: OrderedDict[str, Any] = OrderedDict()
        self._dirty: set[str] = set()
        # Names of shelves are the fold's own: no text of the log gets into a statement.
        table = f'"{name}"'
        # Without rowids SQLite gives a value above a quarter of a page pages of its own.
        rowids = "" if name in BULKY else " WITHOUT ROWID"
        database.execute(f"CREATE TABLE IF NOT EXISTS {table} (k TEXT PRIMARY KEY, v BLOB NOT NULL){rowids}")
        self._count = f"SELECT count(*) FROM {table}"  # noqa: S608 - as above
        self._select = f"SELECT v FROM {table} WHERE k = ?"  # noqa: S608 - as above
        self._put = f"INSERT OR REPLACE INTO {table} VALUES (?, ?)"  # noqa: S608 - as above
        self._delete = f"DELETE FROM {table} WHERE k = ?"  # noqa: S608 - as above
        self._first = f"SELECT k, v FROM {table} WHERE k >= ? AND k < ? ORDER BY k LIMIT {FETCH_ROWS}"  # noqa: S608
        self._next = f"SELECT k, v FROM {table} WHERE k > ? AND k < ? ORDER BY k LIMIT {FETCH_ROWS}"  # noqa: S608
        self._keys = f"SELECT k FROM {table} ORDER BY k"  # noqa: S608 - as above

    def __len__(self) -> int:
        self.flush()
        return int(self._database.execute(self._count).fetchone()[0])

    def __iter__(self) -> Iterator[str]:
        self.flush()
        return (key for (key,) in self._database.execute(self._keys))

    def __contains__(self, key: object) -> bool:
        return self._find(str(key)) is not _GONE

    def __getitem__(self, key: str) -> Any:
        value = self._find(key)
        if value is _GONE:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._keep(key, value, dirty=True)

    def __delitem__(self, key: str) -> None:
        if self._find(key) is _GONE:
            raise KeyError(key)
        self._keep(key, _GONE, dirty=True)

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default."""
        value = self._find(key)
        return default if value is _GONE else value

    def pop(self, key: str, default: Any = _GONE) -> Any:
        """The value, which is taken out."""
        value = self._find(key)
        if value is not _GONE:
            self._keep(key, _GONE, dirty=True)
        elif default is _GONE:
            raise KeyError(key)
        else:
            value = default
        return value

    def setdefault(self, key: str, default: Any) -> Any:
        """The value, which is set if it was not."""
        value = self._find(key)
        if value is _GONE:
            value = default
            self._keep(key, value, dirty=True)
        return value

    def scan(self, start: str = "", end: str = END) -> Iterator[tuple[str, Any]]:
        """The items with start <= key < end, by key."""
        self.flush()
        rows = self._database.execute(self._first, (start, end)).fetchall()
        while rows:
            for key, data in rows:
                value = self._values.get(key, _GONE)
                yield key, self._codec.loads(data) if value is _GONE else value
            rows = self._database.execute(self._next, (rows[-1][0], end)).fetchall()

    def flush(self) -> None:
        """Write what the file lacks."""
        self._write(self._dirty)
        for key in [key for key in self._dirty if self._values[key] is _GONE]:
            del self._values[key]
        self._dirty.clear()

    def _find(self, key: str) -> Any:
        if key in self._values:
            return self._values[key]
        row = self._database.execute(self._select, (key,)).fetchone()
        if row is None:
            return _GONE
        value = self._codec.loads(row[0])
        self._keep(key, value, dirty=False)
        return value

    def _keep(self, key: str, value: Any, *, dirty: bool) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if dirty:
            self._dirty.add(key)
        if len(self._values) > 2 * self._kept:
            oldest = [known for known, _ in zip(self._values, range(self._kept), strict=False)]
            self._write(known for known in oldest if known in self._dirty)
            for known in oldest:
                del self._values[known]
            self._dirty.difference_update(oldest)

    def _write(self, keys: Iterable[str]) -> None:
        items = [(key, self._values[key]) for key in keys]
        self._database.executemany(self._delete, [(key,) for key, value in items if value is _GONE])
        puts = [(key, self._codec.dumps(value)) for key, value in items if value is not _GONE]
        self._database.executemany(self._put, puts)


class SqliteShelves:
    """The shelves of one fold in one file, opened or made. A context manager, for one thread at a time."""

    def __init__(self, path: Path, codec: Codec) -> None:
        self._codec = codec
        self._shelves: dict[str, SqliteShelf] = {}
        # One transaction from copy to copy, without a journal: a crash loses the file, which nobody will miss.
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{CACHE_KIB}"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("BEGIN")

    def __enter__(self) -> "SqliteShelves":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def open(self, name: str) -> SqliteShelf:
        """The shelf of that name, empty if it is new."""
        if name not in self._shelves:
            self._shelves[name] = SqliteShelf(self._database, name, self._codec)
        return self._shelves[name]

    def copy_to(self, path: Path) -> None:
        """Write all shelves into a new file. Raises sqlite3.Error."""
        for shelf in self._shelves.values():
            shelf.flush()
        self._database.execute("COMMIT")
        with closing(sqlite3.connect(path)) as copy:
            self._database.backup(copy, pages=COPY_PAGES)
        self._database.execute("BEGIN")
