"""The statement a block must have. That each field is compared shows in test_verifier."""

from dataclasses import replace
from typing import Any

import pytest

from accounting.errors import UnsupportedOffer
from accounting.facts import BlockSeen
from accounting.findings import Code
from accounting.log import PoolLog
from accounting.rewards import check_offers, compare_statement, expected_statement, missing_heads
from nips.pool.chain import Head
from nips.pool.statement import parse_statement
from nips.pool.terms import Offer


@pytest.fixture(scope="module")
def folded(story: Any) -> PoolLog:
    log = PoolLog(story.pool)
    for event in story.all():
        log.add(event)
    log.settle()
    return log


def block(log: PoolLog, story: Any, number: int) -> BlockSeen:
    return log.blocks[story.bodies[f"block {number}"].block]


def test_the_split_is_the_naive_one(folded: PoolLog, story: Any) -> None:
    for number in range(3):
        assert expected_statement(folded.lanes, block(folded, story, number)) == story.bodies[f"statement {number}"]


def test_the_window_counts_its_edge_in_part(story: Any) -> None:
    """400 of work out of shares of 64 and one of 128: some miner's work is no multiple of 64."""
    body = story.bodies["statement 0"]
    assert body.window.work == 400
    assert any(row.work % 64 for row in body.rows)


def test_the_bounded_window_is_shorter_than_its_work(story: Any) -> None:
    body = story.bodies["statement 1"]
    assert body.window.work < 400
    assert body.fee_msat < len(body.rows)


def test_a_statement_equal_to_the_log_has_no_differences(folded: PoolLog, story: Any) -> None:
    statement = parse_statement(story.events["statement 0"])
    assert compare_statement(folded.lanes, statement, block(folded, story, 0)) == []
    wrong = replace(statement, fee_msat=statement.fee_msat + 1)
    assert [code for code, _ in compare_statement(folded.lanes, wrong, block(folded, story, 0)) or []] == [
        Code.STATEMENT_SPLIT
    ]


def test_heads_that_were_not_read(folded: PoolLog, story: Any) -> None:
    statement = parse_statement(story.events["statement 0"])
    assert missing_heads(folded.lanes, statement) == []
    heads = {**statement.window.heads, f"{story.keys.edge.pubkey}/7": Head(0, "77" * 32), "junk": Head(0, "66" * 32)}
    other = replace(statement, window=replace(statement.window, heads=heads))
    assert missing_heads(folded.lanes, other) == ["66" * 32, "77" * 32]


def test_what_lacks_before_a_full_window_changes_nothing(story: Any) -> None:
    """Lane 0's first batches with shares are on no relay; the windows of later rewards don't reach back to them."""
    log = PoolLog(story.pool)
    for event in story.all():
        log.add(event)
    log.settle()
    first, second = (parse_statement(story.events[f"statement {number}"]) for number in (0, 1))
    for lane in log.lanes.values():
        lane.holes.append((1, story.t0 + 20_000))
    assert compare_statement(log.lanes, first, block(log, story, 0)) is None
    assert compare_statement(log.lanes, second, block(log, story, 1)) == []


def test_schemes_that_are_not_computed_are_refused(story: Any) -> None:
    terms = story.bodies["terms 0"]
    for scheme in ("pplns", "prop", "solo", "pps", "fpps"):
        check_offers(replace(terms, offers={"any": Offer(scheme=scheme)}))
    with pytest.raises(UnsupportedOffer, match="ehash"):
        check_offers(replace(terms, offers={"any": Offer(scheme="ehash")}))


def test_a_statement_of_such_a_scheme_is_not_checked(story: Any, folded: PoolLog) -> None:
    seen = block(folded, story, 0)
    unknown = replace(seen.terms, body=replace(seen.terms.body, offers={"main": Offer(scheme="ehash")}))
    with pytest.raises(UnsupportedOffer):
        expected_statement(folded.lanes, replace(seen, terms=unknown))
