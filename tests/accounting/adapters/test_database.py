"""What both databases promise alike: each transaction whole or not at all, nothing of one seen before it stands."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from accounting.adapters.database import Database, Refused, StoreError, StoreFailed, reason_of
from accounting.adapters.postgres_database import PostgresPlace, open_postgres
from accounting.adapters.sqlite_database import open_sqlite

pytestmark = pytest.mark.anyio
WAIT_S = 60
TABLES = (
    "CREATE TABLE boxes (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, held BLOB)",
    "CREATE TABLE lids (box INTEGER PRIMARY KEY REFERENCES boxes (number))",
)


def opened(place: Path | PostgresPlace) -> AbstractAsyncContextManager[Database]:
    return open_sqlite(place) if isinstance(place, Path) else open_postgres(place)


@pytest.fixture
async def database(store_place: Path | PostgresPlace) -> AsyncIterator[Database]:
    async with opened(store_place) as found:
        assert await found.version() == 0
        await found.migrate(1, TABLES)
        yield found


async def names(database: Database) -> list[str]:
    return [str(name) for (name,) in await database.fetch("SELECT name FROM boxes ORDER BY number")]


async def add(database: Database, *added: str, held: bytes | None = None) -> None:
    """All in one transaction."""
    async with database.transaction() as writer:
        for name in added:
            await writer.execute("INSERT INTO boxes (name, held) VALUES (?, ?)", name, held)


async def test_tables_and_their_version_change_together(database: Database, store_place: Path | PostgresPlace) -> None:
    assert await database.version() == 1
    with pytest.raises(StoreFailed):
        await database.migrate(2, ("ALTER TABLE boxes RENAME TO crates", "ALTER TABLE nothing RENAME TO something"))
    assert await database.version() == 1
    assert await names(database) == []
    await add(database, "a", held=b"\x00\xff")
    await database.close()
    async with opened(store_place) as again:
        assert await again.version() == 1
        assert [bytes(held) for (held,) in await again.fetch("SELECT held FROM boxes")] == [b"\x00\xff"]


async def test_values_are_given_beside_the_statement(database: Database) -> None:
    strange = "'); DROP TABLE boxes; -- ? $1 %s"
    await add(database, strange)
    rows = await database.fetch("SELECT name FROM boxes WHERE name = ? AND number < ?", strange, 1 << 60)
    assert [tuple(row) for row in rows] == [(strange,)]


async def test_text_is_in_the_order_of_its_bytes(database: Database) -> None:
    for name in ("b", "B", "a", "_", "é", "Z"):
        await add(database, name)
    rows = await database.fetch("SELECT name FROM boxes ORDER BY name")
    assert [name for (name,) in rows] == ["B", "Z", "_", "a", "b", "é"]


async def test_what_breaks_a_rule_is_refused_and_nothing_of_it_stands(database: Database) -> None:
    await add(database, "a")
    with pytest.raises(Refused):
        await add(database, "b", "a")
    with pytest.raises(Refused):
        async with database.transaction() as writer:
            await writer.execute("INSERT INTO lids (box) VALUES (?)", 99)
    async with database.transaction() as writer:
        await writer.executemany("INSERT INTO boxes (name) VALUES (?) ON CONFLICT DO NOTHING", [("a",), ("c",)])
    assert await names(database) == ["a", "c"]


async def test_nothing_is_seen_of_a_write_before_it_stands(database: Database) -> None:
    """Nor of one that fails: who acted on it would have acted on nothing."""
    seen: list[list[str]] = []
    written, wrong = anyio.Event(), anyio.Event()

    async def look() -> None:
        await written.wait()
        seen.append(await names(database))

    async def fail() -> None:
        async with database.transaction() as writer:
            await writer.execute("INSERT INTO boxes (name) VALUES (?)", "a")
            written.set()
            # Whoever looks now has had its chance.
            await wrong.wait()
            raise RuntimeError("on second thought")

    async def thought_better() -> None:
        with pytest.raises(RuntimeError, match="on second thought"):
            await fail()

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(thought_better)
            tasks.start_soon(look)
            await written.wait()
            await anyio.wait_all_tasks_blocked()
            assert seen == []
            wrong.set()
    assert seen == [[]]


async def test_writers_take_turns(database: Database) -> None:
    async def step(number: int) -> None:
        async with database.transaction() as writer:
            await writer.execute("INSERT INTO boxes (name) VALUES (?)", f"{number} begins")
            await anyio.lowlevel.checkpoint()
            await writer.execute("INSERT INTO boxes (name) VALUES (?)", f"{number} ends")

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(step, number)
    found = await names(database)
    assert len(found) == 16
    assert all(begun.split()[0] == ended.split()[0] for begun, ended in zip(found[::2], found[1::2], strict=True))


async def test_a_failure_is_said_without_the_place() -> None:
    assert str(StoreError(Path("/where"), "why")) == "/where: why"
    assert reason_of(StoreFailed(Path("/where"), "the disk is full")) == "the disk is full"
    assert reason_of(ValueError("x")) == "ValueError('x')"
