"""One way to write to SQLite: one writer at a time, all of it or nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiosqlite
import anyio


@asynccontextmanager
async def transaction(connection: aiosqlite.Connection, lock: anyio.Lock) -> AsyncIterator[None]:
    """Commit what the block wrote, or nothing of it if it raised. Cancelled or not, it runs to its end: a half-told
    step would be worse than a late one. `lock` is the connection's, which has autocommit (isolation_level None).
    """
    with anyio.CancelScope(shield=True):
        async with lock:
            await connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")
