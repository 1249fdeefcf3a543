"""Tokens as text: the NUT's examples, our own there and back, and garbage."""

import base64
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.nut00 import Dleq, Proof
from nips.nut00_token import CashuToken, InvalidToken, decode_token, encode_token

# NUT-00's examples of versions 3 and 4.
VERSION_3 = (
    "cashuAeyJ0b2tlbiI6W3sibWludCI6Imh0dHBzOi8vODMzMy5zcGFjZTozMzM4IiwicHJvb2ZzIjpbeyJhbW91bnQiOjIsImlkIjoiMDA5YTFmMjkzMjUz"
    "ZTQxZSIsInNlY3JldCI6IjQwNzkxNWJjMjEyYmU2MWE3N2UzZTZkMmFlYjRjNzI3OTgwYmRhNTFjZDA2YTZhZmMyOWUyODYxNzY4YTc4MzciLCJDIjoi"
    "MDJiYzkwOTc5OTdkODFhZmIyY2M3MzQ2YjVlNDM0NWE5MzQ2YmQyYTUwNmViNzk1ODU5OGE3MmYwY2Y4NTE2M2VhIn0seyJhbW91bnQiOjgsImlkIjoi"
    "MDA5YTFmMjkzMjUzZTQxZSIsInNlY3JldCI6ImZlMTUxMDkzMTRlNjFkNzc1NmIwZjhlZTBmMjNhNjI0YWNhYTNmNGUwNDJmNjE0MzNjNzI4YzcwNTdi"
    "OTMxYmUiLCJDIjoiMDI5ZThlNTA1MGI4OTBhN2Q2YzA5NjhkYjE2YmMxZDVkNWZhMDQwZWExZGUyODRmNmVjNjlkNjEyOTlmNjcxMDU5In1dfV0sInVu"
    "aXQiOiJzYXQiLCJtZW1vIjoiVGhhbmsgeW91LiJ9"
)
VERSION_4 = (
    "cashuBpGF0gaJhaUgArSaMTR9YJmFwgaNhYQFhc3hAOWE2ZGJiODQ3YmQyMzJiYTc2ZGIwZGYxOTcyMTZiMjlkM2I4Y2MxNDU1M2NkMjc4MjdmYzFjYzk0"
    "MmZlZGI0ZWFjWCEDhhhUP_trhpXfStS6vN6So0qWvc2X3O4NfM-Y1HISZ5JhZGlUaGFuayB5b3VhbXVodHRwOi8vbG9jYWxob3N0OjMzMzhhdWNzYXQ="
)


def test_the_nuts_examples() -> None:
    third = decode_token(VERSION_3)
    assert (third.mint, third.unit, third.memo) == ("https://8333.space:3338", "sat", "Thank you.")
    assert [proof.amount for proof in third.proofs] == [2, 8]
    fourth = decode_token(f"cashu:{VERSION_4}")
    assert (fourth.mint, fourth.unit, fourth.memo) == ("http://localhost:3338", "sat", "Thank you")
    assert [(proof.id, proof.amount) for proof in fourth.proofs] == [("00ad268c4d1f5826", 1)]


HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
PROOFS = st.builds(
    Proof,
    id=st.sampled_from(["00" + "ab" * 7, "01" + "cd" * 32]),
    amount=st.sampled_from([2**n for n in range(40)]),
    secret=st.text(min_size=1, max_size=50),
    C=HEX.map(lambda x: "02" + x),
    dleq=st.none() | st.builds(Dleq, HEX, HEX, HEX),
    witness=st.none() | st.text(min_size=1, max_size=20),
)


@given(
    st.lists(PROOFS, min_size=1, max_size=10, unique_by=lambda proof: proof.secret), st.none() | st.text(max_size=20)
)
def test_there_and_back(proofs: list[Proof], memo: str | None) -> None:
    token = CashuToken("https://m.example", "sat", tuple(sorted(proofs, key=lambda proof: proof.id)), memo)
    back = decode_token(encode_token(token))
    assert sorted(back.proofs, key=lambda proof: proof.secret) == sorted(proofs, key=lambda proof: proof.secret)
    assert (back.mint, back.unit, back.memo) == (token.mint, token.unit, memo)


def text_of(value: Any) -> str:
    return "cashuB" + base64.urlsafe_b64encode(cbor2.dumps(value)).decode()


ROW = {"a": 1, "s": "x", "c": bytes.fromhex("02" + "ab" * 32)}


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"m": "https://m.example", "u": "sat", "t": []},
        {"m": "https://m.example", "u": "sat", "t": [{"i": "text", "p": [ROW]}]},
        {"m": "https://m.example", "u": "sat", "t": [{"i": b"\0" * 8, "p": [{**ROW, "c": "text"}]}]},
        {"m": "https://m.example", "u": "sat", "t": [{"i": b"\0" * 8, "p": [{**ROW, "d": 1}]}]},
        {"m": "https://m.example", "u": "sat", "t": [{"i": b"\0" * 8, "p": [ROW, ROW]}]},
        {"m": "https://m.example", "u": "sat", "t": [{"i": b"\0" * 8, "p": ["x"]}]},
        {"m": "ftp://m.example", "u": "sat", "t": [{"i": b"\0" * 8, "p": [ROW]}]},
        {"m": "https://m.example", "u": 1, "t": [{"i": b"\0" * 8, "p": [ROW]}]},
    ],
)
def test_tokens_out_of_form(value: Any) -> None:
    with pytest.raises(InvalidToken):
        decode_token(text_of(value))


@given(
    st.text(max_size=100) | st.binary(max_size=200).map(lambda raw: "cashuB" + base64.urlsafe_b64encode(raw).decode())
)
def test_garbage_is_refused_by_one_error(text: str) -> None:
    for each in (text, "cashuA" + text, "cashuB" + text):
        with pytest.raises(InvalidToken):
            decode_token(each)
