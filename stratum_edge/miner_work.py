"""What a miner hashes: jobs as it is given them, headers, the search for nonces. Without any I/O."""

import struct
from array import array
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

from nips.pool.hashing import build_header, hash_value, merkle_fold, sha256d
from nips.pool.targets import DIFFICULTY_1_TARGET

NONCES: Final = 1 << 32
MAX_TARGET: Final = (1 << 256) - 1


def target_of_difficulty(difficulty: float | int) -> int:
    """The target of a Stratum difficulty: floor(0xffff * 2^208 / difficulty), exact, at most 2^256 - 1."""
    exact = Fraction(difficulty)
    if exact <= 0:
        raise ValueError("a difficulty is positive")
    return min(MAX_TARGET, DIFFICULTY_1_TARGET * exact.denominator // exact.numerator)


def unswap_prevhash(notified: str) -> bytes:
    """The serialisation order of a notify's prevhash, in which each 4-byte word stands reversed."""
    raw = bytes.fromhex(notified)
    if len(raw) != 32:
        raise ValueError("a prevhash has 32 bytes")
    return b"".join(raw[i : i + 4][::-1] for i in range(0, 32, 4))


def grind(header76: bytes, start_nonce: int, count: int, target: int) -> list[int]:
    """The nonces from `start_nonce`, `count` of them, whose header hashes to at most `target`.

    `header76` is a header without its nonce. Its first 64 bytes are hashed once: the midstate is copied for each nonce.
    """
    if len(header76) != 76 or not 0 <= start_nonce <= start_nonce + count <= NONCES:
        raise ValueError("76 bytes of header and nonces below 2^32 are needed")
    midstate = sha256(header76)  # 64 bytes are compressed, the other 12 wait in its buffer for the nonce
    copy, outer = midstate.copy, sha256
    # Most hashes fail on their highest byte, and that is cheaper to look at than the whole number.
    highest = target >> 248
    nonces = array("I", range(start_nonce, start_nonce + count))
    if struct.pack("=I", 1) != struct.pack("<I", 1):
        nonces.byteswap()
    found = []
    for (nonce,) in struct.iter_unpack("4s", nonces.tobytes()):
        inner = copy()
        inner.update(nonce)
        digest = outer(inner.digest()).digest()
        if digest[31] <= highest and hash_value(digest) <= target:
            found.append(int.from_bytes(nonce, "little"))
    return found


@dataclass(frozen=True, slots=True)
class Job:
    """A `mining.notify`, with the extranonce1 and the difficulty that held when it came.

    `prevhash` and `branches` are in serialisation order; `target` is what a share's hash may be at most.
    """

    job_id: str
    prevhash: bytes
    coinb1: bytes
    coinb2: bytes
    branches: tuple[bytes, ...]
    version: int
    nbits: int
    ntime: int
    clean: bool
    extranonce1: bytes
    extranonce2_size: int
    difficulty: float | int
    target: int
    params: tuple[Any, ...]

    def header76(self, extranonce2: bytes, version_bits: int = 0, version_mask: int = 0) -> bytes:
        """The header without its nonce; `version_bits` replace those of `version_mask` (BIP 310)."""
        coinbase = self.coinb1 + self.extranonce1 + extranonce2 + self.coinb2
        root = merkle_fold(sha256d(coinbase), self.branches)
        version = (self.version & ~version_mask) | (version_bits & version_mask)
        return build_header(version, self.prevhash, root, self.ntime, self.nbits, 0)[:76]


@dataclass(frozen=True, slots=True)
class Work:
    """2^32 headers to try: a job with one extranonce2 and one choice of version bits (None: not rolled)."""

    job: Job
    extranonce2: bytes
    version_bits: int | None
    header76: bytes


@dataclass(frozen=True, slots=True)
class Share:
    """A share that was handed in: `params` are those of its `mining.submit`."""

    work: Work
    nonce: int
    params: tuple[str, ...]
