"""bech32 names, judged by the NIP's examples, pynostr and nostr-sdk."""

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynostr.key import PrivateKey

from nips.errors import InvalidKey
from nips.keys import ORDER, SecretKey
from nips.nip19 import (
    decode_nprofile,
    decode_npub,
    decode_nsec,
    encode_note,
    encode_npub,
    encode_nsec,
    parse_pubkey,
)

DECODERS = {"npub": decode_npub, "nsec": decode_nsec, "nprofile": decode_nprofile}
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
secrets = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


def test_vectors(vectors):
    cases = vectors("nip19")["cases"]
    assert len(cases) == 10
    for case in cases:
        match case["prefix"]:
            case "npub":
                assert decode_npub(case["text"]) == case["hex"]
                assert decode_npub(case["text"].upper()) == case["hex"]
                assert encode_npub(case["hex"]) == case["text"]
            case "nsec":
                assert decode_nsec(case["text"]).hex() == case["hex"]
                assert encode_nsec(bytes.fromhex(case["hex"])) == case["text"]
            case "note":
                assert encode_note(case["hex"]) == case["text"]
            case "nprofile":
                assert decode_nprofile(case["text"]) == (case["hex"], tuple(case["relays"]))


def test_invalid_vectors(vectors):
    cases = vectors("nip19")["invalid"]
    assert len(cases) == 10
    for case in cases:
        with pytest.raises(InvalidKey):
            DECODERS[case["prefix"]](case["text"])


def test_every_character_of_an_npub_counts(vectors):
    """bech32 finds any single error."""
    text = vectors("nip19")["cases"][0]["text"]
    for at in range(5, len(text)):
        for other in ALPHABET.replace(text[at], ""):
            with pytest.raises(InvalidKey):
                decode_npub(text[:at] + other + text[at + 1 :])


@given(secrets)
def test_others_agree(secret):
    key, theirs = SecretKey(secret), PrivateKey(secret)
    assert encode_npub(key.pubkey) == theirs.public_key.bech32()
    assert encode_nsec(secret) == theirs.bech32()
    assert encode_npub(key.pubkey) == nostr_sdk.PublicKey.parse(key.pubkey).to_bech32()
    assert decode_npub(encode_npub(key.pubkey)) == key.pubkey
    assert decode_nsec(encode_nsec(secret)) == secret
    assert nostr_sdk.EventId.parse(secret.hex()).to_bech32() == encode_note(secret.hex())


def test_an_nsec_is_told_apart_and_not_repeated(vectors):
    nsec = vectors("nip19")["cases"][1]["text"]
    for read in (decode_npub, parse_pubkey):
        with pytest.raises(InvalidKey, match="secret key") as caught:
            read(nsec)
        assert nsec not in str(caught.value)


def test_parse_pubkey_takes_every_form(vectors):
    npub, _, nprofile = vectors("nip19")["cases"][:3]
    for text in (npub["text"], npub["hex"], npub["hex"].upper(), f" nostr:{npub['text']}\n", npub["text"].upper()):
        assert parse_pubkey(text) == npub["hex"]
    assert parse_pubkey("nostr:" + nprofile["text"]) == nprofile["hex"]


def test_the_kelvin_sign_is_not_a_k():
    """Its lower case is an ASCII k, so it would slip through a comparison of cases."""
    text = next(t for t in (encode_npub(SecretKey(bytes([n]) * 32).pubkey) for n in range(1, 99)) if "k" in t[5:])
    at = text.index("k", 5)
    upper = text.upper()
    assert decode_npub(upper) == decode_npub(text)
    with pytest.raises(InvalidKey):
        decode_npub(upper[:at] + "\u212a" + upper[at + 1 :])


def test_an_nprofile_cut_short(vectors):
    import bech32

    case = vectors("nip19")["cases"][2]
    pubkey = bytes.fromhex(case["hex"])

    def name(payload):
        return bech32.bech32_encode("nprofile", bech32.convertbits(payload, 8, 5))

    assert decode_nprofile(name(b"\0\x20" + pubkey)) == (case["hex"], ())
    # Unknown types are to be ignored (NIP-19).
    assert decode_nprofile(name(b"\x09\x01x\0\x20" + pubkey)) == (case["hex"], ())
    for payload in (
        b"",
        b"\0",
        b"\0\x20" + pubkey[:-1],
        b"\0\x20" + pubkey + b"\1",
        b"\1\x01x",
        b"\0\x1f" + pubkey[:31],
    ):
        with pytest.raises(InvalidKey):
            decode_nprofile(name(payload))


def test_too_long():
    with pytest.raises(InvalidKey, match="5000"):
        decode_npub("npub1" + "q" * 5000)


@given(st.sampled_from(["npub1", "nsec1", "nprofile1", "nostr:npub1", ""]), st.text() | st.text(ALPHABET))
def test_nothing_else_is_raised(prefix, rest):
    for read in (parse_pubkey, *DECODERS.values()):
        with pytest.raises(InvalidKey):
            read(prefix + rest)
