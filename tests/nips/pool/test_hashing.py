"""Hashes of work, by bitcoin's first header, a real share, and the definitions written out."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.hashing import (
    HEADER_SIZE,
    build_header,
    display,
    from_display,
    hash_value,
    merkle_fold,
    parse_header,
    sha256d,
    tagged_hash,
)

u32 = st.integers(0, 0xFFFFFFFF)
hash32 = st.binary(min_size=32, max_size=32)


def test_merkle_vectors(vectors):
    cases = vectors("merkle")["cases"]
    assert len(cases) == 5
    for case in cases:
        branches = [bytes.fromhex(branch) for branch in case["branches"]]
        assert merkle_fold(bytes.fromhex(case["leaf"]), branches).hex() == case["root"]
    assert cases[0]["leaf"] == cases[0]["root"]


def test_another_order_is_another_root(vectors):
    cases = vectors("merkle")["invalid"]
    assert len(cases) == 1
    for case in cases:
        branches = [bytes.fromhex(branch) for branch in case["branches"]]
        assert merkle_fold(bytes.fromhex(case["leaf"]), branches).hex() != case["root"]


def test_every_bit_of_a_branch_counts(vectors):
    case = vectors("merkle")["cases"][-1]
    leaf, branches = bytes.fromhex(case["leaf"]), [bytes.fromhex(branch) for branch in case["branches"]]
    for at in range(len(branches)):
        for bit in range(256):
            flipped = (int.from_bytes(branches[at], "big") ^ 1 << bit).to_bytes(32, "big")
            assert merkle_fold(leaf, [*branches[:at], flipped, *branches[at + 1 :]]).hex() != case["root"]


def test_header_vectors(vectors):
    cases = vectors("merkle")["headers"]
    assert len(cases) == 3
    for case in cases:
        raw = bytes.fromhex(case["header"])
        version, prevhash, root, ntime, nbits, nonce = parse_header(raw)
        assert (f"{version:08x}", f"{nbits:08x}", ntime, nonce) == tuple(
            case[name] for name in ("version", "nbits", "ntime", "nonce")
        )
        assert (prevhash.hex(), root.hex()) == (case["prevhash"], case["merkle_root"])
        assert build_header(version, prevhash, root, ntime, nbits, nonce) == raw
        assert display(sha256d(raw)) == case["block"]
        assert from_display(case["block"]) == sha256d(raw)
        assert hash_value(sha256d(raw)) == int(case["block"], 16)
    assert cases[0]["block"] == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"


@given(st.tuples(u32, hash32, hash32, u32, u32, u32))
def test_headers_there_and_back(fields):
    raw = build_header(*fields)
    assert len(raw) == HEADER_SIZE
    assert parse_header(raw) == fields


@given(st.text(max_size=20).filter(str.isascii), st.binary(max_size=99))
def test_tagged_hash_is_bip340s(tag, message):
    prefix = hashlib.sha256(tag.encode()).digest()
    assert tagged_hash(tag, message) == hashlib.sha256(prefix * 2 + message).digest()


@pytest.mark.parametrize("data", [b"", b"hello"])
def test_sha256d(data):
    assert sha256d(data) == hashlib.sha256(hashlib.sha256(data).digest()).digest()
    assert sha256d(b"hello").hex() == "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50"
