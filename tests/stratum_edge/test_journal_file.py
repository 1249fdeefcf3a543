"""The journal on the disk: one process, torn tails, turned segments, a disk that is full."""

import errno
import os
import shutil
import struct
import subprocess
import threading
import zlib

import anyio
import pytest

from stratum_edge.adapters import journal_file
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.errors import JournalDamaged, JournalInUse
from stratum_edge.journal import Checkpoint, Kind, encode_json, encode_record
from stratum_edge.segment import FRAME_HEAD_SIZE, HEADER_SIZE, MAGIC, decode_header, scan

pytestmark = pytest.mark.anyio
SHARE = encode_record(Kind.SHARE, bytes(range(28)))


def checkpoint(from_ms=1):
    return encode_json(Kind.CHECKPOINT, Checkpoint("p", "k", 0, from_ms, 0, None, "", [], []))


@pytest.fixture
def journal(tmp_path):
    journal = JournalFile(tmp_path)
    assert journal.recover() is None
    assert journal.rotate(checkpoint())
    yield journal
    journal.close()


def reopened(journal, tmp_path):
    journal.close()
    return JournalFile(tmp_path)


async def test_what_was_flushed_is_found_again(journal, tmp_path):
    journal.put(SHARE)
    journal.put(SHARE)
    assert journal.size == HEADER_SIZE + FRAME_HEAD_SIZE + len(checkpoint()) + 2 * len(SHARE)
    assert journal.flush()
    again = reopened(journal, tmp_path)
    assert again.recover().shares == [bytes(range(28))] * 2
    again.put(SHARE)
    assert again.flush()
    third = reopened(again, tmp_path)
    assert len(third.recover().shares) == 3
    third.close()


async def test_a_second_process_is_refused(journal, tmp_path):
    with pytest.raises(JournalInUse):
        JournalFile(tmp_path)


async def test_a_torn_tail_is_cut_off_and_kept_aside(journal, tmp_path, caplog):
    journal.put(SHARE)
    journal.flush()
    journal.close()
    (path,) = tmp_path.glob("*.journal")
    with path.open("ab") as file:
        file.write(SHARE[:-3])
    again = JournalFile(tmp_path)
    assert len(again.recover().shares) == 1
    again.put(SHARE)
    again.flush()
    assert "torn" in caplog.text
    assert path.with_suffix(".torn").read_bytes() == SHARE[:-3]
    again = reopened(again, tmp_path)
    assert len(again.recover().shares) == 2
    again.close()


async def test_damage_is_refused_with_its_place_and_what_to_do(journal, tmp_path):
    journal.put(SHARE)
    journal.flush()
    journal.close()
    (path,) = tmp_path.glob("*.journal")
    whole = path.read_bytes()
    start = HEADER_SIZE + FRAME_HEAD_SIZE + len(checkpoint())
    places = {
        4: "header",
        12: "header",
        HEADER_SIZE + 6: f"byte {HEADER_SIZE},",
        start + 5: f"byte {start},",
        start + 40: "byte",
    }
    for at, said in places.items():
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        again = JournalFile(tmp_path)
        with pytest.raises(JournalDamaged, match=said) as caught:
            again.recover()
        assert path.name in str(caught.value)
        assert "noncestr journal check" in str(caught.value)
        again.close()
    path.write_bytes(whole)
    again = JournalFile(tmp_path)
    assert len(again.recover().shares) == 1
    again.close()


async def test_what_was_acted_on_is_never_taken_for_a_torn_end(journal, tmp_path):
    """`synced` leaves a frame behind what it vouches for: a break in it is damage even with nothing written since."""
    async with anyio.create_task_group() as group:
        group.start_soon(journal.run)
        journal.put(SHARE)
        await journal.synced()
        group.cancel_scope.cancel()
    # As kill -9 leaves it.
    (path,) = [path for path in tmp_path.glob("*.journal") if path.stat().st_size > HEADER_SIZE]
    data = path.read_bytes()
    for bit in range(8 * (len(data) - FRAME_HEAD_SIZE - len(SHARE)), 8 * (len(data) - FRAME_HEAD_SIZE)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert scan(bytes(flipped), decode_header(data)).damaged


async def test_a_segment_that_lost_its_checkpoint_and_the_one_before_is_damaged(journal, tmp_path):
    assert journal.rotate(checkpoint(from_ms=5))
    await journal.sync()
    journal.close()
    (path,) = tmp_path.glob("*.journal")
    path.write_bytes(path.read_bytes()[: HEADER_SIZE + 9])
    again = JournalFile(tmp_path)
    with pytest.raises(JournalDamaged, match="checkpoint"):
        again.recover()
    again.close()


def record_v1(record):
    kind, payload = record[0], record[5:]
    return struct.pack("<IIB", len(payload), zlib.crc32(payload, kind), kind) + payload


async def test_a_journal_of_format_1_is_read_once_and_goes_on_in_format_2(tmp_path):
    path = tmp_path / "00000007.journal"
    path.write_bytes(record_v1(checkpoint(from_ms=3)) + 2 * record_v1(SHARE) + b"torn")
    journal = JournalFile(tmp_path)
    recovered = journal.recover()
    assert (recovered.from_ms, recovered.shares) == (3, [bytes(range(28))] * 2)
    journal.put(SHARE)
    assert journal.flush()
    journal.close()
    again = JournalFile(tmp_path)
    assert len(again.recover().shares) == 3
    assert again.rotate(checkpoint(from_ms=4))
    await again.sync()
    assert not path.exists()
    assert all(path.read_bytes().startswith(MAGIC) for path in tmp_path.glob("*.journal"))
    again.close()


async def test_a_conversion_that_was_cut_short_begins_again(tmp_path):
    (tmp_path / "00000007.journal").write_bytes(record_v1(checkpoint(from_ms=3)) + record_v1(SHARE))
    journal = JournalFile(tmp_path)
    assert len(journal.recover().shares) == 1
    journal.close()
    half = tmp_path / "00000008.journal"
    whole = half.read_bytes()
    for cut in range(0, len(whole) - 2 * FRAME_HEAD_SIZE, 11):
        half.write_bytes(whole[:cut])
        again = JournalFile(tmp_path)
        assert len(again.recover().shares) == 1
        again.close()


async def test_damage_in_format_1_is_refused(tmp_path):
    data = record_v1(checkpoint(from_ms=3)) + 2 * record_v1(SHARE)
    (tmp_path / "00000007.journal").write_bytes(data[:-40] + b"?" + data[-39:])
    journal = JournalFile(tmp_path)
    with pytest.raises(JournalDamaged, match="format 1"):
        journal.recover()
    journal.close()


async def test_a_new_segment_replaces_the_older_once_it_is_on_the_disk(journal, tmp_path):
    journal.put(SHARE)
    assert journal.rotate(checkpoint(from_ms=5))
    assert len(list(tmp_path.glob("*.journal"))) == 2
    await journal.sync()
    assert len(list(tmp_path.glob("*.journal"))) == 1
    again = reopened(journal, tmp_path)
    recovered = again.recover()
    assert (recovered.from_ms, recovered.shares) == (5, [])
    again.close()


async def test_a_segment_that_was_only_begun_falls_back_to_the_one_before(journal, tmp_path):
    journal.put(SHARE)
    journal.rotate(checkpoint(from_ms=5))
    journal.close()
    newest = max(tmp_path.glob("*.journal"))
    newest.write_bytes(newest.read_bytes()[:9])
    again = JournalFile(tmp_path)
    assert len(again.recover().shares) == 1
    assert again.rotate(checkpoint(from_ms=9))
    again = reopened(again, tmp_path)
    assert again.recover().from_ms == 9
    again.close()


class FullDisk:
    """`pwritev` on a disk that has room for so many bytes more."""

    def __init__(self, room=0):
        self.room = room
        self._real = os.pwritev

    def __call__(self, fd, parts, at):
        data = b"".join(parts)[: self.room]
        if not data:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(data)
        return self._real(fd, [data], at)


@pytest.mark.parametrize("room", range(0, FRAME_HEAD_SIZE + len(SHARE), 5))
async def test_a_full_disk_keeps_all_says_so_once_and_goes_on_when_there_is_space(
    journal, tmp_path, monkeypatch, caplog, room
):
    disk = FullDisk(room)
    monkeypatch.setattr(os, "pwritev", disk)
    journal.put(SHARE)
    assert not journal.flush()
    assert journal.failed
    assert not journal.rotate(checkpoint())
    journal.put(SHARE)
    assert not journal.flush()
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    disk.room = 1 << 20
    assert journal.flush()
    assert not journal.failed
    assert "written again" in caplog.text
    again = reopened(journal, tmp_path)
    assert len(again.recover().shares) == 2
    again.close()


@pytest.mark.parametrize("room", [0, 3, FRAME_HEAD_SIZE + 7])
async def test_what_a_full_disk_left_half_written_is_a_torn_end_after_a_kill(journal, tmp_path, monkeypatch, room):
    journal.put(SHARE)
    assert journal.flush()
    monkeypatch.setattr(os, "pwritev", FullDisk(room))
    journal.put(SHARE)
    assert not journal.flush()
    journal._lock.close()
    again = JournalFile(tmp_path)
    assert len(again.recover().shares) == 1
    again.close()


async def test_a_segment_that_can_not_be_begun_leaves_the_old_one_going(journal, tmp_path, monkeypatch, caplog):
    disk = FullDisk(20)
    monkeypatch.setattr(os, "pwritev", disk)
    assert not journal.rotate(checkpoint(from_ms=2))
    assert not journal.failed
    disk.room = 1 << 20
    journal.put(SHARE)
    assert journal.flush()
    assert journal.rotate(checkpoint(from_ms=7))
    assert "no new journal segment" in caplog.text
    again = reopened(journal, tmp_path)
    assert again.recover().from_ms == 7
    again.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB of its own."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("only root can mount a small tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_disk_that_is_full_indeed(small_disk):
    journal = JournalFile(small_disk / "journal")
    assert journal.recover() is None
    assert journal.rotate(checkpoint())
    filler = small_disk / "filler"
    filler.write_bytes(bytes(128 << 10))
    stored = 0
    async with anyio.create_task_group() as group:
        group.start_soon(journal.run)
        while True:
            for _ in range(100):
                journal.put(SHARE)
            if not journal.flush():
                break
            stored += 100
        assert journal.failed
        assert 1000 < stored < 8000
        filler.unlink()
        with anyio.fail_after(10):
            await journal.synced()
        assert not journal.failed, "it resumes by itself"
        group.cancel_scope.cancel()
    journal.close()
    again = JournalFile(small_disk / "journal")
    assert len(again.recover().shares) == stored + 100
    again.close()


async def test_a_rotation_in_the_loop_never_makes_its_file_there(journal, tmp_path, monkeypatch):
    """The next segment is made in a thread: `rotate` only writes the checkpoint, or says not now."""
    made = []
    real = journal_file.begin_segment
    monkeypatch.setattr(journal_file, "begin_segment", lambda *a: made.append(threading.current_thread()) or real(*a))
    async with anyio.create_task_group() as group:
        group.start_soon(journal.run)
        assert not await wait_rotated(journal, 0)
        for number in range(3):
            await wait_rotated(journal, 5 + number)
        group.cancel_scope.cancel()
    assert len(made) >= 3
    assert threading.main_thread() not in made
    again = reopened(journal, tmp_path)
    assert again.recover().from_ms == 7
    again.close()


async def wait_rotated(journal, from_ms):
    """Rotate as soon as it can be; with `from_ms` 0 only try."""
    if not from_ms:
        await anyio.lowlevel.checkpoint()
        return journal.rotate(checkpoint(from_ms=4))
    with anyio.fail_after(10):
        while not journal.rotate(checkpoint(from_ms=from_ms)):
            await journal.synced()
            await anyio.lowlevel.checkpoint()
    return True


async def test_the_group_sync_reports_and_retries(journal, monkeypatch):
    async with anyio.create_task_group() as group:
        group.start_soon(journal.run)
        journal.put(SHARE)
        with anyio.fail_after(5):
            await journal.synced()
        mode = {"fail": True}
        real = os.fsync

        def fsync(fd):
            if mode.pop("fail", False):
                raise OSError(errno.EIO, "Input/output error")
            real(fd)

        monkeypatch.setattr(os, "fsync", fsync)
        journal.put(SHARE)
        journal.flush()
        with anyio.fail_after(5):
            await journal.synced()
        assert mode == {}
        group.cancel_scope.cancel()


async def test_a_failed_write_is_tried_again_by_the_sync_loop(journal, monkeypatch):
    disk = FullDisk()
    monkeypatch.setattr(os, "pwritev", disk)
    async with anyio.create_task_group() as group:
        group.start_soon(journal.run)
        journal.put(SHARE)
        assert not journal.flush()
        disk.room = 1 << 20
        with anyio.fail_after(5):
            await journal.synced()
        assert not journal.failed
        group.cancel_scope.cancel()


async def test_what_could_not_be_written_is_not_synced_whatever_else_is(journal, monkeypatch):
    """A disk with room for the note that a sync leaves, and for nothing more: who waits for a record waits on."""
    disk = FullDisk()
    monkeypatch.setattr(os, "pwritev", disk)
    journal.put(SHARE)
    done = []

    async def wait():
        await journal.synced()
        done.append(journal.failed)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        for _ in range(4):
            disk.room = FRAME_HEAD_SIZE
            journal._write(journal._segment, b"", 0)
            assert await journal.sync()
        await anyio.wait_all_tasks_blocked()
        assert done == []
        disk.room = 1 << 20
        assert journal.flush()
        assert await journal.sync()
    assert done == [False]
