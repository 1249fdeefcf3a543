"""The journal's disk is full under miners: nothing is acknowledged, blocks still go out, it goes on after."""

import errno
import json
import logging
import os
import shutil
import subprocess
import time
from fractions import Fraction

import anyio
import pytest

from accounting.findings import NOT_CHECKED
from accounting.verifier import audit
from nips.pool.hashing import sha256d
from stratum_edge import service
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.service import Edge

pytestmark = pytest.mark.anyio
BLOCK_BITS = 0x2000FFFF
BLOCK_TARGET = 0xFFFF << 232
ANY = (1 << 256) - 1


class WallClock:
    def now_ms(self):
        return time.time_ns() // 1_000_000


class Disk:
    """Stands for `os.pwritev`: `room` bytes more, None for as many as the disk has."""

    def __init__(self):
        self.room = None
        self.refused = 0
        self._real = os.pwritev

    def __call__(self, fd, parts, at):
        if self.room is None:
            return self._real(fd, parts, at)
        data = b"".join(parts)[: self.room]
        self.room -= len(data)
        self.refused += 1
        if not data:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._real(fd, [data], at)


class Miner:
    """One connection, one submit at a time."""

    def __init__(self, edge, stream):
        self._edge, self._stream, self._buffer, self._id = edge, stream, b"", 0
        self._start = 0
        self.notify, self.extranonce1 = None, b""

    async def _read(self, id):
        while True:
            while b"\n" not in self._buffer:
                self._buffer += await self._stream.receive()
            line, _, self._buffer = self._buffer.partition(b"\n")
            message = json.loads(line)
            if message.get("method") == "mining.notify":
                self.notify = self._edge.read_notify(message["params"])
                if id is None:
                    return message
            elif id is not None and message.get("id") == id:
                return message

    async def call(self, method, *params):
        self._id += 1
        request = {"id": self._id, "method": method, "params": params}
        await self._stream.send(json.dumps(request).encode() + b"\n")
        return await self._read(self._id)

    async def login(self):
        self.extranonce1 = bytes.fromhex((await self.call("mining.subscribe", "full"))["result"][1])
        assert (await self.call("mining.authorize", self._edge.NPUB, "x"))["result"] is True
        if self.notify is None:
            await self._read(None)

    async def share(self, target=ANY, above=BLOCK_TARGET):
        """(what was found, the reply's error or None); the reply is "gone" when the connection ended."""
        self._start += 1
        found = self._edge.mine(self.notify, self.extranonce1, target, start=self._start, above=above)
        try:
            reply = await self.call("mining.submit", *found.params(self._edge.NPUB, self.notify.job))
        except (anyio.EndOfStream, anyio.BrokenResourceError, ConnectionResetError):
            return found, "gone"
        return found, None if reply["result"] is True else reply["error"][1]


class Connect:
    def __init__(self, edge, port):
        self._edge, self._port = edge, port

    async def __aenter__(self):
        self._stream = await anyio.connect_tcp("127.0.0.1", self._port)
        miner = Miner(self._edge, self._stream)
        await miner.login()
        return miner

    async def __aexit__(self, *error):
        await self._stream.aclose()


def make_edge(edge, directory, terms, source, publisher):
    return Edge(
        source=source,
        signer=edge.EDGE_KEY,
        pool=edge.POOL,
        terms=edge.FakeTerms(terms),
        publisher=publisher,
        journal_dir=directory,
        clock=WallClock(),
        config=EdgeConfig(
            payout_script=b"\x51", ports=(PortConfig(port=0, start_difficulty=Fraction(1, 1 << 32), fixed=True),)
        ),
    )


async def until(ready):
    with anyio.fail_after(10):
        while not ready():  # noqa: ASYNC110 - a disk has no event to wait for
            await anyio.sleep(0.01)


@pytest.mark.parametrize("room", [0, 40])
async def test_a_full_disk_stops_acknowledging_and_not_blocks(edge, tmp_path, monkeypatch, caplog, room):
    monkeypatch.setattr(service, "SEAL_LOOK_S", 0.02)
    disk = Disk()
    monkeypatch.setattr(os, "pwritev", disk)
    limits = {"batch_seconds": 0, "block_bits": BLOCK_BITS}
    source = edge.FakeSource(lambda: int(time.time()))
    publisher = edge.MemoryPublisher()
    rig = make_edge(edge, tmp_path, edge.make_terms(**limits), source, publisher)
    good = []
    async with anyio.create_task_group() as group:
        await group.start(rig.run)
        async with Connect(edge, rig.ports["main"]) as miner:
            found, error = await miner.share()
            assert error is None
            good.append(found.hash)
            # A slow sync of what was written while there was room would still let that out afterwards.
            await until(lambda: rig.status().batch_seq == 1 and not rig.status().unpublished)
            disk.room = room
            found, error = await miner.share()
            assert error == "gone", "no reply is better than a false one"
        await until(lambda: rig.status().stalled)
        async with Connect(edge, rig.ports["main"]) as miner:
            for _ in range(3):
                assert (await miner.share())[1] == "the pool can't store shares now: not counted"
            block, error = await miner.share(BLOCK_TARGET, above=-1)
            assert error == "gone"
            await until(lambda: source.blocks)
            assert sha256d(source.blocks[0][:80]) == block.hash
        published = len(publisher.events)
        await until(lambda: disk.refused > 20)
        assert len(publisher.events) == published, "nothing is published that is not on the disk"
        said = [r for r in caplog.records if r.levelno >= logging.ERROR and "journal" in r.getMessage()]
        assert len(said) == 1, "once, not at every try"
        disk.room = None
        await until(lambda: not rig.status().stalled)
        async with Connect(edge, rig.ports["main"]) as miner:
            found, error = await miner.share()
            assert error is None
            good.append(found.hash)
        group.cancel_scope.cancel()
    assert "written again" in caplog.text
    events = [event for event, _ in publisher.events]
    report = audit([edge.make_terms_event(**limits), *events], (), edge.POOL, now_ms=None)
    assert [found for found in report.findings if found.grade != NOT_CHECKED] == []
    hashes = [digest for _, _, digest in edge.good_shares(events, edge.make_terms(**limits))]
    assert len(set(hashes)) == len(hashes)
    assert {*good, block.hash} <= set(hashes)


async def test_killed_with_a_full_disk_only_what_was_refused_is_gone(edge, tmp_path, monkeypatch):
    """The process ends with half a frame on the disk: the next start has all that was acknowledged, and no more."""
    disk = Disk()
    monkeypatch.setattr(os, "pwritev", disk)
    limits = {"batch_seconds": 60}
    source = edge.FakeSource(lambda: int(time.time()))
    good = []
    publisher = edge.MemoryPublisher()
    rig = make_edge(edge, tmp_path / "journal", edge.make_terms(**limits), source, publisher)
    async with anyio.create_task_group() as group:
        await group.start(rig.run)
        async with Connect(edge, rig.ports["main"]) as miner:
            for _ in range(3):
                found, error = await miner.share()
                assert error is None
                good.append(found.hash)
            disk.room = 40
            assert (await miner.share())[1] == "gone"
        # As it is on the disk at a kill.
        shutil.copytree(tmp_path / "journal", tmp_path / "copy")
        before = list(publisher.events)
        disk.room = None
        group.cancel_scope.cancel()
    publisher = edge.MemoryPublisher()
    again = make_edge(edge, tmp_path / "copy", edge.make_terms(**limits), source, publisher)
    async with anyio.create_task_group() as group:
        await group.start(again.run)
        group.cancel_scope.cancel()
    events = [event for event, _ in [*before, *publisher.events]]
    assert [digest for _, _, digest in edge.good_shares(events, edge.make_terms(**limits))] == good


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 192 KiB of its own."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("only root can mount a small tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_an_edge_on_a_disk_that_is_full_indeed(edge, small_disk, monkeypatch):
    limits = {"batch_seconds": 60}
    source, publisher = edge.FakeSource(lambda: int(time.time())), edge.MemoryPublisher()
    rig = make_edge(edge, small_disk / "journal", edge.make_terms(**limits), source, publisher)
    filler = small_disk / "filler"
    good = []
    async with anyio.create_task_group() as group:
        await group.start(rig.run)
        # All but a few KB, as a log file on the same disk would.
        filler.write_bytes(bytes(160 << 10))
        while True:
            async with Connect(edge, rig.ports["main"]) as miner:
                error = None
                while error is None:
                    found, error = await miner.share()
                    if error is None:
                        good.append(found.hash)
            if rig.status().stalled:
                break
        assert len(good) > 10
        filler.unlink()
        await until(lambda: not rig.status().stalled)
        async with Connect(edge, rig.ports["main"]) as miner:
            found, error = await miner.share()
            assert error is None
            good.append(found.hash)
        group.cancel_scope.cancel()
    events = [event for event, _ in publisher.events]
    hashes = [digest for _, _, digest in edge.good_shares(events, edge.make_terms(**limits))]
    assert set(good) <= set(hashes)
    assert len(set(hashes)) == len(hashes)
