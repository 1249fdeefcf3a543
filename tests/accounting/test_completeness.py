"""The end of an audit: what lacks, what is overdue, whose luck is too good. Most of it shows in test_verifier."""

from dataclasses import replace
from typing import Any

import pytest

from accounting.completeness import complete
from accounting.findings import Code
from accounting.log import PoolLog
from accounting.totals import MinerTotals
from accounting.verifier import audit
from nips.pool.coinbase import build_coinb1, push_data, push_height
from nips.pool.receipt import LATE_BLOCK
from nips.pool.terms import Offer


def folded(story: Any, *without: str) -> PoolLog:
    log = PoolLog(story.pool)
    for event in story.all(*without):
        log.add(event)
    return log


def codes(log: PoolLog) -> set[Code]:
    return {found.code for found in log.findings}


def test_a_statement_has_its_time_after_the_last_lane_passed(story: Any) -> None:
    """Lane 1's batch past the first reward is dated 30 s; statement_ms is 600 s. Its chain is left out as a whole."""
    left_out = [label for label in story.events if label.startswith(("statement", "status"))]
    for after_ms, overdue in ((30_000 + 600_000, False), (30_001 + 600_000, True)):
        log = folded(story, *left_out)
        complete(log, story.t0 + after_ms)
        assert (Code.STATEMENT_OVERDUE in codes(log)) is overdue


def test_a_batch_on_its_way_in_another_lane_is_not_missing_yet(story: Any, builder: Any) -> None:
    """Lane 0's batch came, lane 1's, which its job names, did not: a snapshot of a live pool."""
    builder.terms(0, story.bodies["terms 0"])
    for lane in (0, 1):
        builder.batch(lane, 0, 500)
    for lane in (0, 1):
        builder.batch(lane, 500, 1000)
    builder.batch(0, 1000, 2000, [builder.mine(builder.job("A", 1000, (0, 1)), builder.keys.alice, 1500)])
    late = "batch 1/1"
    for after_ms, missing in (
        (1000 + 60_000, set()),
        (1000 + 60_001, {Code.MISSING_BATCH}),
        (None, {Code.MISSING_BATCH}),
    ):
        log = folded(builder, late)
        complete(log, None if after_ms is None else builder.t0 + after_ms)
        assert codes(log) == missing
    # What came after it in its lane shows that it lacks, however young.
    builder.batch(1, 1000, 2000)
    log = folded(builder, late)
    complete(log, builder.t0 + 3000)
    assert Code.GAP in codes(log)


def test_nothing_is_overdue_without_a_clock(story: Any) -> None:
    left_out = [label for label in story.events if label.startswith(("statement", "status", "payout", "block"))]
    log = folded(story, *left_out)
    complete(log, None)
    assert log.findings == []


def test_a_statement_is_not_due_while_a_lane_is_behind_but_silence_excuses_nothing(story: Any) -> None:
    """The first block is found at 25.299 s; anchor_ms is 120 s, statement_ms 600 s."""
    left_out = [label for label in story.events if label.startswith(("statement", "status", "payout"))]
    left_out += ["batch 1/5", "batch 1/4", "batch 1/3", "batch 1/2", "batch 0/4", "batch 0/5", "block 1", "block 2"]
    due_ms = 25_299 + 120_000 + 600_000
    for after_ms, overdue in ((due_ms, set()), (due_ms + 1, {Code.STATEMENT_OVERDUE})):
        log = folded(story, *left_out)
        complete(log, story.t0 + after_ms)
        assert codes(log) - {Code.CHAIN_FACTS, Code.MISSING_BATCH} == overdue


def test_a_published_grace_excuses_a_statement_until_the_lane_may_be_closed(story: Any, builder: Any) -> None:
    terms = story.bodies["terms 0"]
    builder.terms(0, replace(terms, limits=replace(terms.limits, lane_grace_ms=900_000)))
    silent_lane(builder)
    due_ms = 25_000 + 900_000 + 600_000
    for after_ms, overdue in ((due_ms, set()), (due_ms + 1, {Code.STATEMENT_OVERDUE})):
        log = folded(builder)
        complete(log, builder.t0 + after_ms)
        assert codes(log) == {Code.CHAIN_FACTS} | overdue


def silent_lane(log: Any) -> Any:
    """Alice works in lane 0, bob in lane 1, which is silent from 20 s on; alice's share at 25 s is a block. It."""
    for lane in (0, 1):
        log.batch(lane, 0, 10_000)
    a, b = log.job("A", 10_500, (0,)), log.job("B", 10_500, (1,))
    log.batch(1, 10_000, 20_000, [log.mine(b, log.keys.bob, 12_000)])
    block = log.mine(a, log.keys.alice, 25_000, block=True)
    log.batch(0, 10_000, 25_001, [log.mine(a, log.keys.alice, 13_000), block])
    log.batch(0, 25_001, 40_000)
    log.block("batch 0/1", block, 1)
    return block


def test_a_backlog_that_comes_after_the_close_is_void_and_convicts_nobody(builder: Any, story: Any) -> None:
    """Its shares, and a block among them, count nowhere: the statement was made without them."""
    terms, edge = story.bodies["terms 0"], builder.keys.edge.pubkey
    builder.terms(0, terms)
    block = silent_lane(builder)
    end = builder.heads["1"]
    builder.terms(60_000, replace(terms, closed={f"{edge}/1": end}))
    waiting = folded(builder, "terms 1")
    waiting.settle()
    assert waiting.lanes.behind(block.t) == (edge, 1)
    waiting.add(builder.events["terms 1"])
    waiting.settle()
    assert waiting.lanes.behind(block.t) is None
    builder.statement("block 0", block, 61_000)
    assert judged(builder) == set()
    told, windows = list(builder.told), {lane: list(rows) for lane, rows in builder.windows.items()}
    late = builder.mine(builder.jobs["B"], builder.keys.bob, 24_000, block=True)
    builder.batch(1, 20_000, 24_001, [late])
    builder.batch(1, 24_001, 70_000)
    builder.block("batch 1/2", late, 0)
    builder.told, builder.windows = told, windows
    report = audit(builder.all(), [], builder.pool, now_ms=builder.t0 + 10**8)
    assert {found.code for found in report.findings} == {Code.CLOSED_CHAIN, Code.CHAIN_FACTS}
    void = {event for found in report.findings if found.code is Code.CLOSED_CHAIN for event in found.events}
    assert void >= {builder.events[label].id for label in ("batch 1/2", "batch 1/3", "block 1")}


def test_a_backlog_that_comes_before_a_close_counts(builder: Any, story: Any) -> None:
    builder.terms(0, story.bodies["terms 0"])
    block = silent_lane(builder)
    builder.batch(1, 20_000, 30_000, [builder.mine(builder.jobs["B"], builder.keys.bob, 24_000)])
    builder.statement("block 0", block, 61_000)
    assert builder.bodies["statement 0"].window.heads[f"{builder.keys.edge.pubkey}/1"].seq == 2
    assert judged(builder) == set()


@pytest.mark.parametrize(("ratio", "found"), [(500, False), (446, False), (444, True), (250, True), (556, True)])
def test_hashes_that_are_too_good_for_their_target(story: Any, ratio: int, found: bool) -> None:
    """Work of twice the difficulty credited shows a mean of 1/4; of 1000 shares 6 sigmas are 55/1000."""
    log = folded(story)
    log.settle()
    log.mining.totals.miners = {story.keys.alice.pubkey: MinerTotals(1000, 64_000, 65536 * ratio)}
    complete(log, None)
    assert (Code.HARDER_WORK in codes(log)) is found


def judged(log: Any) -> set[Code]:
    """What an audit long after finds wrong or missing."""
    report = audit(log.all(), [], log.pool, now_ms=log.t0 + 10**8)
    return {found.code for found in report.findings if found.grade != "not checked"}


def one_block(log: Any, story: Any, *, status: int = 0) -> Any:
    """A pool whose first share is a block that nobody has announced. The share."""
    log.terms(0, story.bodies["terms 0"])
    log.batch(0, 0, 10_000)
    block = log.mine(log.job("A", 10_500, (0,)), log.keys.alice, 12_000, block=True, status=status)
    log.batch(0, 10_000, 12_001, [block])
    log.batch(0, 12_001, 40_000)
    return block


@pytest.mark.parametrize("status", [0, LATE_BLOCK])
def test_a_block_nobody_announced_is_missing_even_if_told_as_too_late(builder: Any, story: Any, status: int) -> None:
    """Else the pool had only to call a block late to keep its reward."""
    one_block(builder, story, status=status)
    assert judged(builder) == {Code.BLOCK_UNTOLD}


def test_a_block_that_only_a_stranger_announced_is_missing(builder: Any, story: Any) -> None:
    builder.signers = {"block 0": builder.keys.stranger}
    builder.block("batch 0/1", one_block(builder, story), 0)
    assert judged(builder) == {Code.BLOCK_UNTOLD}


@pytest.mark.parametrize("both", [False, True])
def test_a_block_is_found_when_its_share_is_first_told(builder: Any, story: Any, both: bool) -> None:
    """Told again as too late and announced there, it would end alice's window after the work of others."""
    block = one_block(builder, story)
    again = block._replace(t=block.t + 30_000, record=block.record._replace(status=LATE_BLOCK))
    builder.batch(0, 40_000, 50_000, [again])
    builder.batch(0, 50_000, 60_000)
    builder.block("batch 0/3", again, 0)
    if both:
        builder.block("batch 0/1", block, 0)
    builder.statement("block 0", block if both else again, 61_000)
    assert judged(builder) == (set() if both else {Code.BLOCK_MISMATCH})


def test_jobs_on_one_block_for_two_heights_are_named(builder: Any, story: Any) -> None:
    """Else alice's work, told as mined on top of the block, would be left out of its split."""
    builder.terms(0, story.bodies["terms 0"])
    builder.batch(0, 0, 10_000)
    a = builder.job("A", 10_500, (0,))
    builder.change = {
        "job B": lambda body: replace(
            body, height=102, coinb1=build_coinb1(2, push_height(102) + push_data(b"/noncestr/"))
        )
    }
    b = builder.job("B", 10_600, (0,))
    block = builder.mine(a, builder.keys.bob, 15_000, block=True)
    builder.batch(0, 10_000, 15_001, [builder.mine(b, builder.keys.alice, 12_000), block])
    builder.batch(0, 15_001, 40_000)
    builder.block("batch 0/1", block, 1)
    builder.statement("block 0", block, 41_000)
    assert judged(builder) == {Code.JOB_HEIGHT}


def two_lanes(log: Any, offer: Offer, story: Any, *, leave_out: bool) -> Any:
    """Alice works in lane 0, which ends; bob in lane 1, where the block is. The statement may leave lane 0 out."""
    alice, bob = log.keys.alice, log.keys.bob
    log.terms(0, replace(story.bodies["terms 0"], offers={"main": offer}))
    log.batch(0, 0, 10_000)
    a = log.job("A", 10_500, (0,))
    log.batch(0, 10_000, 20_000, [log.mine(a, alice, ms) for ms in (11_000, 12_000)], fin=True)
    log.batch(1, 20_000, 30_000)
    b = log.job("B", 30_500, (1,))
    block = log.mine(b, bob, 35_000, block=True)
    log.batch(1, 30_000, 35_001, [log.mine(b, bob, 33_000), block])
    log.block("batch 1/1", block, 1)
    if leave_out:
        log.told = [told for told in log.told if told.lane == 1]
        del log.windows[0]
    log.statement("block 0", block, 41_000)
    return log


@pytest.mark.parametrize("leave_out", [False, True])
def test_a_finished_lane_whose_work_counts_must_not_be_left_out(builder: Any, story: Any, leave_out: bool) -> None:
    """Without lane 0 the window would begin after its end, which is no excuse while the window is not full."""
    log = two_lanes(builder, Offer(window_min_work=100_000), story, leave_out=leave_out)
    assert judged(log) == ({Code.STATEMENT_HEADS} if leave_out else set())


@pytest.mark.parametrize(
    "offer",
    [
        pytest.param(Offer(window_min_work=100), id="a full window"),
        pytest.param(Offer(window_min_work=100_000, window_max_ms=15_000), id="a window bounded in time"),
        pytest.param(Offer(window_min_work=100_000, window_max_ms=20_000), id="a lane that ended without work"),
    ],
)
def test_a_finished_lane_without_work_that_counts_may_be_left_out(builder: Any, story: Any, offer: Offer) -> None:
    assert judged(two_lanes(builder, offer, story, leave_out=True)) == set()


def test_fees_that_miners_bore_are_said_to_be_the_pools_word(tell: Any, story: Any) -> None:
    """No proof holds what a payment cost on its way, yet it leaves the balance."""
    terms = story.bodies["terms 0"]
    changed = {
        "terms 0": lambda body: replace(body, payouts=replace(terms.payouts, network_fee="miner")),
        "terms 1": lambda body: replace(body, payouts=replace(terms.payouts, network_fee="miner")),
        "payout 1": lambda body: replace(body, network_fee_msat=77_000),
    }
    log = tell(changed)
    report = audit(log.all(), [], log.pool, now_ms=None)
    told = [found for found in report.findings if found.code is Code.PAYOUT_CLAIMED]
    assert [found.events for found in told] == [(log.events["payout 1"].id,)]
    assert told[0].text.startswith("77000 msat")


def test_it_says_each_thing_once(story: Any) -> None:
    log = folded(story, "batch 0/1")
    complete(log, story.t0 + 10**9)
    before = list(log.findings)
    complete(log, story.t0 + 10**9)
    assert log.findings == before
