"""Payment requests: the NUT's example, and what we do not promise."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nut00 import Proof
from nips.nut18 import InvalidPaymentRequest, Transport, decode_request, payload
from tests.nips.requests import encode_request

KEY = SecretKey(b"\x09" * 32)
# The example of the NUT's text: an id, an amount, a mint and a way by nostr.
EXAMPLE = (
    "creqApWF0gaNhdGVub3N0cmFheKlucHJvZmlsZTFxeTI4d3VtbjhnaGo3dW45ZDNzaGp0bnl2OWtoMnVld2Q5aHN6OW1od2RlbjV0ZTB3ZmprY2N0ZTlj"
    "dXJ4dmVuOWVlaHFjdHJ2NWhzenJ0aHdkZW41dGUwZGVoaHh0bnZkYWtxcWd5ZGFxeTdjdXJrNDM5eWtwdGt5c3Y3dWRoZGh1NjhzdWNtMjk1YWtxZWZk"
    "ZWhrZjBkNDk1Y3d1bmw1YWeBgmFuYjE3YWloYjdhOTAxNzZhYQphdWNzYXRhbYF4Imh0dHBzOi8vbm9mZWVzLnRlc3RudXQuY2FzaHUuc3BhY2U="
)


def test_the_nuts_example() -> None:
    request = decode_request(EXAMPLE)
    assert (request.id, request.amount, request.unit) == ("b7a90176", 10, "sat")
    assert request.mints == ("https://nofees.testnut.cashu.space",)
    assert [way.kind for way in request.transports] == ["nostr"]
    assert len(request.transports[0].relays) == 3
    assert request.lock is None


def test_ways_and_locks() -> None:
    text = encode_request(
        i="x",
        a=5,
        u="sat",
        d="for coffee",
        nostr=(KEY.pubkey, ["wss://a.example"]),
        post="https://b.example/pay",
        nut10={"k": "P2PK", "d": "02" + KEY.pubkey, "t": [["sigflag", "SIG_INPUTS"]]},
    )
    request = decode_request(f" {text}\n")
    assert request.transports == (
        Transport("nostr", KEY.pubkey, ("wss://a.example",)),
        Transport("post", "https://b.example/pay"),
    )
    assert (request.lock, request.description) == ("02" + KEY.pubkey, "for coffee")
    # Who reads other kinds of message only can't be sent one.
    assert not decode_request(encode_request(nostr=(KEY.pubkey, []), nips=("4",))).transports


@pytest.mark.parametrize(
    "fields",
    [
        {"a": 0, "u": "sat"},
        {"a": "5", "u": "sat"},
        {"a": 5},
        {"u": 5},
        {"m": "https://x.example"},
        {"m": ["ftp://x.example"]},
        {"m": ["https://x.example"] * 51},
        {"t": "post"},
        {"t": [{"t": "post", "a": "x"}] * 11},
        {"nut10": {"k": "HTLC", "d": "00"}},
        {"nut10": {"k": "P2PK", "d": "00"}},
        {"nut10": {"k": "P2PK", "d": "02" + KEY.pubkey, "t": [["n_sigs", "2"]]}},
    ],
)
def test_requests_that_are_none(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidPaymentRequest):
        decode_request(encode_request(**fields))


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: "creqA" + raw.hex()))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidPaymentRequest):
        decode_request(text + "!")


def test_the_payload_is_the_nuts() -> None:
    proof = Proof("00" * 8, 4, "s", "02" + KEY.pubkey)
    value = json.loads(payload("x", mint="https://m.example", unit="sat", proofs=(proof,), memo="hi"))
    assert value == {
        "id": "x",
        "memo": "hi",
        "mint": "https://m.example",
        "unit": "sat",
        "proofs": [{"id": "00" * 8, "amount": 4, "secret": "s", "C": "02" + KEY.pubkey}],
    }
    assert "id" not in json.loads(payload(None, mint="https://m.example", unit="sat", proofs=(proof,), memo=""))
