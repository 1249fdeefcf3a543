"""What the store can do without once an archive has it: the very same receipt, checked, with nothing wrong in it, of a
lane whose jobs are over.
"""

from dataclasses import replace
from typing import Any

import pytest

from accounting.checks import open_check, pack_check
from accounting.fold import Fold
from accounting.kept_events import pack_event
from accounting.pruning import MARGIN_S, is_spare, margin_s, open_lanes
from accounting.shares import unpack_shares
from nips.pool.kinds import RECEIPT
from nips.pool.receipt import parse_receipt
from nips.pool.terms import parse_terms


@pytest.fixture(scope="session")
def checks(story: Any) -> dict[str, bytes]:
    fold = Fold(story.pool)
    for event in story.all():
        fold.add(event)
    fold.settle()
    return {name: check for name, check in fold.take_changes().checked.items() if check is not None}


def receipts(story: Any) -> list[Any]:
    return [event for event in story.all() if event.kind == RECEIPT]


def test_a_checked_receipt_that_the_archive_has_is_spare(story: Any, checks: dict[str, bytes]) -> None:
    found = receipts(story)
    assert len(found) == len(checks) > 3
    for event in found:
        assert is_spare(event, pack_event(event), checks[event.id])


def test_what_is_not_the_same_or_not_known_to_be_good_is_kept(story: Any, checks: dict[str, bytes]) -> None:
    event, other = receipts(story)[:2]
    kept, check = pack_event(event), checks[event.id]
    assert not is_spare(other, kept, checks[other.id]), "another event"
    assert not is_spare(event, kept[:-2], check), "damaged in the store"
    assert not is_spare(event, b"z" + kept, check), "damaged in the store"
    assert not is_spare(event, b"", check), "let go before"
    assert not is_spare(event, kept, None), "never checked"
    assert not is_spare(event, kept, check[:-1]), "a damaged check"
    assert not is_spare(event, kept, b"\x01" + check[1:]), "a check of another version"
    job = next(each for each in story.all() if each.kind != RECEIPT)
    assert not is_spare(job, pack_event(job), check), "no receipt"
    known = open_check(event.id, check, kept)
    assert known is not None
    for wrong in ({"bad": 1}, {"unchecked": 1}):
        shares = replace(unpack_shares(known.data), **wrong)
        assert not is_spare(event, kept, pack_check(parse_receipt(event), shares.pack())), "its shares are asked for"


def test_a_lane_waits_until_it_went_on_or_ended(story: Any, checks: dict[str, bytes]) -> None:
    terms = [parse_terms(event) for event in story.all() if event.kind == 4210]
    ends = {parse_receipt(event).lane: event for event in receipts(story)}
    names = {lane: f"{event.pubkey}/{lane}" for lane, event in ends.items()}
    open_now = [names[lane] for lane, event in ends.items() if not parse_receipt(event).fin]
    assert open_now
    assert open_lanes(ends.values(), terms, ()) == sorted(open_now)
    later = [open_check(event.id, checks[event.id], b"") for event in ends.values()]
    known = [each for each in later if each is not None]
    assert open_lanes(ends.values(), terms, known) == []
    asked = iter(known)
    assert open_lanes((), terms, asked) == []
    assert next(asked) is known[0], "nothing is read that is not needed"
    of = terms[0].body
    for closed in (open_now, [f"{name.partition('/')[0]}/*" for name in open_now]):
        ending = replace(terms[0], body=replace(of, closed=dict.fromkeys(closed)))
        assert open_lanes(ends.values(), [ending, *terms], ()) == []


def test_a_lane_must_go_on_for_a_day_or_a_jobs_life(story: Any) -> None:
    terms = parse_terms(next(event for event in story.all() if event.kind == 4210))
    assert margin_s([]) == margin_s([terms]) == MARGIN_S
    long = replace(terms, body=replace(terms.body, limits=replace(terms.body.limits, job_ms=MARGIN_S * 2000 + 1)))
    assert margin_s([terms, long]) == MARGIN_S * 2 + 1
