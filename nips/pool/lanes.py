"""The hash path of shares, many at once: native lanes where they were built, else the pure-Python twin.

The modules `_lanes` (C) and `pure_lanes` have the same calls. One of them is chosen once, at the start: work bound by
the one means nothing to the other.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from nips.pool import pure_lanes

try:
    from nips.pool import _lanes
except ImportError as error:
    _missing = f"the native lanes are not built ({error})"
else:
    _missing = ""

# How `hash_shares` takes a share: extranonce2, then the header's own ntime, nonce and version, little-endian.
SHARE = struct.Struct("<8sIII")
HASH_SIZE = 32
# Jobs made ready that are kept: an edge has a few at once, a batch names those of some seconds. A job with the largest
# coinbase that an event can carry takes 120 KB.
KEPT_JOBS = 64
# Longer than two blocks, so that the state passes from one to the next.
_KNOWN = bytes(range(200))


class Bound(Protocol):
    """A job as one session of one miner at one target hashes it."""

    def hash(self, extranonce2: bytes, ntime: int, nonce: int, version: int, /) -> bytes:
        """One share's hash, 32 bytes in serialisation order. Raises ValueError for what isn't 8 bytes or u32."""


class JobWork(Protocol):
    """A job made ready to hash."""

    def bind(self, binding: bytes, extranonce1: bytes, /) -> Bound:
        """The job for one session. `binding`: 32 bytes; `extranonce1`: 4. Raises ValueError for other sizes."""


def _fault() -> str:
    """Why the native lanes can't be used, "" if they can: each kernel of this CPU hashes something known first."""
    if _missing:
        return _missing
    kernels, _, _ = _lanes.kernels()
    for number, (name, width, usable) in enumerate(kernels):
        if usable and _lanes.sha256(_KNOWN, number) != hashlib.sha256(_KNOWN).digest() * width:
            return f"the native {name} hash wrongly on this CPU"
    return ""


class _Choice:
    """Which implementation is in use: `reason` says why the pure one is, and is "" for the native one."""

    reason = _fault()


def implementation() -> str:
    """What hashes, for the log: "native, 16 lanes (avx512), 2 lanes (sha) for the rest" or "pure Python: <why>"."""
    if _Choice.reason:
        return f"pure Python: {_Choice.reason}"
    kernels, wide, narrow = _lanes.kernels()
    rest = "" if wide == narrow else f", {kernels[narrow][0]} for the rest"
    return f"native, {kernels[wide][0]}{rest}"


def is_native() -> bool:
    """Are the native lanes in use?"""
    return not _Choice.reason


def use_pure(reason: str) -> None:
    """Hash in pure Python from now on, for `reason`. Nothing may be bound yet."""
    _Choice.reason = reason
    job_work.cache_clear()


def use_native() -> bool:
    """Hash natively from now on if that can be, and say if so. Nothing may be bound yet."""
    _Choice.reason = _fault()
    job_work.cache_clear()
    return not _Choice.reason


@lru_cache(maxsize=KEPT_JOBS)
def job_work(coinb1: bytes, coinb2: bytes, merkle: tuple[bytes, ...], prevhash: bytes, nbits: int) -> JobWork:
    """A job made ready to hash. Raises ValueError for more than 32 branches, or hashes that are not 32 bytes."""
    if any(len(branch) != HASH_SIZE for branch in merkle):
        raise ValueError("a merkle branch has 32 bytes")
    branches = b"".join(merkle)
    if _Choice.reason:
        return pure_lanes.Job(coinb1, coinb2, branches, prevhash, nbits)
    return _lanes.Job(coinb1, coinb2, branches, prevhash, nbits)


def hash_shares(bounds: Sequence[Bound], shares: bytes | bytearray | memoryview) -> bytes:
    """The hashes of shares of any sessions and jobs, 32 bytes each in serialisation order, joined.

    `shares`: as SHARE packs them, 20 bytes each, the n-th for the n-th of `bounds`. Raises ValueError for another size.
    """
    if _Choice.reason:
        return pure_lanes.hash_shares(bounds, shares)
    return _lanes.hash_shares(bounds, shares)


def hash_records(bounds: Mapping[int, Bound], records: bytes | bytearray | memoryview) -> bytes:
    """The hashes of a receipt's column of records (nips.pool.receipt), 32 bytes each in serialisation order, joined.

    `bounds`: the work of a record by `session | job << 16`. A record whose place is not in it gets 32 bytes of 0xff, a
    hash that meets no target. Raises ValueError for records that are not whole and for places beyond 24 bits.
    """
    if _Choice.reason:
        return pure_lanes.hash_records(dict(bounds), records)
    return _lanes.hash_records(dict(bounds), records)
