"""The hashes of work: double SHA-256, the merkle fold, the 80-byte header, tagged hashes.

Hashes are 32 bytes in serialisation order (as they are hashed on); `display` turns one round as RPC and people write
it.
"""

import hashlib
import struct
from collections.abc import Sequence
from functools import lru_cache

HEADER_SIZE = 80
_HEADER = struct.Struct("<I32s32sIII")


def sha256d(data: bytes) -> bytes:
    """SHA-256 of SHA-256."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


@lru_cache(maxsize=16)
def _tagged(tag: str) -> "hashlib._Hash":
    prefix = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(prefix + prefix)


def tagged_hash(tag: str, message: bytes) -> bytes:
    """BIP-340's tagged hash: sha256(sha256(tag) || sha256(tag) || message)."""
    state = _tagged(tag).copy()
    state.update(message)
    return state.digest()


def merkle_fold(leaf: bytes, branches: Sequence[bytes]) -> bytes:
    """The merkle root over a coinbase's txid and the branches to its right, from the leaves up."""
    node = leaf
    for branch in branches:
        node = sha256d(node + branch)
    return node


def build_header(version: int, prevhash: bytes, merkle_root: bytes, ntime: int, nbits: int, nonce: int) -> bytes:
    """The 80 bytes that are hashed: integers little-endian, hashes in serialisation order."""
    return _HEADER.pack(version, prevhash, merkle_root, ntime, nbits, nonce)


def parse_header(header: bytes) -> tuple[int, bytes, bytes, int, int, int]:
    """(version, prevhash, merkle root, ntime, nbits, nonce) of 80 bytes."""
    return _HEADER.unpack(header)


def hash_value(block_hash: bytes) -> int:
    """A header's hash as the number that is compared with a target: little-endian."""
    return int.from_bytes(block_hash, "little")


def display(block_hash: bytes) -> str:
    """A hash as RPC names it: reversed, in hex."""
    return block_hash[::-1].hex()


def from_display(text: str) -> bytes:
    """The serialisation order of a hash named as RPC does."""
    return bytes.fromhex(text)[::-1]
