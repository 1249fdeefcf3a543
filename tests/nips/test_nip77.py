"""NIP-77: messages around negentropy, both ways."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidMessage
from nips.nip01 import make_filter
from nips.nip77 import (
    NegClose,
    NegError,
    NegMessage,
    NegOpen,
    encode_neg,
    parse_client_neg,
    parse_relay_neg,
)

ids = st.text(min_size=1, max_size=64).filter(lambda text: text.isprintable())
data = st.binary(min_size=1, max_size=100)


@given(ids, data, st.sets(st.integers(0, 65535)))
def test_a_client_is_understood(sub_id: str, message: bytes, kinds: set[int]) -> None:
    for said in (NegOpen(sub_id, make_filter(kinds=kinds), message), NegMessage(sub_id, message), NegClose(sub_id)):
        name, *items = json.loads(encode_neg(said))
        assert parse_client_neg(name, items) == said


@given(ids, data, st.none() | st.integers(0, 10**6))
def test_a_relay_is_understood(sub_id: str, message: bytes, most: int | None) -> None:
    for said in (NegMessage(sub_id, message), NegError(sub_id, "blocked: this query is too big", most)):
        name, *items = json.loads(encode_neg(said))
        assert parse_relay_neg(name, items) == said


def test_how_they_look_on_the_wire() -> None:
    assert (
        encode_neg(NegOpen("1", make_filter(kinds=[4211]), b"\x61\x00")) == '["NEG-OPEN","1",{"kinds":[4211]},"6100"]'
    )
    assert encode_neg(NegMessage("1", b"\x61")) == '["NEG-MSG","1","61"]'
    assert encode_neg(NegClose("1")) == '["NEG-CLOSE","1"]'
    assert encode_neg(NegError("1", "closed: too slow")) == '["NEG-ERR","1","closed: too slow"]'
    assert parse_relay_neg("NEG-MSG", ["1", "61AB"]) == NegMessage("1", b"\x61\xab")
    assert parse_relay_neg("NEG-ERR", ["1", "x" * 9000, "many"]) == NegError("1", "x" * 500)


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("NEG-OPEN", []),
        ("NEG-OPEN", ["1", {}]),
        ("NEG-OPEN", ["1", {}, "61", "61"]),
        ("NEG-OPEN", ["1", [], "61"]),
        ("NEG-OPEN", ["1", {"kind": 1}, "61"]),
        ("NEG-OPEN", ["", {}, "61"]),
        ("NEG-OPEN", ["x" * 65, {}, "61"]),
        ("NEG-OPEN", [1, {}, "61"]),
        ("NEG-MSG", ["1"]),
        ("NEG-MSG", ["1", ""]),
        ("NEG-MSG", ["1", "6"]),
        ("NEG-MSG", ["1", "6x"]),
        ("NEG-MSG", ["1", "61\n"]),
        ("NEG-MSG", ["1", None]),
        ("NEG-MSG", ["1", "61" * 500_001]),
        ("NEG-CLOSE", []),
        ("NEG-CLOSE", ["1", "2"]),
        ("NEG-SHUT", ["1"]),
        ("NEG-ERR", ["1", "blocked: x"]),
    ],
)
def test_a_client_out_of_form_is_refused(name: str, items: list[object]) -> None:
    with pytest.raises(InvalidMessage):
        parse_client_neg(name, items)


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("NEG-ERR", ["1"]),
        ("NEG-ERR", ["1", 5]),
        ("NEG-ERR", ["1", "x", 1, 2]),
        ("NEG-MSG", []),
        ("NEG-OPEN", ["1", {}, "61"]),
    ],
)
def test_a_relay_out_of_form_is_refused(name: str, items: list[object]) -> None:
    with pytest.raises(InvalidMessage):
        parse_relay_neg(name, items)
