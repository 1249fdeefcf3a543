"""Content is read in one way only."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.nip01 import MAX_SAFE_INTEGER
from nips.pool.content import (
    UnknownVersion,
    decode_content,
    encode_content,
    parse_base64,
    parse_bits,
    parse_decimal,
    parse_hex,
    parse_id,
    parse_work,
    read_dict,
    read_hex,
    read_int,
    read_list,
    read_str,
)

clean = st.text(st.characters(exclude_categories=("Cs",)))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | clean,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(clean, inner, max_size=4),
    max_leaves=12,
)
anything = values | st.floats() | st.binary() | st.integers()


def nested(depth):
    """Content of that depth, and beside it much that is shallow, with brackets in strings."""
    inner = "1"
    for level in range(depth - 1):
        inner = f"[{inner}]" if level % 2 else f'{{"]\\"}}":{inner}}}'
    return '{"v":1,"a":' + inner + ',"b":[' + '["]}\\\\",{}],' * 100 + "0]}"


@given(st.dictionaries(clean.filter(lambda name: name != "v"), values))
def test_decode_encode(fields):
    text = encode_content(fields)
    assert text.startswith('{"v":1')
    assert decode_content(text) == {"v": 1, **fields}
    # Escaped or verbatim, it is the same content.
    assert decode_content(json.dumps({"v": 1, **fields}, ensure_ascii=True, indent=2)) == {"v": 1, **fields}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[1]",
        '"v"',
        "{}",
        '{"v":"1"}',
        '{"v":true}',
        '{"v":1.0}',
        '{"v":1}x',
        '{"v":1}{"v":1}',
        '{"v":1,}',
        "{'v':1}",
        '{"v":01}',
        '\ufeff{"v":1}',
        '{"v":1,"v":1}',
        '{"v":1,"a":{"b":1,"b":1}}',
        '{"v":1,"a":[{"b":1,"\\u0062":2}]}',
        '{"v":1,"a":0.5}',
        '{"v":1,"a":1e3}',
        '{"v":1,"a":1E400}',
        '{"v":1,"a":NaN}',
        '{"v":1,"a":Infinity}',
        '{"v":1,"a":-Infinity}',
        '{"v":1,"a":9007199254740992}',
        '{"v":1,"a":-9007199254740992}',
        '{"v":1,"a":' + "9" * 5000 + "}",
        '{"v":1,"a":"\n"}',
        '{"v":1,"a":"\x00"}',
        '{"v":1,"a\x1f":1}',
        '{"v":1,"a":"\\ud800"}',
        '{"v":1,"\\udfff":1}',
        '{"v":1,"a":"\\ude00\\ud83d"}',
        '{"v":1,"a":' + "[" * 100_000,
        nested(65),
        nested(200),
    ],
)
def test_refused(text):
    with pytest.raises(InvalidPoolEvent):
        decode_content(text)


@pytest.mark.parametrize("version", [0, 2, -1])
def test_unknown_versions(version):
    with pytest.raises(UnknownVersion):
        decode_content(f'{{"v":{version}}}')


@pytest.mark.parametrize("depth", [1, 2, 3, 63, 64])
def test_nesting_that_is_allowed(depth):
    value = decode_content(nested(depth))["a"]
    for _ in range(depth - 1):
        (value,) = value if isinstance(value, list) else value.values()
    assert value == 1


def test_allowed():
    assert decode_content(' {"v" : 1,\n"a":9007199254740991, "b":-9007199254740991,"c":"\\ud83d\\ude80"}\t') == {
        "v": 1,
        "a": MAX_SAFE_INTEGER,
        "b": -MAX_SAFE_INTEGER,
        "c": "🚀",
    }


@given(st.text() | st.text('{}[]",:v1\\u09.e-'))
def test_decode_raises_nothing_else(text):
    try:
        assert decode_content(text)["v"] == 1
    except InvalidPoolEvent:
        return


@given(anything)
def test_readers_take_their_own_type_only(value):
    for read, kind in ((read_int, int), (read_str, str), (read_list, list), (read_dict, dict)):
        try:
            assert type(read({"x": value}, "x")) is kind
        except InvalidPoolEvent:
            assert type(value) is not kind or (kind is int and not 0 <= value <= MAX_SAFE_INTEGER)
        with pytest.raises(InvalidPoolEvent):
            read({}, "x")


@given(st.integers(), st.integers(-9, 9), st.integers(0, 9))
def test_bounds(value, low, span):
    if low <= value <= low + span:
        assert read_int({"x": value}, "x", low, low + span) == value
    else:
        with pytest.raises(InvalidPoolEvent):
            read_int({"x": value}, "x", low, low + span)


@given(anything)
def test_parsers_raise_nothing_else(value):
    parsers = (parse_id, parse_work, parse_decimal, parse_base64, parse_bits)
    for parse in (*parsers, lambda v, name: parse_hex(v, None, name), lambda v, name: parse_hex(v, 4, name)):
        try:
            parse(value, "x")
        except InvalidPoolEvent:
            continue
        assert type(value) is str


@given(st.binary())
def test_base64_and_hex_there_and_back(raw):
    text = base64.b64encode(raw).decode()
    assert parse_base64(text, "x") == raw
    assert parse_hex(raw.hex(), len(raw), "x") == read_hex({"x": raw.hex()}, "x") == raw
    with pytest.raises(InvalidPoolEvent):
        parse_hex(raw.hex(), len(raw) + 1, "x")


@pytest.mark.parametrize("text", ["A", "AA", "AAA", "AB==", "AAB=", "AA==\n", "AA==AA==", "_-==", "AA ==", "é", "===="])
def test_base64_has_one_form(text):
    with pytest.raises(InvalidPoolEvent):
        parse_base64(text, "x")


@pytest.mark.parametrize("text", ["", "+1", "-1", "01", "1.0", "1e3", " 1", "1\n", "٣", "0x1", "9" * 101])
def test_decimals_have_one_form(text):
    with pytest.raises(InvalidPoolEvent):
        parse_work(text, "x")


@given(st.integers(0, 10**100 - 1))
def test_decimals(number):
    assert parse_work(str(number), "x") == number
    if number > MAX_SAFE_INTEGER:
        with pytest.raises(InvalidPoolEvent):
            parse_decimal(str(number), "x")


def test_bits_are_written_as_a_number():
    assert parse_bits("1d00ffff", "x") == 0x1D00FFFF
    for text in ("1D00FFFF", "1d00fff", "0x1d00ff", "", 0x1D00FFFF):
        with pytest.raises(InvalidPoolEvent):
            parse_bits(text, "x")
