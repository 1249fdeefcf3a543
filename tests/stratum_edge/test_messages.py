"""Stratum messages: parsed whole, at every cut, with garbage behind; built as miners expect them."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_edge import messages
from stratum_edge.errors import MalformedLine

LINE = b'{"id":4,"method":"mining.submit","params":["npub","1f","0000000000000000","67b6f938","f15f1590"]}'


def test_a_request_parses():
    request = messages.parse_request(LINE)
    assert (request.id, request.method) == (b"4", "mining.submit")
    assert request.params[4] == "f15f1590"


def test_every_shorter_form_and_every_longer_one_is_malformed():
    for end in range(len(LINE)):
        with pytest.raises(MalformedLine):
            messages.parse_request(LINE[:end])
    for garbage in (b"x", b"}", b"{}", b"\x00", b",", LINE):
        with pytest.raises(MalformedLine):
            messages.parse_request(LINE + garbage)
    assert messages.parse_request(LINE + b"\r ").id == b"4"


@pytest.mark.parametrize("line", [b"[]", b"1", b"null", b'{"method":1}', b"\xff", b"[" * 8000, b'{"a":' * 4000, b""])
def test_what_is_not_an_object_with_a_method_is_malformed(line):
    with pytest.raises(MalformedLine):
        messages.parse_request(line)


@pytest.mark.parametrize(
    ("given_id", "echoed"),
    [
        (b'"a"', b'"a"'),
        (b"-1.5", b"-1.5"),
        (b"null", b"null"),
        (b"[1]", b"null"),
        (b'{"a":1}', b"null"),
        (b"true", b"null"),
        (b'"' + b"x" * 99 + b'"', b"null"),
        ('"é"'.encode(), b"null"),
    ],
)
def test_only_a_short_plain_id_is_echoed(given_id, echoed):
    request = messages.parse_request(b'{"id":' + given_id + b',"method":"mining.ping"}')
    assert request.id == echoed
    assert json.loads(messages.true_reply(request.id))["result"] is True


@given(st.binary(max_size=64))
def test_parsing_never_fails_otherwise(line):
    """Invariant: a line is a request or MalformedLine, and a request's id is echoed as valid JSON."""
    try:
        request = messages.parse_request(line)
    except MalformedLine:
        return
    json.loads(messages.error_reply(request.id, 20, "x"))


def test_replies_have_the_form_cpuminer_needs():
    assert messages.true_reply(b"7") == b'{"id":7,"result":true,"error":null}\n'
    assert messages.reply(b"7", ["a", 8]) == b'{"id":7,"result":["a",8],"error":null}\n'
    assert json.loads(messages.error_reply(b"7", 24, 'no "npub"')) == {
        "id": 7,
        "result": None,
        "error": [24, 'no "npub"', None],
    }


@pytest.mark.parametrize("difficulty", [Fraction(1), Fraction(65536), Fraction(1000), Fraction(1, 8192)])
def test_difficulties_are_exact_on_the_wire(difficulty):
    number = json.loads(messages.set_difficulty(difficulty))["params"][0]
    assert Fraction(number) == difficulty
    assert isinstance(number, int) is (difficulty >= 1)


def test_the_easiest_difficulty_is_exact_too():
    assert Fraction(json.loads(messages.set_difficulty(Fraction(1, 1 << 32)))["params"][0]) == Fraction(1, 1 << 32)


def test_notify_has_nine_parameters_in_stratum_order():
    prevhash = bytes(range(32))
    form = messages.NotifyForm(
        prevhash=prevhash,
        coinb1=b"\x01\x02",
        coinb2=b"\x03",
        merkle=[b"\xaa" * 32, b"\xbb" * 32],
        version=0x20000000,
        nbits=0x1D00FFFF,
        ntime=0x64B3F3EC,
    )
    message = json.loads(form.line("1f-2", b"\xcc" * 32, True))
    assert message["id"] is None
    assert message["params"] == [
        "1f-2",
        "03020100070605040b0a09080f0e0d0c13121110171615141b1a19181f1e1d1c",
        "0102" + "cc" * 32,
        "03",
        ["aa" * 32, "bb" * 32],
        "20000000",
        "1d00ffff",
        "64b3f3ec",
        True,
    ]


def test_the_version_mask_is_eight_hex_digits():
    assert json.loads(messages.set_version_mask(0x00C00000))["params"] == ["00c00000"]
