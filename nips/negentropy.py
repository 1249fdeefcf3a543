"""Negentropy, protocol 1 (NIP-77's appendix): two sides find out which records only one of them has.

The initiator learns both differences, the responder nothing. Ranges whose fingerprints agree are left alone, others are
split until they are short enough to be listed. Records are (created_at, id); the text layer is nips.nip77.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from nips.errors import NipError

PROTOCOL_VERSION = 0x61
ID_SIZE = 32
FINGERPRINT_SIZE = 16
# strfry and nostr-sdk answer with messages of 60,000 bytes too: 120,000 digits of hex fit every relay's frames.
FRAME_LIMIT = 60_000
# What follows a full message (a bound and a fingerprint) takes less than RESERVE; a split range takes some 1,100.
MIN_FRAME_LIMIT = 4096
_RESERVE = 200
# Peers without a limit of their own send long lists. This is 15,000 ids, as hex a frame of 1 MB.
MAX_MESSAGE = 500_000
# A million ids in messages of FRAME_LIMIT take some 600 turns. Who needs more is not getting closer.
MAX_TURNS = 2_000
# As many as strfry reconciles at once (maxSyncEvents); 32 MB of ids.
MAX_NEED = 1_000_000

_SKIP, _FINGERPRINT, _ID_LIST = 0, 1, 2
_BUCKETS = 16
# "Items may not use the max uint64 value (2**64 - 1) as a timestamp": it stands for infinity.
_INFINITY_TIME = 2**64 - 1
_INFINITY = b"\xff" * 8
# Sums are kept for every so many records: a fingerprint then adds up at most twice as many.
_STRIDE = 128


class InvalidNegentropy(NipError):
    """A message breaks the negentropy protocol, or its sender leads nowhere."""


class UnsupportedVersion(InvalidNegentropy):
    """The other side speaks another version of negentropy; nothing was reconciled."""


def _number(record: bytes) -> int:
    return int.from_bytes(record[8:], "little")


def _varint(number: int) -> bytes:
    """ "Base-128 digits, most significant digit first, with as few digits as possible"."""
    digits = [number & 127]
    while number := number >> 7:
        digits.append(number & 127 | 128)
    return bytes(reversed(digits))


class RecordSet:
    """Records of one side, sorted by (created_at, id), as keys of 40 bytes: created_at big-endian, then the id."""

    __slots__ = ("_keys", "_sums")

    def __init__(self, records: Iterable[tuple[int, str]]) -> None:
        """`records`: created_at in Unix seconds and the id in hex; one given twice counts once."""
        self._keys = sorted({created_at.to_bytes(8, "big") + bytes.fromhex(id_) for created_at, id_ in records})
        if any(len(key) != 8 + ID_SIZE or key.startswith(_INFINITY) for key in self._keys):
            raise ValueError("a record has a time below 2**64 - 1 and an id of 32 bytes")
        self._sums = [0]
        for start in range(0, len(self._keys) - _STRIDE + 1, _STRIDE):
            self._sums.append(self._sums[-1] + sum(map(_number, self._keys[start : start + _STRIDE])))

    def __len__(self) -> int:
        return len(self._keys)

    def _sum(self, end: int) -> int:
        whole = end // _STRIDE
        return self._sums[whole] + sum(map(_number, self._keys[whole * _STRIDE : end]))

    def fingerprint(self, lower: int, upper: int) -> bytes:
        """16 bytes over the ids of records number `lower` up to, not including, `upper`."""
        if upper - lower < 2 * _STRIDE:
            total = sum(map(_number, self._keys[lower:upper]))
        else:
            total = self._sum(upper) - self._sum(lower)
        added = (total % 2**256).to_bytes(32, "little")
        digest = hashlib.sha256(added + _varint(upper - lower)).digest()
        return digest[:FINGERPRINT_SIZE]

    def index(self, bound: bytes, start: int) -> int:
        """The number of the first record, from `start` on, that is not below a bound."""
        return bisect_left(self._keys, bound, lo=start)

    def key(self, number: int) -> bytes:
        """The record of that number: 8 bytes of created_at, 32 of id."""
        return self._keys[number]

    def ids(self, lower: int, upper: int) -> list[bytes]:
        """The ids of these records."""
        return [key[8:] for key in self._keys[lower:upper]]


class _Reader:
    """A message under the eyes of its parser."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._time = 0

    @property
    def done(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise InvalidNegentropy("the message ends in the middle of a range")
        self._at += count
        return piece

    def varint(self) -> int:
        number = 0
        # 64 bits have ten digits of seven.
        for place in range(10):
            digit = self.take(1)[0]
            if place == 0 and digit == 0x80:
                raise InvalidNegentropy("a number starts with a zero digit")
            number = number << 7 | digit & 127
            if digit < 128:
                return number
        raise InvalidNegentropy("a number has more than ten digits")

    def bound(self) -> bytes:
        """A bound as the beginning of a key; ranges end with ever higher ones."""
        offset = self.varint()
        prefix = self.varint()
        if prefix > ID_SIZE:
            raise InvalidNegentropy(f"a bound has {prefix} bytes of an id")
        if offset == 0:
            if prefix:
                raise InvalidNegentropy("the infinite bound has no id")
            return _INFINITY
        self._time += offset - 1
        if self._time >= _INFINITY_TIME:
            raise InvalidNegentropy("a bound lies beyond infinity")
        return self._time.to_bytes(8, "big") + self.take(prefix)

    def id_list(self) -> list[bytes]:
        count = self.varint()
        data = self.take(count * ID_SIZE) if count <= MAX_MESSAGE // ID_SIZE else b""
        if not data and count:
            raise InvalidNegentropy("a list has more ids than a message")
        return [data[at : at + ID_SIZE] for at in range(0, len(data), ID_SIZE)]


class _Writer:
    """A message in the making. `settled` counts our records in the ranges that are written."""

    def __init__(self, frame_limit: int) -> None:
        self.data = bytearray([PROTOCOL_VERSION])
        self.settled = 0
        self._room = frame_limit - _RESERVE
        self._time = 0

    def is_full(self, more: int = 0) -> bool:
        return len(self.data) + more > self._room

    def ids_left(self, before: int) -> int:
        """How many ids make the frame full, after so many bytes."""
        return max(0, (self._room - len(self.data) - before) // ID_SIZE + 1)

    def range(self, bound: bytes, mode: int, payload: bytes = b"") -> bytes:
        """A range's bytes, not yet added."""
        if bound == _INFINITY:
            return b"\0\0" + bytes([mode]) + payload
        time = int.from_bytes(bound[:8], "big")
        offset, self._time = time - self._time, time
        prefix = bound[8:]
        return _varint(offset + 1) + bytes([len(prefix)]) + prefix + bytes([mode]) + payload

    def ids(self, bound: bytes, ids: list[bytes]) -> bytes:
        return self.range(bound, _ID_LIST, _varint(len(ids)) + b"".join(ids))

    def add(self, ranges: bytes, settled: int) -> None:
        self.data += ranges
        self.settled = settled


def _divide(before: bytes, after: bytes) -> bytes:
    """The shortest bound above one key and not above the next."""
    if before[:8] != after[:8]:
        return after[:8]
    shared = next(at for at in range(8, len(after)) if before[at] != after[at])
    return after[: shared + 1]


def _split(records: RecordSet, lower: int, upper: int, bound: bytes, out: _Writer) -> bytes:
    """Our records of a range: listed when there are few, else as fingerprints of its parts."""
    count = upper - lower
    if count < 2 * _BUCKETS:
        return out.ids(bound, records.ids(lower, upper))
    size, larger = divmod(count, _BUCKETS)
    parts = []
    for bucket in range(_BUCKETS):
        end = lower + size + (bucket < larger)
        last = bound if end == upper else _divide(records.key(end - 1), records.key(end))
        parts.append(out.range(last, _FINGERPRINT, records.fingerprint(lower, end)))
        lower = end
    return b"".join(parts)


@dataclass(slots=True)
class _Found:
    """What the initiator learns from a message: ids that only we have, that only they have."""

    have: list[bytes]
    need: list[bytes]

    def compare(self, ours: list[bytes], theirs: list[bytes]) -> None:
        missing = dict.fromkeys(theirs)
        for id_ in ours:
            if id_ in missing:
                del missing[id_]
            else:
                self.have.append(id_)
        self.need.extend(missing)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a message taught the initiator: ids (hex) that only we have, that only they have; and what to send next,
    None when all is known. A liar may name ids as needed that exist nowhere, or that we have.
    """

    have: tuple[str, ...]
    need: tuple[str, ...]
    reply: bytes | None


def _check_limit(frame_limit: int) -> None:
    if frame_limit < MIN_FRAME_LIMIT:
        raise ValueError(f"a frame has room for {MIN_FRAME_LIMIT} bytes at least")


def _open(message: bytes) -> _Reader | None:
    """A reader behind the version byte, None for another version."""
    if len(message) > MAX_MESSAGE:
        raise InvalidNegentropy(f"a message has at most {MAX_MESSAGE} bytes")
    reader = _Reader(message)
    version = reader.take(1)[0]
    # "Protocol version 2 will be 0x62, and so forth."
    if not 0x60 <= version <= 0x6F:
        raise InvalidNegentropy("this is no message of negentropy")
    return reader if version == PROTOCOL_VERSION else None


def _reconcile(records: RecordSet, reader: _Reader, out: _Writer, found: _Found | None) -> None:
    """Go through the ranges of a message and write the answer. Only the initiator has a `found`."""
    lower, start, skipping = 0, bytes(8), False
    while not reader.done:
        bound = reader.bound()
        if bound < start:
            raise InvalidNegentropy("the ranges of a message are not in order")
        mode = reader.varint()
        upper = records.index(bound, lower)
        if mode == _FINGERPRINT:
            differs = reader.take(FINGERPRINT_SIZE) != records.fingerprint(lower, upper)
        elif mode == _ID_LIST:
            theirs = reader.id_list()
            differs = found is None
            if found is not None:
                found.compare(records.ids(lower, upper), theirs)
        elif mode == _SKIP:
            differs = False
        else:
            raise InvalidNegentropy(f"a range has the unknown mode {mode}")
        if differs:
            answer = out.range(start, _SKIP) if skipping else b""
            if mode == _FINGERPRINT:
                answer += _split(records, lower, upper, bound, out)
                fits = not out.is_full(len(answer))
                end = upper
            else:
                end = min(upper, lower + out.ids_left(len(answer)))
                answer += out.ids(bound if end == upper else records.key(end), records.ids(lower, end))
                fits = True
            if fits:
                out.add(answer, end)
            if not fits or end < upper or (out.is_full() and bound != _INFINITY):
                # What does not fit stays open: one fingerprint over all that no written range covers.
                rest = records.fingerprint(out.settled, len(records))
                out.add(out.range(_INFINITY, _FINGERPRINT, rest), len(records))
                return
        skipping = not differs
        lower, start = upper, bound


class Initiator:
    """The side that asks and learns. Send `open()`, then each turn's reply, until there is none."""

    def __init__(self, records: RecordSet, *, frame_limit: int = FRAME_LIMIT) -> None:
        _check_limit(frame_limit)
        self._records = records
        self._frame_limit = frame_limit
        self._turns = 0
        self._needed = 0

    def open(self) -> bytes:
        """The first message."""
        out = _Writer(self._frame_limit)
        out.add(_split(self._records, 0, len(self._records), _INFINITY, out), len(self._records))
        return bytes(out.data)

    def receive(self, message: bytes) -> Turn:
        """What the responder's message teaches. Raises InvalidNegentropy, UnsupportedVersion."""
        self._turns += 1
        if self._turns > MAX_TURNS:
            raise InvalidNegentropy(f"{MAX_TURNS} messages brought no end")
        reader = _open(message)
        if reader is None:
            raise UnsupportedVersion(f"the other side speaks version {message[0] - 0x60} of negentropy")
        out = _Writer(self._frame_limit)
        found = _Found([], [])
        _reconcile(self._records, reader, out, found)
        self._needed += len(found.need)
        if self._needed > MAX_NEED:
            raise InvalidNegentropy(f"the other side names more than {MAX_NEED} ids")
        have, need = (tuple(id_.hex() for id_ in ids) for ids in (found.have, found.need))
        return Turn(have, need, bytes(out.data) if len(out.data) > 1 else None)


class Responder:
    """The side that answers. It keeps nothing between messages but its records."""

    def __init__(self, records: RecordSet, *, frame_limit: int = FRAME_LIMIT) -> None:
        _check_limit(frame_limit)
        self._records = records
        self._frame_limit = frame_limit

    def answer(self, message: bytes) -> bytes:
        """The answer to a message; to another version, the one we speak. Raises InvalidNegentropy."""
        out = _Writer(self._frame_limit)
        reader = _open(message)
        if reader is not None:
            _reconcile(self._records, reader, out, None)
        return bytes(out.data)
