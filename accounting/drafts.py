"""The part of judging a batch that needs nothing but the receipt and its jobs: every header rebuilt and hashed.

It is most of an audit's work and takes no order, so that other processes can do it ahead (SPEC.md, "4212 share
receipt"); what a share's lane, the rest of the log and earlier shares have to say is accounting.judging's.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from accounting.findings import Code
from accounting.shares import RATIO_BITS, Session, Solution
from nips.keys import is_valid_xonly
from nips.pool.binding import BoundWork
from nips.pool.job import Job
from nips.pool.lanes import HASH_SIZE, hash_records
from nips.pool.receipt import CREDITED_STATUSES, LATE_BLOCK, Receipt
from nips.pool.targets import MAX_TARGET, bits_at_least, target_from_bits, work_from_bits

# A header's time may lie up to two hours after the job's (SPEC.md; Bitcoin's own bound on the future).
MAX_NTIME_AHEAD_S = 7200
# So many bytes of a hash tell shares of a job apart: to find two that agree takes 2^64 shares.
MARK_SIZE = 16
# Above every hash.
NO_HASH = 1 << 256

_valid_miner = lru_cache(maxsize=65_536)(is_valid_xonly)
_work = lru_cache(maxsize=4096)(work_from_bits)
_target = lru_cache(maxsize=4096)(target_from_bits)


class JobSpec(NamedTuple):
    """A job and what its terms and network ask of its shares: `easiest` target allowed, `block` what a block meets."""

    job: Job
    easiest: int
    block: int


class Fault(NamedTuple):
    """A credited share that breaks a rule by itself: its number in the receipt, its session's and its job's."""

    number: int
    session: int
    job: int
    code: Code


@dataclass(frozen=True, slots=True)
class Draft:
    """A receipt's shares as far as they can be judged alone. The columns hold what is good so far, in the receipt's
    order: `t` Unix ms, `index`, `session`, `job` numbers, `marks` 16 bytes of each hash, `ratios` hash / target in
    1/65536; `best`: the smallest compact target that the lowest hash of theirs meets, by session, 0 without one.
    `unjudged`: (number, session, job) of credited shares on jobs that were not at hand. `told`: the work of the shares
    told as credited. `count`: all shares.
    """

    count: int
    told: int
    uncredited: int
    sessions: tuple[Session, ...]
    t: "array[int]"
    index: "array[int]"
    session: "array[int]"
    job: "array[int]"
    marks: bytes
    ratios: "array[int]"
    best: tuple[int, ...]
    faults: tuple[Fault, ...]
    unjudged: tuple[tuple[int, int, int], ...]
    solutions: tuple[Solution, ...]


class _Group(NamedTuple):
    """What is the same for all shares of one session and one job."""

    work: BoundWork
    spec: JobSpec
    target: int
    first_ms: int
    first_ntime: int
    fixed_bits: int
    version: int
    too_easy: bool


def _best_bits(lowest: int) -> int:
    """The smallest compact target that a hash meets, as a number; 0 for none."""
    return 0 if lowest == NO_HASH else bits_at_least(min(max(lowest, 1), MAX_TARGET))


def _group(receipt: Receipt, session: int, spec: JobSpec) -> _Group | Code:
    """How to judge a group; the rule that all of it breaks, so that it has no binding."""
    who, job = receipt.sessions[session], spec.job
    if not _valid_miner(receipt.miners[who.miner]):
        return Code.SHARE_MINER
    work = BoundWork(job, receipt.miners[who.miner], who.share_bits, who.extranonce1)
    fixed_bits = ~job.version_mask & 0xFFFFFFFF
    target = _target(who.share_bits)
    return _Group(work, spec, target, job.ms, job.ntime, fixed_bits, job.version, target > spec.easiest)


def draft_batch(receipt: Receipt, specs: Sequence[JobSpec | None]) -> Draft:
    """Hash a batch and judge what its shares say by themselves. `specs` are the receipt's jobs in its order."""
    rows = receipt.rows()
    groups: dict[int, _Group | Code | None] = {}
    for place in {row[0] | row[1] << 16 for row in rows}:
        spec = specs[place >> 16]
        groups[place] = None if spec is None else _group(receipt, place & 0xFFFF, spec)
    bounds = {place: group.work.bound for place, group in groups.items() if isinstance(group, _Group)}
    hashes = hash_records(bounds, receipt.shares)
    works = [_work(session.share_bits) for session in receipt.sessions]
    from_bytes, from_ms = int.from_bytes, receipt.from_ms
    told = uncredited = 0
    lowest = [NO_HASH] * len(receipt.sessions)
    faults: list[Fault] = []
    unjudged: list[tuple[int, int, int]] = []
    solutions: list[Solution] = []
    times, numbers, who, what, marks, ratios = array("q"), array("I"), array("H"), array("B"), bytearray(), array("I")
    for index, (session, number, status, ms, ntime, nonce, version, extranonce2) in enumerate(rows):
        credited = status in CREDITED_STATUSES
        if credited:
            told += works[session]
        else:
            uncredited += 1
        group = groups[session | number << 16]
        if not isinstance(group, _Group):
            if credited:
                if group is None:
                    unjudged.append((index, session, number))
                else:
                    faults.append(Fault(index, session, number, group))
            continue
        work, spec, target, first_ms, first_ntime, fixed_bits, job_version, too_easy = group
        at = index * HASH_SIZE
        value = from_bytes(hashes[at : at + HASH_SIZE], "little")
        t = from_ms + ms
        if value <= spec.block:
            header, coinbase = work.header(extranonce2, ntime, nonce, version), work.coinbase(extranonce2)
            late = status == LATE_BLOCK
            bits = receipt.sessions[session].share_bits
            solutions.append(Solution(index, t, work.miner, spec.job.id, bits, header, coinbase, late))
        if not credited:
            continue
        if too_easy:
            faults.append(Fault(index, session, number, Code.SHARE_TOO_EASY))
        elif value > target:
            faults.append(Fault(index, session, number, Code.SHARE_WORK))
        elif (version ^ job_version) & fixed_bits:
            faults.append(Fault(index, session, number, Code.SHARE_VERSION))
        elif not first_ntime <= ntime <= min(first_ntime, t // 1000) + MAX_NTIME_AHEAD_S:
            faults.append(Fault(index, session, number, Code.SHARE_NTIME))
        elif t < first_ms:
            faults.append(Fault(index, session, number, Code.SHARE_TIME))
        else:
            times.append(t)
            numbers.append(index)
            who.append(session)
            what.append(number)
            marks += hashes[at : at + MARK_SIZE]
            ratios.append((value << RATIO_BITS) // target)
            if value < lowest[session]:
                lowest[session] = value
    return Draft(
        count=len(rows),
        told=told,
        uncredited=uncredited,
        sessions=tuple(
            Session(receipt.miners[session.miner], session.worker, work)
            for session, work in zip(receipt.sessions, works, strict=True)
        ),
        t=times,
        index=numbers,
        session=who,
        job=what,
        marks=bytes(marks),
        ratios=ratios,
        best=tuple(_best_bits(value) for value in lowest),
        faults=tuple(faults),
        unjudged=tuple(unjudged),
        solutions=tuple(solutions),
    )
