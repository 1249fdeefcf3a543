"""A batch judged by itself: each share hashed anew, each rule by the share that breaks it, the columns by the rows."""

from array import array
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from accounting.drafts import MARK_SIZE, MAX_NTIME_AHEAD_S, Draft, JobSpec, draft_batch
from accounting.findings import Code
from accounting.shares import RATIO_BITS
from nips.pool.binding import BoundWork
from nips.pool.hashing import sha256d
from nips.pool.receipt import CREDITED_STATUSES, LATE_BLOCK, Receipt, ShareRecord, parse_receipt
from nips.pool.targets import MAX_TARGET, bits_at_least, target_from_bits, work_from_bits
from tests.accounting.conftest import BLOCK_BITS, HARD_BITS, KEYS, MASK, SHARE_BITS, TERMS, LogBuilder, Mined

EASIEST, BLOCK = target_from_bits(SHARE_BITS), target_from_bits(BLOCK_BITS)
Change = Callable[[ShareRecord], ShareRecord]


@pytest.fixture
def log(builder: LogBuilder) -> LogBuilder:
    """A pool with a job, and nobody's share yet."""
    builder.terms(0, TERMS)
    builder.batch(0, 0, 10_000)
    builder.job("A", 10_500, (0,))
    return builder


def spec(log: LogBuilder, name: str = "A", **changes: Any) -> JobSpec:
    return JobSpec(log.jobs[name], EASIEST, BLOCK)._replace(**changes)


def batch(log: LogBuilder, *shares: Mined) -> Receipt:
    return parse_receipt(log.batch(0, 10_000, 20_000, list(shares)))


def altered(share: Mined, **changes: Any) -> Mined:
    return share._replace(record=share.record._replace(**changes))


def codes(draft: Draft) -> list[tuple[int, Code]]:
    return [(fault.number, fault.code) for fault in draft.faults]


def digest(log: LogBuilder, share: Mined) -> bytes:
    """The share's hash by a naive reading: header built, hashed twice."""
    record = share.record
    work = BoundWork(share.job, share.miner, share.session.share_bits, share.session.extranonce1)
    return sha256d(work.header(record.extranonce2, record.ntime, record.nonce, record.version))


def test_good_shares_are_columns_of_what_was_told(log):
    job = log.jobs["A"]
    shares = [
        log.mine(job, KEYS.alice, 11_000),
        log.mine(job, KEYS.bob, 11_500, worker="attic", bits=HARD_BITS),
        log.mine(job, KEYS.alice, 12_000),
    ]
    receipt = batch(log, *shares)
    found = draft_batch(receipt, [spec(log)])
    assert (found.count, found.uncredited, found.faults, found.unjudged, found.solutions) == (3, 0, (), (), ())
    assert found.t == array("q", [log.t0 + ms for ms in (11_000, 11_500, 12_000)])
    assert found.index == array("I", [0, 1, 2])
    assert [found.sessions[number][:2] for number in found.session] == [
        (KEYS.alice.pubkey, "rig"), (KEYS.bob.pubkey, "attic"), (KEYS.alice.pubkey, "rig"),
    ]  # fmt: skip
    assert found.told == 2 * work_from_bits(SHARE_BITS) + work_from_bits(HARD_BITS)
    hashes = [digest(log, share) for share in shares]
    assert found.marks == b"".join(each[:MARK_SIZE] for each in hashes)
    values = [int.from_bytes(each, "little") for each in hashes]
    targets = [target_from_bits(share.session.share_bits) for share in shares]
    assert list(found.ratios) == [(v << RATIO_BITS) // t for v, t in zip(values, targets, strict=True)]
    lowest = {number: min(v for v, n in zip(values, found.session, strict=True) if n == number) for number in (0, 1)}
    assert found.best == tuple(bits_at_least(min(value, MAX_TARGET)) for _, value in sorted(lowest.items()))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda record: record._replace(nonce=record.nonce ^ 1), Code.SHARE_WORK),
        (lambda record: record._replace(extranonce2=b"\xff" * 8), Code.SHARE_WORK),
        (lambda record: record._replace(ntime=record.ntime + 1), Code.SHARE_WORK),
        (lambda record: record._replace(version=record.version ^ 0x4000), Code.SHARE_WORK),
    ],
)
def test_any_bit_of_the_header_changed_is_no_work(log, change: Change, code):
    good = log.mine(log.jobs["A"], KEYS.alice, 11_000)
    while True:
        # One hash in a thousand or so of those altered would be good by chance: another share then.
        bad = good._replace(record=change(good.record))
        if int.from_bytes(digest(log, bad), "little") > EASIEST:
            break
        good = log.mine(log.jobs["A"], KEYS.alice, 11_000)
    found = draft_batch(batch(log, good, bad), [spec(log)])
    assert codes(found) in ([(1, code)], [(0, code)])
    assert (len(found.t), found.told) == (1, 2 * work_from_bits(SHARE_BITS)), "told it was all the same"


def test_a_hash_a_little_above_the_target_is_no_work(log):
    share = log.mine(log.jobs["A"], KEYS.alice, 11_000)
    tries = (altered(share, nonce=nonce) for nonce in count())
    near = next(each for each in tries if EASIEST < int.from_bytes(digest(log, each), "little") < EASIEST * 5 // 4)
    assert codes(draft_batch(batch(log, near), [spec(log)])) == [(0, Code.SHARE_WORK)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ms": 10**6}, Code.SHARE_TIME),
        ({"ntime": MAX_NTIME_AHEAD_S * 2}, Code.SHARE_NTIME),
        ({"ntime": -MAX_NTIME_AHEAD_S * 2}, Code.SHARE_NTIME),
        ({"version": 0x80000000}, Code.SHARE_VERSION),
        ({"version": 1}, Code.SHARE_VERSION),
    ],
)
def test_work_that_breaks_a_rule_of_its_job(log, changes: dict[str, int], code):
    """The job of the judge is another than that of the miner: its hash stands, as `BoundWork` has it by the id."""
    job, share = log.jobs["A"], log.mine(log.jobs["A"], KEYS.alice, 11_000)
    asked = {
        "ms": job.ms + changes.get("ms", 0),
        "ntime": job.ntime + changes.get("ntime", 0),
        "version": job.version ^ changes.get("version", 0),
    }
    receipt = batch(log, share)
    assert codes(draft_batch(receipt, [spec(log)])) == []
    found = draft_batch(receipt, [spec(log, job=replace(job, **asked))])
    assert codes(found) == [(0, code)]
    assert (len(found.t), len(found.marks), found.best) == (0, 0, (0,))


def test_bits_that_may_be_rolled_are_no_fault(log):
    job, share = log.jobs["A"], log.mine(log.jobs["A"], KEYS.alice, 11_000)
    assert (share.record.version ^ job.version) & MASK
    assert codes(draft_batch(batch(log, share), [spec(log)])) == []
    fixed = draft_batch(parse_receipt(log.events["batch 0/1"]), [spec(log, job=replace(job, version_mask=0))])
    assert codes(fixed) == [(0, Code.SHARE_VERSION)]


def test_a_session_too_easy_for_its_terms_has_no_good_share(log):
    job = log.jobs["A"]
    shares = [log.mine(job, KEYS.alice, 11_000), log.mine(job, KEYS.bob, 11_500, bits=HARD_BITS)]
    found = draft_batch(batch(log, *shares), [spec(log, easiest=target_from_bits(HARD_BITS))])
    assert codes(found) == [(0, Code.SHARE_TOO_EASY)]
    assert [found.sessions[number].miner for number in found.session] == [KEYS.bob.pubkey]


def test_a_miner_that_is_no_key(log):
    # 2^256 - 1 is beyond the field: no point has it.
    receipt = replace(batch(log, log.mine(log.jobs["A"], KEYS.alice, 11_000)), miners=("f" * 64,))
    found = draft_batch(receipt, [spec(log)])
    assert codes(found) == [(0, Code.SHARE_MINER)]


def test_shares_of_a_job_that_is_not_at_hand_are_left_open(log):
    b = log.job("B", 10_600, (0,))
    shares = [log.mine(log.jobs["A"], KEYS.alice, 11_000), log.mine(b, KEYS.alice, 11_500)]
    receipt = batch(log, *shares)
    found = draft_batch(receipt, [spec(log), None])
    assert found.unjudged == ((1, 0, 1),)
    assert (list(found.index), found.faults) == ([0], ())
    assert found.told == 2 * work_from_bits(SHARE_BITS)
    nothing = draft_batch(receipt, [None, None])
    assert [number for number, _, _ in nothing.unjudged] == [0, 1]
    assert (len(nothing.t), nothing.best) == (0, (0,))


def test_what_was_not_credited_is_counted_and_not_judged(log):
    share = log.mine(log.jobs["A"], KEYS.alice, 11_000, status=2)
    bad = altered(log.mine(log.jobs["A"], KEYS.alice, 12_000, status=3), nonce=0)
    found = draft_batch(batch(log, share, bad), [spec(log)])
    assert (found.count, found.uncredited, found.told, len(found.t), found.faults) == (2, 2, 0, 0, ())
    assert draft_batch(parse_receipt(log.events["batch 0/1"]), [None]).unjudged == ()


@pytest.mark.parametrize("status", [0, LATE_BLOCK])
def test_a_block_is_a_solution_credited_or_late(log, status):
    share = log.mine(log.jobs["A"], KEYS.alice, 11_000, block=True, status=status)
    found = draft_batch(batch(log, share), [spec(log)])
    (solution,) = found.solutions
    assert (solution.number, solution.late, solution.miner) == (0, status == LATE_BLOCK, KEYS.alice.pubkey)
    assert sha256d(solution.header) == digest(log, share)
    assert (len(found.t), found.uncredited) == ((1, 0) if status in CREDITED_STATUSES else (0, 1))


def test_one_hash_above_the_blocks_target_is_none(log):
    share = log.mine(log.jobs["A"], KEYS.alice, 11_000, block=True)
    value = int.from_bytes(digest(log, share), "little")
    receipt = batch(log, share)
    assert len(draft_batch(receipt, [spec(log, block=value)]).solutions) == 1
    assert draft_batch(receipt, [spec(log, block=value - 1)]).solutions == ()


def test_an_empty_batch_is_an_empty_draft(log):
    found = draft_batch(parse_receipt(log.batch(0, 10_000, 20_000)), [])
    assert (found.count, found.told, found.uncredited, len(found.t)) == (0, 0, 0, 0)
    assert (found.sessions, found.best, found.marks, found.solutions) == ((), (), b"", ())


def test_every_batch_of_a_story_by_a_naive_reading(story):
    """No share is lost or counted twice: all are good, faulty, open or uncredited."""
    for label, event in story.events.items():
        if not label.startswith("batch "):
            continue
        receipt = parse_receipt(event)
        jobs = {job.id: job for job in story.jobs.values()}
        found = draft_batch(receipt, [JobSpec(jobs[name], EASIEST, BLOCK) for name in receipt.jobs])
        assert found.count == len(receipt.rows()) == len(found.t) + found.uncredited
        assert found.told == receipt.work
        assert len(found.marks) == MARK_SIZE * len(found.t)
        assert len({found.marks[n : n + MARK_SIZE] for n in range(0, len(found.marks), MARK_SIZE)}) == len(found.t)
