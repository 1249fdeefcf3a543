"""Batches, judged by hashing. The rules one by one are in test_verifier."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from accounting.findings import Code
from accounting.judging import JobUse, Place, Seen, Verdict, check_batch, hash_unhashed
from accounting.shares import GoodShare
from nips.pool.hashing import sha256d
from nips.pool.job import parse_job
from nips.pool.receipt import Receipt, parse_receipt
from nips.pool.targets import target_from_bits


def by_code(verdict: Verdict) -> dict[Code, list[int]]:
    """The bad shares' numbers by rule."""
    found: dict[Code, list[int]] = {}
    for fault in verdict.faults:
        found.setdefault(fault.code, []).append(fault.number)
    return found


def use_of(story: Any, name: str, **changes: Any) -> JobUse:
    limits = story.bodies["terms 0"].limits
    use = JobUse(
        parse_job(story.events[f"job {name}"]),
        last_ms=story.t0 + 10**6,
        easiest=target_from_bits(limits.easiest_bits),
        block=target_from_bits(limits.block_bits),
    )
    return replace(use, **changes)


def judged(story: Any, label: str, name: str, **changes: Any) -> tuple[Receipt, Any]:
    receipt = parse_receipt(story.events[label])
    return receipt, check_batch(receipt, [use_of(story, name, **changes)], {receipt.jobs[0]: Seen()})


def test_good_shares_come_in_the_receipts_order(story: Any) -> None:
    receipt, verdict = judged(story, "batch 0/1", "A")
    assert by_code(verdict) == {}
    assert list(verdict.shares.index) == list(range(7))
    assert list(verdict.shares.t) == sorted(verdict.shares.t)
    assert verdict.told_work == verdict.shares.told == receipt.work == verdict.shares.work
    first = next(iter(verdict.shares))
    assert first == GoodShare(story.t0 + 11_000, 0, story.keys.alice.pubkey, "rig", 64, 101, "main")


def test_a_block_among_them_is_kept_whole(story: Any) -> None:
    _, verdict = judged(story, "batch 0/2", "B")
    (solution,) = verdict.shares.solutions
    body = story.bodies["block 0"]
    assert (solution.number, solution.header, solution.coinbase, solution.late) == (
        3,
        body.header,
        body.coinbase,
        False,
    )
    assert int.from_bytes(sha256d(solution.header), "little") <= use_of(story, "B").block


def test_ratios_are_the_hashes_parts_of_their_target(story: Any) -> None:
    _, verdict = judged(story, "batch 0/1", "A")
    assert len(verdict.shares.ratios) == 2
    assert all(0 < ratio < 5 * 65536 for ratio in verdict.shares.ratios)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"problem": Code.SHARE_JOB}, Code.SHARE_JOB),
        ({"job": None}, Code.SHARE_JOB),
        ({"easiest": 1}, Code.SHARE_TOO_EASY),
        ({"last_ms": 0}, Code.SHARE_TIME),
    ],
)
def test_a_job_that_does_not_serve_makes_all_its_shares_bad(story: Any, changes: dict[str, Any], code: Code) -> None:
    _, verdict = judged(story, "batch 0/1", "A", **changes)
    assert {name: sorted(numbers) for name, numbers in by_code(verdict).items()} == {code: list(range(7))}
    assert (len(verdict.shares), verdict.shares.bad) == (0, 7)


def test_what_cannot_be_judged_is_neither_good_nor_bad(story: Any) -> None:
    _, verdict = judged(story, "batch 0/1", "A", job=None, unchecked=True)
    assert (len(verdict.shares), verdict.shares.bad, verdict.shares.unchecked) == (0, 0, 7)


def test_a_share_seen_before_counts_where_it_was_first(story: Any) -> None:
    receipt = parse_receipt(story.events["batch 0/1"])
    seen = {receipt.jobs[0]: Seen()}
    check_batch(receipt, [use_of(story, "A")], seen)
    later = replace(receipt, link=receipt.link._replace(seq=2), from_ms=receipt.from_ms + 1)
    again = check_batch(later, [use_of(story, "A")], seen)
    assert set(by_code(again)) == {Code.SHARE_TWICE}
    assert again.displaced == []
    earlier = replace(receipt, lane=1, from_ms=receipt.from_ms - 1)
    first = check_batch(earlier, [use_of(story, "A")], seen)
    assert by_code(first) == {}
    assert sorted(first.displaced) == [Place(receipt.from_ms + r.ms, 0, 1, n) for n, r in enumerate(receipt.records())]


def test_hashes_of_trusted_batches_are_taken_up_when_asked(story: Any) -> None:
    receipt = parse_receipt(story.events["batch 0/1"])
    hashed, lazy = Seen(), Seen(unhashed=[(receipt, 0)])
    use = use_of(story, "A")
    check_batch(receipt, [use], {receipt.jobs[0]: hashed})
    assert use.spec is not None
    hash_unhashed(use.spec, lazy)
    assert lazy == hashed


def test_two_sessions_that_tell_the_same_share_count_it_once(tell: Callable[..., Any]) -> None:
    """Two sessions alike in miner, target and extranonce1, as after a reconnect."""

    def twin(body: Any) -> Any:
        last = body.shares[-28:]
        number = int.from_bytes(last[:2], "little")
        copy = len(body.sessions).to_bytes(2, "little") + last[2:]
        return replace(body, sessions=(*body.sessions, body.sessions[number]), shares=body.shares + copy)

    log = tell({"batch 0/1": twin})
    _, verdict = judged(log, "batch 0/1", "A")
    assert by_code(verdict) == {Code.SHARE_TWICE: [7]}
    assert len(verdict.shares) == 7


def test_a_share_taken_out_counts_as_bad(story: Any) -> None:
    _, verdict = judged(story, "batch 0/1", "A")
    less = verdict.shares.without(2)
    assert list(less.index) == [0, 1, 3, 4, 5, 6]
    assert less.bad == 1
    assert less.work == verdict.shares.work - 64
