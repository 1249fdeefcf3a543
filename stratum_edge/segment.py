"""A journal's segment as bytes: a header, then frames, one a write (format 2).

    header  magic(8) salt(8) before(u32) crc32(u32)
    frame   mark(4) length(u32) crc32 of the body(u32) durable(u64) records(u32) sealed(u32) crc32(u32)   body

All numbers are little-endian. `before` is the segment this one replaces, 0 for none. A frame's own checksum covers its
head, the segment's random salt and its place, so that nothing inside of a body passes for a frame and a broken length
can't hide what stands behind: the next frame is found by looking for it. `durable` says how much of the segment was on
the disk when the frame was written; `records` and `sealed` count the records and the closed batches before it.

So the three ways a segment can end or break are told apart:

- torn: no frame stands behind the break. The last write was cut short; it is cut off.
- lost with the power: frames stand behind, none says that the broken place was on the disk, and disk blocks there are
  zeros, never written. What was not synced may go in any order: all from there is cut off, nothing of it was acted on.
- damaged: anything else. Never cut off: what stood there may have been published.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

# The fourth byte tells format 2 from format 1, whose first four bytes are a length below 1 << 28.
MAGIC: Final = b"ncJRNL2\n"
_HEADER: Final = struct.Struct("<8s8sII")
HEADER_SIZE: Final = _HEADER.size
SALT_SIZE: Final = 8
# Each byte with several bits set: no flipped bit makes a mark of zeros, or zeros of a mark.
_MARK: Final = b"\xf5\x9e\xa7\xdb"
_FRAME: Final = struct.Struct("<4sIIQII")
_CHECK: Final = struct.Struct("<I")
FRAME_HEAD_SIZE: Final = _FRAME.size + _CHECK.size
_PLACE: Final = struct.Struct("<8sQ")
# What a disk writes whole or not at all.
_DISK_BLOCK: Final = 512
_ZEROS: Final = bytes(_DISK_BLOCK)


class SegmentHeader(NamedTuple):
    """A segment's salt (8 bytes) and the number of the segment it replaces, 0 for none."""

    salt: bytes
    before: int


def encode_header(header: SegmentHeader) -> bytes:
    """The first bytes of a segment."""
    text = _HEADER.pack(MAGIC, header.salt, header.before, 0)[: -_CHECK.size]
    return text + _CHECK.pack(zlib.crc32(text))


def decode_header(data: bytes) -> SegmentHeader | None:
    """The header a segment begins with; None if it is not whole or not of this format."""
    if len(data) < HEADER_SIZE or not data.startswith(MAGIC):
        return None
    _, salt, before, check = _HEADER.unpack_from(data)
    if check != zlib.crc32(data[: HEADER_SIZE - _CHECK.size]):
        return None
    return SegmentHeader(salt, before)


def encode_frame_head(salt: bytes, at: int, body: bytes, durable: int, records: int, sealed: int) -> bytes:
    """The head of a frame written at offset `at`; the body follows it."""
    head = _FRAME.pack(_MARK, len(body), zlib.crc32(body), durable, records, sealed)
    return head + _CHECK.pack(zlib.crc32(head, zlib.crc32(_PLACE.pack(salt, at))))


class Frame(NamedTuple):
    """A frame whose head is whole: from `at` to `end`; `body` is None when it is broken or cut short."""

    at: int
    end: int
    durable: int
    records: int
    sealed: int
    body: bytes | None


def frame_at(data: bytes, salt: bytes, at: int) -> Frame | None:
    """The frame that begins there, None if none does."""
    if at + FRAME_HEAD_SIZE > len(data) or data[at : at + len(_MARK)] != _MARK:
        return None
    head = data[at : at + _FRAME.size]
    (check,) = _CHECK.unpack_from(data, at + _FRAME.size)
    if check != zlib.crc32(head, zlib.crc32(_PLACE.pack(salt, at))):
        return None
    _, length, body_check, durable, records, sealed = _FRAME.unpack(head)
    start = at + FRAME_HEAD_SIZE
    body: bytes | None = data[start : start + length]
    if body is None or len(body) != length or zlib.crc32(body) != body_check:
        body = None
    return Frame(at, start + length, durable, records, sealed, body)


def frames_from(data: bytes, salt: bytes, at: int) -> Iterator[Frame]:
    """All frames with a whole head from `at` on, over broken places."""
    while True:
        frame = frame_at(data, salt, at)
        if frame is None:
            at = data.find(_MARK, at + 1)
            if at < 0:
                return
            continue
        yield frame
        # A broken body has a true length, its head says so.
        at = frame.end


@dataclass(frozen=True, slots=True)
class Scan:
    """A segment, looked through. `whole`: the frames up to the first break; `end`: the offset behind them.

    `behind`: frames with a whole head after the break, the broken one itself not among them. `damaged`: whether they
    prove the break to be damage; if not, what is from `end` on was never promised to anyone and may be cut off.
    """

    header: SegmentHeader
    whole: tuple[Frame, ...]
    end: int
    behind: tuple[Frame, ...]
    damaged: bool


def scan(data: bytes, header: SegmentHeader) -> Scan:
    """Look through a segment whose header is whole."""
    whole: list[Frame] = []
    end = HEADER_SIZE
    while (frame := frame_at(data, header.salt, end)) is not None and frame.body is not None:
        whole.append(frame)
        end = frame.end
    behind = tuple(frames_from(data, header.salt, end if frame is None else frame.end))
    damaged = False
    if behind:
        was_synced = max(other.durable for other in behind) > end
        damaged = was_synced or not _never_written(data, end, behind[0].at)
    return Scan(header, tuple(whole), end, behind, damaged)


def _never_written(data: bytes, start: int, stop: int) -> bool:
    """Whether a disk block between two offsets is zeros: from its begin, or from `start`, to its end."""
    at = start
    while at < stop:
        edge = at - at % _DISK_BLOCK + _DISK_BLOCK
        if edge > stop:
            return False
        if data[at:edge] == _ZEROS[: edge - at]:
            return True
        at = edge
    return False
