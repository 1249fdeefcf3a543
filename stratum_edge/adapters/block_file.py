"""The embedded chain's append-only file of blocks: each record is on the disk before its block counts.

The file starts with a line that names its format. A record is the block's length (u32, little-endian), the first
four bytes of the double SHA-256 of length and block, and the block.
"""

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nips.pool.hashing import sha256d
from stratum_edge.errors import ChainStoreError
from stratum_edge.wire import MAX_SIZE

log = logging.getLogger(__name__)

FORMAT = b"noncestr blocks 1\n"
_LENGTH_BYTES = 4
_CHECK_BYTES = 4
_HEAD_BYTES = _LENGTH_BYTES + _CHECK_BYTES


def _check(length: bytes, block: bytes) -> bytes:
    return sha256d(length + block)[:_CHECK_BYTES]


class BlockFile:
    """Blocks in the order they were accepted for processing; one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; raises `ChainStoreError` if another process has it or it is another format."""
        self._path = path
        created = not path.exists()
        # Unbuffered, so that what a write returned from is the kernel's to keep.
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ChainStoreError(f"{path} is in use by another process") from None
        start = os.pread(self._file.fileno(), len(FORMAT), 0)
        if start == FORMAT:
            return
        if not FORMAT.startswith(start):
            self._file.close()
            raise ChainStoreError(f"{path} is not a block file of this format")
        self._file.truncate(0)
        self._write(FORMAT)
        if created:
            # A new name is only safe once its directory is on the disk.
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def replay(self) -> Iterator[bytes]:
        """Every whole block in order; then cuts off a torn tail, which is what a crash in `append` leaves.

        Raises `ChainStoreError` for damage that is not at the end: nothing after it could be trusted.
        """
        offset = len(FORMAT)
        with self._path.open("rb") as reading:
            reading.seek(offset)
            while head := reading.read(_HEAD_BYTES):
                length = int.from_bytes(head[:_LENGTH_BYTES], "little")
                block = reading.read(length) if 0 < length <= MAX_SIZE else b""
                if len(head) == _HEAD_BYTES and block and head[_LENGTH_BYTES:] == _check(head[:_LENGTH_BYTES], block):
                    yield block
                    offset += _HEAD_BYTES + length
                    continue
                # A torn record runs up to the end of the file, or is zeros the file system filled in.
                reading.seek(offset)
                rest = reading.read()
                if len(rest) > _HEAD_BYTES + length and any(rest):
                    raise ChainStoreError(f"{self._path} is damaged at byte {offset}, before its end")
                torn = self._path.with_suffix(".torn")
                torn.write_bytes(rest)
                log.warning("cut a torn record of %d bytes off %s, kept in %s", len(rest), self._path, torn)
                self._file.truncate(offset)
                os.fsync(self._file.fileno())
                return

    def append(self, blocks: Sequence[bytes]) -> None:
        """Write the blocks and return when they are on the disk; raises OSError with the file as it was before."""
        records = []
        for block in blocks:
            length = len(block).to_bytes(_LENGTH_BYTES, "little")
            records.append(b"".join((length, _check(length, block), block)))
        self._write(b"".join(records))

    def _write(self, data: bytes) -> None:
        size = self._file.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(data):
                written += self._file.write(data[written:])
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(size)
            raise

    def close(self) -> None:
        """Close the file, which also lets other processes have it."""
        self._file.close()
