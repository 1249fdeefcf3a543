"""The pure-Python twin of the native hash lanes (`_lanes.c`): the same calls, results and errors, by hashlib."""

import hashlib
import struct
from collections.abc import Sequence

from nips.pool.hashing import sha256d
from nips.pool.sizes import BINDING_SIZE, EXTRANONCE1_SIZE, EXTRANONCE2_SIZE

MAX_BRANCHES = 32
_HASH_SIZE = 32
_SHARE = struct.Struct("<8sIII")
_RECORD = struct.Struct("<I4xIII8s")
# The low 24 bits of a record's first word: session | job << 16.
_PLACE = 0xFFFFFF
_MEETS_NOTHING = b"\xff" * _HASH_SIZE
_MAX_U32 = 0xFFFFFFFF
_U32 = struct.Struct("<I")


def _expect_size(what: str, size: int, expected: int) -> None:
    if size != expected:
        raise ValueError(f"{what} has {expected} bytes, not {size}")


def _u32(value: int, what: str) -> bytes:
    if not isinstance(value, int) or not 0 <= value <= _MAX_U32:
        raise ValueError(f"{what} is a u32")
    return _U32.pack(value)


class Job:
    """A job made ready to hash. `branches`: 32 bytes each, joined. Hashes are in serialisation order."""

    __slots__ = ("branches", "coinb1", "coinb2", "nbits", "prevhash")

    def __init__(self, coinb1: bytes, coinb2: bytes, branches: bytes, prevhash: bytes, nbits: int, /) -> None:
        self.nbits = _u32(nbits, "nbits")
        if len(branches) % _HASH_SIZE or len(branches) > MAX_BRANCHES * _HASH_SIZE:
            raise ValueError(f"branches are up to {MAX_BRANCHES} of 32 bytes, not {len(branches)} bytes")
        _expect_size("prevhash", len(prevhash), _HASH_SIZE)
        self.coinb1 = hashlib.sha256(coinb1)
        self.coinb2 = bytes(coinb2)
        self.branches = tuple(bytes(branches[at : at + _HASH_SIZE]) for at in range(0, len(branches), _HASH_SIZE))
        self.prevhash = bytes(prevhash)

    def bind(self, binding: bytes, extranonce1: bytes, /) -> "Bound":
        """The job as one session hashes it. `binding`: 32 bytes; `extranonce1`: 4."""
        _expect_size("binding", len(binding), BINDING_SIZE)
        _expect_size("extranonce1", len(extranonce1), EXTRANONCE1_SIZE)
        return Bound(self, bytes(binding) + bytes(extranonce1))


class Bound:
    """A job as one session hashes it: the SHA-256 state over `coinb1 || binding || extranonce1` is kept."""

    __slots__ = ("_job", "_state")

    def __init__(self, job: Job, push: bytes) -> None:
        self._job = job
        self._state = job.coinb1.copy()
        self._state.update(push)

    def hash(self, extranonce2: bytes, ntime: int, nonce: int, version: int, /) -> bytes:
        """One share's hash, 32 bytes in serialisation order."""
        if not isinstance(extranonce2, bytes):
            raise TypeError("extranonce2 is bytes")
        _expect_size("extranonce2", len(extranonce2), EXTRANONCE2_SIZE)
        return self.hash_packed(extranonce2, _u32(ntime, "ntime"), _u32(nonce, "nonce"), _u32(version, "version"))

    def hash_packed(self, extranonce2: bytes, ntime: bytes, nonce: bytes, version: bytes) -> bytes:
        """The same for the header's own bytes."""
        job, state = self._job, self._state.copy()
        state.update(extranonce2 + job.coinb2)
        node = hashlib.sha256(state.digest()).digest()
        for branch in job.branches:
            node = sha256d(node + branch)
        return sha256d(version + job.prevhash + node + ntime + job.nbits + nonce)


def _bound(value: object) -> Bound:
    if not isinstance(value, Bound):
        raise TypeError("shares are hashed for what bind() of the pure lanes gave")
    return value


def hash_shares(bounds: Sequence[object], shares: bytes | bytearray | memoryview, /) -> bytes:
    """The hashes of packed shares, the n-th for the n-th of `bounds`, joined."""
    bounds = tuple(bounds)
    if len(shares) != len(bounds) * _SHARE.size:
        raise ValueError(f"{len(bounds)} shares are {len(bounds) * _SHARE.size} bytes, not {len(shares)}")
    rows = _SHARE.iter_unpack(shares)
    return b"".join(_bound(bound).hash(*row) for bound, row in zip(bounds, rows, strict=True))


def hash_records(bounds: dict[int, object], records: bytes | bytearray | memoryview, /) -> bytes:
    """The hashes of a receipt's packed records, joined; `bounds` by session | job << 16."""
    if len(records) % _RECORD.size:
        raise ValueError(f"records of {_RECORD.size} bytes do not fill {len(records)}")
    if not isinstance(bounds, dict):
        raise TypeError("bounds are a dict")
    places: dict[int, Bound] = {}
    for place, bound in bounds.items():
        if not isinstance(place, int) or not 0 <= place <= _PLACE:
            raise ValueError("a place in a receipt is session | job << 16")
        places[place] = _bound(bound)
    hashes = []
    for word, ntime, nonce, version, extranonce2 in _RECORD.iter_unpack(records):
        work = places.get(word & _PLACE)
        hashes.append(_MEETS_NOTHING if work is None else work.hash(extranonce2, ntime, nonce, version))
    return b"".join(hashes)
