"""A file that money is moved by is looked at before."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from zapper.adapters.intent_store import open_intent_store
from zapper.adapters.proof_store import open_proof_store
from zapper.adapters.sound_file import open_sound
from zapper.errors import StoreDamaged, ZapperError

PAGE = 4096
Open = Callable[[Path], AbstractAsyncContextManager[Any]]


async def fill(path: Path) -> None:
    async with open_sound(path, "") as database:
        await database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, x TEXT UNIQUE)")
        for n in range(200):
            await database.execute("INSERT INTO t VALUES (?, ?)", (n, f"{n}-" + "x" * 100))


@pytest.mark.anyio
async def test_a_sound_file_is_opened_and_written_to_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    await fill(path)
    async with open_sound(path, "") as database:
        assert list(await database.execute_fetchall("SELECT count(*) FROM t")) == [(200,)]
        assert list(await database.execute_fetchall("PRAGMA synchronous")) == [(2,)]
        assert list(await database.execute_fetchall("PRAGMA journal_mode")) == [("wal",)]


@pytest.mark.anyio
@pytest.mark.parametrize("page", [1, 2, 3, 5])
async def test_a_damaged_one_is_refused_whichever_page_it_is_and_left_as_it_is(tmp_path: Path, page: int) -> None:
    path = tmp_path / "a.sqlite"
    await fill(path)
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\x5a" * PAGE)
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match=r"a\.sqlite: the file is damaged: .*; call somebody") as caught:
        async with open_sound(path, "call somebody"):
            pass
    assert isinstance(caught.value, ZapperError)
    assert path.read_bytes() == before


@pytest.mark.anyio
@pytest.mark.parametrize("opened", [open_intent_store, open_proof_store])
async def test_the_stores_of_money_are_opened_so(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "store.sqlite"
    async with opened(path):
        pass
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreDamaged, match=r"docs/payouts\.md"):
        async with opened(path):
            pass
