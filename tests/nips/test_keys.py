"""Secret keys and x-only public keys."""

import hashlib

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynostr.key import PrivateKey

from nips.errors import InvalidKey
from nips.keys import ORDER, SecretKey, is_valid_xonly
from nips.nip01 import UnsignedEvent, verify

secrets = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


@given(secrets)
def test_pynostr_agrees_on_the_public_key(secret):
    key = SecretKey(secret)
    assert key.pubkey == PrivateKey(secret).public_key.hex()
    assert key.secret_bytes() == secret
    assert SecretKey.from_hex(secret.hex()).pubkey == key.pubkey
    assert is_valid_xonly(key.pubkey)


def test_signatures_are_deterministic_and_hold():
    key = SecretKey(hashlib.sha256(b"noncestr test key 0").digest())
    unsigned = UnsignedEvent(4211, 7, (("a", "b"),), "x")
    event = key.sign(unsigned)
    assert verify(event) is event
    assert key.sign(unsigned).sig == event.sig
    assert event.pubkey == key.pubkey


@pytest.mark.parametrize(
    "secret", [b"", bytes(32), bytes(31) + b"", b"\1" * 33, ORDER.to_bytes(32, "big"), b"\xff" * 32]
)
def test_not_a_secret_key(secret):
    with pytest.raises(InvalidKey):
        SecretKey(secret)


@pytest.mark.parametrize("text", ["", "0" * 63, "AB" * 32, "0x" + "0" * 62, "1" * 64 + "\n", "é" * 64])
def test_not_a_secret_key_in_hex(text):
    with pytest.raises(InvalidKey):
        SecretKey.from_hex(text)


def test_the_secret_does_not_show():
    secret = hashlib.sha256(b"noncestr test key 1").digest()
    key = SecretKey(secret)
    assert secret.hex() not in repr(key)
    assert secret.hex() not in str(key)
    with pytest.raises(InvalidKey) as caught:
        SecretKey.from_hex(secret.hex().upper())
    assert secret.hex() not in str(caught.value).lower()


def test_a_digest_has_32_bytes():
    with pytest.raises(ValueError, match="32 bytes"):
        SecretKey(b"\1" * 32).sign_digest(b"short")


@pytest.mark.parametrize("index", [5, 14])
def test_points_off_the_curve(vectors, index):
    """BIP-340's vectors 5 (no such point) and 14 (beyond the field)."""
    assert not is_valid_xonly(vectors("nip01")["bip340"][index]["pubkey"])


@given(secrets, secrets)
def test_two_keys_share_an_x(ours, theirs):
    """The same from both sides, and what coincurve gives for the product; the sign of y plays no part."""
    left, right = SecretKey(ours), SecretKey(theirs)
    shared = left.shared_x(right.pubkey)
    assert shared == right.shared_x(left.pubkey)
    point = coincurve.PublicKey(b"\x03" + bytes.fromhex(right.pubkey)).multiply(ours)
    assert shared == point.format(compressed=True)[1:]


@pytest.mark.parametrize("pubkey", ["", "00" * 32, "ff" * 32, "0" * 63, "AB" * 32])
def test_nothing_is_shared_with_no_key(pubkey):
    with pytest.raises(InvalidKey, match="no point"):
        SecretKey(b"\1" * 32).shared_x(pubkey)


@given(st.text())
def test_no_text_is_a_key_by_accident(text):
    assert not is_valid_xonly(text)
