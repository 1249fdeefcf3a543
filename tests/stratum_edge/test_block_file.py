"""The block file: what was appended comes back, a torn tail is cut at every length, other damage is refused."""

import logging
from pathlib import Path

import pytest

from stratum_edge.adapters.block_file import FORMAT, BlockFile
from stratum_edge.errors import ChainStoreError

BLOCKS = (b"first block", b"second, longer block", b"x")
RECORD_HEAD = 8


def written(path: Path) -> bytes:
    file = BlockFile(path)
    file.append(BLOCKS[:2])
    file.append(BLOCKS[2:])
    file.close()
    return path.read_bytes()


def replayed(path: Path) -> tuple[bytes, ...]:
    file = BlockFile(path)
    try:
        return tuple(file.replay())
    finally:
        file.close()


def test_blocks_come_back_in_order(tmp_path: Path) -> None:
    written(tmp_path / "blocks.dat")
    assert replayed(tmp_path / "blocks.dat") == BLOCKS


def test_a_file_cut_anywhere_keeps_its_whole_blocks_and_takes_new_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "blocks.dat"
    whole = written(path)
    ends = [len(FORMAT)]
    for block in BLOCKS:
        ends.append(ends[-1] + RECORD_HEAD + len(block))
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        count = sum(end <= size for end in ends[1:])
        caplog.clear()
        file = BlockFile(path)
        with caplog.at_level(logging.WARNING):
            assert tuple(file.replay()) == BLOCKS[:count]
        assert bool(caplog.records) == (size > len(FORMAT) and size not in ends)
        file.append([b"after the crash"])
        file.close()
        assert replayed(path) == (*BLOCKS[:count], b"after the crash")


def test_zeros_after_the_end_are_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "blocks.dat"
    path.write_bytes(written(path) + bytes(4096))
    assert replayed(path) == BLOCKS
    assert path.with_suffix(".torn").read_bytes() == bytes(4096)


def test_damage_before_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "blocks.dat"
    whole = bytearray(written(path))
    whole[len(FORMAT) + RECORD_HEAD] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ChainStoreError, match="damaged at byte 18"):
        replayed(path)
    assert path.read_bytes() == whole


def test_another_format_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "blocks.dat"
    path.write_bytes(b"something else entirely")
    with pytest.raises(ChainStoreError, match="format"):
        BlockFile(path)
    assert path.read_bytes() == b"something else entirely"


def test_two_cannot_have_it(tmp_path: Path) -> None:
    first = BlockFile(tmp_path / "blocks.dat")
    with pytest.raises(ChainStoreError, match="in use"):
        BlockFile(tmp_path / "blocks.dat")
    first.close()
    BlockFile(tmp_path / "blocks.dat").close()
