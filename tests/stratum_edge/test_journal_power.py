"""The journal on a disk that forgets: what was not synced is lost in any order, names too, syncs fail, writes are cut.

The promise: after kill -9 all that was acknowledged is there; after a loss of power a prefix is, which holds at least
all that was acted on. Nothing is ever told otherwise than it was, so no chain can fork.
"""

import asyncio
import errno
import os
import random
import tempfile
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from accounting.findings import NOT_CHECKED
from accounting.verifier import audit
from stratum_edge.adapters import journal_file, segment_file
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.config import PortConfig
from stratum_edge.desk import Desk, House
from stratum_edge.extranonce import Seats
from stratum_edge.jobs import Payout
from stratum_edge.journal import Checkpoint, Kind, encode_json, encode_record
from stratum_edge.lane import Lane
from stratum_edge.session import Session
from stratum_edge.status import Counts

BLOCK = 512


class Crash(Exception):
    """The machine stops here."""


class Inode:
    """A file: what the kernel shows, what is on the disk, and which disk blocks differ."""

    def __init__(self):
        self.cache = bytearray()
        self.disk = bytearray()
        self.dirty: dict[int, list[bytes]] = {}

    def write(self, at, data):
        if len(self.cache) < at + len(data):
            self.cache.extend(bytes(at + len(data) - len(self.cache)))
        self.cache[at : at + len(data)] = data
        for number in range(at // BLOCK, (at + len(data) - 1) // BLOCK + 1):
            # Each state a block was in may be the one that reaches the disk.
            self.dirty.setdefault(number, []).append(bytes(self.cache[number * BLOCK : (number + 1) * BLOCK]))

    def sync(self):
        for number, states in self.dirty.items():
            self._store(number, states[-1])
        self.dirty.clear()
        del self.disk[len(self.cache) :]

    def _store(self, number, block):
        if len(self.disk) < number * BLOCK + len(block):
            self.disk.extend(bytes(number * BLOCK + len(block) - len(self.disk)))
        self.disk[number * BLOCK : number * BLOCK + len(block)] = block

    def lose_power(self, chance):
        """Any unsynced blocks reach the disk, in any of their states; the size may or may not have grown."""
        before = len(self.disk)
        for number, states in self.dirty.items():
            if chance.random() < 0.5:
                self._store(number, chance.choice(states))
        if chance.random() < 0.3:
            del self.disk[max(before, chance.randint(0, len(self.disk))) :]
        elif chance.random() < 0.3:
            self.disk.extend(bytes(max(0, len(self.cache) - len(self.disk))))
        self.cache, self.dirty = bytearray(self.disk), {}


class Disk:
    """Stands for `os` in the journal's module. `fuse`: so many more calls succeed, then Crash is raised for good.

    `room`: bytes that may still be written. `bad_syncs`: syncs that fail and, as Linux does, forget what was dirty.
    """

    def __init__(self, chance):
        self.chance = chance
        self.names: dict[str, Inode] = {}
        self.durable_names: dict[str, Inode] = {}
        self.fds: dict[int, tuple[Inode | None, list[int]]] = {}
        self.fuse = self.room = 1 << 60
        self.bad_syncs = 0
        self.calls: list[str] = []

    def __getattr__(self, name):
        if name.startswith("O_") or name == "urandom":
            return getattr(os, name)
        raise AttributeError(name)

    def _step(self, name):
        self.calls.append(name)
        self.fuse -= 1
        if self.fuse < 0:
            raise Crash(name)

    def listdir(self, _directory):
        return list(self.names)

    def open(self, path, flags, _mode=0o777):
        self._step("open")
        fd = max(self.fds, default=100) + 1
        if not flags & (os.O_WRONLY | os.O_RDWR) and Path(path).suffix == "":
            self.fds[fd] = (None, [0])
            return fd
        name = Path(path).name
        if name in self.names and flags & os.O_EXCL:
            raise FileExistsError(name)
        if name not in self.names and not flags & os.O_CREAT:
            raise FileNotFoundError(name)
        inode = self.names.setdefault(name, Inode())
        if flags & os.O_TRUNC:
            inode.cache, inode.dirty = bytearray(), {}
        self.fds[fd] = (inode, [0])
        return fd

    def close(self, fd):
        del self.fds[fd]

    def read(self, fd, size):
        inode, place = self.fds[fd]
        data = bytes(inode.cache[place[0] : place[0] + size])
        place[0] += len(data)
        return data

    def pwrite(self, fd, data, at):
        try:
            self._step("write")
        except Crash:
            # Killed in the middle of the call: a part is written.
            self.fds[fd][0].write(at, data[: self.chance.randint(0, len(data))])
            raise
        data = data[: self.room]
        if not data:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(data)
        self.fds[fd][0].write(at, data)
        return len(data)

    def pwritev(self, fd, parts, at):
        return self.pwrite(fd, b"".join(parts), at)

    def write(self, fd, data):
        inode, _ = self.fds[fd]
        return self.pwrite(fd, data, len(inode.cache))

    def truncate(self, path, size):
        self._step("truncate")
        inode = self.names[Path(path).name]
        del inode.cache[size:]
        inode.dirty = {n: s for n, s in inode.dirty.items() if n * BLOCK < size}
        if size % BLOCK and len(inode.disk) > size:
            inode.dirty.setdefault(size // BLOCK, []).append(bytes(inode.cache[size - size % BLOCK :]))

    def unlink(self, path):
        self._step("unlink")
        name = Path(path).name
        if name not in self.names:
            raise FileNotFoundError(name)
        del self.names[name]

    def fsync(self, fd):
        self._step("fsync")
        inode, _ = self.fds[fd]
        if inode is None:
            self.durable_names = dict(self.names)
        elif self.bad_syncs:
            self.bad_syncs -= 1
            inode.dirty.clear()
            raise OSError(errno.EIO, "Input/output error")
        else:
            inode.sync()

    def kill(self):
        self.fds.clear()
        self.fuse = self.room = 1 << 60
        self.bad_syncs = 0

    def lose_power(self):
        self.kill()
        # Of the names that were not synced, any may have come or gone.
        names = dict(self.durable_names)
        for name in sorted(self.names.keys() | names.keys()):
            if self.names.get(name) is not names.get(name) and self.chance.random() < 0.5:
                if name in self.names:
                    names[name] = self.names[name]
                else:
                    del names[name]
        self.names = names
        self.durable_names = dict(names)
        for inode in names.values():
            inode.lose_power(self.chance)


def checkpoint(count):
    """`from_ms` counts what was put before; padding as large as receipts that wait."""
    return encode_json(Kind.CHECKPOINT, Checkpoint("p" * (count % 3 * 900), "k", 0, count, 0, None, "", [], []))


def numbered(number):
    if number % 5 == 4:
        # A record over several disk blocks.
        return encode_record(Kind.USE, number.to_bytes(4, "little") + random.Random(number).randbytes(1500))
    return encode_record(Kind.SHARE, number.to_bytes(4, "little") + b"\x5a" * 24)


def count_of(recovered):
    """How far a recovered journal tells, each number in its turn."""
    shares = [int.from_bytes(record[:4], "little") for record in recovered.shares]
    others = [int.from_bytes(bytes.fromhex(id)[:4], "little") for id in recovered.jobs]
    start = recovered.checkpoint.from_ms
    assert sorted(shares + others) == list(range(start, start + len(shares) + len(others)))
    assert shares == sorted(shares)
    assert others == sorted(others)
    return start + len(shares) + len(others)


class JournalMachine(RuleBasedStateMachine):
    """Numbers are put one after the other; whatever happens, a prefix comes back."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.journal = None

    @initialize(seed=st.integers(0, 1 << 32))
    def begin(self, seed):
        self.disk = Disk(random.Random(seed))
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(journal_file, "os", self.disk)
        self.patch.setattr(segment_file, "os", self.disk)
        self.patch.setattr(journal_file, "FSYNC_EVERY_S", 0.001)
        self.put_count = self.acknowledged = self.acted = 0
        self.power = False
        self._start()

    def _start(self):
        async def start():
            self.journal = JournalFile(Path(self.folder.name))
            recovered = self.journal.recover()
            count = 0 if recovered is None else count_of(recovered)
            assert self.acted <= count <= self.put_count
            if not self.power:
                assert count >= self.acknowledged
            self.put_count = self.acknowledged = count
            assert self.journal.rotate(checkpoint(count))

        self.runner.run(start())

    def _stop(self):
        if self.journal is not None:
            self.journal._lock.close()

    def _do(self, act):
        """Run a step; a crash in the middle of it is a crash of the process or of the machine."""

        async def step():
            return act()

        try:
            return self.runner.run(step())
        except Crash:
            self.crash(self.disk.chance.random() < 0.5)
            return None

    @rule(count=st.integers(1, 40))
    def put(self, count):
        for _ in range(count):
            self.journal.put(numbered(self.put_count))
            self.put_count += 1

    @rule()
    def flush(self):
        upto = self.put_count
        if self._do(self.journal.flush):
            self.acknowledged = upto

    @rule()
    def sync(self):
        try:
            self.runner.run(self.journal.sync())
        except Crash:
            self.crash(self.disk.chance.random() < 0.5)

    @rule()
    def act(self):
        """What `synced` is for: with it, what was put so far is published."""
        upto = self.put_count

        async def publish():
            async with anyio.create_task_group() as group:
                group.start_soon(self.journal.run)
                with anyio.move_on_after(0.05 if self.disk.room < 1 << 50 else 20):
                    await self.journal.synced()
                    self.acted = self.acknowledged = upto
                group.cancel_scope.cancel()

        try:
            self.runner.run(publish())
        except* Crash:
            self.crash(self.disk.chance.random() < 0.5)

    @rule()
    def rotate(self):
        upto = self.put_count
        if self._do(lambda: self.journal.rotate(checkpoint(upto))):
            self.acknowledged = upto

    @rule(room=st.integers(0, 3000))
    def fill_disk(self, room):
        self.disk.room = room

    @precondition(lambda self: self.disk.room < 1 << 50)
    @rule()
    def make_room(self):
        self.disk.room = 1 << 60

    @rule(times=st.integers(1, 3))
    def fail_syncs(self, times):
        self.disk.bad_syncs = times

    @rule(after=st.integers(0, 12))
    def light_a_fuse(self, after):
        self.disk.fuse = after

    @rule(power=st.booleans())
    def crash(self, power):
        self._stop()
        self.power = power
        self.disk.lose_power() if power else self.disk.kill()
        self._start()
        self.power = False

    @rule()
    def restart(self):
        async def close():
            self.journal.close()

        upto = self.put_count
        try:
            self.runner.run(close())
        except Crash:
            self.crash(self.disk.chance.random() < 0.5)
            return
        if not self.journal.failed:
            self.acknowledged = upto
        self.disk.kill()
        self._start()

    def teardown(self):
        if self.journal is not None:
            self._stop()
            self.patch.undo()
        self.runner.close()
        self.folder.cleanup()


JournalMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)
TestJournalMachine = JournalMachine.TestCase


@pytest.mark.anyio
@pytest.mark.parametrize("power", [False, True])
async def test_a_crash_at_every_call_of_a_whole_life(monkeypatch, tmp_path, power):
    """Begin, write, act, rotate, write, act, close; stopped at each call to the disk in turn, each with ten fates."""
    calls, crashes = 1, 0
    while calls is not None:
        for seed in range(10):
            state = SimpleNamespace(acknowledged=0, acted=0)
            disk = Disk(random.Random(seed * 1000 + calls))
            monkeypatch.setattr(journal_file, "os", disk)
            monkeypatch.setattr(segment_file, "os", disk)
            disk.fuse = calls
            journal = JournalFile(tmp_path)
            try:
                await live(journal, state)
                ended = True
            except Crash:
                ended = False
                crashes += 1
            journal._lock.close()
            disk.lose_power() if power else disk.kill()
            again = JournalFile(tmp_path)
            recovered = again.recover()
            count = 0 if recovered is None else count_of(recovered)
            assert count >= state.acted
            assert power or count >= state.acknowledged
            assert again.rotate(checkpoint(count))
            again.close()
        calls = None if ended else calls + 1
    assert crashes > 200


async def live(journal, state):
    number = 0

    async def act():
        await journal.sync()
        await journal.synced()
        state.acted = number

    assert journal.recover() is None
    assert journal.rotate(checkpoint(0))
    for _ in range(3):
        for _ in range(8):
            journal.put(numbered(number))
            number += 1
            assert journal.flush()
            state.acknowledged = number
        await act()
        assert journal.rotate(checkpoint(number))
        await act()
        await journal.sync()
    journal.close()


@pytest.mark.anyio
async def test_after_a_failed_sync_all_is_written_again(monkeypatch, tmp_path):
    """Linux forgets what it could not write: the next sync succeeds without it."""
    disk = Disk(random.Random(1))
    monkeypatch.setattr(journal_file, "os", disk)
    monkeypatch.setattr(segment_file, "os", disk)
    journal = JournalFile(tmp_path)
    assert journal.recover() is None
    assert journal.rotate(checkpoint(0))
    assert await journal.sync()
    for number in range(20):
        journal.put(numbered(number))
        assert journal.flush()
    disk.bad_syncs = 2
    for _ in range(2):
        assert not await journal.sync()
        assert journal.failed
        assert not journal.flush(), "nothing is acknowledged that a loss of power would take"
    assert await journal.sync()
    assert not journal.failed
    await journal.synced()
    journal._lock.close()
    disk.lose_power()
    again = JournalFile(tmp_path)
    assert count_of(again.recover()) == 20
    again.close()


class PowerLife:
    """A desk on a disk that loses its power; what was published stays published, as relays keep it."""

    def __init__(self, edge, folder):
        self.edge, self.folder = edge, folder
        self.published, self.acknowledged = {}, []
        self.now = edge.NOW
        self.count = 0

    async def run(self):
        """Start where the journal ends, mine, seal and publish, rotate; until it is over or the machine stops."""
        edge = self.edge
        journal = JournalFile(self.folder)
        try:
            recovered = journal.recover()
            self.now += 1000
            if recovered is None:
                lane = Lane(edge.POOL, 0, self.now)
            else:
                lane = Lane(edge.POOL, 0, recovered.from_ms, recovered.head, recovered.newest_s)
            house = House(edge.POOL, Payout(b"\x51", b""))
            desk = Desk(house, edge.EDGE_KEY, journal, lane, Seats(b"\x07" * 32), Counts(0), ["main"])
            if recovered is not None:
                desk.take_up(recovered, self.now)
            assert desk.begin_segment()
            await self.publish(desk, journal)
            desk.renew(edge.make_template(now_s=self.now // 1000), edge.make_terms(), self.now)
            peer = edge.Peer(Session(desk, PortConfig(start_difficulty=Fraction(1, 1 << 32), fixed=True), 0), desk)
            peer.now = self.now
            peer.login(edge.NPUB)
            for batch in range(3):
                for _ in range(4):
                    self.share(peer)
                desk.seal(self.now)
                self.share(peer)
                await self.publish(desk, journal)
                if batch == 1:
                    desk.seal(self.now)
                    desk.begin_segment()
            desk.seal(self.now)
            await self.publish(desk, journal)
            journal.close()
        finally:
            journal._lock.close()

    def share(self, peer):
        self.count += 1
        self.now = peer.now = self.now + 100
        found = peer.find(self.count, target=(1 << 256) - 1)
        if peer.submit(self.edge.NPUB, found)["result"] is True:
            self.acknowledged.append(found.hash)

    async def publish(self, desk, journal):
        while desk.outbox:
            publication = desk.outbox.popleft()
            assert journal.flush()
            assert await journal.sync()
            await journal.synced()
            for event in publication.events:
                self.published.setdefault(event.id, event)
            desk.published(publication)
            journal.flush()


@pytest.mark.anyio
@pytest.mark.parametrize("power", [False, True])
async def test_nothing_published_is_ever_contradicted(edge, monkeypatch, tmp_path, power):
    """The machine stops at each call to the disk in turn, three times in a row; the verifier judges all published."""
    ended, calls, stops = False, 1, 0
    while not ended:
        disk = Disk(random.Random(calls))
        monkeypatch.setattr(journal_file, "os", disk)
        monkeypatch.setattr(segment_file, "os", disk)
        life = PowerLife(edge, tmp_path)
        for _ in range(3):
            disk.fuse = calls
            try:
                await life.run()
                ended = True
            except Crash:
                stops += 1
            disk.lose_power() if power else disk.kill()
        await life.run()
        events = list(life.published.values())
        report = audit([edge.make_terms_event(), *events], (), edge.POOL, now_ms=None)
        assert [found for found in report.findings if found.grade != NOT_CHECKED] == []
        hashes = {digest for _, _, digest in edge.good_shares(events, edge.make_terms())}
        assert power or set(life.acknowledged) <= hashes
        calls += 2
    assert stops > 60
