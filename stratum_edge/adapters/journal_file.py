"""The journal on the disk: segments `NNNNNNNN.journal` in a directory of their own, one process at a time.

A record is handed to the kernel before what it tells is acknowledged, so it outlives the process however that ends.

Power loss is bounded by the group sync: a write is on the disk after FSYNC_EVERY_S and two syncs at most (one that was
under way, one of its own), so no more than what was acknowledged in that time can be lost. What was acted on never is:
a receipt waits for `synced` before it is sent, and once it returned, a frame stands behind that says so, which makes a
later break in what was synced damage, not a torn end.
"""

import contextlib
import errno
import fcntl
import logging
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import anyio
import anyio.to_thread

from stratum_edge.adapters.segment_file import (
    begin_copy,
    begin_segment,
    discard,
    list_segments,
    read_segment,
    segment_name,
)
from stratum_edge.errors import JournalDamaged, JournalInUse
from stratum_edge.journal import Kind, Recovered, records_of, recover
from stratum_edge.journal_v1 import may_be_v1, read_records_v1
from stratum_edge.segment import (
    HEADER_SIZE,
    MAGIC,
    SALT_SIZE,
    SegmentHeader,
    decode_header,
    encode_frame_head,
    scan,
)

log = logging.getLogger(__name__)

# A group sync this long after the last one at least: ten a second are cheap on any disk. Who waits in `synced` gets
# one at once.
FSYNC_EVERY_S: Final = 0.1
_ADVICE: Final = "nothing was changed; see `noncestr journal check` and docs/operations.md, When something was lost"


class _Written(NamedTuple):
    """A write to the current segment that may not be on the disk yet: where, and its parts."""

    at: int
    parts: tuple[bytes, ...]


class _Segment:
    """An open segment: its descriptor, how much of it is written, synced, and said to be synced in what is written."""

    __slots__ = ("end", "fd", "number", "records", "salt", "sealed", "synced", "told")

    def __init__(self, number: int, fd: int, salt: bytes, end: int = HEADER_SIZE) -> None:
        self.number = number
        self.fd = fd
        self.salt = salt
        self.end = end
        self.synced = self.told = HEADER_SIZE
        self.records = 0
        self.sealed = 0


class JournalFile:
    """Implements `ports.Journal`. `recover` first; without it or after it `rotate` begins a segment."""

    def __init__(self, directory: Path) -> None:
        """Raises JournalInUse."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._lock = (directory / "lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise JournalInUse(f"the journal {directory} is in use by another process") from None
        self._segment: _Segment | None = None
        # The next segment, with its header on the disk: made ahead, so that beginning it costs one write.
        self._next: _Segment | None = None
        self._queue: list[bytes] = []
        self._queued = 0
        self._seals = 0
        # Records ever written and ever synced by this process, checkpoints too: what `synced` waits on.
        self._written = 0
        self._durable = 0
        # Writes not synced yet: after a failed sync the kernel may have dropped them, so they are written again.
        self._unsynced: deque[_Written] = deque()
        self._dirty = anyio.Event()
        self._urgent = anyio.Event()
        self._progress = anyio.Event()
        self._running = False
        self._full = False
        self._unsafe = False
        self._unprepared = False
        # Segments a newer one replaces, to go once it is on the disk, and descriptors to be closed with them.
        self._superfluous: list[Path] = []
        self._old_fds: list[int] = []

    @property
    def size(self) -> int:
        """Bytes of the current segment, unwritten ones included."""
        return self._queued + (0 if self._segment is None else self._segment.end)

    @property
    def failed(self) -> bool:
        """Whether the last write or sync did not succeed: nothing may be acknowledged."""
        return self._full or self._unsafe

    # Recovery

    def recover(self) -> Recovered | None:
        """What the newest usable segment adds up to; None for an empty journal. Its torn tail is cut off.

        Raises JournalDamaged.
        """
        segments = list_segments(self._directory)
        while segments:
            number, path = segments.pop()
            data = read_segment(path)
            header = decode_header(data)
            older = [old for _, old in segments]
            if header is None and len(data) > HEADER_SIZE:
                if data.startswith(MAGIC) or not may_be_v1(data):
                    raise JournalDamaged(f"{path}: its header is damaged; {_ADVICE}")
                recovered = self._recover_v1(number, path, data, older)
            elif header is None:
                recovered = None
            else:
                recovered = self._recover(number, path, data, header, older)
            if recovered is not None:
                return recovered
            if not older and number > 1:
                # Only the first may have none before it: an empty journal would begin the lane's chain anew.
                raise JournalDamaged(f"{path}: its checkpoint and the segment before it are gone; {_ADVICE}")
            # The crash came while this segment was begun: the one before it is still there and whole.
            os.unlink(path)
        return None

    def _recover(
        self, number: int, path: Path, data: bytes, header: SegmentHeader, older: list[Path]
    ) -> Recovered | None:
        found = scan(data, header)
        if found.damaged:
            raise JournalDamaged(
                f"{path}: damaged at byte {found.end}, with whole records from byte {found.behind[0].at} on; {_ADVICE}"
            )
        try:
            records = list(records_of(found.whole))
            recovered = recover(records)
        except JournalDamaged as error:
            raise JournalDamaged(f"{path}: {error}; {_ADVICE}") from error
        if found.end < len(data):
            self._cut(path, data, found.end)
        if recovered is None:
            return None
        segment = _Segment(number, os.open(path, os.O_WRONLY | os.O_CLOEXEC), header.salt, found.end)
        segment.synced = segment.told = max(frame.durable for frame in found.whole)
        segment.records = len(records)
        segment.sealed = sum(record.kind is Kind.SEALED for record in records)
        self._segment = segment
        self._superfluous = older
        # Nothing says that the power stayed: it counts as written by this process.
        self._written += 1
        self._dirty.set()
        return recovered

    def _cut(self, path: Path, data: bytes, end: int) -> None:
        torn = path.with_suffix(".torn")
        fd = os.open(torn, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data[end:])
        finally:
            os.close(fd)
        log.warning("cut a torn end of %d bytes off %s, kept in %s", len(data) - end, path, torn)
        os.truncate(path, end)

    def _recover_v1(self, number: int, path: Path, data: bytes, older: list[Path]) -> Recovered | None:
        """Read a segment of format 1 and go on in one of format 2 that holds the same."""
        try:
            records = list(read_records_v1(data))
            recovered = recover(records)
        except JournalDamaged as error:
            raise JournalDamaged(f"{path} (format 1): {error}; {_ADVICE}") from error
        if recovered is None:
            return None
        log.info("the journal %s goes on in format 2", path)
        begin_copy(self._directory, number + 1, number, records)
        after = self._directory / segment_name(number + 1)
        copied = read_segment(after)
        header = decode_header(copied)
        assert header is not None
        return self._recover(number + 1, after, copied, header, [*older, path])

    # Writing

    def put(self, record: bytes) -> None:
        """Queue a record for the next flush."""
        self._queue.append(record)
        self._queued += len(record)
        if record[0] == Kind.SEALED:
            self._seals += 1

    def flush(self) -> bool:
        """Write what was put as one frame; False when the disk does not take it, then all of it is kept."""
        if not self._queue:
            return not self.failed
        segment = self._segment
        if segment is None:
            raise ValueError("the journal has no segment: `recover` or `rotate` first")
        try:
            self._write(segment, b"".join(self._queue) if len(self._queue) > 1 else self._queue[0], len(self._queue))
        except OSError as error:
            if not self._full:
                log.error("the journal can't be written, shares are not acknowledged: %s", error)
            self._full = True
            self._dirty.set()  # wakes `run`, which tries again
            return False
        if self._full:
            log.warning("the journal can be written again")
            self._full = False
        segment.sealed += self._seals
        self._queue.clear()
        self._queued = self._seals = 0
        return not self.failed

    def _write(self, segment: _Segment, body: bytes, records: int) -> None:
        """Write a frame at the segment's end. Raises OSError; the next try is then written over what this one left."""
        at = segment.end
        head = encode_frame_head(segment.salt, at, body, segment.synced, segment.records, segment.sealed)
        size = len(head) + len(body)
        written = os.pwritev(segment.fd, (head, body), at)
        if written != size:
            raise OSError(errno.ENOSPC, f"only {written} of {size} bytes could be written")
        segment.end += size
        segment.told = segment.synced
        segment.records += records
        self._written += records
        self._unsynced.append(_Written(at, (head, body)))
        self._dirty.set()

    def rotate(self, checkpoint: bytes) -> bool:
        """Begin a segment. The older ones go once this one is on the disk. False when it can't be begun now."""
        if not self.flush():
            return False
        if self._next is None and not self._running:
            self._prepare()
        segment, before = self._next, self._segment
        if segment is None:
            self._dirty.set()
            return False
        # The checkpoint holds all that the segments before it do: once it is synced, so is everything.
        superseded, self._unsynced = self._unsynced, deque()
        try:
            self._write(segment, checkpoint, 1)
        except OSError as error:
            self._unsynced = superseded
            log.warning("no new journal segment can be begun: %s", error)
            return False
        self._segment, self._next = segment, None
        if before is not None:
            self._old_fds.append(before.fd)
            self._superfluous.append(self._directory / segment_name(before.number))
        return True

    def _prepare(self) -> None:
        """Make the next segment: its header and its name are on the disk when this returns. Blocks."""
        header = SegmentHeader(os.urandom(SALT_SIZE), 0 if self._segment is None else self._segment.number)
        try:
            newest = max((number for number, _ in list_segments(self._directory)), default=0)
            fd = begin_segment(self._directory, newest + 1, header)
        except OSError as error:
            if not self._unprepared:
                log.warning("no new journal segment can be begun, the old one goes on: %s", error)
            self._unprepared = True
            return
        self._unprepared = False
        self._next = _Segment(newest + 1, fd, header.salt)

    # Syncing

    async def synced(self) -> None:
        """Return when all that was put so far is on the disk, and the journal says so."""
        self.flush()
        goal = self._written + len(self._queue)
        while self._durable < goal:
            self._dirty.set()
            self._urgent.set()
            await self._progress.wait()
        segment = self._segment
        if segment is not None and segment.told < segment.synced:
            # On a full disk the act comes first: what says that it may is worth less.
            with contextlib.suppress(OSError):
                self._write(segment, b"", 0)

    async def run(self) -> None:
        """Sync in groups, and retry a failed write, until cancelled."""
        self._running = True
        while True:
            if self._next is None:
                await anyio.to_thread.run_sync(self._prepare)
            if self._full:
                await anyio.sleep(FSYNC_EVERY_S)
                if not self.flush():
                    continue
            await self._dirty.wait()
            self._dirty = anyio.Event()
            self._urgent = anyio.Event()
            if not await self.sync():
                await anyio.sleep(FSYNC_EVERY_S)
                continue
            with anyio.move_on_after(FSYNC_EVERY_S):
                await self._urgent.wait()

    async def sync(self) -> bool:
        """One group sync, off the loop; False when it failed: then all it was for is written and synced again."""
        segment = self._segment
        if segment is None:
            return True
        goal, end = self._written, segment.end
        superfluous, self._superfluous = self._superfluous, []
        old_fds, self._old_fds = self._old_fds, []
        again = list(self._unsynced) if self._unsafe else []
        try:
            await anyio.to_thread.run_sync(_sync, segment.fd, again)
        except OSError as error:
            if not self._unsafe:
                log.error("the journal can't be synced, shares are not acknowledged: %s", error)
            self._unsafe = True
            self._superfluous[:0] = superfluous
            self._old_fds[:0] = old_fds
            self._dirty.set()
            return False
        if self._unsafe:
            log.warning("the journal can be synced again")
            self._unsafe = False
        segment.synced = max(segment.synced, end)
        self._durable = max(self._durable, goal)
        # After a rotation meanwhile they are the new segment's, which this sync was not for.
        while segment is self._segment and self._unsynced and self._unsynced[0].at < end:
            self._unsynced.popleft()
        progress, self._progress = self._progress, anyio.Event()
        progress.set()
        if superfluous or old_fds:
            await anyio.to_thread.run_sync(discard, superfluous, old_fds)
        return True

    def close(self) -> None:
        """Write and sync what is left and let other processes have the journal."""
        segment = self._segment
        if segment is not None:
            with contextlib.suppress(OSError):
                if self.flush():
                    os.fsync(segment.fd)
                    segment.synced = segment.end
                    self._write(segment, b"", 0)
                    os.fsync(segment.fd)
            os.close(segment.fd)
            self._segment = None
        if self._next is not None:
            os.close(self._next.fd)
            discard([self._directory / segment_name(self._next.number)], ())
            self._next = None
        discard((), self._old_fds)
        self._old_fds.clear()
        self._lock.close()


def _sync(fd: int, again: Sequence[_Written]) -> None:
    for write in again:
        size = sum(map(len, write.parts))
        if os.pwritev(fd, write.parts, write.at) != size:
            raise OSError(errno.ENOSPC, "what a failed sync may have lost could not be written again")
    os.fsync(fd)
