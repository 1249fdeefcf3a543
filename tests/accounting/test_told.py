"""Summaries as an audit judges them: in any order of reading, with parts of the log missing, and when none is told."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from accounting.adapters.shelf import SqliteShelves
from accounting.checkpoint import CODEC
from accounting.facts import ShareRevoked
from accounting.findings import NOT_CHECKED, Code
from accounting.report import Report
from accounting.shares import Session
from accounting.summaries import HOT_HOURS, SummaryBook
from accounting.verifier import Audit, audit
from nips.pool.chain import Head
from nips.pool.receipt import parse_receipt
from nips.pool.terms import NEVER, Limits, Offer, TermsBody
from tests.accounting.hourly import HOUR_MS, hour, sign, tell_hours

AFTER_MS = 10**9


@pytest.fixture(scope="module")
def long_story(tell: Any) -> Any:
    return tell_hours(tell())


def judge(log: Any, *without: str, after_ms: int = AFTER_MS) -> Report:
    return audit(log.all(*without), [], log.pool, now_ms=log.t0 + after_ms)


def codes(report: Report) -> set[Code]:
    return {found.code for found in report.findings} - {Code.CHAIN_FACTS}


def told(report: Report) -> tuple[int, int]:
    row = next(row for row in report.claims if row.name == "summaries")
    return row.checked, row.held


def test_the_clean_log_holds(long_story: Any) -> None:
    report = judge(long_story)
    assert codes(report) == set()
    assert told(report) == (2, 2)


@pytest.mark.parametrize("seed", range(12))
def test_any_order_gives_the_same(tell: Any, seed: int) -> None:
    """Also of what is wrong: a summary that leaves a batch out says so whether that batch came before it or after."""
    log = tell_hours(tell())
    # The first hour's lane 0 is cut a batch too early by whoever signs anew.
    bad = hour(log, log.t0 // HOUR_MS * HOUR_MS, log.t0 // HOUR_MS * HOUR_MS + HOUR_MS, {})
    name = f"{log.keys.edge.pubkey}/0"
    heads = {**bad.heads, name: Head(4, log.events["batch 0/4"].id)}
    log = tell()
    log.batch(0, 60_000, HOUR_MS)
    sign(log, 0, replace(bad, heads=heads), HOUR_MS)
    expected = judge(log)
    assert Code.SUMMARY in codes(expected)
    events = log.all()
    order = random.Random(seed)
    order.shuffle(events)
    reader = Audit(log.pool)
    for event in events:
        reader.add(event)
        if order.random() < 0.3:
            reader.settle()
    report = reader.finish(log.t0 + AFTER_MS)
    assert report is None or report == expected


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ("batch 0/7", {Code.GAP, Code.SUMMARY_NOT_RECOMPUTED, Code.MISSING_BATCH}),
        ("batch 0/5", {Code.GAP, Code.SUMMARY_NOT_RECOMPUTED, Code.MISSING_BATCH}),
        ("batch 0/3", {Code.GAP, Code.SUMMARY_NOT_RECOMPUTED}),
        ("batch 0/0", {Code.GAP, Code.SUMMARY_NOT_RECOMPUTED}),
        ("job G", {Code.MISSING_JOB, Code.SUMMARY_NOT_RECOMPUTED}),
        ("part 1/0", {Code.GAP, Code.SUMMARY_NOT_RECOMPUTED}),
        ("summary 0", {Code.GAP, Code.SUMMARY_NOT_RECOMPUTED}),
    ],
)
def test_what_is_missing_is_no_lie(long_story: Any, without: str, expected: set[Code]) -> None:
    found = codes(judge(long_story, without))
    assert expected <= found
    # A lack is said as such: that the summary is wrong is only said where it stands by itself.
    assert (Code.SUMMARY in found) == (Code.SUMMARY in expected)


def test_the_newest_hours_may_lack(long_story: Any) -> None:
    """The log's last hour, read before its summary was told, and after that has been due for too long."""
    last = [label for label in long_story.events if label.split()[0] in ("part", "archive") or label == "summary 1"]
    due_ms = 2 * HOUR_MS - long_story.t0 % HOUR_MS
    assert codes(judge(long_story, *last, after_ms=due_ms + 60_000)) == set()
    assert codes(judge(long_story, *last)) == {Code.SUMMARY_OVERDUE}
    # Nobody owes the hour that is not over, and a pool at rest owes none.
    assert codes(judge(long_story, *last, "batch 0/8")) == set()


def test_a_silent_lane_holds_an_hour_up_for_its_grace(tell: Any) -> None:
    log = tell()
    over_ms = HOUR_MS - log.t0 % HOUR_MS
    log.batch(2, 0, 10_000)
    log.batch(0, 60_000, over_ms + 700_000)
    assert codes(judge(log)) == set()
    log.batch(0, over_ms + 700_000, over_ms + 800_000)
    assert codes(judge(log)) == {Code.SUMMARY_OVERDUE}


def test_a_batch_that_no_summary_counts_is_passed_over_after_a_day(long_story: Any, tell: Any) -> None:
    log = tell_hours(tell())
    log.batch(3, 0, 20_000, fin=True)
    assert codes(judge(log)) == set()
    first, after = log.t0 // HOUR_MS * HOUR_MS + 2 * HOUR_MS, {0: 7, 1: 5, 3: 0}
    for number in range(2, 27):
        begin = first - log.t0 + (number - 2) * HOUR_MS
        log.batch(0, begin + 5_000, begin + HOUR_MS + 5_000)
        body = hour(log, first + (number - 2) * HOUR_MS, first + (number - 1) * HOUR_MS, after)
        # The accounting is dated behind the archive's announcement.
        sign(log, number, body, max(begin + HOUR_MS + 6_000, 90_000_000))
    report = judge(log)
    (found,) = [found for found in report.findings if found.code is Code.SUMMARY_OVERDUE]
    assert found.events == (log.events["batch 3/0"].id,)
    assert codes(report) == {Code.SUMMARY_OVERDUE}


def test_a_lane_that_was_named_is_not_left_out(long_story: Any, tell: Any) -> None:
    log = tell()
    begin = log.t0 // HOUR_MS * HOUR_MS
    after: dict[int, int] = {}
    log.batch(2, 0, 10_000)
    log.batch(0, 60_000, HOUR_MS)
    log.batch(2, 10_000, HOUR_MS + 1)
    sign(log, 0, hour(log, begin, begin + HOUR_MS, after), HOUR_MS)
    log.batch(0, HOUR_MS, 2 * HOUR_MS)
    log.batch(2, HOUR_MS + 1, 2 * HOUR_MS)
    body = hour(log, begin + HOUR_MS, begin + 2 * HOUR_MS, after)
    assert f"{log.keys.edge.pubkey}/2" in body.heads
    heads = {name: head for name, head in body.heads.items() if not name.endswith("/2")}
    sign(log, 1, replace(body, heads=heads), 2 * HOUR_MS)
    report = judge(log)
    assert any("is left out, though" in found.text for found in report.findings)


def test_what_terms_made_void_later_is_noted(tell: Any) -> None:
    """Terms that close a lane below what an hour counted make it void; the summary was right when it was signed."""
    log = tell_hours(tell())
    end = Head(6, log.events["batch 0/6"].id)
    edge = log.keys.edge.pubkey
    others = (pair for pair in log.bodies["terms 1"].keys if pair[0] != edge)
    keys = (*others, (log.keys.stranger.pubkey, "edge"))
    closed = {f"{edge}/0": end, f"{edge}/1": log.heads["1"], f"{edge}/*": NEVER}
    log.terms(100_000_000, replace(log.bodies["terms 1"], keys=keys, closed=closed))
    report = judge(log)
    noted = [found for found in report.findings if found.code is Code.CLOSED_CHAIN and found.text.startswith("summary")]
    assert [(found.grade, found.events) for found in noted] == [(NOT_CHECKED, (log.events["summary 1"].id,))]
    assert codes(report) == {Code.CLOSED_CHAIN}
    assert report.exit_code == 0


def close_early(tell: Callable[..., Any], *, ms: int, grace_ms: int | None, kept: bool = True) -> Any:
    """Lane 2 ends at its batch 1 by terms of a time; it went on, and sealed a batch two minutes later."""

    def graced(body: Any) -> Any:
        limits: Limits = replace(body.limits, lane_grace_ms=grace_ms)
        return replace(body, limits=limits)

    log = tell({"terms 0": graced, "terms 1": graced})
    for seq in range(2):
        log.batch(2, seq * 10_000, seq * 10_000 + 10_000)
    end = log.heads["2"]
    edge = log.keys.edge.pubkey
    closed = {f"{edge}/2": end}
    keys = log.bodies["terms 1"].keys
    if not kept:
        keys = tuple(pair for pair in keys if pair[0] != edge)
        closed |= {f"{edge}/{lane}": log.heads[str(lane)] for lane in (0, 1)}
    log.terms(ms, replace(log.bodies["terms 1"], keys=keys, closed=closed))
    log.batch(2, 20_000, 200_000)
    return log


@pytest.mark.parametrize(
    ("ms", "grace_ms", "kept", "expected"),
    [
        (70_000, 600_000, True, {Code.CLOSED_CHAIN, Code.LANE_CLOSED_EARLY}),
        # After its grace; with no grace promised; a key that is trusted no more; a lane that did not live on.
        (70_000, 50_000, True, {Code.CLOSED_CHAIN}),
        (70_000, None, True, {Code.CLOSED_CHAIN}),
        (70_000, 600_000, False, {Code.CLOSED_CHAIN}),
        (210_000, 600_000, True, {Code.CLOSED_CHAIN}),
    ],
)
def test_a_lane_closed_before_its_grace_is_found_if_it_lived_on(
    tell: Any, ms: int, grace_ms: int | None, kept: bool, expected: set[Code]
) -> None:
    log = close_early(tell, ms=ms, grace_ms=grace_ms, kept=kept)
    report = judge(log)
    assert codes(report) == expected
    assert codes(audit(list(reversed(log.all())), [], log.pool, now_ms=log.t0 + AFTER_MS)) == expected


def test_hours_that_nobody_counts_go_to_the_shelf(builder: Any, tmp_path: Any) -> None:
    """Without summaries what waits for one does not grow in memory; counted late, it is still known."""
    log = builder
    log.terms(0, tell_terms(log))
    log.batch(0, 0, 10_000)
    hours = 6
    for at in range(hours):
        job = log.job(f"J{at}", at * HOUR_MS + 10_500, (0,), tip=at)
        log.batch(
            0, at * HOUR_MS + 10_000, at * HOUR_MS + 20_000, [log.mine(job, log.keys.alice, at * HOUR_MS + 11_000)]
        )
        log.batch(0, at * HOUR_MS + 20_000, (at + 1) * HOUR_MS + 10_000)
    with SqliteShelves(tmp_path / "shelves", CODEC) as shelves:
        reader = Audit(log.pool, shelves=shelves)
        for event in log.all():
            reader.add(event)
        reader.settle()
        (lane,) = reader.summaries.lanes.values()
        assert [bucket.shelved for bucket in lane.buckets] == [True] * (len(lane.buckets) - HOT_HOURS) + [
            False
        ] * HOT_HOURS
        assert sum(len(bucket.rows) for bucket in lane.buckets) <= HOT_HOURS
        begin, after = log.t0 // HOUR_MS * HOUR_MS, dict[int, int]()
        for number in range(hours):
            body = hour(log, begin + number * HOUR_MS, begin + (number + 1) * HOUR_MS, after)
            sign(log, number, body, (number + 1) * HOUR_MS)
            reader.add(log.events[f"summary {number}"])
        report = reader.finish(log.t0 + hours * HOUR_MS)
        assert report is not None
        assert codes(report) == set()
        assert told(report) == (hours, hours)
        assert len(shelves.open("summary hours")) == 0


def tell_terms(log: Any) -> Any:
    keys = ((log.keys.edge.pubkey, "edge"), (log.keys.accounting.pubkey, "accounting"))
    return TermsBody(offers={"main": Offer()}, keys=keys, limits=Limits(easiest_bits=0x2100FFFF, block_bits=0x1D00FFFF))


def test_a_share_that_falls_is_taken_off_the_shelf_too(long_story: Any, tmp_path: Any) -> None:
    with SqliteShelves(tmp_path / "shelves", CODEC) as shelves:
        reader = Audit(long_story.pool, shelves=shelves)
        for label, event in long_story.events.items():
            if not label.startswith(("summary", "part")):
                reader.add(event)
        reader.settle()
        name = f"{long_story.keys.edge.pubkey}/0"
        bucket = reader.summaries.lanes[name].buckets[0]
        assert bucket.shelved
        receipt = parse_receipt(long_story.events["batch 0/1"])
        who = Session(long_story.keys.alice.pubkey, "rig", 64)
        book: SummaryBook = reader.summaries
        assert book.shelf is not None
        key = f"{name}/{bucket.end_ms:016d}"
        before = book.shelf[key][who.miner, "rig"].shares
        book.revoke(ShareRevoked(receipt.id, 0, name, 1, who))
        assert book.shelf[key][who.miner, "rig"].shares == before - 1
