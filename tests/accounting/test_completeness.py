"""The end of an audit: what lacks, what is overdue, whose luck is too good. Most of it shows in test_verifier."""

from array import array
from dataclasses import replace
from typing import Any

import pytest

from accounting.completeness import complete
from accounting.findings import Code
from accounting.log import PoolLog


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


def test_nothing_is_overdue_without_a_clock(story: Any) -> None:
    left_out = [label for label in story.events if label.startswith(("statement", "status", "payout", "block"))]
    log = folded(story, *left_out)
    complete(log, None)
    assert log.findings == []


def test_a_statement_is_not_due_while_a_lane_is_behind(story: Any) -> None:
    left_out = [label for label in story.events if label.startswith(("statement", "status", "payout"))]
    log = folded(
        story,
        *left_out,
        "batch 1/5",
        "batch 1/4",
        "batch 1/3",
        "batch 1/2",
        "batch 0/4",
        "batch 0/5",
        "block 1",
        "block 2",
    )
    complete(log, story.t0 + 10**9)
    assert codes(log) <= {Code.CHAIN_FACTS, Code.MISSING_BATCH}


@pytest.mark.parametrize(("ratio", "found"), [(500, False), (446, False), (444, True), (250, True), (556, True)])
def test_hashes_that_are_too_good_for_their_target(story: Any, ratio: int, found: bool) -> None:
    """Work of twice the difficulty credited shows a mean of 1/4; of 1000 shares 6 sigmas are 55/1000."""
    log = folded(story)
    log.settle()
    batch = log.lanes[sorted(log.lanes)[0]].batches[1]
    count = 1000
    batch.shares = replace(
        batch.shares,
        t=array("q", [0] * count),
        index=array("I", range(count)),
        session=array("H", [0] * count),
        job=array("B", [0] * count),
        ratios=(65536 * ratio,),
    )
    for lane in log.lanes.values():
        for other in lane.batches:
            if other is not batch:
                other.shares = replace(other.shares, session=array("H"), ratios=())
    complete(log, None)
    assert (Code.HARDER_WORK in codes(log)) is found


def test_it_says_each_thing_once(story: Any) -> None:
    log = folded(story, "batch 0/1")
    complete(log, story.t0 + 10**9)
    before = list(log.findings)
    assert complete(log, story.t0 + 10**9) == []
    assert log.findings == before
