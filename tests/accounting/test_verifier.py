"""The audit is a judge: an honest log holds, and each way of cheating is named. The pool itself signs every lie."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.facts import ATTESTED
from accounting.findings import Code
from accounting.report import FAILS, HOLDS, Report
from accounting.verifier import Unverified, audit
from nips.nip01 import UnsignedEvent, VerifiedEvent, verify
from nips.pool.binding import BoundWork
from nips.pool.block import build_block
from nips.pool.chain import Head, Link
from nips.pool.coinbase import push_data, push_height
from nips.pool.job import JobBody, build_job
from nips.pool.payout import build_payout
from nips.pool.receipt import RECORD_SIZE, ReceiptBody, ShareRecord, build_receipt
from nips.pool.statement import Row, StatementBody
from nips.pool.targets import share_bits_from_difficulty, work_from_bits
from nips.pool.terms import NEVER, TermsBody

Tell = Callable[..., Any]
Body = Any


def judge(events: list[VerifiedEvent], log: Any, after_ms: int = 100_000_000) -> Report:
    return audit(events, [], log.pool, now_ms=log.t0 + after_ms)


def codes(report: Report) -> set[Code]:
    """What is wrong; notes of what the log can't tell are left out."""
    return {found.code for found in report.findings if found.grade != "not checked"}


def edit(body: ReceiptBody, index: int, **fields: Any) -> ReceiptBody:
    """A batch with one record altered."""
    raw = list(struct.iter_unpack("<HBBIIII8s", body.shares))
    raw[index] = ShareRecord(*raw[index])._replace(**fields)
    return replace(body, shares=b"".join(ShareRecord(*row).pack() for row in raw))


def test_an_honest_log_holds(story: Any) -> None:
    report = judge(story.all(), story)
    assert codes(report) == set()
    assert {found.code for found in report.findings} == {Code.CHAIN_FACTS}
    assert report.exit_code == HOLDS
    assert report.grades == {ATTESTED: 3}
    assert [row.held for row in report.claims] == [row.checked for row in report.claims]
    rows = {row.miner: row for row in report.miners}
    alice = rows[story.keys.alice.pubkey]
    earned = story.row_msat("statement 0", story.keys.alice) + story.row_msat("statement 1", story.keys.alice)
    assert alice.earned_msat == earned
    assert alice.owed_msat == earned - story.row_msat("statement 0", story.keys.alice)


def test_the_examples_of_the_specification_hold_but_for_one_untold_block(request: pytest.FixtureRequest) -> None:
    """A log built by other hands from the same text."""
    example = pytest.importorskip("tests.vectors.example_log")
    report = audit(example.ExampleLog().events.values(), [], example.POOL, now_ms=None)
    assert codes(report) == set()
    assert report.exit_code == HOLDS
    assert [row.held for row in report.claims if row.name == "statements"] == [2]


# Shares


def moved(body: ReceiptBody) -> ReceiptBody:
    """A share of alice's told as bob's: its session names the other p tag."""
    first = next(iter(struct.iter_unpack("<HBBIIII8s", body.shares)))
    session = body.sessions[first[0]]
    return replace(
        edit(body, 0, session=len(body.sessions)),
        sessions=(*body.sessions, session._replace(miner=1 - session.miner)),
    )


def invented(body: ReceiptBody) -> ReceiptBody:
    record = ShareRecord(0, 0, 0, 9000, 1_700_000_011, 12345, 0x20000000, b"invented")
    bits = body.sessions[0].share_bits
    return replace(body, shares=body.shares + record.pack(), work=body.work + work_from_bits(bits))


def harder(body: ReceiptBody) -> ReceiptBody:
    """The whole batch credited at twice the difficulty that was bound."""
    bits = share_bits_from_difficulty(Fraction(1, 1 << 25))
    sessions = tuple(session._replace(share_bits=bits) for session in body.sessions)
    return replace(body, sessions=sessions, work=work_from_bits(bits) * (len(body.shares) // RECORD_SIZE))


def duplicate(body: ReceiptBody) -> ReceiptBody:
    last = body.shares[-RECORD_SIZE:]
    session = body.sessions[int.from_bytes(last[:2], "little")]
    return replace(body, shares=body.shares + last, work=body.work + work_from_bits(session.share_bits))


def credited_stale(body: ReceiptBody) -> ReceiptBody:
    """The uncredited share of batch 1/2 told as credited, dated before its job existed."""
    raw = [ShareRecord(*row) for row in struct.iter_unpack("<HBBIIII8s", body.shares)]
    number = next(index for index, record in enumerate(raw) if record.status == 2)
    work = body.work + work_from_bits(body.sessions[raw[number].session].share_bits)
    early = raw[number]._replace(status=0, ms=5000)
    rest = [record for index, record in enumerate(raw) if index != number]
    rows = sorted([*rest, early], key=lambda record: record.ms)
    return replace(body, shares=b"".join(record.pack() for record in rows), work=work)


def stranger_session(body: ReceiptBody) -> ReceiptBody:
    """Credit to 32 bytes that are no point on the curve."""
    return replace(body, miners=(*body.miners[:-1], "ff" * 32))


SHARE_LIES: list[tuple[str, Callable[[ReceiptBody], ReceiptBody], Code]] = [
    ("a share moved to another npub", moved, Code.SHARE_WORK),
    ("an invented share", invented, Code.SHARE_WORK),
    ("a raised difficulty", harder, Code.SHARE_WORK),
    ("another nonce", lambda body: edit(body, 0, nonce=7), Code.SHARE_WORK),
    ("another extranonce2", lambda body: edit(body, 0, extranonce2=b"\xff" * 8), Code.SHARE_WORK),
    ("one share told twice", duplicate, Code.SHARE_TWICE),
    ("work that was not summed", lambda body: replace(body, work=body.work + 1), Code.WORK_TAG),
    ("credit for no key", stranger_session, Code.SHARE_MINER),
    ("a window that leaves a hole", lambda body: replace(body, from_ms=body.from_ms + 1), Code.WINDOW_GAP),
]


@pytest.mark.parametrize(("lie", "code"), [pytest.param(*row[1:], id=row[0]) for row in SHARE_LIES])
def test_a_lie_about_shares_is_named(tell: Tell, lie: Callable[[Body], Body], code: Code) -> None:
    log = tell({"batch 0/1": lie})
    report = judge(log.all(), log)
    assert code in codes(report)
    assert report.exit_code == FAILS
    named = next(found for found in report.findings if found.code is code)
    assert log.events["batch 0/1"].id in named.events


def test_bad_shares_count_nothing_and_the_split_that_counts_them_is_contradicted(tell: Tell) -> None:
    """The builder splits by what the log tells; the audit by what was worked."""
    log = tell({"batch 0/2": moved})
    assert {Code.SHARE_WORK, Code.STATEMENT_SPLIT} <= codes(judge(log.all(), log))


def test_a_share_dated_before_its_job_is_named(tell: Tell) -> None:
    log = tell({"batch 1/2": credited_stale})
    assert Code.SHARE_TIME in codes(judge(log.all(), log))


def test_a_stale_share_is_named(builder: Any, story: Any) -> None:
    """A share on the old block, after the lane moved on to another."""
    builder.terms(0, story.bodies["terms 0"])
    a = builder.job("A", 1000, (0,))
    b = builder.job("B", 2000, (0,), tip=1)
    alice = builder.keys.alice
    builder.batch(
        0, 0, 5000, [builder.mine(a, alice, 1500), builder.mine(b, alice, 2500), builder.mine(a, alice, 2600)]
    )
    found = next(found for found in judge(builder.all(), builder).findings if found.code is Code.SHARE_TIME)
    assert found.miner == alice.pubkey
    assert "first 2" in found.text


def test_a_share_easier_than_the_terms_allow_is_named(builder: Any, story: Any) -> None:
    builder.terms(0, story.bodies["terms 0"])
    easy = share_bits_from_difficulty(Fraction(1, 1 << 28))
    a = builder.job("A", 1000, (0,))
    builder.batch(0, 0, 5000, [builder.mine(a, builder.keys.alice, 1500, bits=easy)])
    assert codes(judge(builder.all(), builder)) == {Code.SHARE_TOO_EASY}


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"ntime": 1}, Code.SHARE_NTIME), ({"ntime": 7201}, Code.SHARE_NTIME), ({"version": 1}, Code.SHARE_VERSION)],
)
def test_header_fields_outside_of_the_job_are_named(
    builder: Any, story: Any, fields: dict[str, int], code: Code
) -> None:
    """Real work on a header the job does not allow: ntime out of bounds, version bits not to be rolled."""
    builder.terms(0, story.bodies["terms 0"])
    a, alice = builder.job("A", 1000, (0,)), builder.keys.alice
    share = builder.mine(a, alice, 1500)
    ntime = a.ntime + {1: -1, 7201: 7201}.get(fields.get("ntime", 0), 0)
    version = 0x20000000 | fields.get("version", 0)
    work = BoundWork(a, alice.pubkey, share.session.share_bits, bytes(4))
    nonce = next(
        n for n in range(1 << 20) if work.hash(bytes(8), ntime, n, version)[-1] == 0 and _meets(work, ntime, n, version)
    )
    record = share.record._replace(ntime=ntime, nonce=nonce, version=version, extranonce2=bytes(8))
    builder.batch(0, 0, 5000, [share._replace(record=record)])
    report = judge(builder.all(), builder)
    assert code in codes(report)


def _meets(work: BoundWork, ntime: int, nonce: int, version: int) -> bool:
    value = int.from_bytes(work.hash(bytes(8), ntime, nonce, version), "little")
    return work_from_bits(work.share_bits) * value < 1 << 256


def test_one_share_in_two_lanes_counts_once(builder: Any, story: Any) -> None:
    builder.terms(0, story.bodies["terms 0"])
    builder.batch(0, 0, 500)
    builder.batch(1, 0, 500)
    share = builder.mine(builder.job("A", 1000, (0, 1)), builder.keys.alice, 1500)
    builder.batch(0, 500, 5000, [share._replace(t=share.t + 10)])
    builder.batch(1, 500, 5000, [share])
    report = judge(builder.all(), builder)
    assert codes(report) == {Code.SHARE_TWICE}
    assert report.miners[0].shares == 1


# Jobs


def hidden(body: JobBody) -> JobBody:
    """The scriptSig goes on after the binding's place and ends in a second one, inside coinb2."""
    prefix = body.coinb1[42:-1]
    coinb1 = body.coinb1[:41] + bytes([len(prefix) + 45 + 45]) + prefix + b"\x2c"
    return replace(body, coinb1=coinb1, coinb2=push_data(b"second binding".ljust(44, b"\0")) + body.coinb2)


def second_push(body: JobBody) -> JobBody:
    """The binding is dressed up as part of a longer push."""
    prefix = push_height(body.height)
    coinb1 = body.coinb1[:41] + bytes([len(prefix) + 45]) + prefix + b"\x2d"
    return replace(body, coinb1=coinb1)


JOB_LIES: list[tuple[str, Callable[[JobBody], JobBody], Code]] = [
    ("a second binding behind the first", hidden, Code.JOB_COINBASE),
    ("a binding inside of another push", second_push, Code.JOB_COINBASE),
    ("another height", lambda body: replace(body, height=body.height + 1), Code.JOB_COINBASE),
    ("an offer the terms do not hold", lambda body: replace(body, offer="feast"), Code.JOB_OFFER),
    ("an nbits that is no target", lambda body: replace(body, nbits=0x2100FFFF), Code.JOB_NBITS),
    ("a lane that may not use it", lambda body: replace(body, heads={1: body.heads[1]}), Code.JOB_HEAD),
    ("a head that is no batch", lambda body: replace(body, heads={**body.heads, 0: "ab" * 32}), Code.JOB_HEAD),
    ("a stale head", lambda body: replace(body, ms=body.ms + 121_000), Code.STALE_HEAD),
]


@pytest.mark.parametrize(("lie", "code"), [pytest.param(*row[1:], id=row[0]) for row in JOB_LIES])
def test_a_job_that_breaks_a_rule_is_named_and_its_shares_count_nothing(
    tell: Tell, lie: Callable[[Body], Body], code: Code
) -> None:
    log = tell({"job A": lie})
    report = judge(log.all(), log)
    assert {code, Code.SHARE_JOB} <= codes(report)
    assert next(found for found in report.findings if found.code is code).events[0] == log.events["job A"].id


def test_a_lane_named_empty_that_had_long_begun_is_a_stale_head(builder: Any, story: Any) -> None:
    builder.terms(0, story.bodies["terms 0"])
    builder.batch(0, 0, 130_000)
    builder.change = {"job A": lambda body: replace(body, heads={0: ""})}
    a = builder.job("A", 130_001, (0,))
    builder.batch(0, 130_000, 140_000, [builder.mine(a, builder.keys.alice, 131_000)])
    assert Code.STALE_HEAD in codes(judge(builder.all(), builder))


@pytest.mark.parametrize("field", ["terms", "offer"])
def test_a_share_told_again_under_other_terms_or_another_offer_is_named(tell: Tell, story: Any, field: str) -> None:
    """The pool signs a second job, the same work under better words, and tells the shares as its own."""
    other = {"terms": {"terms": story.events["terms 0"].id}, "offer": {"offer": "lunch"}}[field]
    body = replace(story.bodies["job D"], **other)
    second = story.keys.edge.sign(build_job(story.pool, body))
    log = tell({"batch 0/4": lambda batch: replace(batch, jobs=(second.id,))})
    report = judge([*log.all(), second], log)
    assert Code.SHARE_WORK in codes(report)
    named = next(found for found in report.findings if found.code is Code.SHARE_WORK)
    assert log.events["batch 0/4"].id in named.events


def test_a_job_under_terms_replaced_long_before_is_named(builder: Any, story: Any) -> None:
    terms = story.bodies["terms 0"]
    old = builder.terms(0, terms)
    builder.terms(1000, terms)
    builder.change = {
        "job A": lambda body: replace(body, terms=old.id),
        "job B": lambda body: replace(body, terms=old.id),
    }
    builder.batch(0, 0, 600_000)
    fine, late = builder.job("A", 601_000, (0,)), builder.job("B", 601_001, (0,))
    alice = builder.keys.alice
    builder.batch(0, 600_000, 610_000, [builder.mine(fine, alice, 602_000), builder.mine(late, alice, 603_000)])
    found = [found for found in judge(builder.all(), builder).findings if found.code is Code.JOB_TERMS]
    assert [finding.events[0] for finding in found] == [late.id]


def test_a_job_of_a_key_that_is_no_edge_is_named(tell: Tell, story: Any) -> None:
    log = tell(signers={"job A": story.keys.accounting})
    assert {Code.JOB_SIGNER, Code.SHARE_JOB} <= codes(judge(log.all(), log))


def test_another_lanes_head_that_no_relay_has_is_missing(builder: Any, story: Any) -> None:
    """A job seals all lanes it names, not only the one that uses it."""
    builder.terms(0, story.bodies["terms 0"])
    builder.batch(0, 0, 500)
    builder.batch(1, 0, 500)
    builder.batch(0, 500, 2000, [builder.mine(builder.job("A", 1000, (0, 1)), builder.keys.alice, 1500)])
    assert codes(judge(builder.all(), builder)) == set()
    assert codes(judge(builder.all("batch 1/0"), builder)) == {Code.MISSING_BATCH}


# The log as a whole


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("batch 0/1", Code.GAP),
        ("batch 1/0", Code.GAP),
        ("batch 0/4", Code.GAP),
        ("batch 1/5", None),
        ("job A", Code.MISSING_JOB),
        ("job D", Code.MISSING_JOB),
        ("terms 0", Code.GAP),
        ("terms 1", Code.MISSING_TERMS),
        ("block 0", Code.BLOCK_UNTOLD),
        ("statement 0", Code.GAP),
        ("statement 2", Code.STATEMENT_OVERDUE),
        ("status 0", Code.GAP),
        ("payout 0", Code.GAP),
    ],
)
def test_what_is_left_out_is_missing(story: Any, label: str, code: Code | None) -> None:
    report = judge(story.all(label), story)
    assert code is None or code in codes(report)
    assert (report.exit_code == HOLDS) == (code is None)
    assert not {Code.SHARE_WORK, Code.STATEMENT_SPLIT, Code.STATEMENT_WINDOW} & codes(report)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_leaving_out_anything_never_makes_a_share_or_a_split_look_wrong(story: Any, data: st.DataObject) -> None:
    """What relays hide may be missing; it must not turn into an accusation of fraud."""
    labels = data.draw(st.sets(st.sampled_from(sorted(story.events)), max_size=4))
    wrong = codes(judge(story.all(*labels), story))
    assert not wrong & {Code.SHARE_WORK, Code.SHARE_JOB, Code.SHARE_TIME, Code.STATEMENT_SPLIT, Code.STATEMENT_WINDOW}


def test_a_receipt_without_shares_dropped_at_the_end_shows_by_the_next_job(story: Any) -> None:
    """The tail of a lane can be hidden from a reader only with all that names it."""
    hidden = ["batch 1/3", "batch 1/4", "batch 1/5"]
    assert Code.MISSING_BATCH in codes(judge(story.all(*hidden), story))


def test_a_fork_names_both_events(story: Any) -> None:
    body = replace(story.bodies["batch 0/3"], shares=b"", sessions=(), miners=(), jobs=(), work=0)
    second = story.keys.edge.sign(build_receipt(story.pool, body, story.events["batch 0/3"].created_at))
    report = judge([*story.all(), second], story)
    assert codes(report) == {Code.FORK}
    found = next(found for found in report.findings if found.code is Code.FORK)
    assert set(found.events) == {second.id, story.events["batch 0/3"].id}


def test_a_prev_that_names_another_event_is_named(tell: Tell) -> None:
    log = tell({"batch 0/1": lambda body: replace(body, link=Link(1, "cd" * 32))})
    assert Code.BROKEN_CHAIN in codes(judge(log.all(), log))


def test_an_event_dated_before_its_forerunner_is_named(story: Any) -> None:
    """created_at never falls along a chain."""
    old = story.events["payout 2"]
    body = story.bodies["payout 2"]
    early = story.keys.zapper.sign(build_payout(story.pool, Link(2, story.events["payout 1"].id), body, 1_700_000_062))
    assert early.id != old.id
    assert Code.BACKDATED in codes(judge([*story.all("payout 2"), early], story))


def test_a_batch_after_the_lanes_end_is_void(story: Any) -> None:
    last = story.bodies["batch 1/5"]
    body = replace(
        last, link=Head(5, story.events["batch 1/5"].id).next(), from_ms=last.to_ms, to_ms=last.to_ms + 1, fin=False
    )
    late = story.keys.edge.sign(build_receipt(story.pool, body, story.events["batch 1/5"].created_at + 1))
    assert codes(judge([*story.all(), late], story)) == {Code.AFTER_FIN}


def test_a_lane_that_shows_up_too_late_is_named(tell: Tell) -> None:
    """An edge backdates a whole lane after the statement its shares would belong to."""
    log = tell()
    log.newest["2"] = (log.t0 + 200_000) // 1000
    log.change = {"job G": lambda body: replace(body, heads={2: ""})}
    job = log.job("G", 20_600, (2,))
    share = log.mine(job, log.keys.bob, 22_000)
    log.batch(2, 20_000, 25_300, [share])
    report = judge(log.all(), log)
    assert Code.LATE_LANE in codes(report)


def test_a_lane_opened_while_a_statement_was_made_wrongs_nobody(tell: Tell) -> None:
    """Its first batch begins before the reward and holds no work for it."""
    log = tell()
    log.batch(2, 20_000, 130_000)
    log.batch(2, 130_000, 200_000, fin=True)
    assert codes(judge(log.all(), log)) == set()


# Keys


def test_the_wrong_key_of_the_pool_is_named_and_void(tell: Tell, story: Any) -> None:
    log = tell(signers={"statement 0": story.keys.zapper})
    report = judge(log.all(), log)
    assert Code.WRONG_KEY in codes(report)
    found = next(found for found in report.findings if found.code is Code.WRONG_KEY)
    assert found.events == (log.events["statement 0"].id,)


def test_a_stranger_cannot_harm_the_pool(story: Any) -> None:
    """Anybody may sign an event with the pool's name: it is said, and counts nothing, for or against."""
    body = story.bodies["batch 0/0"]
    forged = story.keys.stranger.sign(build_receipt(story.pool, body, story.events["batch 0/0"].created_at))
    job = story.keys.stranger.sign(build_job(story.pool, story.bodies["job A"]))
    report = judge([*story.all(), forged, job], story)
    assert codes(report) == set()
    assert report.exit_code == HOLDS
    assert Code.STRANGER in {found.code for found in report.findings}


def test_what_a_stolen_key_signs_beyond_the_closed_end_is_void(tell: Tell, story: Any) -> None:
    """Terms 1 close lane 0 at batch 3 and leave the edge out but for it; batches 4 and 5 are void."""

    def close(body: TermsBody) -> TermsBody:
        return replace(body, closed={f"{story.keys.edge.pubkey}/0": Head(3, story.events["batch 0/3"].id)})

    log = tell({"terms 1": close})
    assert log.events["batch 0/3"].id == story.events["batch 0/3"].id
    report = judge(log.all(), log)
    assert Code.CLOSED_CHAIN in {found.code for found in report.findings}
    assert Code.CLOSED_CHAIN not in codes(report)
    void = {event for found in report.findings if found.code is Code.CLOSED_CHAIN for event in found.events}
    assert {log.events["batch 0/4"].id, log.events["batch 0/5"].id} <= void
    shares = next(row for row in report.claims if row.name == "shares' work and binding")
    honest = next(row for row in judge(story.all(), story).claims if row.name == "shares' work and binding")
    assert shares.checked == honest.checked - 4


def revoke(log: Any) -> None:
    """New terms: the edge's key was stolen after the story's end, and another takes its place."""
    edge = log.keys.edge.pubkey
    closed = {f"{edge}/{lane}": log.heads[str(lane)] for lane in (0, 1)}
    keys = ((log.keys.bob.pubkey, "edge"), *log.bodies["terms 1"].keys[1:])
    log.terms(80_000, replace(log.bodies["terms 1"], keys=keys, closed={**closed, f"{edge}/*": NEVER}))


def stolen(log: Any) -> list[VerifiedEvent]:
    """All that a thief of the edge's key may try, once the pool has revoked it."""
    edge, first = log.keys.edge, log.bodies["batch 0/1"]
    beyond = replace(first, link=log.heads["0"].next(), from_ms=first.to_ms + 60_000, to_ms=first.to_ms + 70_000)
    fork = replace(first, shares=b"", sessions=(), miners=(), jobs=(), work=0)
    other_lane = replace(log.bodies["batch 0/0"], lane=7)
    block = log.bodies["block 0"]
    seconds = log.events["batch 0/1"].created_at
    old = log.events["status 1"]
    return [
        edge.sign(build_receipt(log.pool, beyond, seconds + 100)),
        edge.sign(build_receipt(log.pool, fork, seconds)),
        edge.sign(build_receipt(log.pool, other_lane, seconds)),
        edge.sign(build_block(log.pool, replace(block, index=0), seconds)),
        edge.sign(build_block(log.pool, replace(block, height=7), seconds)),
        edge.sign(build_block(log.pool, replace(block, receipt="ab" * 32), seconds)),
        edge.sign(UnsignedEvent(4212, seconds, old.tags, "nonsense")),
        edge.sign(UnsignedEvent(old.kind, old.created_at, old.tags, old.content)),
        edge.sign(build_job(log.pool, log.bodies["job A"])),
    ]


def test_a_thief_of_a_revoked_key_convicts_nobody(tell: Tell) -> None:
    """Whatever it signs is void, and noted; before the key is revoked the same convicts its holder."""
    log = tell()
    honest = log.all()
    events = stolen(log)
    assert {Code.FORK, Code.MALFORMED, Code.WRONG_KEY, Code.BLOCK_MISMATCH, Code.MISSING_RECEIPT} <= codes(
        judge([*honest, *events], log)
    )
    revoke(log)
    report = judge([*log.all(), *events], log)
    assert codes(report) == set()
    assert report.exit_code == HOLDS
    named = {event for found in report.findings for event in found.events}
    assert {event.id for event in events[:-1]} <= named
    # Each by itself, and before all else: whatever was read first.
    for event in events:
        assert codes(judge([event, *log.all()], log)) == set(), event


def test_what_a_key_did_before_it_was_revoked_still_counts(tell: Tell) -> None:
    log = tell({"batch 0/1": duplicate})
    revoke(log)
    assert Code.SHARE_TWICE in codes(judge(log.all(), log))


def test_a_key_left_out_must_be_closed(tell: Tell) -> None:
    log = tell({"terms 1": lambda body: replace(body, keys=body.keys[1:])})
    assert Code.KEY_NOT_CLOSED in codes(judge(log.all(), log))


def test_signatures_that_do_not_hold_are_named(story: Any) -> None:
    bad = Unverified("ws://relay", "ab" * 32, "event abab is not signed by its author")
    report = audit(story.all(), [bad], story.pool, now_ms=None)
    assert codes(report) == {Code.BAD_SIGNATURE}
    assert report.exit_code == FAILS
    junk = audit(story.all(), [bad._replace(of_pool=False)], story.pool, now_ms=None)
    assert codes(junk) == set()
    assert junk.exit_code == HOLDS


def test_an_event_the_pool_signed_in_a_broken_form_is_named(story: Any) -> None:
    event = story.events["status 1"]
    broken = story.keys.accounting.sign(UnsignedEvent(event.kind, event.created_at, event.tags, '{"v":1}'))
    assert Code.MALFORMED in codes(judge([*story.all(), broken], story))
    later = story.keys.accounting.sign(UnsignedEvent(event.kind, event.created_at, event.tags, '{"v":2}'))
    report = judge([*story.all(), later], story)
    assert Code.UNKNOWN_VERSION in {found.code for found in report.findings}


def test_nothing_to_read_is_missing(story: Any) -> None:
    report = judge([], story)
    assert codes(report) == {Code.NOTHING_FOUND}
    assert report.exit_code == FAILS


def test_other_pools_and_other_kinds_are_ignored(story: Any) -> None:
    other = replace_pool(story)
    note = story.keys.pool.sign(UnsignedEvent(1, 1, (), "hello"))
    report = audit([*story.all(), other, note], [], story.pool, now_ms=None)
    assert report.exit_code == HOLDS
    assert report.ignored == 2


def replace_pool(story: Any) -> VerifiedEvent:
    pool = story.pool._replace(network="signet")
    return verify(story.keys.edge.sign(build_receipt(pool, story.bodies["batch 0/0"], 1_800_000_000)))


# Blocks and statements


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda body: replace(body, finder="11" * 32), id="finder"),
        pytest.param(lambda body: replace(body, height=body.height + 1), id="height"),
        pytest.param(lambda body: replace(body, coinbase=body.coinbase + b"\0"), id="coinbase"),
        pytest.param(lambda body: replace(body, merkle=body.merkle[:1]), id="merkle"),
        pytest.param(lambda body: replace(body, header=body.header[:-1] + b"\1"), id="header"),
    ],
)
def test_a_block_unlike_its_share_is_named(tell: Tell, lie: Callable[[Body], Body]) -> None:
    log = tell({"block 0": lie})
    report = judge(log.all(), log)
    assert Code.BLOCK_MISMATCH in codes(report)


def test_a_block_that_is_none_is_named(tell: Tell) -> None:
    log = tell({"block 0": lambda body: replace(body, index=0)})
    assert {Code.BLOCK_NOT_SOLVED, Code.STATEMENT_REWARD} <= codes(judge(log.all(), log))


def one_msat(body: StatementBody) -> StatementBody:
    """A msat moved from the second row to the first: all sums still hold."""
    first, second = body.rows[:2]
    rows = (Row(first.miner, first.work, first.msat + 1), Row(second.miner, second.work, second.msat - 1))
    return replace(body, rows=(*rows, *body.rows[2:]))


def to_the_pool(body: StatementBody) -> StatementBody:
    first = body.rows[0]
    rows = (Row(first.miner, first.work, first.msat - 1), *body.rows[1:])
    return replace(body, rows=rows, fee_msat=body.fee_msat + 1)


def cut_later(body: StatementBody, story: Any) -> StatementBody:
    name = f"{story.keys.edge.pubkey}/0"
    head = Head(3, story.events["batch 0/3"].id)
    return replace(body, window=replace(body.window, heads={**body.window.heads, name: head}))


def without_a_lane(body: StatementBody, story: Any) -> StatementBody:
    heads = {name: head for name, head in body.window.heads.items() if name.endswith("/0")}
    return replace(body, window=replace(body.window, heads=heads))


STATEMENT_LIES: list[tuple[str, Callable[[StatementBody, Any], StatementBody], Code]] = [
    ("a msat to another miner", lambda body, _: one_msat(body), Code.STATEMENT_SPLIT),
    ("a msat to the pool", lambda body, _: to_the_pool(body), Code.STATEMENT_SPLIT),
    ("a msat from nowhere", lambda body, _: replace(body, fee_msat=body.fee_msat + 1), Code.STATEMENT_SPLIT),
    (
        "a smaller reward",
        lambda body, _: replace(body, reward=replace(body.reward, gross_msat=body.reward.gross_msat - 1000)),
        Code.STATEMENT_REWARD,
    ),
    (
        "an earlier time",
        lambda body, _: replace(body, reward=replace(body.reward, found_ms=body.reward.found_ms - 1)),
        Code.STATEMENT_REWARD,
    ),
    ("another offer", lambda body, _: replace(body, offer="lunch"), Code.STATEMENT_TERMS),
    ("other terms", lambda body, _: replace(body, terms="12" * 32), Code.STATEMENT_TERMS),
    (
        "another window",
        lambda body, _: replace(body, window=replace(body.window, from_ms=body.window.from_ms + 1)),
        Code.STATEMENT_WINDOW,
    ),
    ("a later cut", cut_later, Code.STATEMENT_HEADS),
    ("a lane left out", without_a_lane, Code.STATEMENT_HEADS),
]


@pytest.mark.parametrize(("lie", "code"), [pytest.param(*row[1:], id=row[0]) for row in STATEMENT_LIES])
def test_a_lie_in_a_statement_is_named(
    tell: Tell, story: Any, lie: Callable[[StatementBody, Any], StatementBody], code: Code
) -> None:
    log = tell({"statement 0": lambda body: lie(body, story)})
    report = judge(log.all(), log)
    assert code in codes(report)
    assert log.events["statement 0"].id in next(found for found in report.findings if found.code is code).events


@pytest.mark.parametrize("void", [False, True])
def test_a_reward_is_split_twice_only_once_the_first_is_void(tell: Tell, void: bool) -> None:
    log = tell()
    if void:
        log.status("statement 1", "void", 70_000)
    body = log.bodies["statement 1"]
    log.change = {"statement 3": lambda _: body}
    log.statement("block 1", log.mine(log.jobs["D"], log.keys.alice, 44_000), 71_000)
    assert (Code.REWARD_TWICE in codes(judge(log.all(), log))) is not void


def test_a_status_that_does_not_follow_is_named(tell: Tell) -> None:
    log = tell()
    log.status("statement 0", "matured", 70_000)
    assert codes(judge(log.all(), log)) == {Code.STATUS_ORDER}


def test_a_status_of_no_statement_is_named(tell: Tell) -> None:
    log = tell({"status 1": lambda told: ("77" * 32, told[1])})
    assert Code.STATUS_UNKNOWN in codes(judge(log.all(), log))


# Payouts


def proof(**changes: Any) -> Callable[[Body], Body]:
    return lambda body: replace(body, proof={**body.proof, **changes})


PAYOUT_LIES: list[tuple[str, Callable[[Body], Body], Code]] = [
    ("another preimage", proof(preimage="00" * 32), Code.PAYOUT_PROOF),
    ("no preimage", lambda body: replace(body, proof={"bolt11": body.proof["bolt11"]}), Code.PAYOUT_PROOF),
    ("no invoice", proof(bolt11="lnbcrt1"), Code.PAYOUT_PROOF),
    ("no zap request", proof(zap_request={}), Code.PAYOUT_PROOF),
    ("another amount", lambda body: replace(body, amount_msat=body.amount_msat - 1), Code.PAYOUT_PROOF),
    ("another miner", lambda body: replace(body, miner="11" * 32), Code.PAYOUT_PROOF),
    ("a reversal of nothing", lambda body: replace(body, amount_msat=-5, reverses="none"), Code.PAYOUT_REVERSAL),
]


@pytest.mark.parametrize(("lie", "code"), [pytest.param(*row[1:], id=row[0]) for row in PAYOUT_LIES])
def test_a_payout_without_proof_is_named(tell: Tell, lie: Callable[[Body], Body], code: Code) -> None:
    log = tell({"payout 0": lie})
    report = judge(log.all(), log)
    assert code in codes(report)
    assert log.events["payout 0"].id in next(found for found in report.findings if found.code is code).events


def test_a_miner_paid_more_than_matured_is_named(tell: Tell) -> None:
    log = tell()
    log.zap(log.keys.alice, log.row_msat("statement 1", log.keys.alice), 70_000)
    assert codes(judge(log.all(), log)) == set()
    log.zap(log.keys.alice, 1000, 71_000)
    report = judge(log.all(), log)
    assert codes(report) == {Code.OVERPAID}
    assert {found.miner for found in report.findings if found.code is Code.OVERPAID} == {log.keys.alice.pubkey}


def test_a_payout_before_its_reward_matured_is_named(tell: Tell) -> None:
    """The status is dated 60 s; clocks may be 600 s apart, not more."""
    log = tell()
    log.zap(log.keys.bob, log.row_msat("statement 0", log.keys.bob), 60_000 - 601_000)
    assert {Code.OVERPAID, Code.BACKDATED} == codes(judge(log.all(), log))


def test_one_payment_serves_once(tell: Tell, story: Any) -> None:
    log = tell({"payout 2": lambda _: story.bodies["payout 1"]})
    found = [found for found in judge(log.all(), log).findings if found.code is Code.PAYOUT_TWICE]
    assert {event for each in found for event in each.events} == {log.events["payout 1"].id, log.events["payout 2"].id}
    assert {each.text.split()[0] for each in found} == {"payout", "payment"}


def test_a_payout_without_a_receipt_is_only_claimed(story: Any) -> None:
    report = judge(story.all("receipt 0"), story)
    assert report.exit_code == HOLDS
    assert Code.PAYOUT_CLAIMED in {found.code for found in report.findings}
    assert report.grades == {"attested": 2, "claimed": 1}


def test_the_report_is_json_and_text(story: Any) -> None:
    report = judge(story.all("batch 0/1"), story)
    fields = json.loads(report.to_json())
    assert fields["holds"] is False
    assert {found["code"] for found in fields["findings"]} >= {"gap"}
    lines = list(report.lines())
    assert lines[-1] == "not all holds"
    assert any("gap" in line for line in lines)


def test_a_share_that_solves_a_block_may_wait_a_minute_for_its_event(story: Any) -> None:
    assert Code.BLOCK_UNTOLD not in codes(judge(story.all("block 0"), story, after_ms=26_000 + 59_000))
    assert Code.BLOCK_UNTOLD in codes(judge(story.all("block 0"), story, after_ms=26_000 + 61_000))


def test_progress_counts_every_share(story: Any) -> None:
    told: list[int] = []
    audit(story.all(), [], story.pool, now_ms=None, progress=told.append)
    assert sum(told) == 26
