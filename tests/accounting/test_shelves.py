"""Shelves in memory: a mapping that is read in the order of its keys, and one shelf to a name. (Those on disk are held
to be like them in adapters/test_shelf.)
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.shelves import END, MemoryShelf, MemoryShelves

TEXT = st.text(max_size=4)


@given(st.dictionaries(TEXT, st.integers()), TEXT, TEXT)
def test_a_scan_is_what_lies_between_in_order(items: dict[str, int], start: str, end: str) -> None:
    shelf: MemoryShelf[int] = MemoryShelf(items)
    assert list(shelf.scan(start, end)) == [(key, items[key]) for key in sorted(items) if start <= key < end]
    whole = list(shelf.scan())
    assert whole == sorted((key, value) for key, value in items.items() if key < END)
    # Three scans that touch are one: nothing stands in two of them.
    low, high = sorted((start, end))
    assert [*shelf.scan("", low), *shelf.scan(low, high), *shelf.scan(high)] == whole


@given(st.lists(st.sampled_from(["a", "b/1", "b/2", "b0"]), max_size=4, unique=True))
def test_a_prefix_is_scanned_by_its_end(keys: list[str]) -> None:
    """`/` comes right before `0`: so `<name>/` up to `<name>0` is all that a name has."""
    shelf: MemoryShelf[int] = MemoryShelf(dict.fromkeys(keys, 1))
    assert [key for key, _ in shelf.scan("b/", "b0")] == sorted({"b/1", "b/2"} & set(keys))


def test_a_name_is_one_shelf_of_its_fold_alone() -> None:
    shelves, others = MemoryShelves(), MemoryShelves()
    shelves.open("some")["a"] = 1
    assert shelves.open("some") == {"a": 1}
    assert shelves.open("other") == {}
    assert others.open("some") == {}
    assert shelves.open("some").pop("a", None) == 1
    assert shelves.open("some").get("a") is None
    with pytest.raises(KeyError):
        del shelves.open("some")["a"]
