"""Jobs, judged by the terms they name and the lanes that use them (SPEC.md, "4211 job")."""

from collections.abc import Mapping
from dataclasses import dataclass

from accounting.checks import Known
from accounting.findings import Code
from accounting.judging import JobUse
from accounting.lanes import Lane
from accounting.schemes import periods
from accounting.schemes.lots import Price
from nips.errors import InvalidPoolEvent
from nips.pool.job import Job
from nips.pool.receipt import Receipt
from nips.pool.targets import target_from_bits, work_from_bits
from nips.pool.terms import Limits, Terms

# The easiest block target of each network (Bitcoin Core's powLimit), as nbits.
EASIEST_BLOCK: Mapping[str, int] = {
    "main": 0x1D00FFFF,
    "testnet4": 0x1D00FFFF,
    "signet": 0x1E0377AE,
    "regtest": 0x207FFFFF,
}


@dataclass(frozen=True, slots=True)
class JudgedJob:
    """A job under its terms. `problem` with `text`: the rule it breaks, None if none. `block`: the target a block of it
    must meet, on regtest the terms' own.
    """

    job: Job
    terms: Terms
    problem: Code | None
    text: str
    block: int
    gross_msat: int

    @property
    def limits(self) -> Limits:
        """The limits of its terms."""
        return self.terms.body.limits


def block_target(job: Job, limits: Limits) -> int:
    """What a hash must meet to be a block: nbits, and on regtest the terms' block_bits. Raises InvalidPoolEvent."""
    target = target_from_bits(job.nbits)
    return target if limits.block_bits is None else min(target, target_from_bits(limits.block_bits))


def judge_job(job: Job, terms: Terms, replaced_ms: int | None) -> JudgedJob:
    """What can be said of a job without the lanes. `replaced_ms`: when newer terms took the place of its own."""
    limits = terms.body.limits
    problem: Code | None = None
    text, block, gross = "", 0, 0
    if job.signer not in terms.body.keys_of("edge"):
        problem, text = Code.JOB_SIGNER, f"{job.signer} is no edge of the terms"
    elif replaced_ms is not None and job.ms > replaced_ms + limits.job_ms:
        problem, text = Code.JOB_TERMS, f"made at {job.ms} under terms replaced at {replaced_ms}"
    elif job.offer not in terms.body.offers:
        problem, text = Code.JOB_OFFER, f"the terms have no offer {job.offer[:32]!r}"
    elif job.upstream is not None:
        problem, text = Code.UPSTREAM, "mined on an upstream pool's coinbase"
    else:
        try:
            gross = job.coinbase().value_sat * 1000
        except InvalidPoolEvent as error:
            problem, text = Code.JOB_COINBASE, str(error)
        else:
            problem, text, block = _judge_nbits(job, limits)
    return JudgedJob(job, terms, problem, text, block, gross)


def _judge_nbits(job: Job, limits: Limits) -> tuple[Code | None, str, int]:
    try:
        if target_from_bits(job.nbits) > target_from_bits(EASIEST_BLOCK[job.pool.network]):
            return Code.JOB_NBITS, f"{job.nbits:08x} is easier than {job.pool.network} allows", 0
        return None, "", block_target(job, limits)
    except InvalidPoolEvent as error:
        return Code.JOB_NBITS, str(error), 0


def judge_head(job: Job, lane: Lane, receipt: Receipt | Known, limits: Limits) -> tuple[Code | None, str]:
    """Whether a job names an earlier batch of the lane that uses it, ended by the job and at most anchor_ms before."""
    if job.signer != receipt.signer:
        return Code.JOB_SIGNER, f"made by {job.signer}, used by {receipt.signer}"
    head = job.heads.get(lane.key.number)
    if head is None:
        return Code.JOB_HEAD, f"lane {lane.key.number} may not use it"
    if head == "":
        anchor = lane.first.from_ms if lane.batches else receipt.from_ms
    elif (batch := lane.find(head)) is not None:
        anchor = batch.to_ms
    elif lane.chain.broken is not None:
        # The batch named may be among those missing, which is reported by itself.
        return None, ""
    else:
        return Code.JOB_HEAD, f"{head} is no earlier batch of lane {lane.key.number}"
    if anchor > job.ms:
        return Code.JOB_HEAD, f"the batch it names ended at {anchor}, {anchor - job.ms} ms after it was made"
    if anchor < job.ms - limits.anchor_ms:
        return Code.STALE_HEAD, f"the batch it names ended {job.ms - anchor} ms before it, {limits.anchor_ms} allowed"
    return None, ""


def life_end(job: Job, lane: Lane, limits: Limits) -> int:
    """The last ms at which shares on a job are good in a lane: stale_ms after the next job on another block, as far as
    the lane's batches up to the one judged tell; job_ms after it was made at most.
    """
    ends = [ms + limits.stale_ms for ms, prevhash in lane.started.values() if ms > job.ms and prevhash != job.prevhash]
    return min([job.ms + limits.job_ms, *ends])


def use_of(judged: JudgedJob, lane: Lane, receipt: Receipt | Known) -> tuple[JobUse, Code | None, str]:
    """A job as a receipt uses it, and the rule that it or its use breaks."""
    problem, text = judged.problem, judged.text
    limits = judged.limits
    if problem is None:
        problem, text = judge_head(judged.job, lane, receipt, limits)
    if problem is Code.UPSTREAM:
        return JobUse(judged.job, unchecked=True), problem, text
    if problem is not None:
        return JobUse(judged.job, problem=Code.SHARE_JOB), problem, text
    use = JobUse(
        job=judged.job,
        last_ms=life_end(judged.job, lane, limits),
        easiest=target_from_bits(limits.easiest_bits),
        block=judged.block,
        price=price_of(judged),
        by_worker=any(offer.loyalty is not None for offer in judged.terms.body.offers.values()),
    )
    return use, None, ""


def price_of(judged: JudgedJob) -> Price | None:
    """What work on a good job is worth by the share; None unless its offer pays so."""
    job, offer = judged.job, judged.terms.body.offers[judged.job.offer]
    if offer.scheme not in periods.SCHEMES:
        return None
    # What finds a block of this pool: on regtest the terms' own mark, since every second hash meets its nbits.
    bits = max((job.nbits, judged.limits.block_bits or job.nbits), key=work_from_bits)
    return periods.price(job.offer, offer, job.pool.network, job.height, bits, judged.gross_msat)
