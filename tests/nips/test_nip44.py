"""NIP-44 version 2: the NIP's vectors, nostr-sdk both ways, and what an altered payload comes to."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidKey
from nips.keys import SecretKey
from nips.nip44 import (
    MAX_PLAINTEXT,
    Cipher,
    InvalidPayload,
    KeyCipher,
    conversation_key,
    decrypt,
    encrypt,
    message_keys,
    padded_length,
)

OURS, THEIRS = SecretKey(b"\x01" * 32), SecretKey(b"\x02" * 32)
SHARED = conversation_key(OURS, THEIRS.pubkey)
NONCE = bytes(range(32))
Vectors = Callable[[str], Any]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_vectors_are_whole(vectors: Vectors) -> None:
    found = vectors("nip44")
    assert {name: len(cases) for name, cases in found["valid"].items()} == {
        "get_conversation_key": 35,
        "get_message_keys": 2,
        "calc_padded_len": 24,
        "encrypt_decrypt": 10,
        "encrypt_decrypt_long_msg": 3,
    }
    assert len(found["valid"]["get_message_keys"]["keys"]) == 32
    assert {name: len(cases) for name, cases in found["invalid"].items()} == {
        "encrypt_msg_lengths": 4,
        "get_conversation_key": 8,
        "decrypt": 12,
    }


def test_the_keys_are_the_nips(vectors: Vectors) -> None:
    valid = vectors("nip44")["valid"]
    for case in valid["get_conversation_key"]:
        assert conversation_key(SecretKey.from_hex(case["sec1"]), case["pub2"]).hex() == case["conversation_key"]
    shared = bytes.fromhex(valid["get_message_keys"]["conversation_key"])
    for case in valid["get_message_keys"]["keys"]:
        keys = message_keys(shared, bytes.fromhex(case["nonce"]))
        assert keys.chacha_key.hex() == case["chacha_key"]
        assert keys.chacha_nonce.hex() == case["chacha_nonce"]
        assert keys.hmac_key.hex() == case["hmac_key"]


def test_the_padding_is_the_nips(vectors: Vectors) -> None:
    for length, padded in vectors("nip44")["valid"]["calc_padded_len"]:
        assert padded_length(length) == padded
    assert padded_length(1) == 32


def test_the_payloads_are_the_nips(vectors: Vectors) -> None:
    for case in vectors("nip44")["valid"]["encrypt_decrypt"]:
        one, other = (SecretKey.from_hex(case[name]) for name in ("sec1", "sec2"))
        assert conversation_key(one, other.pubkey).hex() == case["conversation_key"]
        payload = KeyCipher(one).encrypt(other.pubkey, case["plaintext"], bytes.fromhex(case["nonce"]))
        assert payload == case["payload"]
        assert KeyCipher(other).decrypt(one.pubkey, payload) == case["plaintext"]


def test_long_payloads_are_the_nips(vectors: Vectors) -> None:
    found = vectors("nip44")
    extended = found["extended"]
    cases = [
        *((case, case["pattern"] * case["repeat"]) for case in found["valid"]["encrypt_decrypt_long_msg"]),
        (extended, "a" * extended["length"]),
    ]
    for case, text in cases:
        shared = bytes.fromhex(case["conversation_key"])
        payload = encrypt(shared, text, bytes.fromhex(case["nonce"]))
        assert (digest(text), digest(payload)) == (case["plaintext_sha256"], case["payload_sha256"])
        assert decrypt(shared, payload) == text


def test_what_the_nip_calls_invalid(vectors: Vectors) -> None:
    invalid = vectors("nip44")["invalid"]
    for length in invalid["encrypt_msg_lengths"]:
        with pytest.raises(ValueError, match="1 to 65535 bytes"):
            encrypt(SHARED, "x" * length, NONCE)
    for case in invalid["get_conversation_key"]:
        with pytest.raises(InvalidKey):
            conversation_key(SecretKey.from_hex(case["sec1"]), case["pub2"])
    words = {
        "unknown encryption version": "version",
        "unknown encryption version 0": "version 0",
        "invalid base64": "base64",
        "invalid MAC": "altered",
        "invalid padding": "padding",
        "invalid payload length": "characters",
    }
    for case in invalid["decrypt"]:
        word = words[case["note"].partition(":")[0]]
        with pytest.raises(InvalidPayload, match=word):
            decrypt(bytes.fromhex(case["conversation_key"]), case["payload"])


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400)


@given(texts, st.binary(min_size=32, max_size=32))
def test_what_is_encrypted_is_decrypted(text: str, nonce: bytes) -> None:
    ours: Cipher = KeyCipher(OURS)
    payload = ours.encrypt(THEIRS.pubkey, text, nonce)
    assert KeyCipher(THEIRS).decrypt(OURS.pubkey, payload) == text
    assert ours.decrypt(THEIRS.pubkey, payload) == text
    assert ours.pubkey == OURS.pubkey


@given(texts)
def test_nostr_sdk_reads_ours_and_we_read_nostr_sdks(text: str) -> None:
    secret = nostr_sdk.SecretKey.parse(THEIRS.secret_bytes().hex())
    public = nostr_sdk.PublicKey.parse(OURS.pubkey)
    assert nostr_sdk.nip44_decrypt(secret, public, encrypt(SHARED, text, NONCE)) == text
    assert decrypt(SHARED, nostr_sdk.nip44_encrypt(secret, public, text, nostr_sdk.Nip44Version.V2)) == text


def test_every_flipped_character_is_noticed() -> None:
    payload = encrypt(SHARED, "5 sat for you", NONCE)
    for place, char in enumerate(payload):
        changed = payload[:place] + ("A" if char != "A" else "B") + payload[place + 1 :]
        with pytest.raises(InvalidPayload):
            decrypt(SHARED, changed)


@pytest.mark.parametrize(
    "change", [lambda p: p + "=", lambda p: p[:-4], lambda p: p + "\n", lambda p: " " + p, lambda p: "é" + p]
)
def test_a_payload_is_nothing_but_base64(change: Callable[[str], str]) -> None:
    with pytest.raises(InvalidPayload):
        decrypt(SHARED, change(encrypt(SHARED, "5 sat for you", NONCE)))


def test_another_key_reads_nothing() -> None:
    payload = encrypt(SHARED, "5 sat for you", NONCE)
    with pytest.raises(InvalidPayload, match="not for these keys"):
        KeyCipher(SecretKey(b"\x03" * 32)).decrypt(OURS.pubkey, payload)


def test_a_huge_payload_is_not_decoded() -> None:
    assert len(encrypt(SHARED, "x" * MAX_PLAINTEXT, NONCE)) == 87_472
    with pytest.raises(InvalidPayload, match="87472 characters"):
        decrypt(SHARED, "A" * 10**6)


def test_keys_and_nonces_have_their_length() -> None:
    for shared, nonce in ((SHARED[1:], NONCE), (SHARED, NONCE[1:])):
        with pytest.raises(ValueError, match="32 bytes"):
            encrypt(shared, "x", nonce)


def test_no_secret_shows() -> None:
    assert OURS.secret_bytes().hex() not in repr(KeyCipher(OURS))


@given(st.text() | st.binary(min_size=99, max_size=300).map(lambda data: base64.b64encode(b"\x02" + data).decode()))
def test_no_text_is_a_payload_by_accident(text: str) -> None:
    with pytest.raises(InvalidPayload):
        decrypt(SHARED, text)
