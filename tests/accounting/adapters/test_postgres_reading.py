"""A server's store read without a loop: in portions, as it stood, and every failure said as one of the store's."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace

import asyncpg
import pytest

from accounting.adapters import postgres_reading
from accounting.adapters.database import StoreError, StoreFailed
from accounting.adapters.postgres_database import PostgresPlace
from accounting.adapters.postgres_reading import PostgresReading


@pytest.fixture
def run(postgres_place: PostgresPlace) -> Callable[[str], None]:
    """Runs a statement in the place, as another program."""

    def run(statement: str) -> None:
        async def told() -> None:
            connection = await asyncpg.connect(
                postgres_place.url, server_settings={"search_path": postgres_place.schema}
            )
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(told())

    return run


@pytest.fixture
def reading(postgres_place: PostgresPlace, run: Callable[[str], None]) -> Iterator[PostgresReading]:
    run(f'CREATE SCHEMA "{postgres_place.schema}"')
    run("CREATE TABLE boxes (number BIGINT)")
    run("INSERT INTO boxes SELECT generate_series(1, 10)")
    with closing(PostgresReading(postgres_place)) as found:
        yield found


def numbers(reading: PostgresReading, least: int = 0) -> list[int]:
    return [number for (number,) in reading.rows("SELECT number FROM boxes WHERE number >= ? ORDER BY number", least)]


def test_rows_come_in_portions_and_as_they_stood(
    reading: PostgresReading, run: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_reading, "FETCH_ROWS", 3)
    reading.begin()
    assert numbers(reading) == list(range(1, 11))
    run("DELETE FROM boxes WHERE number > 5")
    assert numbers(reading, 4) == list(range(4, 11))
    # Two questions at a time.
    assert [
        (a[0], b[0])
        for a, b in zip(
            reading.rows("SELECT number FROM boxes ORDER BY number"),
            reading.rows("SELECT number FROM boxes ORDER BY number DESC"),
            strict=True,
        )
    ] == [(number, 11 - number) for number in range(1, 11)]
    reading.end()
    assert numbers(reading) == [1, 2, 3, 4, 5]
    reading.write("INSERT INTO boxes VALUES (?)", 99)
    assert numbers(reading, 5) == [5, 99]


def test_what_is_not_there_and_what_was_lost_are_said(reading: PostgresReading, run: Callable[[str], None]) -> None:
    with pytest.raises(StoreError, match="schema_version") as caught:
        reading.version()
    assert not isinstance(caught.value, StoreFailed)
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'postgres'")
    with pytest.raises(StoreFailed):
        numbers(reading)


def test_a_server_that_is_not_there_leaves_no_thread_behind() -> None:
    with pytest.raises(StoreFailed, match="no connection"):
        PostgresReading(PostgresPlace("postgresql://me@/books?host=/nowhere"))


def test_an_end_that_comes_amid_a_question_is_a_lost_server(
    reading: PostgresReading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client then says that it is at fault itself, or that the server is gone, by the moment it came."""

    async def fetch(*args: object) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")

    monkeypatch.setattr(reading, "_db", SimpleNamespace(fetch=fetch, terminate=reading._db.terminate))
    with pytest.raises(StoreFailed, match="in progress"):
        numbers(reading)
