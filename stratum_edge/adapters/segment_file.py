"""A journal's segments as files of a directory: begun, copied, read, discarded. All of it blocks."""

import errno
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from stratum_edge.journal import Record, encode_record
from stratum_edge.segment import HEADER_SIZE, SALT_SIZE, SegmentHeader, encode_frame_head, encode_header

log = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{8})\.journal")


def segment_name(number: int) -> str:
    """The file name of a segment."""
    return f"{number:08d}.journal"


def list_segments(directory: Path) -> list[tuple[int, Path]]:
    """The segments of a journal, oldest first."""
    found = [(_NAME.fullmatch(name), name) for name in os.listdir(directory)]
    return sorted((int(match[1]), directory / name) for match, name in found if match)


def read_segment(path: Path) -> bytes:
    """All bytes of a segment."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 1 << 24):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def begin_segment(directory: Path, number: int, header: SegmentHeader) -> int:
    """Create a segment with its header, both name and header on the disk; its descriptor. Raises OSError."""
    path = directory / segment_name(number)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        data = encode_header(header)
        if os.pwrite(fd, data, 0) != len(data):
            raise OSError(errno.ENOSPC, "the segment's header could not be written whole")
        os.fsync(fd)
        _sync_directory(directory)
    except OSError:
        os.close(fd)
        os.unlink(path)
        raise
    return fd


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def begin_copy(directory: Path, number: int, before: int, records: Iterable[Record]) -> Path:
    """Write a whole segment of records, on the disk when this returns; its path. Raises OSError; what it began is
    gone then.
    """
    header = SegmentHeader(os.urandom(SALT_SIZE), before)
    fd = begin_segment(directory, number, header)
    try:
        # In one frame: a crash meanwhile leaves all of it or nothing.
        body = b"".join(encode_record(record.kind, record.payload) for record in records)
        data = encode_frame_head(header.salt, HEADER_SIZE, body, HEADER_SIZE, 0, 0) + body
        if os.pwrite(fd, data, HEADER_SIZE) != len(data):
            raise OSError(errno.ENOSPC, "the segment could not be written whole")
        os.fsync(fd)
    except OSError:
        os.unlink(directory / segment_name(number))
        raise
    finally:
        os.close(fd)
    return directory / segment_name(number)


def discard(paths: Iterable[Path], fds: Iterable[int]) -> None:
    """Close descriptors and remove files, those that are there."""
    for fd in fds:
        os.close(fd)
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            # The next start takes the newest segment and tries again.
            log.warning("the old journal segment %s can't be removed: %s", path, error)
