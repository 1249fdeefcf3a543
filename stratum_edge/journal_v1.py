"""Format 1 of the journal, which the first edges wrote: read once, then the journal goes on in format 2.

A segment was a row of records `length(u32) crc32(u32) kind(u8) payload`, little-endian; length and checksum are the
payload's with its kind. The length had no protection of its own.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from stratum_edge.errors import JournalDamaged
from stratum_edge.journal import Kind, Record

_HEAD: Final = struct.Struct("<IIB")
# How every segment of the format began, behind length and checksum.
_BEGIN: Final = bytes([Kind.CHECKPOINT]) + b'{"pool":'
# More than a checkpoint with a few blocks of 4,000,000 bytes.
MAX_PAYLOAD: Final = 256 << 20


def read_records_v1(data: bytes) -> Iterator[Record]:
    """The whole records from the start; ends where the data ends or is torn.

    Torn is a record that runs beyond the end, or nothing but zeros (what a file system may fill in). A broken record
    with more behind it raises JournalDamaged.
    """
    at, size = 0, len(data)
    while at + _HEAD.size <= size:
        length, checksum, kind = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if end > size and length <= MAX_PAYLOAD:
            return
        payload = data[at + _HEAD.size : end]
        if kind not in Kind._value2member_map_ or zlib.crc32(payload, kind) != checksum or length > MAX_PAYLOAD:
            if end == size or not any(data[at:]):
                return
            raise JournalDamaged(f"it breaks at byte {at}, with {size - at} bytes behind")
        yield Record(Kind(kind), payload, end)
        at = end


def may_be_v1(data: bytes) -> bool:
    """Whether a segment begins as format 1 does, as far as it goes; else it is one whose header is damaged."""
    start = data[8 : 8 + len(_BEGIN)]
    return _BEGIN.startswith(start) and int.from_bytes(data[:4], "little") <= MAX_PAYLOAD
