"""The first key each NIP-05 address was seen with, on disk: what a domain says later is compared with it.

SQLite, one small transaction a change, each synced before it counts: kill -9 leaves the old state or the new one, and
several processes (lanes, the command line) may have the file open.
"""

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from stratum_edge.errors import EdgeError

# Another process writes for a moment only.
BUSY_S: Final = 5.0
# "Last seen" is for people: once an hour is often enough to write it down.
SEEN_EVERY_MS: Final = 3_600_000
# A domain may answer for any number of names: strangers' names may not fill the disk, and never push out others'.
MAX_PINS: Final = 200_000
MAX_OF_A_DOMAIN: Final = 10_000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS pins (
  address TEXT PRIMARY KEY,
  domain TEXT NOT NULL,
  pubkey TEXT NOT NULL,
  first_ms INTEGER NOT NULL,
  seen_ms INTEGER NOT NULL,
  other TEXT NOT NULL DEFAULT '',
  other_ms INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pins_by_domain ON pins (domain);
"""
_COLUMNS: Final = "address, pubkey, first_ms, seen_ms, other, other_ms"


class Pin(NamedTuple):
    """An address (`name@domain`) and its key (hex), when it was first and last seen (Unix ms), and the newest other
    key that was refused, "" and 0 when there was none.
    """

    address: str
    pubkey: str
    first_ms: int
    seen_ms: int
    other: str
    other_ms: int


class TooManyPins(EdgeError):
    """No more names are taken in, of this domain or at all."""


class NamePins:
    """The file of pins. Its calls block for a moment; one thread at a time. Raises EdgeError if it can't be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def __enter__(self) -> "NamePins":
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _unusable(self, error: sqlite3.Error) -> EdgeError:
        return EdgeError(f"the file of names {self._path} can't be used: {error}")

    def _run(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def get(self, address: str) -> Pin | None:
        """The pin of an address."""
        rows = self._run(f"SELECT {_COLUMNS} FROM pins WHERE address = ?", address)  # noqa: S608 - a constant
        return Pin(*rows[0]) if rows else None  # type: ignore[arg-type]  # the columns have these types

    def all(self) -> list[Pin]:
        """Every pin, changed ones first, then by address."""
        rows = self._run(f"SELECT {_COLUMNS} FROM pins ORDER BY other = '', address")  # noqa: S608 - a constant
        return [Pin(*row) for row in rows]  # type: ignore[arg-type]  # the columns have these types

    def keep(self, address: str, pubkey: str, now: int) -> Pin:
        """Pin an address to a key, unless it has a pin; the pin it has now. A differing key is noted beside it.

        Raises TooManyPins.
        """
        pin = self.get(address)
        if pin is None:
            self._room(address)
            # Another process may have been first: then its answer is the pin.
            self._run(
                "INSERT OR IGNORE INTO pins (address, domain, pubkey, first_ms, seen_ms) VALUES (?, ?, ?, ?, ?)",
                *(address, address.rpartition("@")[2], pubkey, now, now),
            )
            pin = self.get(address)
            if pin is None:
                return Pin(address, pubkey, now, now, "", 0)  # forgotten by the operator this very moment
        if pin.pubkey != pubkey:
            if pin.other != pubkey or now - pin.other_ms > SEEN_EVERY_MS:
                self._run("UPDATE pins SET other = ?, other_ms = ? WHERE address = ?", pubkey, now, address)
        elif now - pin.seen_ms > SEEN_EVERY_MS:
            self._run("UPDATE pins SET seen_ms = ? WHERE address = ?", now, address)
        return pin

    def _room(self, address: str) -> None:
        domain = address.rpartition("@")[2]
        [[in_all]] = self._run("SELECT count(*) FROM pins")
        [[of_domain]] = self._run("SELECT count(*) FROM pins WHERE domain = ?", domain)
        if int(str(of_domain)) >= MAX_OF_A_DOMAIN:
            raise TooManyPins(f"this pool knows {MAX_OF_A_DOMAIN} names of {domain} already and takes no more")
        if int(str(in_all)) >= MAX_PINS:
            raise TooManyPins(f"this pool knows {MAX_PINS} names already and takes no more")

    def forget(self, address: str) -> bool:
        """Drop a pin: the next answer is pinned anew. False if there was none."""
        return bool(self._run("DELETE FROM pins WHERE address = ? RETURNING 1", address))

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()
