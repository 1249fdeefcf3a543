"""Attestations as they come: the first of each worker and day, of the last month, and of miners before strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.attestation_book import MAX_AHEAD_S, AttestationBook
from accounting.schemes.loyalty import DAY_S, REACH_MS
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress
from nips.pool.attestation import AttestationBody, build_attestation
from nips.pool.attestation_part import MAX_ATTESTATION_BYTES, fits_attestation_part
from tests.accounting.conftest import KEYS, POOL, T0
from tests.accounting.loyalty_story import attest

SECOND = T0 // 1000 + 60
NOW = SECOND * 1000
TODAY = SECOND // DAY_S
ALICE, BOB = KEYS.alice.pubkey, KEYS.bob.pubkey
EVERYBODY = {ALICE, BOB}


def book(max_kept=100, miners=(ALICE,)):
    return AttestationBook(POOL, lambda miner: miner in miners, max_kept)


def days(first=TODAY, last=TODAY):
    return range(first, last + 1)


def test_one_a_worker_and_day_the_first_that_came():
    seen = book()
    assert seen.take(attest(second=SECOND + 5), NOW)
    assert not seen.take(attest(second=SECOND + 5), NOW), "it came again"
    assert not seen.take(attest(second=SECOND, model="other"), NOW), "an earlier date changes nothing"
    assert seen.take(attest(second=SECOND, worker="other"), NOW)
    assert seen.take(attest(KEYS.bob, second=SECOND), NOW)
    assert seen.take(attest(second=SECOND - DAY_S), NOW), "another day"
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("second", "taken"),
    [
        (SECOND - REACH_MS // 1000, True),
        (SECOND - REACH_MS // 1000 - 1, False),
        (SECOND + MAX_AHEAD_S, True),
        (SECOND + MAX_AHEAD_S + 1, False),
    ],
)
def test_only_of_the_last_month_and_not_of_tomorrow(second, taken):
    assert book().take(attest(second=second), NOW) is taken


def test_what_is_no_attestation_of_this_pool_is_none():
    body = AttestationBody("axe", "axe", "1.0", 1, "00" * 32)
    other = PoolAddress(POOL.pubkey, "main")
    seen = book()
    assert not seen.take(KEYS.alice.sign(build_attestation(other, body, SECOND)), NOW)
    good = build_attestation(POOL, body, SECOND)
    assert not seen.take(KEYS.alice.sign(UnsignedEvent(good.kind, SECOND, good.tags, "{}")), NOW)
    assert not seen.take(KEYS.alice.sign(UnsignedEvent(1, SECOND, good.tags, good.content)), NOW)
    large = KEYS.alice.sign(
        UnsignedEvent(good.kind, SECOND, (*good.tags, ("note", "x" * MAX_ATTESTATION_BYTES)), good.content)
    )
    assert not fits_attestation_part(large)
    assert not seen.take(large, NOW), "it could not be put into the log"
    assert len(seen) == 0
    assert seen.take(KEYS.alice.sign(good), NOW), "none of these took its place"


def test_what_miners_attested_on_some_days():
    seen = book()
    yesterday, today = attest(second=SECOND - DAY_S), attest(second=SECOND)
    bobs = attest(KEYS.bob, second=SECOND)
    for event in (yesterday, today, bobs):
        seen.take(event, NOW)
    assert [each.event for each in seen.of({ALICE}, days())] == [today]
    assert [each.event for each in seen.of(EVERYBODY, days(TODAY - 1))] == [yesterday, today, bobs]
    assert [each.told.miner for each in seen.of([BOB], days(TODAY - 1))] == [BOB]
    assert seen.of(EVERYBODY, range(0)) == []
    assert seen.of((), days()) == []
    seen.forget(TODAY)
    assert [each.event for each in seen.of(EVERYBODY, days(TODAY - 1))] == [today, bobs]
    seen.forget(TODAY + 1)
    assert len(seen) == 0


def test_strangers_go_first_then_who_came_first():
    seen = book(max_kept=2)
    first, second = attest(second=SECOND), attest(worker="second", second=SECOND)
    assert seen.take(first, NOW)
    assert seen.take(attest(KEYS.bob, second=SECOND), NOW)
    assert seen.take(second, NOW)
    assert [each.event for each in seen.of(EVERYBODY, days())] == [first, second]
    third = attest(worker="third", second=SECOND)
    assert seen.take(third, NOW)
    assert [each.event for each in seen.of(EVERYBODY, days())] == [second, third]


# Signing takes time: made once.
EVENTS = [
    attest(signer, SECOND - DAY_S * ago, worker=worker)
    for signer in (KEYS.alice, KEYS.bob)
    for ago in (0, 1, 40)
    for worker in ("", "axe")
]


@given(st.lists(st.sampled_from(EVENTS), max_size=30), st.integers(1, 5))
def test_never_more_than_it_keeps_and_none_of_a_place_twice(events, most):
    seen = book(most)
    for event in events:
        taken = seen.take(event, NOW)
        assert len(seen) <= most
        if taken and event.pubkey == ALICE:
            assert event in [each.event for each in seen.of([ALICE], days(TODAY - 1))], "a miner's newest stays"
    found = seen.of(EVERYBODY, days(TODAY - 31))
    assert len(found) == len(seen)
    places = [(each.told.miner, each.told.body.worker, each.told.created_at // DAY_S) for each in found]
    assert len(set(places)) == len(places)
    assert all(day >= TODAY - 31 for _, _, day in places)


@given(st.lists(st.sampled_from(EVENTS), max_size=20), st.randoms(use_true_random=False))
def test_with_room_for_all_it_holds_the_first_of_each_place(events, randomness):
    seen, again = book(), events * 2
    randomness.shuffle(again)
    first: dict[tuple[str, str, int], str] = {}
    for event in again:
        told = (event.pubkey, event.tag_value("worker") or event.content, event.created_at // DAY_S)
        if event.created_at >= SECOND - REACH_MS // 1000:
            first.setdefault(told, event.id)
        seen.take(event, NOW)
    assert {each.event.id for each in seen.of(EVERYBODY, days(TODAY - 31))} == set(first.values())
