"""What the private part of settings may ask for."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noncestr.notices.wishes import MAX_CHANNELS, Channel, InvalidPrivate, Private, Wishes, is_address, parse_private


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("email", "miner@example.com"),
        ("email", "a.b+pool@mail.example.co.uk"),
        ("ntfy", "https://ntfy.sh/my_rigs-1"),
        ("ntfy", "https://ntfy.example.com/x"),
    ],
)
def test_addresses(kind, address):
    assert is_address(kind, address)


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("email", "miner@localhost"),
        ("email", "miner@example.com,other@example.com"),
        ("email", "miner@example.com?smtp=evil"),
        ("email", "miner@example.com\n"),
        ("email", "m\u0131ner@example.com"),
        ("email", "x" * 300 + "@example.com"),
        ("ntfy", "http://ntfy.sh/topic"),
        ("ntfy", "https://127.0.0.1/topic"),
        ("ntfy", "https://[::1]/topic"),
        ("ntfy", "https://localhost/topic"),
        ("ntfy", "https://ntfy.sh:8443/topic"),
        ("ntfy", "https://user:pass@ntfy.sh/topic"),
        ("ntfy", "https://ntfy.sh/topic/publish"),
        ("ntfy", "https://ntfy.sh/topic?x=1"),
        ("ntfy", "https://ntfy.sh/topic#x"),
        ("ntfy", "https://ntfy.sh/"),
        ("ntfy", "https://[ntfy.sh/topic"),
        ("sms", "+41"),
    ],
)
def test_no_addresses(kind, address):
    assert not is_address(kind, address)


def test_a_private_part():
    text = {
        "v": 1,
        "channels": [
            ["email", "a@example.com", " abc "],
            ["email", "a@example.com", "again"],
            ["sms", "1", ""],
            ["ntfy", "https://10.0.0.1/x", ""],
        ],
        "watch": {"rig1": ["offline", "hashrate", "later"], "rig2": []},
        "more": 1,
    }
    assert parse_private(json.dumps(text)) == Private(
        (Channel("email", "a@example.com", "ABC"),),
        {"rig1": frozenset({"offline", "hashrate"}), "rig2": frozenset()},
    )
    many = {"v": 1, "channels": [["email", f"a{n}@example.com", ""] for n in range(20)]}
    assert len(parse_private(json.dumps(many)).channels) == MAX_CHANNELS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"v": 2}',
        '{"v": 1, "channels": {}}',
        '{"v": 1, "channels": [["email", "a@example.com"]]}',
        '{"v": 1, "channels": [["email", "a@example.com", 5]]}',
        '{"v": 1, "watch": []}',
        '{"v": 1, "watch": {"rig 1": []}}',
        '{"v": 1, "watch": {"rig": "offline"}}',
        '{"v": 1, "watch": {"rig": [1]}}',
        "[" * 100_000,
    ],
)
def test_what_is_none(text):
    with pytest.raises(InvalidPrivate):
        parse_private(text)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with suppress(InvalidPrivate):
        assert isinstance(parse_private(text), Private)


def test_who_watches_what():
    every = Wishes(frozenset({"worker", "hashrate"}))
    assert every.watches("any")
    assert every.measures("")
    assert not every.measures("any")
    some = Wishes(frozenset({"worker"}), Private(watch={"a": frozenset({"offline"}), "b": frozenset({"hashrate"})}))
    assert [some.watches(name) for name in "abc"] == [True, False, False]
    assert [some.measures(name) for name in ("a", "b", "")] == [False, True, False]
    assert not Wishes(frozenset({"paid"})).watches_some
