"""The tables: from every older version to this one with what was in them, and none of a newer one."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from accounting.adapters.database import Database, StoreError
from accounting.adapters.postgres_database import PostgresPlace, open_postgres
from accounting.adapters.schema import MIGRATIONS, migrate
from accounting.adapters.sqlite_database import open_sqlite

pytestmark = pytest.mark.anyio


def opened(place: Path | PostgresPlace) -> AbstractAsyncContextManager[Database]:
    return open_sqlite(place) if isinstance(place, Path) else open_postgres(place)


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
async def test_every_older_version_is_brought_to_this_one(store_place: Path | PostgresPlace, version: int) -> None:
    async with opened(store_place) as database:
        assert await database.version() == 0
        for number, statements in enumerate(MIGRATIONS[:version], 1):
            await database.migrate(number, statements)
        if version:
            async with database.transaction() as writer:
                await writer.execute(
                    "INSERT INTO events (id, kind, created_at, raw) VALUES (?, ?, ?, ?)", "e1", 4214, 5, b"raw"
                )
                await writer.execute("INSERT INTO own_chain (seq, id) VALUES (?, ?)", 0, "e1")
        if version >= 2:
            async with database.transaction() as writer:
                for stream, event in (("s1", "e1"), ("s2", None)):
                    await writer.execute(
                        "INSERT INTO archives (stream, body, event) VALUES (?, ?, ?)", stream, b"body", event
                    )
    async with opened(store_place) as database:
        await migrate(database)
        await migrate(database)
        assert await database.version() == len(MIGRATIONS)
        chain = await database.fetch("SELECT seq, id, raw FROM own_chain JOIN events USING (id)")
        assert [(seq, name, bytes(raw)) for seq, name, raw in chain] == ([(0, "e1", b"raw")] if version else [])
        archives = await database.fetch("SELECT stream, event FROM archives ORDER BY number")
        assert [tuple(row) for row in archives] == ([("s1", "e1"), ("s2", None)] if version >= 2 else [])
        async with database.transaction() as writer:
            # Numbers go on after those that were given.
            await writer.execute("INSERT INTO archives (stream, body) VALUES (?, ?)", "s3", b"body")
            await writer.execute("INSERT INTO events (id, kind, created_at, raw) VALUES ('e2', 1, 6, ?)", b"")
        newest = await database.fetch("SELECT id FROM events ORDER BY position DESC LIMIT 1")
        assert [tuple(row) for row in newest] == [("e2",)]


async def test_a_second_statement_of_one_reward_is_the_tables_own_business(store_place: Path | PostgresPlace) -> None:
    async with opened(store_place) as database:
        await migrate(database)
        async with database.transaction() as writer:
            for name in ("a", "b"):
                await writer.execute("INSERT INTO events (id, kind, created_at, raw) VALUES (?, 4214, 1, ?)", name, b"")
            await writer.execute("INSERT INTO own_statements (id, block) VALUES ('a', 'block')")
        with pytest.raises(StoreError):
            async with database.transaction() as writer:
                await writer.execute("INSERT INTO own_statements (id, block) VALUES ('b', 'block')")
        async with database.transaction() as writer:
            await writer.execute("UPDATE own_statements SET void = 1 WHERE id = 'a'")
            await writer.execute("INSERT INTO own_statements (id, block) VALUES ('b', 'block')")


async def test_tables_of_a_newer_version_are_left_alone(store_place: Path | PostgresPlace) -> None:
    async with opened(store_place) as database:
        await migrate(database)
        await database.migrate(len(MIGRATIONS) + 1, ("CREATE TABLE of_tomorrow (a INTEGER)",))
        with pytest.raises(StoreError, match="use a newer noncestr"):
            await migrate(database)
        assert await database.version() == len(MIGRATIONS) + 1
