"""The coinbase's one shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.pool.coinbase import (
    MAX_MONEY_SAT,
    MAX_PREFIX,
    Output,
    build_coinb1,
    build_coinb2,
    check_shape,
    compact_size,
    parse_outputs,
    push_data,
    push_height,
)

outputs = st.lists(
    st.builds(Output, st.integers(0, MAX_MONEY_SAT // 300), st.binary(max_size=300)), min_size=1, max_size=260
).map(tuple)


def test_height_vectors(vectors):
    cases = vectors("coinbase")["heights"]
    assert len(cases) == 13
    for case in cases:
        assert push_height(case["height"]).hex() == case["push"]
    by_height = {case["height"]: case["push"] for case in cases}
    # BIP 34: script numbers, so a sign byte where the top bit is set.
    assert (by_height[16], by_height[17], by_height[128], by_height[840_000]) == ("60", "0111", "028000", "0340d10c")


@given(st.integers(17, 2**31 - 1))
def test_heights_are_minimal_script_numbers(height):
    push = push_height(height)
    assert push[0] == len(push) - 1
    assert int.from_bytes(push[1:], "little", signed=True) == height
    assert push[-1] != 0 or push[-2] & 0x80


@pytest.mark.parametrize("height", [0, -1, 2**31])
def test_no_heights(height):
    with pytest.raises(ValueError, match="height"):
        push_height(height)


def test_shape_vectors(vectors):
    cases = vectors("coinbase")["cases"]
    assert len(cases) == 4
    for case in cases:
        prefix = bytes.fromhex(case["prefix"])
        paid = tuple(Output(value, bytes.fromhex(script)) for value, script in case["outputs"])
        coinb1, coinb2 = build_coinb1(case["version"], prefix), build_coinb2(paid)
        assert (coinb1.hex(), coinb2.hex()) == (case["coinb1"], case["coinb2"])
        shape = check_shape(coinb1, coinb2, case["height"])
        assert (shape.prefix, shape.outputs, shape.value_sat) == (prefix, paid, case["value_sat"])


def test_invalid_vectors(vectors):
    cases = vectors("coinbase")["invalid"]
    assert len(cases) == 15
    for case in cases:
        with pytest.raises(InvalidPoolEvent):
            check_shape(bytes.fromhex(case["coinb1"]), bytes.fromhex(case["coinb2"]), case["height"])


def test_every_bit_of_the_shape_counts(log):
    """Of coinb1 only the version and the content of pushes may differ."""
    coinb1, coinb2, height = log.job.coinb1, log.job.coinb2, log.job.height
    tag = range(coinb1.index(b"/noncestr/"), coinb1.index(b"/noncestr/") + 10)
    for at in range(4, len(coinb1)):
        if at in tag:
            continue
        for bit in range(8):
            flipped = bytearray(coinb1)
            flipped[at] ^= 1 << bit
            with pytest.raises(InvalidPoolEvent):
                check_shape(bytes(flipped), coinb2, height)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=4), outputs)
def test_there_and_back(pushes, paid):
    prefix = push_height(840_000) + b"".join(map(push_data, pushes))
    coinb2 = build_coinb2(paid, sequence=5, locktime=7)
    assert parse_outputs(coinb2) == paid
    if len(prefix) > MAX_PREFIX:
        with pytest.raises(InvalidPoolEvent):
            build_coinb1(2, prefix)
        return
    coinb1 = build_coinb1(2, prefix)
    assert coinb1[41] == len(prefix) + 45 <= 100
    assert check_shape(coinb1, coinb2, 840_000) == (prefix, paid)
    for trailing in (coinb2 + b"\0", coinb2[:-1]):
        with pytest.raises(InvalidPoolEvent):
            parse_outputs(trailing)


@given(st.binary(max_size=160), st.binary(max_size=200), st.integers(-1, 2**32))
def test_nothing_else_is_raised(coinb1, coinb2, height):
    with pytest.raises(InvalidPoolEvent):
        check_shape(coinb1, coinb2, height)


@given(st.binary(max_size=60))
def test_prefixes_are_pushes(prefix):
    """A prefix is refused, or a walk over pushes ends where the closing push begins."""
    try:
        coinb1 = build_coinb1(2, prefix)
    except InvalidPoolEvent:
        return
    at = 42
    while at < len(coinb1) - 1:
        opcode = coinb1[at]
        assert opcode <= 0x4C or opcode == 0x4F or 0x51 <= opcode <= 0x60
        at += 2 + coinb1[at + 1] if opcode == 0x4C else 1 + opcode if opcode < 0x4C else 1
    assert at == len(coinb1) - 1
    assert coinb1[at] == 0x2C


def test_the_one_two_and_four_byte_lengths():
    assert [compact_size(n).hex() for n in (0, 252, 253, 65535, 65536, 2**32 - 1, 2**32)] == [
        "00", "fc", "fdfd00", "fdffff", "fe00000100", "feffffffff", "ff0000000001000000",
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"x" * 76])
def test_direct_pushes(data):
    with pytest.raises(ValueError, match="1 to 75"):
        push_data(data)
    assert push_data(b"ab") == b"\x02ab"


def test_no_more_than_all_bitcoin():
    most = build_coinb2((Output(MAX_MONEY_SAT, b""),))
    assert parse_outputs(most)[0].value == MAX_MONEY_SAT
    for paid in ((Output(MAX_MONEY_SAT + 1, b""),), (Output(MAX_MONEY_SAT, b""), Output(1, b""))):
        with pytest.raises(InvalidPoolEvent):
            parse_outputs(build_coinb2(paid))
