"""The fold: the same events give the same, in any order and any pieces, hashed or trusted."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.checks import open_check
from accounting.completeness import complete
from accounting.facts import (
    ATTESTED,
    CLAIMED,
    BatchChecked,
    BlockSeen,
    Fact,
    PayoutSeen,
    Reopened,
    ShareRevoked,
    StatementSeen,
    TermsAdopted,
)
from accounting.findings import Code
from accounting.log import PoolLog
from accounting.rewards import NotYet
from accounting.shares import CheckedShares, unpack_shares
from nips.nip01 import VerifiedEvent, encode_event
from nips.pool.chain import Head

Tell = Callable[..., Any]


def fold(log: Any, pieces: list[list[VerifiedEvent]]) -> tuple[PoolLog, list[Fact]]:
    pool_log, facts = PoolLog(log.pool), []
    for piece in pieces:
        for event in piece:
            pool_log.add(event)
        facts += pool_log.settle()
    return pool_log, facts


def essence(pool_log: PoolLog) -> Any:
    """Everything that money or an audit rests on."""
    return (
        {(found.code, found.text, found.events, found.miner) for found in pool_log.findings},
        {str(key): [(batch.id, list(batch.shares)) for batch in lane.batches] for key, lane in pool_log.lanes.items()},
        {block: (seen.found_ms, seen.gross_msat, seen.offer) for block, seen in pool_log.blocks.items()},
        {event: reward.state for event, reward in pool_log.books.rewards.items()},
        pool_log.books.grades,
        pool_log.books.paid_msat(),
    )


def test_an_honest_log_gives_its_facts_in_order(story: Any) -> None:
    pool_log, facts = fold(story, [story.all()])
    assert pool_log.findings == []
    kinds = [type(fact) for fact in facts]
    assert kinds == sorted(
        kinds,
        key=lambda kind: (
            [TermsAdopted, BatchChecked, BlockSeen].index(kind)
            if kind in (TermsAdopted, BatchChecked, BlockSeen)
            else 3
        ),
    )
    assert [fact.ok for fact in facts if isinstance(fact, StatementSeen)] == [True] * 3
    assert [fact.grade for fact in facts if isinstance(fact, PayoutSeen)] == [ATTESTED] * 3
    assert pool_log.settle() == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_in_any_pieces_gives_the_same(story: Any, data: st.DataObject) -> None:
    whole, _ = fold(story, [story.all()])
    complete(whole, None)
    events = data.draw(st.permutations(story.all()))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=6)))
    pieces = [events[start:end] for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    pool_log, facts = fold(story, pieces)
    complete(pool_log, None)
    assert essence(pool_log) == essence(whole)
    assert not any(isinstance(fact, Reopened) for fact in facts)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_holes_are_found_alike_in_any_order(story: Any, data: st.DataObject) -> None:
    """With events missing the findings, too, do not depend on the order."""
    gone = data.draw(st.sets(st.sampled_from(sorted(story.events)), min_size=1, max_size=3))
    events = story.all(*gone)
    whole, _ = fold(story, [events])
    complete(whole, story.t0 + 10**8)
    shuffled, _ = fold(story, [[event] for event in data.draw(st.permutations(events))])
    complete(shuffled, story.t0 + 10**8)
    assert essence(shuffled) == essence(whole)


def test_the_same_event_twice_is_one(story: Any) -> None:
    once, facts = fold(story, [story.all()])
    twice, more = fold(story, [story.all() + story.all(), story.all()])
    assert len(more) == len(facts)
    assert essence(twice) == essence(once)


def test_a_receipt_waits_for_its_jobs_and_its_forerunner(story: Any) -> None:
    late = [story.events["job A"], story.events["batch 0/0"]]
    pool_log, facts = fold(story, [story.all("job A", "batch 0/0", "batch 1/0"), late])
    checked = [fact.receipt.id for fact in facts if isinstance(fact, BatchChecked)]
    assert checked == [story.events[f"batch 0/{seq}"].id for seq in range(6)]
    assert pool_log.findings == []


def replay(log: Any, events: Iterable[VerifiedEvent], facts: Iterable[Fact]) -> PoolLog:
    """A fold that takes for known what another one has checked."""
    checks = {fact.receipt.id: fact.check for fact in facts if isinstance(fact, BatchChecked)}
    replayed = PoolLog(log.pool)
    replayed.add(log.events["terms 0"])
    replayed.settle()
    for event in events:
        known = open_check(event.id, checks.get(event.id) or b"", encode_event(event))
        if known is None:
            replayed.add(event)
        else:
            replayed.add_known(known)
    replayed.settle()
    return replayed


def test_trusted_batches_are_not_hashed_again_and_give_the_same(story: Any) -> None:
    whole, facts = fold(story, [story.all()])
    replayed = replay(story, story.all(), facts)
    complete(whole, None)
    complete(replayed, None)
    assert essence(replayed) == essence(whole)


def test_a_share_that_repeats_one_of_a_trusted_batch_is_found(builder: Any, story: Any) -> None:
    """A restart must not open a door for shares told before it."""
    builder.terms(0, story.bodies["terms 0"])
    share = builder.mine(builder.job("A", 1000, (0,)), builder.keys.alice, 1500)
    builder.batch(0, 0, 5000, [share])
    _, facts = fold(builder, [builder.all()])
    checked = next(fact for fact in facts if isinstance(fact, BatchChecked))
    before = builder.all()
    builder.batch(0, 5000, 9000, [share._replace(t=share.t + 4000)])
    replayed = replay(builder, before, [checked])
    replayed.add(builder.events["batch 0/1"])
    replayed.settle()
    assert {found.code for found in replayed.findings} == {Code.SHARE_TWICE}


def test_a_trusted_batch_with_bad_shares_is_hashed_again(tell: Tell, story: Any) -> None:
    """So that what was wrong is said again."""
    log = tell({"batch 0/1": lambda body: replace(body, shares=body.shares[:-1] + b"\x01")})
    first, facts = fold(log, [log.all()])
    second = replay(log, log.all(), facts)
    assert {found.code for found in second.findings} == {found.code for found in first.findings}
    assert Code.SHARE_WORK in {found.code for found in second.findings}


def test_an_earlier_share_of_a_lane_read_later_takes_the_credit(builder: Any, story: Any) -> None:
    """Which of two equal shares counts is a matter of their time, not of the reading."""
    builder.terms(0, story.bodies["terms 0"])
    builder.batch(0, 0, 500)
    builder.batch(1, 0, 500)
    share = builder.mine(builder.job("A", 1000, (0, 1)), builder.keys.alice, 1500)
    builder.batch(0, 500, 5000, [share._replace(t=share.t + 10)])
    builder.batch(1, 500, 5000, [share])
    results = []
    for last in ("batch 0/1", "batch 1/1"):
        pool_log, facts = fold(builder, [builder.all(last), [builder.events[last]]])
        assert any(isinstance(fact, ShareRevoked) for fact in facts) == (last == "batch 1/1")
        results.append({str(key): len(lane.batches[1].shares) for key, lane in pool_log.lanes.items()})
    edge = builder.keys.edge.pubkey
    assert results == [{f"{edge}/0": 0, f"{edge}/1": 1}] * 2


def test_terms_that_close_a_lane_at_its_head_end_it(builder: Any, story: Any) -> None:
    """A dead lane is given up: nobody waits for it any more."""
    builder.terms(0, story.bodies["terms 0"])
    ids = [builder.batch(0, 1000 * n, 1000 * n + 1000).id for n in range(3)]
    closed = {f"{builder.keys.edge.pubkey}/0": Head(2, ids[2])}
    builder.terms(10_000, replace(story.bodies["terms 0"], closed=closed))
    log, facts = fold(builder, [builder.all("terms 1")])
    assert not log.ready(builder.t0 + 10**9)
    log.add(builder.events["terms 1"])
    facts += log.settle()
    assert not any(isinstance(fact, Reopened) for fact in facts)
    assert log.ready(builder.t0 + 10**9)


def test_terms_that_close_a_lane_below_its_head_reopen_the_log(builder: Any, story: Any) -> None:
    builder.terms(0, story.bodies["terms 0"])
    ids = [builder.batch(0, 1000 * n, 1000 * n + 1000).id for n in range(3)]
    closed = {f"{builder.keys.edge.pubkey}/0": Head(0, ids[0])}
    builder.terms(10_000, replace(story.bodies["terms 0"], closed=closed))
    _, facts = fold(builder, [builder.all("terms 1"), [builder.events["terms 1"]]])
    # What the shares came to stands: they need no hashing once more.
    assert [fact.rehash for fact in facts if isinstance(fact, Reopened)] == [False]
    again, facts = fold(builder, [builder.all()])
    assert not any(isinstance(fact, Reopened) for fact in facts)
    assert {found.code for found in again.findings} == {Code.CLOSED_CHAIN}


def test_terms_dated_long_before_a_used_job_reopen_the_log(builder: Any, story: Any) -> None:
    """Late news that the job's terms had been replaced."""
    terms = story.bodies["terms 0"]
    old = builder.terms(0, terms)
    builder.terms(1000, terms)
    builder.batch(0, 0, 700_000)
    builder.change = {"job A": lambda body: replace(body, terms=old.id)}
    job = builder.job("A", 700_000, (0,))
    builder.batch(0, 700_000, 710_000, [builder.mine(job, builder.keys.alice, 701_000)])
    _, facts = fold(builder, [builder.all("terms 1"), [builder.events["terms 1"]]])
    assert [fact.rehash for fact in facts if isinstance(fact, Reopened)] == [True], "its shares are judged otherwise"


def test_a_receipt_read_later_raises_a_claim_to_attested(story: Any) -> None:
    _, facts = fold(story, [story.all("receipt 0"), [story.events["receipt 0"]]])
    first = story.events["payout 0"].id
    grades = [fact.grade for fact in facts if isinstance(fact, PayoutSeen) and fact.payout.id == first]
    assert grades == [CLAIMED, ATTESTED]


def test_terms_at_a_time(story: Any) -> None:
    pool_log, _ = fold(story, [story.all()])
    times = {0: "terms 0", story.t0: "terms 0", story.t0 + 39_999: "terms 0", story.t0 + 40_000: "terms 1"}
    for ms, label in times.items():
        terms = pool_log.terms_at(ms)
        assert terms is not None
        assert terms.id == story.events[label].id
    assert PoolLog(story.pool).terms_at(0) is None


def test_a_statement_can_be_made_once_every_open_lane_has_passed(story: Any) -> None:
    events = story.all("batch 1/2", "batch 1/3", "batch 1/4", "batch 1/5", "statement 0")
    pool_log, facts = fold(story, [events])
    block = min((fact for fact in facts if isinstance(fact, BlockSeen)), key=lambda seen: seen.found_ms)
    assert not pool_log.ready(block.found_ms)
    waiting = pool_log.expected(block)
    assert isinstance(waiting, NotYet)
    assert "/1" in waiting.reason
    pool_log.add(story.events["batch 1/2"])
    pool_log.settle()
    assert pool_log.ready(block.found_ms)
    assert pool_log.expected(block) == story.bodies["statement 0"]


def test_the_expected_statement_does_not_change_as_the_log_goes_on(story: Any) -> None:
    pool_log, facts = fold(story, [story.all()])
    by_block = {fact.block.id: fact for fact in facts if isinstance(fact, BlockSeen)}
    for label in ("0", "1", "2"):
        block = by_block[story.events[f"block {label}"].id]
        expected = pool_log.expected(block)
        assert expected == story.bodies[f"statement {label}"]
        assert not isinstance(expected, NotYet)
        assert pool_log.cut_heads(block.found_ms, expected.window.from_ms) == expected.window.heads


def test_checked_shares_say_what_was_in_a_batch(story: Any) -> None:
    _, facts = fold(story, [story.all()])
    shares: dict[str, CheckedShares] = {
        fact.receipt.id: fact.shares for fact in facts if isinstance(fact, BatchChecked)
    }
    batch = shares[story.events["batch 1/2"].id]
    assert (len(batch), batch.bad, batch.uncredited, batch.unchecked) == (2, 0, 1, 0)
    assert [share.miner for share in batch] == [story.keys.bob.pubkey, story.keys.alice.pubkey]
    assert unpack_shares(batch.pack()) == batch
