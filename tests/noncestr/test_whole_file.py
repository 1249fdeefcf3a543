"""Small files: whole, private, and on the disk with their names."""

import os
import stat
from pathlib import Path

import pytest

from noncestr.whole_file import write_whole


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    # What a kill left: a draft that anybody can read, half written.
    (tmp_path / "state.new").write_text("ha")
    (tmp_path / "state.new").chmod(0o666)
    for text in (b"one", b"", b"three"):
        write_whole(path, text)
        assert path.read_bytes() == text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_a_draft_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("not ours")
    (tmp_path / "state.new").symlink_to(other)
    write_whole(tmp_path / "state.json", b"ours")
    assert (other.read_text(), (tmp_path / "state.json").read_bytes()) == ("not ours", b"ours")


def test_contents_and_name_are_on_the_disk_in_that_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def syncing(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def replacing(self: Path, target: Path) -> Path:
        done.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "replace", replacing)
    write_whole(tmp_path / "a.json", b"x")
    assert done == ["file", "name", "folder"]


def test_when_it_can_not_be_written_the_old_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
