"""The journal on the disk: segments `NNNNNNNN.journal` in a directory of their own, one process at a time.

A record is handed to the kernel before what it tells is acknowledged, so it outlives the process however that ends.
Power loss is bounded by the group sync: what was written is on the disk FSYNC_EVERY_S plus one sync later, and what
must be there before an act (a receipt before it is sent) waits for `synced`.
"""

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from stratum_edge.errors import JournalInUse
from stratum_edge.journal import Record, Recovered, read_records, recover

log = logging.getLogger(__name__)

# A group sync this long after the first write at most: ten a second is cheap on any disk.
FSYNC_EVERY_S: Final = 0.1
_NAME = re.compile(r"(\d{8})\.journal")


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
        self._fd = -1
        self._number = 0
        self._size = 0
        self._queue: list[bytes] = []
        self._queued = 0
        # Bytes ever written and ever synced by this process: what `synced` waits on.
        self._written = 0
        self._durable = 0
        self._dirty = anyio.Event()
        self._progress = anyio.Event()
        self._failed = False
        self._torn = False
        # Segments a newer one replaces, to go once it is on the disk; None: the directory has not changed.
        self._superfluous: list[Path] | None = None

    @property
    def size(self) -> int:
        """Bytes of the current segment, unwritten ones included."""
        return self._size + self._queued

    @property
    def failed(self) -> bool:
        """Whether the last write did not succeed: nothing may be acknowledged."""
        return self._failed

    def _segments(self) -> list[tuple[int, Path]]:
        found = [(_NAME.fullmatch(path.name), path) for path in self._directory.iterdir()]
        return sorted((int(match[1]), path) for match, path in found if match)

    def recover(self) -> Recovered | None:
        """What the newest usable segment adds up to; None for an empty journal. Its torn tail is cut off.

        Raises JournalDamaged.
        """
        segments = self._segments()
        while segments:
            number, path = segments.pop()
            data = path.read_bytes()
            end = 0

            def whole(data: bytes = data) -> Iterator[Record]:
                nonlocal end
                for record in read_records(data):
                    end = record.end
                    yield record

            recovered = recover(whole())
            if end < len(data):
                torn = path.with_suffix(".torn")
                torn.write_bytes(data[end:])
                log.warning("cut a torn record of %d bytes off %s, kept in %s", len(data) - end, path, torn)
                os.truncate(path, end)
            self._number = max(self._number, number)
            if recovered is None:
                # The crash came while this segment was begun: the one before it is still there and whole.
                path.unlink()
                continue
            self._superfluous = [old for _, old in segments]
            self._open(path)
            self._size = end
            return recovered
        return None

    def _open(self, path: Path) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd

    def put(self, record: bytes) -> None:
        """Queue a record for the next flush."""
        self._queue.append(record)
        self._queued += len(record)

    def flush(self) -> bool:
        """Write what was put, in one write; False when the disk does not take it, then all of it is kept."""
        if not self._queue:
            return not self._failed
        data = b"".join(self._queue) if len(self._queue) > 1 else self._queue[0]
        try:
            if self._torn:
                os.ftruncate(self._fd, self._size)
                self._torn = False
            written = os.write(self._fd, data)
            if written != len(data):
                # Cut off now or, if even that fails, before the next try: what follows must begin at a record.
                self._torn = True
                os.ftruncate(self._fd, self._size)
                self._torn = False
                raise OSError(28, f"only {written} of {len(data)} bytes could be written")
        except OSError as error:
            if not self._failed:
                log.error("the journal can't be written, shares are not acknowledged: %s", error)
            self._failed = True
            self._queue = [data]
            self._dirty.set()  # wakes `run`, which tries again
            return False
        if self._failed:
            log.warning("the journal can be written again")
            self._failed = False
        self._queue.clear()
        self._queued = 0
        self._size += len(data)
        self._written += len(data)
        self._dirty.set()
        return True

    def rotate(self, checkpoint: bytes) -> bool:
        """Begin a segment. The older ones go once this one is on the disk. False when it can't be begun now."""
        if not self.flush():
            return False
        before = self._segments()
        path = self._directory / f"{self._number + 1:08d}.journal"
        old_fd = self._fd
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("no new journal segment can be begun: %s", error)
            return False
        try:
            if os.write(fd, checkpoint) != len(checkpoint):
                raise OSError(28, "the checkpoint could not be written whole")
        except OSError as error:
            log.warning("no new journal segment can be begun: %s", error)
            os.close(fd)
            path.unlink(missing_ok=True)
            return False
        if old_fd >= 0:
            os.close(old_fd)
        self._fd = fd
        self._number += 1
        self._size = len(checkpoint)
        self._written += len(checkpoint)
        self._superfluous = [old for _, old in before]
        self._dirty.set()
        return True

    async def synced(self) -> None:
        """Return when all that was put so far is on the disk."""
        self.flush()
        goal = self._written + self._queued
        while self._durable < goal:
            await self._progress.wait()

    def _sync(self, fd: int, superfluous: list[Path] | None) -> None:
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        if superfluous is not None:
            directory = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
            for path in superfluous:
                path.unlink(missing_ok=True)

    async def run(self) -> None:
        """Sync in groups, and retry a failed write, until cancelled."""
        while True:
            if self._failed:
                await anyio.sleep(FSYNC_EVERY_S)
                self.flush()
                continue
            await self._dirty.wait()
            self._dirty = anyio.Event()
            await self.sync()
            await anyio.sleep(FSYNC_EVERY_S)

    async def sync(self) -> None:
        """One group sync, off the loop."""
        goal = self._written
        superfluous, self._superfluous = self._superfluous, None
        try:
            # A duplicate, since a rotation may close the segment's own descriptor meanwhile.
            await anyio.to_thread.run_sync(self._sync, os.dup(self._fd), superfluous)
        except OSError as error:
            log.error("the journal can't be synced: %s", error)
            if superfluous is not None:
                self._superfluous = [*superfluous, *(self._superfluous or ())]
            self._dirty.set()
            return
        self._durable = max(self._durable, goal)
        progress, self._progress = self._progress, anyio.Event()
        progress.set()

    def close(self) -> None:
        """Write and sync what is left and let other processes have the journal."""
        if self._fd >= 0:
            if self.flush():
                os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._lock.close()
