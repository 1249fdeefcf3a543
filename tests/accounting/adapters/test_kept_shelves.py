"""Shelves that outlive a restart: what was kept last stands after a kill, and what can't be used is made anew."""

import sqlite3
from pathlib import Path

import pytest

from accounting.adapters.database import StoreError
from accounting.adapters.kept_shelves import KeptShelves, open_kept_shelves
from accounting.fold import codec_of


def test_a_place_that_cant_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        open_kept_shelves(tmp_path / "no" / "fold.sqlite", codec_of, "form")


def test_what_was_not_kept_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "fold.sqlite"
    shelves = open_kept_shelves(path, codec_of, "form")
    shelf = shelves.open("some")
    shelf["a"] = 1
    shelves.keep(7, "id", b"state")
    shelf["a"] = 2
    for number in range(10_000):
        shelf[f"{number}"] = number
    shelves.close()
    again = KeptShelves(path, codec_of, "form")
    assert again.kept() == (7, "id", b"state")
    assert list(again.open("some").scan()) == [("a", 1)]
    again.clear()
    assert again.kept() is None
    assert len(again.open("some")) == 0
    again.close()
    other = KeptShelves(path, codec_of, "other form")
    assert other.kept() is None
    other.close()


def test_back_to_what_was_kept_last(tmp_path: Path) -> None:
    shelves = open_kept_shelves(tmp_path / "fold.sqlite", codec_of, "form")
    shelves.open("some")["a"] = 1
    shelves.keep(7, "id", b"state")
    shelves.open("some")["a"] = 2
    shelves.open("other")["b"] = 3
    shelves.flush()
    shelves.rewind()
    assert (shelves.open("some")["a"], len(shelves.open("other"))) == (1, 0)
    assert shelves.kept() == (7, "id", b"state")
    shelves.open("some")["a"] = 4
    shelves.keep(8, "id8", b"state8")
    shelves.rewind()
    assert (shelves.open("some")["a"], shelves.kept()) == (4, (8, "id8", b"state8"))
    shelves.close()


def test_a_file_that_is_none_of_ours_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "fold.sqlite"
    path.write_bytes(b"this is no database at all" * 100)
    # What a database beside it left: it belongs to the file that is thrown away.
    (tmp_path / "fold.sqlite-wal").write_bytes(b"x" * 100)
    shelves = open_kept_shelves(path, codec_of, "form")
    assert shelves.kept() is None
    shelves.open("some")["a"] = 1
    shelves.keep(1, "id", b"")
    shelves.close()
    again = open_kept_shelves(path, codec_of, "form")
    assert again.kept() == (1, "id", b"")
    again.close()


def test_a_file_that_somebody_holds_is_not_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounting.adapters.kept_shelves.BUSY_S", 0.05)
    path = tmp_path / "fold.sqlite"
    shelves = open_kept_shelves(path, codec_of, "form")
    shelves.keep(1, "id", b"state")
    shelves.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        open_kept_shelves(path, codec_of, "form")
    other.execute("ROLLBACK")
    other.close()
    again = open_kept_shelves(path, codec_of, "form")
    assert again.kept() == (1, "id", b"state")
    again.close()
