"""34216 miner settings."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.settings import (
    MAX_AHEAD_S,
    MAX_ALIAS,
    MAX_DESTINATION,
    MAX_WORKERS,
    METHODS,
    NOTICES,
    SettingsBody,
    WorkerSettings,
    build_settings,
    newest_settings,
    parse_settings,
)
from nips.pool.terms import PPM

MINER = SecretKey(b"\2" * 32)
OTHER = SecretKey(b"\3" * 32)
POOL = "ab" * 32
line = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
worker = st.from_regex(r"[A-Za-z0-9._-]{0,32}", fullmatch=True)
bodies = st.builds(
    SettingsBody,
    methods=st.lists(st.sampled_from(METHODS), unique=True).map(tuple),
    lightning=line,
    onchain=line,
    mint=line,
    minimum_msat=st.integers(0, 2**53 - 1),
    donation_ppm=st.integers(0, PPM),
    hide_workers=st.booleans(),
    workers=st.dictionaries(worker, st.builds(WorkerSettings, alias=line, hidden=st.booleans()), max_size=3),
    notify=st.lists(st.sampled_from(NOTICES), unique=True).map(tuple),
    private=line,
)


def signed(body: SettingsBody, created_at: int = 9, key: SecretKey = MINER, pool: str = POOL):
    return key.sign(build_settings(pool, body, created_at))


def changed(**fields):
    event = build_settings(POOL, SettingsBody(), 9)
    return MINER.sign(UnsignedEvent(event.kind, 9, event.tags, json.dumps({"v": 1, **fields})))


@given(bodies)
def test_there_and_back(body):
    event = signed(body)
    settings = parse_settings(event)
    assert (settings.id, settings.miner, settings.pool, settings.created_at) == (event.id, MINER.pubkey, POOL, 9)
    assert settings.body == body


def test_everything_may_be_left_out():
    assert parse_settings(changed()).body == SettingsBody()
    assert build_settings(POOL, SettingsBody(), 9).content == '{"v":1}'


def test_words_of_later_versions_are_passed_over():
    body = parse_settings(changed(methods=["teleport", "nutzap", "zap"], notify=["paid", "moon"], colour="red")).body
    assert (body.methods, body.notify) == (("nutzap", "zap"), ("paid",))


@pytest.mark.parametrize(
    "fields",
    [
        {"methods": "zap"},
        {"methods": [1]},
        {"methods": ["zap", "zap"]},
        {"lightning": 1},
        {"lightning": "a@b\n"},
        {"onchain": "x" * (MAX_DESTINATION + 1)},
        {"minimum_msat": -1},
        {"minimum_msat": True},
        {"donation_ppm": PPM + 1},
        {"hide_workers": 1},
        {"workers": []},
        {"workers": {"a b": {}}},
        {"workers": {"a": True}},
        {"workers": {"a": {"alias": "x" * (MAX_ALIAS + 1)}}},
        {"workers": {"a": {"hidden": "no"}}},
        {"workers": {str(number): {} for number in range(MAX_WORKERS + 1)}},
        {"notify": {}},
    ],
)
def test_what_cannot_be_meant_is_refused(fields):
    with pytest.raises(InvalidPoolEvent):
        parse_settings(changed(**fields))


def test_the_pool_is_named_once():
    for tags in ((), (("d", "x"),), (("d", POOL), ("d", POOL))):
        with pytest.raises(InvalidPoolEvent):
            parse_settings(MINER.sign(UnsignedEvent(34216, 9, tags, '{"v":1}')))


def test_hidden_by_name_or_all():
    some = SettingsBody(workers={"rig": WorkerSettings(hidden=True), "axe": WorkerSettings(alias="the small one")})
    assert (some.hides("rig"), some.hides("axe"), some.hides("new")) == (True, False, False)
    assert replace(some, hide_workers=True).hides("axe")


def test_the_newest_valid_one_wins():
    def chosen(*events):
        found = newest_settings(events, miner=MINER.pubkey, pool=POOL, now_s=1000)
        return found and found.body.donation_ppm

    old, new = (signed(SettingsBody(donation_ppm=date), date) for date in (10, 20))
    ahead = signed(SettingsBody(donation_ppm=7), 1000 + MAX_AHEAD_S + 1)
    assert chosen() is None
    assert chosen(new, old) == chosen(old, new) == 20
    assert chosen(old, ahead) == 10
    assert chosen(old, signed(SettingsBody(donation_ppm=5), 1000 + MAX_AHEAD_S)) == 5
    assert chosen(old, signed(SettingsBody(donation_ppm=5), 30, OTHER)) == 10
    assert chosen(old, signed(SettingsBody(donation_ppm=5), 30, pool="cd" * 32)) == 10
    assert chosen(old, changed(methods="zap")) == 10


def test_of_one_date_the_lower_id_wins():
    events = sorted((signed(SettingsBody(donation_ppm=n), 9) for n in range(4)), key=lambda event: event.id)
    for order in (events, events[::-1]):
        found = newest_settings(order, miner=MINER.pubkey, pool=POOL, now_s=9)
        assert found is not None
        assert found.id == events[0].id


@given(data=st.data())
def test_nothing_else_is_raised(fuzz, data):
    fuzz(
        data,
        parse_settings,
        MINER.sign(build_settings(POOL, SettingsBody(methods=("zap",), workers={"a": WorkerSettings("b")}), 9)),
    )
