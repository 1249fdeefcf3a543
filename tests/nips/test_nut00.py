"""Proofs, points of secrets, and mints' URLs."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.nut00 import (
    InvalidMintUrl,
    InvalidProof,
    Proof,
    hash_to_curve,
    is_unit,
    normal_mint_url,
    parse_proof,
    parse_proofs,
    proof_y,
    total,
)

Vectors = Callable[[str], Any]
GOOD: dict[str, Any] = {"id": "00" * 8, "amount": 8, "secret": "s", "C": "02" + "ab" * 32}


def test_the_nuts_points(vectors: Vectors) -> None:
    cases = vectors("nut")["hash_to_curve"]
    assert len(cases) == 3
    for message, point in cases:
        assert hash_to_curve(bytes.fromhex(message)).format().hex() == point


def test_a_proof_is_read_and_written(vectors: Vectors) -> None:
    value = vectors("nut")["dleq"]["proof"]
    proof = parse_proof(value)
    assert msgspec.to_builtins(proof) == value
    assert msgspec.to_builtins(parse_proof(GOOD)) == GOOD
    assert parse_proof({**GOOD, "witness": "", "p2pk_e": "x"}) == Proof("00" * 8, 8, "s", "02" + "ab" * 32)
    assert parse_proof({**GOOD, "witness": "{}"}).witness == "{}"
    assert proof_y(proof) == hash_to_curve(proof.secret.encode()).format().hex()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": "00" * 7},
        {"id": "zz" * 8},
        {"amount": 0},
        {"amount": -1},
        {"amount": True},
        {"amount": 1.0},
        {"amount": "1"},
        {"amount": 2**64},
        {"secret": ""},
        {"secret": 5},
        {"secret": "x" * 1025},
        {"C": "04" + "ab" * 64},
        {"C": "ab" * 32},
        {"C": None},
        {"dleq": "x"},
        {"dleq": {"e": "00" * 32, "s": "00" * 32}},
        {"dleq": {"e": "00" * 32, "s": "00" * 32, "r": "00" * 31}},
    ],
)
def test_what_is_no_proof(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidProof):
        parse_proof({**GOOD, **changes})


def test_lists_of_proofs() -> None:
    proofs = parse_proofs([GOOD, {**GOOD, "secret": "t", "amount": 4}])
    assert total(proofs) == 12
    for wrong in ([], {}, "x", [5], [GOOD, GOOD], [{**GOOD, "secret": str(n)} for n in range(65)]):
        with pytest.raises(InvalidProof):
            parse_proofs(wrong)


def test_units() -> None:
    assert all(is_unit(text) for text in ("sat", "usd", "ehash", "msat"))
    assert not any(is_unit(text) for text in ("", "SAT", "x" * 17, "a b", "é"))


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://mint.example", "https://mint.example"),
        (" HTTPS://Mint.Example:443// ", "https://mint.example"),
        ("https://mint.example/Bitcoin/", "https://mint.example/Bitcoin"),
        ("http://127.0.0.1:3338", "http://127.0.0.1:3338"),
        ("http://[::1]:80/", "http://[::1]"),
    ],
)
def test_mints_have_one_form(text: str, normal: str) -> None:
    assert normal_mint_url(text) == normal
    assert normal_mint_url(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mint.example",
        "wss://mint.example",
        "https://",
        "https://a b",
        "https://u@mint.example",
        "https://mint.example?x=y",
        "https://mint.example#x",
        "https://mint.example:0",
        "https://mint.example:x",
        "https://mint.example/" + "x" * 255,
        "https://minté.example",
    ],
)
def test_what_is_no_mint(text: str) -> None:
    with pytest.raises(InvalidMintUrl):
        normal_mint_url(text)


@given(st.text(max_size=99) | st.text("htps://:.@[]ab1/?#%", max_size=30).map(lambda end: "https://" + end))
def test_a_normal_url_is_normal(text: str) -> None:
    try:
        normal = normal_mint_url(text)
    except InvalidMintUrl:
        return
    assert normal_mint_url(normal) == normal
