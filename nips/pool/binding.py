"""The binding: what a share's proof of work commits to (SPEC.md, "The binding")."""

import struct

from nips.pool.hashing import build_header, merkle_fold, sha256d, tagged_hash
from nips.pool.job import Job
from nips.pool.lanes import job_work

TAG = "noncestr/share/1"
_SHARE_BITS = struct.Struct(">I")


def binding(job_id: bytes, miner: bytes, share_bits: int) -> bytes:
    """The 32 bytes that tie work to a job (so to pool, network, terms and the log so far), a miner and a target.

    `job_id`: the 4211's event id, 32 bytes. `miner`: the x-only public key, 32 bytes. `share_bits`: u32 compact bits.
    """
    if len(job_id) != 32 or len(miner) != 32:
        raise ValueError("a job id and a miner's key have 32 bytes each")
    return tagged_hash(TAG, job_id + miner + _SHARE_BITS.pack(share_bits))


class BoundWork:
    """A job as one session of one miner at one target hashes it: everything of the coinbase but extranonce2 is fixed.

    `bound` is the same for `nips.pool.lanes`: the SHA-256 state over `coinb1 || binding || extranonce1` is kept, so
    that a share costs only what differs.
    """

    __slots__ = ("binding", "bound", "extranonce1", "job", "miner", "share_bits")

    def __init__(self, job: Job, miner: str, share_bits: int, extranonce1: bytes) -> None:
        """`miner`: hex. `extranonce1`: 4 bytes."""
        self.job = job
        self.miner = miner
        self.share_bits = share_bits
        self.extranonce1 = extranonce1
        self.binding = binding(bytes.fromhex(job.id), bytes.fromhex(miner), share_bits)
        work = job_work(job.coinb1, job.coinb2, job.merkle, job.prevhash, job.nbits)
        self.bound = work.bind(self.binding, extranonce1)

    def coinbase(self, extranonce2: bytes) -> bytes:
        """The coinbase transaction without its witness, as it is hashed."""
        return self.job.coinb1 + self.binding + self.extranonce1 + extranonce2 + self.job.coinb2

    def header(self, extranonce2: bytes, ntime: int, nonce: int, version: int) -> bytes:
        """The 80-byte header of a share; `version` is the header's own, rolled bits and all."""
        root = merkle_fold(sha256d(self.coinbase(extranonce2)), self.job.merkle)
        return build_header(version, self.job.prevhash, root, ntime, self.job.nbits, nonce)

    def hash(self, extranonce2: bytes, ntime: int, nonce: int, version: int) -> bytes:
        """The share's hash, 32 bytes in serialisation order."""
        return self.bound.hash(extranonce2, ntime, nonce, version)
