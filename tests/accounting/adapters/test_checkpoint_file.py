"""The file of a checkpoint: what was changed, damaged, another's or never one is refused, and says why."""

from pathlib import Path
from typing import Any

import pytest

from accounting.adapters.checkpoint_file import CheckpointRefused, open_checkpoint, write_checkpoint
from accounting.adapters.shelf import SqliteShelves
from accounting.checkpoint import CODEC
from accounting.verifier import Audit


@pytest.fixture(scope="module")
def story(tell: Any) -> Any:
    return tell()


@pytest.fixture
def checkpoint(story: Any, tmp_path: Path) -> Path:
    with SqliteShelves(tmp_path / "shelves", CODEC) as shelves:
        judge = Audit(story.pool, shelves=shelves)
        for event in story.all():
            judge.add(event)
        judge.settle()
        write_checkpoint(tmp_path / "checkpoint", judge, shelves, 5)
    return tmp_path / "checkpoint"


def test_a_file_that_was_changed_is_refused(story: Any, checkpoint: Path, tmp_path: Path) -> None:
    good = checkpoint.read_bytes()
    for number, at in enumerate((200, 3000, len(good) // 2, len(good) - 1)):
        checkpoint.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(CheckpointRefused):
            open_checkpoint(checkpoint, story.pool, tmp_path / f"scratch {number}")
    checkpoint.write_bytes(good[:-1])
    with pytest.raises(CheckpointRefused, match="changed or damaged"):
        open_checkpoint(checkpoint, story.pool, tmp_path / "cut")
    checkpoint.write_bytes(good.replace(b'"resume_s":5', b'"resume_s":6', 1))
    with pytest.raises(CheckpointRefused, match="changed or damaged"):
        open_checkpoint(checkpoint, story.pool, tmp_path / "later")
    nonsense = (
        b"hello\n",
        b"[" * 4000,
        b'{"sha256":1,"resume_s":Infinity}\n',
        b'{"sha256":1,"resume_s":{}}\n',
        b"\xff\n",
    )
    for number, text in enumerate(nonsense):
        checkpoint.write_bytes(text)
        with pytest.raises(CheckpointRefused, match="no checkpoint"):
            open_checkpoint(checkpoint, story.pool, tmp_path / f"nonsense {number}")


def test_another_pools_network_and_version_are_refused(story: Any, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match="of the pool"):
        open_checkpoint(checkpoint, story.pool._replace(network="main"), tmp_path / "main")
    with pytest.raises(CheckpointRefused, match="of the pool"):
        open_checkpoint(checkpoint, story.pool._replace(pubkey=story.keys.bob.pubkey), tmp_path / "bob")
    good = checkpoint.read_bytes()
    checkpoint.write_bytes(good.replace(CODEC.fingerprint.encode(), b"0" * 64, 1))
    with pytest.raises(CheckpointRefused, match="version of noncestr"):
        open_checkpoint(checkpoint, story.pool, tmp_path / "version")
    checkpoint.write_bytes(good.replace(b'"protocol":1', b'"protocol":2', 1))
    with pytest.raises(CheckpointRefused, match="version of the protocol"):
        open_checkpoint(checkpoint, story.pool, tmp_path / "protocol")


def test_the_one_before_stays_when_the_new_one_can_not_be_written(
    story: Any, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with SqliteShelves(tmp_path / "more", CODEC) as shelves:
        judge = Audit(story.pool, shelves=shelves)
        judge.settle()
        with pytest.raises(OSError, match="No space"):
            write_checkpoint(checkpoint, judge, shelves, 6)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".checkpoint")] == []
