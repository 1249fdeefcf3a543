"""Ways to hash a share: each kernel of the native lanes, the pure twin, and the definition by hashlib alone."""

import hashlib
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from nips.pool import pure_lanes

try:
    from nips.pool import _lanes as native
except ImportError:
    native = None  # type: ignore[assignment]  # each test that needs it is skipped then

KERNELS = ("scalar", "4 lanes", "8 lanes (avx2)", "16 lanes (avx512)", "2 lanes (sha)")
SHARE = struct.Struct("<8sIII")
RECORD = struct.Struct("<HBBIIII8s")
needs_native = pytest.mark.skipif(native is None, reason="the native lanes are not built here")


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Way(NamedTuple):
    """One way to hash: the module's calls, with the kernel filled in."""

    job: Callable[..., Any]
    hash_shares: Callable[[Any, Any], bytes]
    hash_records: Callable[[Any, Any], bytes]


def find_way(name: str) -> Way:
    if name == "pure":
        return Way(pure_lanes.Job, pure_lanes.hash_shares, pure_lanes.hash_records)
    if native is None:
        pytest.skip("the native lanes are not built here")
    number = -1 if name == "best" else KERNELS.index(name)
    if number >= 0 and not native.kernels()[0][number][2]:
        pytest.skip(f"this CPU has not what {name} needs")
    return Way(
        native.Job,
        lambda bounds, shares: native.hash_shares(bounds, shares, number),
        lambda bounds, records: native.hash_records(bounds, records, number),
    )


class Work(NamedTuple):
    """A job and a session, as plain bytes: what the hash is defined over."""

    coinb1: bytes
    coinb2: bytes
    branches: bytes
    prevhash: bytes
    nbits: int
    binding: bytes
    extranonce1: bytes

    def hash(self, extranonce2: bytes, ntime: int, nonce: int, version: int) -> bytes:
        """SPEC.md's words, by hashlib."""
        root = sha(sha(self.coinb1 + self.binding + self.extranonce1 + extranonce2 + self.coinb2))
        for at in range(0, len(self.branches), 32):
            root = sha(sha(root + self.branches[at : at + 32]))
        header = struct.pack("<I", version) + self.prevhash + root + struct.pack("<III", ntime, self.nbits, nonce)
        return sha(sha(header))

    def job(self, way: Way) -> Any:
        return way.job(*self[:5])


def noise(size: int, seed: int) -> bytes:
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(size)


def make_work(coinb1: int = 60, coinb2: int = 90, branches: int = 12, seed: int = 0) -> Work:
    return Work(
        noise(coinb1, seed), noise(coinb2, seed + 1), noise(32 * branches, 2), noise(32, 3), 0x1D00FFFF, noise(32, 4),
        noise(4, 5),
    )  # fmt: skip


def shares_of(count: int, seed: int = 9) -> list[tuple[bytes, int, int, int]]:
    return [SHARE.unpack(noise(SHARE.size, seed + n)) for n in range(count)]


def pack(shares: list[tuple[bytes, int, int, int]]) -> bytes:
    return b"".join(SHARE.pack(*share) for share in shares)


def split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
