"""The signature of a mint quote: over the quote and every output as it stands, and nothing else passes for it."""

import hashlib

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nut03 import Output, make_output
from nips.nut20 import sign_quote

KEY = SecretKey(b"\x07" * 32)
QUOTE = "9d745270-1405-46de-b5c5-e2762b4f5e00"


def outputs(count: int) -> list[Output]:
    return [make_output("00" * 8, 1 << n, f"secret {n}", bytes([n + 1]) * 32) for n in range(count)]


def holds(signature: str, quote: str, signed: list[Output], key: SecretKey = KEY) -> bool:
    digest = hashlib.sha256((quote + "".join(output.blinded() for output in signed)).encode()).digest()
    return coincurve.PublicKeyXOnly(bytes.fromhex(key.pubkey)).verify(bytes.fromhex(signature), digest)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_it_is_of_the_quotes_text_and_all_outputs(count: int) -> None:
    signature = sign_quote(QUOTE, outputs(count), KEY)
    assert len(signature) == 128
    assert holds(signature, QUOTE, outputs(count))


def test_any_other_quote_order_output_or_key_is_refused() -> None:
    signed = outputs(3)
    signature = sign_quote(QUOTE, iter(signed), KEY)
    assert holds(signature, QUOTE, signed)
    assert not holds(signature, QUOTE.upper(), signed)
    assert not holds(signature, QUOTE, signed[::-1])
    assert not holds(signature, QUOTE, signed[:2])
    assert not holds(signature, QUOTE, [*signed, signed[0]])
    assert not holds(signature, QUOTE, signed, SecretKey(b"\x08" * 32))


@given(st.text(max_size=60), st.integers(0, 511))
def test_a_flipped_bit_is_seen(quote: str, bit: int) -> None:
    signature = bytearray.fromhex(sign_quote(quote, outputs(1), KEY))
    assert holds(signature.hex(), quote, outputs(1))
    signature[bit // 8] ^= 1 << bit % 8
    assert not holds(signature.hex(), quote, outputs(1))
