"""Shelves: the one on disk is a mapping with an order like the one in memory, whatever falls out of its cache."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.adapters import shelf as adapter
from accounting.adapters.shelf import SqliteShelves
from accounting.checkpoint import CODEC
from accounting.shelves import MemoryShelf
from nips.pool.chain import Head

KEYS = st.sampled_from([f"{a}{b}" for a in "ab/" for b in "012345"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "del", "pop", "get", "default", "scan", "len", "iter"]), KEYS, st.integers(0, 9)),
    max_size=80,
)


def act(shelf: Any, step: str, key: str, value: int) -> Any:
    if step == "set":
        shelf[key] = Head(value, key)
    elif step == "del":
        if key in shelf:
            del shelf[key]
    elif step == "pop":
        return shelf.pop(key, None)
    elif step == "get":
        return shelf.get(key), key in shelf
    elif step == "default":
        return shelf.setdefault(key, Head(value, ""))
    elif step == "scan":
        return list(shelf.scan(key, "b")), list(shelf.scan())
    elif step == "len":
        return len(shelf)
    return sorted(shelf)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, kept=st.integers(1, 4))
def test_on_disk_as_in_memory(steps: list[tuple[str, str, int]], kept: int) -> None:
    with tempfile.TemporaryDirectory() as folder, SqliteShelves(Path(folder) / "s", CODEC) as shelves:
        disk, memory = shelves.open("some shelf"), MemoryShelf[Head]()
        disk._kept = kept
        for step in steps:
            assert act(disk, *step) == act(memory, *step)
        copy = Path(folder) / "copy"
        shelves.copy_to(copy)
        act(disk, "set", "a0", 1)
        with SqliteShelves(copy, CODEC) as again:
            assert list(again.open("some shelf").scan()) == list(memory.scan())


def test_what_soon_goes_never_touches_the_file(tmp_path: Path) -> None:
    with SqliteShelves(tmp_path / "s", CODEC) as shelves:
        held = shelves.open("held")
        for number in range(1000):
            held[str(number)] = b"x" * 10_000
            assert held.pop(str(number)) == b"x" * 10_000
        held.flush()
    assert (tmp_path / "s").stat().st_size < 100_000


def test_it_keeps_no_more_in_memory_than_it_says(tmp_path: Path) -> None:
    with SqliteShelves(tmp_path / "s", CODEC) as shelves:
        shelf = shelves.open("batches")
        for number in range(1000):
            shelf[f"{number:04d}"] = number
            assert len(shelf._values) <= 2 * adapter.KEPT_BULKY
        assert [shelf[f"{number:04d}"] for number in (0, 500, 999)] == [0, 500, 999]


def test_what_is_not_there(tmp_path: Path) -> None:
    with SqliteShelves(tmp_path / "s", CODEC) as shelves:
        shelf = shelves.open("x")
        for ask in (shelf.__getitem__, shelf.__delitem__, shelf.pop):
            with pytest.raises(KeyError):
                ask("nothing")
