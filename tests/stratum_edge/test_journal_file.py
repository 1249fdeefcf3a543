"""The journal on the disk: one process, torn tails, turned segments, a disk that is full."""

import errno
import os

import anyio
import pytest

from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.errors import JournalDamaged, JournalInUse
from stratum_edge.journal import Checkpoint, Kind, encode_json, encode_record

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
    assert journal.size == len(checkpoint()) + 2 * len(SHARE)
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


async def test_damage_before_the_end_is_refused(journal, tmp_path):
    journal.put(SHARE)
    journal.flush()
    journal.close()
    (path,) = tmp_path.glob("*.journal")
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    again = JournalFile(tmp_path)
    with pytest.raises(JournalDamaged):
        again.recover()
    again.close()


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


async def test_a_full_disk_keeps_all_and_goes_on_when_there_is_space(journal, tmp_path, monkeypatch):
    real = os.write
    mode = {"fail": True}

    def write(fd, data):
        if not mode["fail"]:
            return real(fd, data)
        if len(data) > 4:
            return real(fd, data[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    journal.put(SHARE)
    assert not journal.flush()
    assert journal.failed
    assert not journal.rotate(checkpoint())
    journal.put(SHARE)
    assert not journal.flush()
    mode["fail"] = False
    assert journal.flush()
    assert not journal.failed
    again = reopened(journal, tmp_path)
    assert len(again.recover().shares) == 2
    again.close()


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
    real = os.write
    mode = {"fail": 2}

    def write(fd, data):
        if mode["fail"]:
            mode["fail"] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    async with anyio.create_task_group() as group:
        group.start_soon(journal.run)
        journal.put(SHARE)
        assert not journal.flush()
        with anyio.fail_after(5):
            await journal.synced()
        assert not journal.failed
        group.cancel_scope.cancel()


async def test_half_a_write_that_can_not_be_cut_off_is_cut_off_later(journal, tmp_path, monkeypatch):
    write, truncate = os.write, os.ftruncate

    def refuse(_fd, _size):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
    monkeypatch.setattr(os, "ftruncate", refuse)
    journal.put(SHARE)
    assert not journal.flush()
    monkeypatch.setattr(os, "write", write)
    assert not journal.flush()
    monkeypatch.setattr(os, "ftruncate", truncate)
    assert journal.flush()
    again = reopened(journal, tmp_path)
    assert len(again.recover().shares) == 1
    again.close()
