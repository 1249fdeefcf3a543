"""The SQLite files that money is moved by: looked at as they are opened, and refused when they are damaged."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite

from zapper.errors import StoreDamaged


@asynccontextmanager
async def open_sound(path: Path, remedy: str) -> AsyncIterator[aiosqlite.Connection]:
    """The file, made when missing: autocommit, WAL, each commit on disk when it returns. SQLite's own check reads all
    of it, a second for each 400 MB. `remedy`: what is to be done about a damaged one. Raises StoreDamaged.
    """
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        try:
            found = [row[0] for row in await connection.execute_fetchall("PRAGMA integrity_check(1)")]
            await connection.execute("PRAGMA journal_mode=WAL")
            await connection.execute("PRAGMA synchronous=FULL")
        except sqlite3.OperationalError:
            # Busy, full, or not ours to read: no damage.
            raise
        except sqlite3.DatabaseError as error:
            raise StoreDamaged(path, str(error), remedy) from None
        if found != ["ok"]:
            raise StoreDamaged(path, " ".join(" ".join(found).split()), remedy)
        yield connection
