"""What the store takes of events with the pool's name: all of the pool's keys, few of strangers, and nothing is lost by
it: a key that gets a role later is asked for again.
"""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import accounting.parked
from accounting.log import PoolLog
from accounting.strangers import LetGo, sift
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.nip57 import ZAP_RECEIPT
from nips.pool.kinds import JOB, TERMS

MOST = 10


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting.parked, "MAX_PARKED", MOST)


def strangers(story: Any, count: int) -> list[VerifiedEvent]:
    key = SecretKey(b"\x05" * 32)
    form = next(event for event in story.events.values() if event.kind == JOB)
    return [key.sign(UnsignedEvent(JOB, form.created_at + number, form.tags, form.content)) for number in range(count)]


def read(log: PoolLog, events: list[VerifiedEvent]) -> list[VerifiedEvent]:
    """As the accounting does: sift, then take in. What was let go."""
    kept, let_go = sift(log, events)
    for event in kept:
        log.add(event)
    log.settle()
    return let_go


def test_all_of_the_pool_is_kept_and_a_flood_only_so_far(story: Any) -> None:
    log = PoolLog(story.pool)
    flood = strangers(story, 5 * MOST)
    terms = [event for event in story.all() if event.kind == TERMS]
    assert read(log, terms) == []
    mixed = [*flood, *story.all()]
    random.Random(1).shuffle(mixed)
    let_go = [gone for at in range(0, len(mixed), 7) for gone in read(log, mixed[at : at + 7])]
    assert {event.pubkey for event in let_go} == {flood[0].pubkey}
    assert len(let_go) == 4 * MOST
    assert len(log.parked) == MOST
    assert log.parked.let_go == 0, "the log itself let nothing go: nothing is to be folded anew"
    # Of what is let go nothing grows, and what is known already takes no room.
    assert not {event.id for event in let_go} & set(log.ids)
    assert sift(log, story.all()).let_go == []
    assert [event.id for event in sift(log, [*flood[:1], *let_go]).let_go] == [
        event.id for event in [*flood[:1], *let_go] if event.id not in log.ids
    ]


def test_before_any_terms_nobody_is_a_stranger(story: Any) -> None:
    flood = strangers(story, 3 * MOST)
    assert sift(PoolLog(story.pool), flood) == (flood, [])


def test_other_pools_and_other_kinds_are_let_go_and_proofs_are_kept(story: Any) -> None:
    log = PoolLog(story.pool)
    key = SecretKey(b"\x05" * 32)
    other = key.sign(UnsignedEvent(JOB, 5, (("a", f"34210:{'ab' * 32}:regtest"),), ""))
    nameless = key.sign(UnsignedEvent(JOB, 5, (), ""))
    note = key.sign(UnsignedEvent(1, 5, (("a", str(story.pool)),), ""))
    receipt = key.sign(UnsignedEvent(ZAP_RECEIPT, 5, (), ""))
    assert sift(log, [other, receipt, nameless, note]) == ([receipt], [other, nameless, note])


DATED = st.lists(st.integers(0, 2**40), min_size=1, max_size=5)


@given(st.lists(st.tuples(DATED, st.integers(1, 9)), max_size=6))
def test_what_was_let_go_is_missed_once_any_key_came_since(groups: list[tuple[list[int], int]]) -> None:
    told, dates, keys = LetGo(), [0], []
    for seconds, known in groups:
        told = told.plus((event_at(second) for second in seconds), known)
        dates += seconds
        keys.append(known)
    assert (told.events, told.newest_s) == (len(dates) - 1, max(dates))
    for known in range(1, 11):
        assert told.missed(known) == any(known > then for then in keys)
    assert not told.again


def event_at(second: int) -> Any:
    return type("Dated", (), {"created_at": second})()
