"""All or nothing, one writer at a time, to the end even when cancelled."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import anyio
import pytest

from zapper.adapters.transactions import transaction

pytestmark = pytest.mark.anyio


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(tmp_path / "x.sqlite", isolation_level=None) as connection:
        await connection.execute("CREATE TABLE t (n INTEGER)")
        yield connection


async def numbers(db: aiosqlite.Connection) -> list[int]:
    async with db.execute("SELECT n FROM t ORDER BY n") as rows:
        return [n async for (n,) in rows]


async def test_a_block_that_raises_writes_nothing(db: aiosqlite.Connection) -> None:
    lock = anyio.Lock()

    async def fail() -> None:
        async with transaction(db, lock):
            await db.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await numbers(db) == []
    async with transaction(db, lock):
        await db.execute("INSERT INTO t VALUES (2)")
    assert await numbers(db) == [2]


async def test_a_cancelled_block_is_written_whole(db: aiosqlite.Connection) -> None:
    lock = anyio.Lock()
    with anyio.CancelScope() as scope:
        async with transaction(db, lock):
            await db.execute("INSERT INTO t VALUES (1)")
            scope.cancel()
            await db.execute("INSERT INTO t VALUES (2)")
    assert await numbers(db) == [1, 2]


async def test_writers_take_turns(db: aiosqlite.Connection) -> None:
    lock = anyio.Lock()

    async def write(first: int) -> None:
        async with transaction(db, lock):
            await db.execute("INSERT INTO t VALUES (?)", (first,))
            await anyio.lowlevel.checkpoint()
            await db.execute("INSERT INTO t VALUES (?)", (first + 1,))

    async with anyio.create_task_group() as tasks:
        for first in range(0, 20, 2):
            tasks.start_soon(write, first)
    assert await numbers(db) == list(range(20))
