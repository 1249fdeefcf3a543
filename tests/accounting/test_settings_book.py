"""Miners' settings: which are in force, since when money goes where, and what of workers is shown."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.settings_book import SettingsBook, pseudonym, shown_worker, told
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.settings import MAX_AHEAD_S, SettingsBody, WorkerSettings, build_settings, newest_settings

POOL = "ab" * 32
MINER = SecretKey(bytes([1] * 32))
NOW_S = 1_800_000_000
NOW = NOW_S * 1000


def event(body=None, second=NOW_S, signer=MINER, pool=POOL):
    return signer.sign(build_settings(pool, body or SettingsBody(), second))


BODIES = [
    SettingsBody(),
    SettingsBody(lightning="a@b.c"),
    SettingsBody(lightning="d@e.f"),
    SettingsBody(lightning="d@e.f", minimum_msat=5),
]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(BODIES), st.integers(-3, 3)), max_size=6), st.randoms())
def test_whatever_order_they_come_in_the_same_are_in_force(drafts, randomness):
    events = [event(body, NOW_S + MAX_AHEAD_S + second) for body, second in drafts]
    expected = newest_settings(events, miner=MINER.pubkey, pool=POOL, now_s=NOW_S)
    randomness.shuffle(events)
    book = SettingsBook(POOL)
    for each in events:
        book.take(each, NOW)
    known = book.of(MINER.pubkey)
    assert (known and known.settings) == expected


def test_a_destination_holds_from_when_it_was_seen_not_from_when_it_was_dated():
    book = SettingsBook(POOL)
    first = book.take(event(BODIES[1], NOW_S - 50), NOW, seen_ms=NOW - 40_000)
    assert first is not None
    assert first.destination_ms == NOW - 40_000
    changed = book.take(event(BODIES[2], NOW_S - 40), NOW + 1)
    assert changed is not None
    assert changed.destination_ms == NOW + 1, "it is dated back, and was not known before"
    other = book.take(event(BODIES[3], NOW_S - 30), NOW + 99)
    assert other is not None
    assert (other.destination_ms, other.settings.body.minimum_msat) == (NOW + 1, 5), "money goes where it went"
    assert book.take(event(BODIES[1], NOW_S - 50), NOW + 100) is None


def test_what_is_not_for_this_pool_or_no_settings_is_none():
    book = SettingsBook(POOL)
    assert book.take(event(pool="cd" * 32), NOW) is None
    assert book.take(MINER.sign(UnsignedEvent(34216, NOW_S, (("d", POOL),), "{}")), NOW) is None
    assert book.take(MINER.sign(UnsignedEvent(1, NOW_S, (("d", POOL),), "{}")), NOW) is None
    assert len(book) == 0


def test_strangers_settings_go_first():
    keys = [SecretKey(bytes([number] * 32)) for number in range(1, 6)]
    book = SettingsBook(POOL, {keys[0].pubkey, keys[1].pubkey}.__contains__, max_kept=3)
    for key in keys:
        book.take(event(signer=key), NOW)
    assert {known.settings.miner for known in book} == {keys[0].pubkey, keys[1].pubkey, keys[4].pubkey}
    everybody = SettingsBook(POOL, lambda _: True, max_kept=2)
    for key in keys:
        everybody.take(event(signer=key), NOW)
    assert len(everybody) == 2


@pytest.mark.parametrize(
    ("body", "name", "alias"),
    [
        (SettingsBody(), "rig", ""),
        (SettingsBody(workers={"rig": WorkerSettings("Cellar", hidden=False)}), "rig", "Cellar"),
        (SettingsBody(workers={"rig": WorkerSettings("Cellar", hidden=True)}), pseudonym("aa", "rig"), "Cellar"),
        (SettingsBody(hide_workers=True), pseudonym("aa", "rig"), ""),
        (SettingsBody(workers={"other": WorkerSettings(hidden=True)}), "rig", ""),
    ],
)
def test_aliases_are_shown_and_hidden_names_are_not(body, name, alias):
    book = SettingsBook(POOL)
    known = book.take(event(body), NOW)
    shown = shown_worker(known, "aa", "rig")
    assert (shown.name, shown.alias) == (name, alias)


def test_a_pseudonym_of_the_edge_stands_as_it_is():
    known = SettingsBook(POOL).take(event(SettingsBody(hide_workers=True)), NOW)
    assert shown_worker(known, "aa", "#00112233").name == "#00112233"
    assert shown_worker(None, "aa", "rig").name == "rig"


def test_what_is_told_has_no_private_part():
    body = SettingsBody(methods=("zap",), lightning="a@b.c", private="secret", notify=("paid",))
    known = SettingsBook(POOL).take(event(body), NOW)
    assert known is not None
    assert known.settings.body == replace(body, private="")
    said = told(known)
    assert said is not None
    assert "private" not in said
    assert (said["lightning"], said["destination_since_ms"], said["methods"]) == ("a@b.c", NOW, ["zap"])
    assert told(None) is None
