"""Hourly summaries: made when the hour is known, checked row by row, the same whatever came first."""

import json
import random
from array import array
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.facts import ShareRevoked
from accounting.fold import Fold
from accounting.shares import CheckedShares, JobRef, Session
from accounting.summaries import MAX_WORKERS, SummaryBook, hour_end
from nips.pool.binding import BoundWork
from nips.pool.chain import Head, next_link
from nips.pool.hashing import hash_value
from nips.pool.receipt import parse_receipt
from nips.pool.summary import HOUR_MS, OTHER_WORKERS, build_summary, build_summary_part, parse_summary
from nips.pool.targets import bits_at_least

LANES = (0, 1)


def tell_hours(log, hours=3):
    """Two lanes; in each hour some shares a few seconds after it began."""
    alice, bob = log.keys.alice, log.keys.bob
    log.terms(0, _terms(log))
    begin = hour_end(log.t0) - log.t0
    for lane in LANES:
        log.batch(lane, 0, 10_000)
    for hour in range(hours):
        at = begin + hour * HOUR_MS
        for lane in LANES:
            log.batch(lane, 10_000 if not hour else at - HOUR_MS + 40_000, at + 10_000)
        job = log.job(f"H{hour}", at + 10_500, LANES, tip=hour)
        log.batch(0, at + 10_000, at + 40_000, [log.mine(job, alice, at + 11_000 + n) for n in range(hour + 1)])
        shares = [log.mine(job, bob, at + 20_000, worker="attic"), log.mine(job, alice, at + 21_000, worker="cellar")]
        log.batch(1, at + 10_000, at + 40_000, shares)
    end = begin + hours * HOUR_MS
    for lane in LANES:
        log.batch(lane, end - HOUR_MS + 40_000, end + 5_000)
    return log


def _terms(log):
    from nips.pool.terms import Limits, Offer, TermsBody

    keys = ((log.keys.edge.pubkey, "edge"), (log.keys.accounting.pubkey, "accounting"))
    return TermsBody(offers={"main": Offer()}, keys=keys, limits=Limits(easiest_bits=0x2100FFFF))


def folded(log, events=None):
    fold = Fold(log.pool)
    for event in log.all() if events is None else events:
        fold.add(event)
    fold.settle()
    return fold


def sign_summary(log, body, *, signer=None, parts=None):
    """The summary, as an accounting would sign it; `parts`: rows to put into parts before it."""
    number = sum(name.startswith("summary ") for name in log.events)
    second = (body.to_ms + 9_000) // 1000
    chain = "accounting" if signer is None else signer.pubkey
    signer = signer or log.keys.accounting
    for at, rows in enumerate(parts or ()):
        link = next_link(log.heads.get(chain))
        log.sign(f"part {number}/{at}", signer, build_summary_part(log.pool, link, at, rows, second), chain)
    link = next_link(log.heads.get(chain))
    unsigned = build_summary(log.pool, link, body, second, parts=len(parts or ()))
    return log.sign(f"summary {number}", signer, unsigned, chain)


def summarise(log, fold):
    """Sign what is due until nothing is."""
    bodies = []
    while (body := fold.due_summary()) is not None:
        bodies.append(body)
        fold.add(sign_summary(log, body))
        fold.settle()
    return bodies


@pytest.fixture
def told(builder):
    return tell_hours(builder)


@pytest.fixture(scope="module")
def whole(tell):
    log = tell_hours(type(tell())())
    fold = folded(log)
    bodies = summarise(log, fold)
    return log, bodies, fold


def test_the_hours_add_up(whole):
    log, bodies, fold = whole
    assert not fold.violations
    begin = log.t0 // HOUR_MS * HOUR_MS
    # The log began within an hour without shares; the last hour is not over.
    assert [(body.from_ms, body.to_ms) for body in bodies] == [
        (begin + hour * HOUR_MS, begin + (hour + 1) * HOUR_MS) for hour in range(4)
    ]
    assert not bodies[0].rows
    seq = 0
    for hour, body in enumerate(bodies[1:]):
        rows = {(row.miner, row.worker): row for row in body.rows}
        assert list(rows) == sorted(rows)
        assert rows[log.keys.alice.pubkey, "rig"].shares == hour + 1
        assert rows[log.keys.bob.pubkey, "attic"].shares == rows[log.keys.alice.pubkey, "cellar"].shares == 1
        # Batches that end within the hour: the one over its edge belongs to it.
        ended = [head for _, to_ms, head in log.windows[0] if to_ms <= body.to_ms]
        assert body.heads[f"{log.keys.edge.pubkey}/0"] == ended[-1]
        seq = ended[-1].seq
    assert sum(body.work for body in bodies) == sum(share.work for share in log.told)
    assert seq < log.heads["0"].seq
    assert fold.due_summary() is None
    assert not fold.summaries.left_out()


def test_the_best_share_is_the_lowest_hash(whole):
    """By the headers, one by one."""
    log, bodies, _ = whole
    jobs = {job.id: job for job in log.jobs.values()}
    lowest = {}
    for name, body in log.bodies.items():
        if not name.startswith("batch"):
            continue
        for record in parse_receipt(log.events[name]).records():
            who, job = body.sessions[record.session], jobs[body.jobs[record.job]]
            work = BoundWork(job, body.miners[who.miner], who.share_bits, who.extranonce1)
            value = hash_value(work.hash(record.extranonce2, record.ntime, record.nonce, record.version))
            place = (hour_end(body.to_ms), body.miners[who.miner], who.worker)
            lowest[place] = min(lowest.get(place, value), value)
    told = {(body.to_ms, row.miner, row.worker): row.best_bits for body in bodies for row in body.rows}
    assert told == {place: bits_at_least(value) for place, value in lowest.items()}
    assert len(told) == 9


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 7))
def test_any_order_gives_the_same(whole, seed, step):
    log, bodies, expected = whole
    events = log.all()
    random.Random(seed).shuffle(events)
    fold = Fold(log.pool)
    for at in range(0, len(events), step):
        for event in events[at : at + step]:
            fold.add(event)
        fold.settle()
    assert not fold.violations
    assert (fold.summaries.to_ms, fold.summaries.taken) == (bodies[-1].to_ms, len(bodies))
    assert fold.summaries == expected.summaries


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_lanes_that_arrive_in_any_order_make_the_same_summaries(whole, seed):
    log, bodies, _ = whole
    events = {name: event for name, event in log.events.items() if not name.startswith("summary")}
    # Which lanes there are is known from the start: one that shows up late counts in the next hour.
    fold = folded(log, [events.pop(name) for name in ("terms 0", "batch 0/0", "batch 1/0")])
    events = list(events.values())
    random.Random(seed).shuffle(events)
    made = []
    for event in events:
        fold.add(event)
        fold.settle()
        while (body := fold.due_summary()) is not None:
            made.append(body)
            summary = log.keys.accounting.sign(build_summary(log.pool, Head(0, "00" * 32).next(), body, 9))
            fold.summaries.take(parse_summary(summary), body.rows)
    assert made == bodies


def test_an_open_lane_holds_the_hour_up(told):
    last = f"batch 1/{told.heads['1'].seq}"
    fold = folded(told, told.all(last))
    assert [body.to_ms for body in summarise(told, fold)] == [hour_end(told.t0) + n * HOUR_MS for n in range(3)]
    fold.add(told.events[last])
    fold.settle()
    assert fold.due_summary().to_ms == hour_end(told.t0) + 3 * HOUR_MS


def test_what_came_too_late_counts_in_the_next_hour(told):
    fold = folded(told)
    first = fold.due_summary()
    fold.add(sign_summary(told, first))
    fold.settle()
    # A third lane shows up, all of it within the hour that was just summed up.
    told.batch(2, 0, 20_000)
    told.batch(2, 20_000, 30_000, fin=True)
    for seq in range(2):
        fold.add(told.events[f"batch 2/{seq}"])
    fold.settle()
    assert fold.summaries.left_out() == [f"{told.keys.edge.pubkey}/2"]
    second = fold.due_summary()
    assert second.heads[f"{told.keys.edge.pubkey}/2"] == told.heads["2"]
    assert (second.from_ms, second.to_ms) == (first.to_ms, first.to_ms + HOUR_MS)
    summarise(told, fold)
    assert not fold.violations
    assert not fold.summaries.left_out()
    assert not folded(told).violations


def test_hours_without_a_batch_are_joined(builder):
    builder.terms(0, _terms(builder))
    builder.batch(0, 0, 10_000, fin=True)
    later = 5 * HOUR_MS
    builder.batch(1, later, later + 10_000)
    builder.batch(1, later + 10_000, later + HOUR_MS)
    fold = folded(builder)
    first, second = summarise(builder, fold)
    begin = builder.t0 // HOUR_MS * HOUR_MS
    assert (first.from_ms, first.to_ms) == (begin, begin + HOUR_MS)
    assert (second.from_ms, second.to_ms) == (begin + HOUR_MS, hour_end(builder.t0 + later))
    assert not fold.violations


def changed_row(body, **changes):
    return replace(body, rows=(replace(body.rows[0], **changes), *body.rows[1:]))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda body: changed_row(body, work=1), "is told as"),
        (lambda body: changed_row(body, best_bits=0x1D00FFFF), "is told as"),
        (lambda body: replace(body, rows=body.rows[1:]), "is told as nothing"),
        (lambda body: replace(body, rows=()), "2 more rows differ"),
        (lambda body: replace(body, to_ms=body.to_ms + HOUR_MS), "is due"),
        (lambda body: replace(body, from_ms=body.from_ms - HOUR_MS), "is due"),
        (
            lambda body: replace(
                body, heads={name: Head(head.seq - 1, "00" * 32) for name, head in body.heads.items()}
            ),
            "the last batch that ended by then",
        ),
        (lambda body: replace(body, heads=dict(list(body.heads.items())[:1])), "more rows differ"),
        (lambda body: replace(body, heads=dict(list(body.heads.items())[:1])), "is left out, though an earlier one"),
    ],
)
def test_a_wrong_summary_is_found(told, change, text):
    fold = folded(told)
    for _ in range(2):
        body = fold.due_summary()
        wrong = body if not body.rows else change(body)
        fold.add(sign_summary(told, wrong))
        fold.settle()
    assert any(text in found for found in fold.violations), list(fold.violations)
    assert not any("named" in found for found in fold.violations)
    assert list(folded(told).violations) == list(fold.violations)


def test_a_summary_before_its_hour_is_over_is_found(told):
    fold = folded(told)
    body = fold.due_summary()
    second = body.to_ms // 1000 - 1
    fold.add(told.keys.accounting.sign(build_summary(told.pool, next_link(None), body, second)))
    fold.settle()
    assert [found.partition(": ")[2] for found in fold.violations] == [
        f"it is dated {second}, before its last hour was over"
    ]


def test_wrong_sums_are_found(told):
    fold = folded(told)
    fold.add(sign_summary(told, fold.due_summary()))
    fold.settle()
    body = fold.due_summary()
    unsigned = build_summary(told.pool, next_link(told.heads["accounting"]), body, 2_000_000_000)
    fields = {**json.loads(unsigned.content), "shares": 1}
    fold.add(told.keys.accounting.sign(type(unsigned)(unsigned.kind, 2_000_000_000, unsigned.tags, json.dumps(fields))))
    fold.settle()
    assert [found.partition(": ")[2] for found in fold.violations] == ["its sums are not those of its rows"]


def test_a_summary_twice_is_found(told):
    fold = folded(told)
    body = fold.due_summary()
    for _ in range(2):
        fold.add(sign_summary(told, body))
        fold.settle()
    assert len(fold.violations) == 1 + len(LANES)
    assert "is due" in fold.violations[0]
    assert all("is cut at" in found for found in list(fold.violations)[1:])


def test_rows_in_parts(told):
    fold = folded(told)
    fold.add(sign_summary(told, fold.due_summary()))
    fold.settle()
    body = fold.due_summary()
    parts = [body.rows[:2], body.rows[2:]]
    # Whoever was stopped amid the parts signs them anew.
    link = next_link(told.heads["accounting"])
    told.sign(
        "lone part", told.keys.accounting, build_summary_part(told.pool, link, 0, parts[0], 1_800_000_000), "accounting"
    )
    unsigned = sign_summary(told, replace(body, to_ms=body.to_ms), parts=parts)
    for event in (told.events["lone part"], told.events["part 1/0"], told.events["part 1/1"], unsigned):
        fold.add(event)
    fold.settle()
    assert not fold.violations
    assert fold.summaries.to_ms == body.to_ms
    assert not folded(told).violations
    gone = folded(told, told.all("part 1/0"))
    assert gone.summaries.to_ms < body.to_ms


def test_parts_that_are_not_whole(told):
    fold = folded(told)
    fold.add(sign_summary(told, fold.due_summary()))
    fold.settle()
    body = fold.due_summary()
    link = next_link(told.heads["accounting"])
    told.sign(
        "part", told.keys.accounting, build_summary_part(told.pool, link, 1, body.rows[1:], 1_700_004_000), "accounting"
    )
    link = next_link(told.heads["accounting"])
    unsigned = build_summary(told.pool, link, body, 1_700_007_000, parts=2)
    told.sign("summary x", told.keys.accounting, unsigned, "accounting")
    fold = folded(told)
    assert any("its 2 parts do not stand before it" in found for found in fold.violations)


def test_an_heir_goes_on_where_the_closed_chain_ended(told):
    log, heir = told, told.keys.stranger
    fold = folded(log)
    fold.add(sign_summary(log, fold.due_summary()))
    fold.settle()
    body = _terms(log)
    keys = ((log.keys.edge.pubkey, "edge"), (heir.pubkey, "accounting"))
    closed = {f"{log.keys.accounting.pubkey}/accounting": log.heads["accounting"]}
    log.terms(4 * HOUR_MS, replace(body, keys=keys, closed=closed))
    fold.add(log.events["terms 1"])
    fold.settle()
    while (due := fold.due_summary()) is not None:
        fold.add(sign_summary(log, due, signer=heir))
        fold.settle()
    assert not fold.violations
    assert fold.summaries.taken == 4
    backwards = folded(log, list(reversed(log.all())))
    assert not backwards.violations
    assert backwards.summaries == fold.summaries


def test_strangers_and_other_pools_say_nothing(told):
    fold = folded(told)
    body = fold.due_summary()
    stranger = told.keys.stranger
    fold.add(stranger.sign(build_summary(told.pool, next_link(None), body, 9)))
    fold.add(told.keys.accounting.sign(build_summary(told.pool._replace(network="main"), next_link(None), body, 9)))
    fold.settle()
    assert (fold.summaries.taken, fold.due_summary()) == (0, body)


def test_trusted_summaries_are_not_checked_again(whole):
    log, bodies, expected = whole
    fold = Fold(log.pool)
    for name, event in log.events.items():
        if name.startswith("summary"):
            fold.trust_summary(parse_summary(event))
    for event in log.all():
        fold.add(event)
    fold.settle()
    assert not fold.violations
    assert fold.summaries.to_ms == bodies[-1].to_ms
    assert {name: lane.buckets for name, lane in fold.summaries.lanes.items()} == {
        name: lane.buckets for name, lane in expected.summaries.lanes.items()
    }


def batch_of(told, sessions, shares):
    """A batch of lane 0 with other sessions, and its shares as checked: (session, work) each."""
    receipt = parse_receipt(told.events["batch 0/0"])
    count = len(shares)
    checked = CheckedShares(
        t=array("q", [receipt.from_ms] * count),
        index=array("I", range(count)),
        session=array("H", [number for number, _ in shares]),
        job=array("B", [0] * count),
        sessions=tuple(sessions),
        jobs=(JobRef("00" * 32, 1, "main"),),
    )
    return receipt, checked


def test_many_workers_are_summed_up(told):
    miner = told.keys.alice.pubkey
    sessions = [Session(miner, f"w{number:03d}", number + 1) for number in range(200)]
    receipt, checked = batch_of(told, sessions, [(number, 0) for number in range(200)])
    book = SummaryBook()
    book.add(receipt, checked)
    body = book.due(lambda _: True)
    assert len(body.rows) == MAX_WORKERS
    assert body.rows[0].worker == OTHER_WORKERS
    # The most work is named: w073 to w199; the first 73 are one row.
    assert [row.worker for row in body.rows[1:]] == [f"w{number:03d}" for number in range(73, 200)]
    assert (body.rows[0].work, body.rows[0].shares) == (73 * 74 // 2, 73)
    assert body.work == 200 * 201 // 2


def test_a_share_that_falls_is_taken_off(told):
    miner = told.keys.alice.pubkey
    sessions = [Session(miner, "a", 100), Session(miner, "b", 7)]
    receipt, checked = batch_of(told, sessions, [(0, 0), (1, 0), (0, 0)])
    book = SummaryBook()
    book.add(receipt, checked)
    lane = f"{receipt.signer}/{receipt.lane}"
    book.revoke(ShareRevoked(receipt.id, 1, lane, receipt.link.seq, sessions[1]))
    book.revoke(ShareRevoked(receipt.id, 2, lane, receipt.link.seq, sessions[0]))
    book.revoke(ShareRevoked("00" * 32, 0, "aa/0", 0, sessions[0]))
    (row,) = book.due(lambda _: True).rows
    assert (row.worker, row.work, row.shares) == ("a", 100, 1)
