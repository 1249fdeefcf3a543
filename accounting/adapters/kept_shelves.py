"""Shelves that outlive a restart: the live accounting's fold in a SQLite file, as it stood at the last `keep`.

Everything between two `keep`s is one transaction, so that a kill at any instant leaves the file as it was kept last.
Nothing here is the only copy of anything: a file that can't be used is thrown away, and the log is folded anew.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accounting.adapters.database import StoreError
from accounting.adapters.shelf import CACHE_KIB, SqliteShelf
from accounting.adapters.slots import remove_file
from accounting.freeze import Codec

_KEPT = """CREATE TABLE IF NOT EXISTS kept (
    one INTEGER PRIMARY KEY CHECK (one = 1), form TEXT NOT NULL, position INTEGER NOT NULL, newest TEXT NOT NULL,
    state BLOB NOT NULL)"""
# Wait for whoever looks into the file with sqlite3.
BUSY_S = 30


class KeptShelves:
    """The shelves of one fold. `codec_of` gives a shelf's codec by its name; `form` names what all of them consist of.

    Changed from one thread at a time; after a `flush` others may read beside a `keep`. Raises sqlite3.Error.
    """

    def __init__(self, path: Path, codec_of: Callable[[str], Codec], form: str) -> None:
        self._path = path
        self._codec_of = codec_of
        self._form = form
        self._shelves: dict[str, SqliteShelf] = {}
        self._database = self._open()

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What is raised when the disk fails."""
        return (sqlite3.Error,)

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        try:
            # NORMAL: after a loss of power the file is as it was kept some time before, never torn.
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"cache_size=-{CACHE_KIB}"):
                database.execute(f"PRAGMA {pragma}")
            database.execute(_KEPT)
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def open(self, name: str) -> SqliteShelf:
        """The shelf of that name, empty if it is new."""
        if name not in self._shelves:
            self._shelves[name] = SqliteShelf(self._database, name, self._codec_of(name))
        return self._shelves[name]

    def kept(self) -> tuple[int, str, bytes] | None:
        """What was given to the last `keep`; None if there was none, or one of another form."""
        row: Any = self._database.execute("SELECT form, position, newest, state FROM kept").fetchone()
        return (int(row[1]), str(row[2]), row[3]) if row is not None and row[0] == self._form else None

    def flush(self) -> None:
        """Write what the file lacks; it is kept by the next `keep`."""
        for shelf in self._shelves.values():
            shelf.flush()

    def keep(self, position: int, newest: str, state: bytes) -> None:
        """Keep all shelves as they stand now, with the rest of the fold's state, the log's position it is at and the id
        of the event there.
        """
        self.flush()
        self._database.execute(
            "INSERT OR REPLACE INTO kept VALUES (1, ?, ?, ?, ?)", (self._form, position, newest, state)
        )
        self._database.execute("COMMIT")
        self._database.execute("BEGIN IMMEDIATE")

    def rewind(self) -> None:
        """Go back to what was kept last; shelves handed out before are void."""
        self._database.execute("ROLLBACK")
        self._shelves = {}
        self._database.execute("BEGIN IMMEDIATE")

    def clear(self) -> None:
        """Throw everything away and begin with empty shelves; those handed out before are void."""
        self.close()
        remove_file(self._path)
        self._shelves = {}
        self._database = self._open()

    def close(self) -> None:
        """Close the file; what was not kept is gone."""
        self._database.close()


def open_kept_shelves(path: Path, codec_of: Callable[[str], Codec], form: str) -> KeptShelves:
    """The shelves in a file, in a new one if what is there is no such file. Raises StoreError when the disk refuses."""
    try:
        try:
            return KeptShelves(path, codec_of, form)
        except sqlite3.OperationalError:
            # Busy, full or not ours to write: no reason to remove anything.
            raise
        except sqlite3.DatabaseError:
            remove_file(path)
            return KeptShelves(path, codec_of, form)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(path, str(error)) from error
