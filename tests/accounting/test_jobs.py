"""Jobs under their terms. How lanes use them shows in test_verifier."""

from dataclasses import replace
from typing import Any

import pytest

from accounting.chains import Chain
from accounting.findings import Code
from accounting.jobs import block_target, judge_job, life_end
from accounting.lanes import Lane, LaneKey
from nips.pool.job import Job, parse_job
from nips.pool.targets import target_from_bits
from nips.pool.terms import Terms, parse_terms


@pytest.fixture
def job(story: Any) -> Job:
    return parse_job(story.events["job A"])


@pytest.fixture
def terms(story: Any) -> Terms:
    return parse_terms(story.events["terms 0"])


def test_a_good_job(job: Job, terms: Terms, story: Any) -> None:
    judged = judge_job(job, terms, None)
    assert (judged.problem, judged.gross_msat) == (None, story.bodies["statement 0"].reward.gross_msat)
    assert judged.block == target_from_bits(story.bodies["terms 0"].limits.block_bits)


def test_a_block_meets_the_harder_of_nbits_and_the_terms_mark(job: Job, terms: Terms) -> None:
    limits = terms.body.limits
    assert block_target(job, replace(limits, block_bits=None)) == target_from_bits(0x207FFFFF)
    assert block_target(replace(job, nbits=0x03008000), limits) == target_from_bits(0x03008000)


@pytest.mark.parametrize(
    ("network", "nbits", "problem"),
    [
        ("main", 0x1D00FFFF, None),
        ("main", 0x1D010000, Code.JOB_NBITS),
        ("main", 0x207FFFFF, Code.JOB_NBITS),
        ("signet", 0x1E0377AE, None),
        ("signet", 0x1E0377AF, Code.JOB_NBITS),
        ("regtest", 0x207FFFFF, None),
        ("regtest", 0x00000000, Code.JOB_NBITS),
        ("regtest", 0x04800000, Code.JOB_NBITS),
    ],
)
def test_nbits_must_be_a_target_of_the_network(
    job: Job, terms: Terms, network: str, nbits: int, problem: Code | None
) -> None:
    there = replace(job, nbits=nbits, pool=job.pool._replace(network=network))
    assert judge_job(there, terms, None).problem is problem


def test_terms_replaced_too_long_before(job: Job, terms: Terms) -> None:
    allowed = terms.body.limits.job_ms
    assert judge_job(job, terms, job.ms - allowed).problem is None
    assert judge_job(job, terms, job.ms - allowed - 1).problem is Code.JOB_TERMS


def test_upstream_jobs_are_not_judged(job: Job, terms: Terms) -> None:
    assert judge_job(replace(job, upstream={}), terms, None).problem is Code.UPSTREAM


def test_a_job_lives_until_another_block_was_heard_of(job: Job, terms: Terms) -> None:
    lane = Lane(LaneKey(job.signer, 0), Chain("x/0", lambda _: None))
    limits = terms.body.limits
    assert life_end(job, lane, limits) == job.ms + limits.job_ms
    lane.started = {"same block": (job.ms + 5, job.prevhash), "earlier": (job.ms - 5, b"other")}
    assert life_end(job, lane, limits) == job.ms + limits.job_ms
    lane.started |= {"next": (job.ms + 900, b"other"), "after": (job.ms + 2000, b"third")}
    assert life_end(job, lane, limits) == job.ms + 900
    assert life_end(job, lane, replace(limits, stale_ms=50)) == job.ms + 950
