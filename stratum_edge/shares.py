"""Shares judged by their hash (stratum facts, SPEC.md "4212 share receipt").

A block is looked for before anything may refuse the share, and the target that counts is the job's, never the
session's latest.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from nips.pool.binding import BoundWork
from nips.pool.receipt import CREDITED, LATE_BLOCK
from stratum_edge.jobs import Grade
from stratum_edge.lane import SessionKey
from stratum_edge.messages import DUPLICATE, LOW_DIFFICULTY, OTHER, STALE

# SPEC.md: ntime at most two hours beyond the job's, which is also what consensus allows beyond the network's time.
MAX_NTIME_AHEAD: Final = 7200
EXTRANONCE2_HEX: Final = 16
_BITS_UNASKED: Final = (OTHER, "version bits without version rolling: send mining.configure first")
_BITS_MISSING: Final = (OTHER, "version rolling was configured: the sixth parameter are the version bits")


class MalformedShare(Exception):
    """The parameters of `mining.submit` are not what the protocol asks; the text is for the miner."""


class Submission(NamedTuple):
    """What a miner found: 8 bytes of extranonce2, and u32 numbers. `refusal`: why it can't be credited although all
    of it can be read, with the Stratum code; a block it may be all the same.
    """

    extranonce2: bytes
    ntime: int
    nonce: int
    version_bits: int
    refusal: tuple[int, str] | None = None


class Verdict(NamedTuple):
    """`code` 0: good. `status`: the receipt's, None when the share is not written down. `is_block`: hand it in."""

    code: int
    text: str
    status: int | None
    is_block: bool
    hash: bytes


def _u32(value: object, name: str) -> int:
    # bytes.fromhex skips white space, so the length of both forms is checked.
    if type(value) is str and len(value) == 8:
        try:
            raw = bytes.fromhex(value)
        except ValueError:
            raw = b""
        if len(raw) == 4:
            return int.from_bytes(raw, "big")
    raise MalformedShare(f"{name} must be 8 hex digits")


def parse_submission(params: Sequence[object], mask: int | None) -> Submission:
    """Parameters three to six of `mining.submit`; `mask` is what version rolling was negotiated, None without.

    Raises MalformedShare for what can't be read.
    """
    count = len(params)
    if count not in (5, 6):
        raise MalformedShare("mining.submit takes [user, job, extranonce2, ntime, nonce, version bits if configured]")
    refusal = None
    if (count == 6) is (mask is None):
        refusal = _BITS_UNASKED if mask is None else _BITS_MISSING
    text = params[2]
    if type(text) is not str or len(text) != EXTRANONCE2_HEX:
        raise MalformedShare(f"extranonce2 must be {EXTRANONCE2_HEX} hex digits")
    try:
        extranonce2 = bytes.fromhex(text)
    except ValueError:
        extranonce2 = b""
    if len(extranonce2) * 2 != EXTRANONCE2_HEX:
        raise MalformedShare(f"extranonce2 must be {EXTRANONCE2_HEX} hex digits")
    bits = _u32(params[5], "the version bits") if count == 6 else 0
    return Submission(extranonce2, _u32(params[3], "ntime"), _u32(params[4], "nonce"), bits, refusal)


class Assigned:
    """A job as one session was given it: what its shares are judged by."""

    __slots__ = ("bound", "grade", "keys", "live")

    def __init__(self, grade: Grade, miner: str, extranonce1: bytes) -> None:
        self.live = grade.live
        self.grade = grade
        # With its SHA-256 midstate.
        self.bound = BoundWork(grade.live.job, miner, grade.share_bits, extranonce1)
        # Receipt sessions by user name, made at a worker's first share.
        self.keys: dict[str, SessionKey] = {}


def judge(work: Assigned, share: Submission, digest: bytes, mask: int, now: int) -> Verdict:
    """Judge a share by its header's hash at `now` (ms on the lane's time line); a good one is noted in its prevhash's
    seen hashes.
    """
    live = work.live
    job = live.job
    _, ntime, _, bits, refusal = share
    value = int.from_bytes(digest, "little")
    is_block = value <= live.block_target
    if digest in live.seen:
        # A block among them is already on its way: handing it in is retried until the chain answers.
        return Verdict(DUPLICATE, "duplicate share", None, False, digest)
    if refusal is not None:
        code, text = refusal
    elif now >= live.dies_at:
        code, text = STALE, "stale: this job is over"
    elif value > work.grade.target:
        code, text = LOW_DIFFICULTY, "low difficulty share"
    elif not job.ntime <= ntime <= min(job.ntime, now // 1000) + MAX_NTIME_AHEAD:
        code, text = OTHER, "ntime out of range"
    elif bits & ~mask:
        code, text = OTHER, "version bits outside the negotiated mask"
    else:
        # Noted only now: junk must not fill the memory.
        live.seen.add(digest)
        return Verdict(0, "", CREDITED, is_block, digest)
    if is_block:
        # Not creditable, but the chain may take it: written down uncredited, handed in and announced.
        live.seen.add(digest)
        return Verdict(code, text, LATE_BLOCK, True, digest)
    return Verdict(code, text, None, False, digest)
