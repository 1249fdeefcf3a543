"""Events and filters of NIP-01, judged by vectors, BIP-340's own, and two other implementations."""

import contextlib
import hashlib
import json

import msgspec
import nostr_sdk
import pytest
import secp256k1
from hypothesis import given
from hypothesis import strategies as st
from pynostr.event import Event as PynostrEvent

from nips.errors import BadId, BadSignature, InvalidEvent, InvalidFilter
from nips.keys import SecretKey
from nips.nip01 import (
    MAX_SAFE_INTEGER,
    Event,
    Filter,
    UnsignedEvent,
    VerifiedEvent,
    address,
    decode_event,
    encode_event,
    is_addressable,
    is_ephemeral,
    is_replaceable,
    make_filter,
    parse_event,
    parse_filter,
    serialize,
    supersedes,
    verify,
)

KEY = SecretKey(hashlib.sha256(b"noncestr test key 0").digest())
# What has one escape everywhere: other control characters are written in two ways by libraries.
text = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters=[chr(n) for n in range(32)])
) | st.sampled_from(["\n", '"', "\\", "\r\t", "\b\f"])
tags = st.lists(st.lists(text, min_size=1, max_size=3).map(tuple), max_size=4).map(tuple)
unsigned = st.builds(
    UnsignedEvent, kind=st.integers(0, 65535), created_at=st.integers(0, 2**40), tags=tags, content=text
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)


def test_vectors(vectors):
    cases = vectors("nip01")["cases"]
    assert len(cases) == 7
    for case in cases:
        event = verify(parse_event(case["event"]))
        raw = serialize(event.pubkey, event.created_at, event.kind, event.tags, event.content)
        assert raw.hex() == case["serialized"]
        assert hashlib.sha256(raw).hexdigest() == event.id
        signer = SecretKey.from_hex(case["secret"])
        assert signer.sign(UnsignedEvent(event.kind, event.created_at, event.tags, event.content)) == event


def test_invalid_vectors(vectors):
    cases = vectors("nip01")["invalid"]
    assert len(cases) == 14
    for case in cases:
        with pytest.raises(InvalidEvent):
            verify(parse_event(case["event"]))


def test_bip340_vectors(vectors):
    """BIP-340's test-vectors.csv, 0 to 14. Signing is without auxiliary randomness, which is number 0's."""
    cases = vectors("nip01")["bip340"]
    assert [case["index"] for case in cases] == list(range(15))
    assert sum(case["valid"] for case in cases) == 5
    for case in cases:
        message, signature = bytes.fromhex(case["message"]), bytes.fromhex(case["signature"])
        try:
            key = secp256k1.PublicKey(b"\x02" + bytes.fromhex(case["pubkey"]), raw=True)
            valid = key.schnorr_verify(message, signature, None, raw=True)
        except Exception:
            valid = False
        assert bool(valid) == case["valid"], case["comment"]
        if case["secret"]:
            assert SecretKey.from_hex(case["secret"]).pubkey == case["pubkey"]
    assert SecretKey.from_hex(cases[0]["secret"]).sign_digest(bytes(32)).hex() == cases[0]["signature"]


@given(unsigned)
def test_others_agree(unsigned):
    """pynostr computes the same id and accepts the signature; nostr-sdk verifies the whole event."""
    event = KEY.sign(unsigned)
    theirs = PynostrEvent.from_dict(json.loads(encode_event(event)))
    assert theirs.id == event.id
    assert theirs.verify()
    assert nostr_sdk.Event.from_json(encode_event(event).decode()).verify()


@given(unsigned)
def test_decode_encode(unsigned):
    event = KEY.sign(unsigned)
    assert verify(decode_event(encode_event(event))) == event
    assert verify(event) is event


def test_every_bit_of_id_and_signature_counts():
    event = KEY.sign(UnsignedEvent(1, 1, (), "x"))
    good = {name: getattr(event, name) for name in event.__struct_fields__}
    for bit in range(512):
        flipped = (int(event.sig, 16) ^ (1 << bit)).to_bytes(64, "big").hex()
        with pytest.raises(BadSignature):
            verify(Event(**{**good, "sig": flipped}))
    for bit in range(256):
        flipped = (int(event.id, 16) ^ (1 << bit)).to_bytes(32, "big").hex()
        with pytest.raises(BadId) as caught:
            verify(Event(**{**good, "id": flipped}))
        assert caught.value.computed == event.id


def test_a_key_off_the_curve_signs_nothing(vectors):
    pubkey = vectors("nip01")["bip340"][5]["pubkey"]
    raw = hashlib.sha256(serialize(pubkey, 1, 1, (), "")).hexdigest()
    with pytest.raises(BadSignature):
        verify(Event(raw, pubkey, 1, 1, (), "", "00" * 64))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", "\ud800", '{"id":"\\ud800"}', "[" * 5000, "1e999", "9" * 5000, "{} {}", "null", b"{}\0"],
    ids=range(11),
)
def test_what_is_no_event(data):
    with pytest.raises(InvalidEvent):
        decode_event(data)


@given(st.text() | st.binary())
def test_decode_raises_nothing_else(data):
    with pytest.raises(InvalidEvent):
        decode_event(data)


@given(json_values, st.sampled_from(["id", "pubkey", "created_at", "kind", "tags", "content", "sig"]))
def test_parse_raises_nothing_else(value, field):
    good = json.loads(encode_event(KEY.sign(UnsignedEvent(1, 1, (("a", "b"),), "x"))))
    with contextlib.suppress(InvalidEvent):
        assert isinstance(parse_event({**good, field: value}), Event)


def test_lone_surrogates_cannot_be_signed():
    with pytest.raises(InvalidEvent):
        KEY.sign(UnsignedEvent(1, 1, (), "\ud800"))


def test_tags():
    event = KEY.sign(UnsignedEvent(1, 1, (("p",), ("p", "a", "x"), ("p", "b"), ("q", "c")), ""))
    assert event.tag("p") == ("p",)
    assert event.tag_value("p") is None
    assert event.tag_values("p") == ("a", "b")
    assert event.tag("z") is None
    assert event.tag_values("z") == ()


@given(st.integers(0, 65535))
def test_kinds_have_one_range(kind):
    assert is_replaceable(kind) + is_ephemeral(kind) + is_addressable(kind) <= 1
    event = KEY.sign(UnsignedEvent(kind, 1, (("d", "x"),), ""))
    expected = {
        is_replaceable(kind): f"{kind}:{KEY.pubkey}:",
        is_addressable(kind): f"{kind}:{KEY.pubkey}:x",
    }.get(True)
    assert address(event) == expected


def test_the_newest_counts_and_the_lowest_id_among_equals():
    one, two = (KEY.sign(UnsignedEvent(0, 5, (), content)) for content in "ab")
    later = KEY.sign(UnsignedEvent(0, 6, (), "c"))
    low, high = sorted((one, two), key=lambda event: event.id)
    assert supersedes(low, high)
    assert not supersedes(high, low)
    assert supersedes(later, low)
    assert not supersedes(low, low)


@given(
    unsigned,
    st.booleans(),
    st.sets(st.integers(0, 9)),
    st.integers(0, 9) | st.none(),
    st.integers(0, 9) | st.none(),
    st.sets(st.sampled_from("xyz")) | st.none(),
)
def test_filters_match_what_they_say(unsigned, ours, kinds, since, until, wanted):
    unsigned = msgspec.structs.replace(
        unsigned,
        kind=unsigned.kind % 10,
        created_at=unsigned.created_at % 10,
        tags=(("t", "x"), ("t", "no", "y"), ("u", "z"), ("t",)),
    )
    event = KEY.sign(unsigned)
    authors = [KEY.pubkey if ours else "00" * 32]
    asked = make_filter(
        authors=authors, kinds=kinds, since=since, until=until, tags=None if wanted is None else {"t": wanted}
    )
    expected = (
        ours
        and event.kind in kinds
        and (since is None or since <= event.created_at)
        and (until is None or event.created_at <= until)
        and (wanted is None or "x" in wanted)
    )
    assert asked.matches(event) == expected
    assert parse_filter(asked.to_json()) == asked
    assert parse_filter(json.loads(json.dumps(asked.to_json()))) == asked
    # An empty array asks for nothing here; nostr-sdk reads it as no restriction.
    if kinds and wanted != set():
        theirs = nostr_sdk.Filter.from_json(json.dumps(asked.to_json()))
        assert theirs.match_event(nostr_sdk.Event.from_json(encode_event(event).decode())) == expected


def test_a_filter_for_ids():
    event = KEY.sign(UnsignedEvent(1, 1, (), ""))
    assert make_filter(ids=[event.id]).matches(event)
    assert not make_filter(ids=[]).matches(event)
    assert Filter().matches(event)
    assert Filter(limit=0).matches(event)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"ids": "00" * 32},
        {"ids": ["00"]},
        {"authors": ["AB" * 32]},
        {"kinds": [True]},
        {"kinds": [65536]},
        {"since": 1.0},
        {"until": -1},
        {"limit": MAX_SAFE_INTEGER + 1},
        {"#t": [1]},
        {"#e": ["short"]},
        {"#p": ["AB" * 32]},
        {"#tt": ["x"]},
        {"#1": ["x"]},
        {"search": "x"},
    ],
)
def test_invalid_filters(value):
    with pytest.raises(InvalidFilter):
        parse_filter(value)


@given(
    st.dictionaries(st.sampled_from(["ids", "authors", "kinds", "since", "limit", "#e", "#t", "#", "x"]), json_values)
)
def test_parse_filter_raises_nothing_else(value):
    with contextlib.suppress(InvalidFilter):
        assert isinstance(parse_filter(value), Filter)


def test_an_event_is_not_verified_by_its_form():
    event = KEY.sign(UnsignedEvent(1, 1, (), ""))
    assert type(event) is VerifiedEvent
    assert type(decode_event(encode_event(event))) is Event
