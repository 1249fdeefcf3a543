"""Receipts hashed ahead come to the same as receipts hashed in their turn."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.ahead import Bad, JobNotes, hash_ahead, outline, read_line
from accounting.report import Report
from accounting.verifier import Audit, audit
from nips.nip01 import Event, VerifiedEvent, encode_event
from nips.pool.kinds import RECEIPT


def audited_ahead(log: Any, events: list[VerifiedEvent], unknown: set[int] | None = None) -> Report | None:
    judge, notes = Audit(log.pool), JobNotes(log.pool)
    for event in events:
        if event.kind == 4210:
            judge.add(event)
    judge.settle()
    for number, event in enumerate(events):
        notes.note(event)
        if event.kind == RECEIPT and event.pubkey in judge.log.terms.all_keys():
            specs = {} if number in (unknown or set()) else notes.specs(event.tags)
            (outcome,) = hash_ahead([encode_event(event)], specs, log.pool)
            assert isinstance(outcome, tuple)
            judge.add_draft(*outcome)
        else:
            judge.add(event)
    return judge.finish(log.t0 + 10**9)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(unknown=st.sets(st.integers(0, 40)))
def test_ahead_or_in_turn_is_the_same(story: Any, unknown: set[int]) -> None:
    """Whatever jobs were not known when a receipt went out."""
    assert audited_ahead(story, story.all(), unknown) == audit(story.all(), [], story.pool, now_ms=story.t0 + 10**9)


def test_lies_are_found_all_the_same(tell: Any) -> None:
    def lie(body: Any) -> Any:
        return replace(body, shares=body.shares[:4] + b"\x01" + body.shares[5:], work=body.work + 1)

    for label in ("batch 0/1", "batch 1/2", "batch 0/5"):
        log = tell({label: lie})
        report = audited_ahead(log, log.all())
        assert report == audit(log.all(), [], log.pool, now_ms=log.t0 + 10**9)
        assert report is not None
        assert report.exit_code == 1


def test_shares_stay_with_receipts_that_somebody_is_to_look_at(story: Any) -> None:
    notes, event = JobNotes(story.pool), story.events["batch 0/1"]
    for each in story.all():
        notes.note(each)
    for miner, kept in ((story.keys.alice.pubkey, True), (story.keys.stranger.pubkey, False), (None, False)):
        (outcome,) = hash_ahead([event], notes.specs(event.tags), story.pool, miner)
        assert isinstance(outcome, tuple)
        assert bool(outcome[0].shares) is kept


def test_what_is_no_event_is_said(story: Any) -> None:
    event = story.events["batch 0/1"]
    forged = Event(event.id, event.pubkey, event.created_at, event.kind, event.tags, event.content + " ", event.sig)
    line = encode_event(forged)
    told = outline(line)
    assert told is not None
    assert (told.kind, told.pubkey) == (RECEIPT, event.pubkey)
    bad = read_line(line)
    assert isinstance(bad, Bad)
    assert bad.event == forged
    assert outline(b"nonsense") is None
    assert read_line(b"nonsense") == Bad(None, read_line(b"nonsense").reason)  # type: ignore[union-attr]  # it is Bad
    other = hash_ahead([line, encode_event(event)], {}, story.pool._replace(network="main"))
    assert isinstance(other[0], Bad)
    assert other[1] == event
