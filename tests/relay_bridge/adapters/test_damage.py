"""Files that a bad disk, or a hand, has damaged."""

import sqlite3
from pathlib import Path

import pytest

from nips.nip01 import make_filter
from relay_bridge.adapters.damage import said
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.outbox_store import OutboxStore
from relay_bridge.errors import StoreError
from relay_bridge.ports import Outcome

PAGE = 4096


def test_what_is_to_be_done_is_said_of_damage_alone() -> None:
    assert said(sqlite3.DatabaseError("malformed"), "move it") == "the file is damaged: malformed; move it"
    assert said(sqlite3.OperationalError("database is locked"), "move it") == "database is locked"


def damage(path: Path, first_page: int) -> None:
    """Overwrite all pages from a number on, as SQLite counts them."""
    with path.open("r+b") as file:
        pages = path.stat().st_size // PAGE
        assert pages >= first_page
        file.seek((first_page - 1) * PAGE)
        file.write(b"\x5a" * PAGE * (pages - first_page + 1))


@pytest.mark.anyio
@pytest.mark.parametrize("page", [1, 2])
async def test_a_damaged_outbox_is_refused_and_left_as_it_is(tmp_path: Path, sign, page: int) -> None:
    path = tmp_path / "outbox.sqlite"
    store = OutboxStore(path)
    await store.open()
    await store.add([(sign(content=f"{n}" * 200), "a") for n in range(40)])
    await store.close()
    damage(path, page)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"outbox\.sqlite: the file is damaged: .*; move it .* aside"):
        await OutboxStore(path).open()
    assert path.read_bytes() == before


@pytest.mark.anyio
async def test_a_relays_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreError, match=r"relay\.sqlite: the file is damaged: .*; move it .* aside"):
        await SqliteEventStore(path).__aenter__()


@pytest.mark.anyio
async def test_damage_that_a_query_meets_fails_that_query_and_is_said_once(tmp_path: Path, sign, caplog) -> None:
    path = tmp_path / "relay.sqlite"
    events = [sign(at=n, content=f"{n}" * 3000) for n in range(30)]
    async with SqliteEventStore(path) as store:
        told: list[Outcome] = []
        for event in events:
            store.put(event, told.append)
    with sqlite3.connect(path) as database:
        ((root,),) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event_time'")
    database.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(b"\x5a" * PAGE)
    everything = make_filter()
    async with SqliteEventStore(path) as store:
        for _ in range(3):
            with pytest.raises(StoreError, match="damaged"):
                await store.query([everything], default_limit=100, max_limit=100)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
