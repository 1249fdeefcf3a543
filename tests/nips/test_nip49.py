"""NIP-49: the NIP's key, nostr-sdk both ways, XChaCha20's draft, and wrong passwords."""

import bech32
import nostr_sdk
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip49 import InvalidEncryptedKey, Security, decrypt_key, encrypt_key, hchacha20

KEY = SecretKey(b"\x01" * 32)
SALT, NONCE = bytes(range(16)), bytes(range(24))
LOG_N = 4
THE_NIPS = (
    "ncryptsec1qgg9947rlpvqu76pj5ecreduf9jxhselq2nae2kghhvd5g7dgjtcxfqtd67p9m0w57lspw8gsq6yphnm8623nsl8xn9j4jdzz84"
    "zm3frztj3z7s35vpzmqf6ksu8r89qk5z2zxfmu5gv8th8wclt0h4p"
)


def encrypted(password: str = "nostr", *, log_n: int = LOG_N) -> str:
    return encrypt_key(KEY, password, salt=SALT, nonce=NONCE, log_n=log_n)


def test_the_nips_key() -> None:
    found = decrypt_key(THE_NIPS, "nostr")
    assert found.secret_bytes().hex() == "3501454135014541350145413501453fefb02227e449e57cf4d3a3ce05378683"


def test_hchacha20_is_the_drafts() -> None:
    """draft-irtf-cfrg-xchacha-03, 2.2.1."""
    subkey = hchacha20(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927"))
    assert subkey.hex() == "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"


def test_xchacha20_poly1305_is_the_drafts() -> None:
    """draft-irtf-cfrg-xchacha-03, A.3.1."""
    nonce = bytes(range(0x40, 0x58))
    cipher = ChaCha20Poly1305(hchacha20(bytes(range(0x80, 0xA0)), nonce[:16]))
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    sealed = cipher.encrypt(bytes(4) + nonce[16:], text, bytes.fromhex("50515253c0c1c2c3c4c5c6c7"))
    assert sealed[:16].hex() == "bd6d179d3e83d43b9576579493c0e939"
    assert sealed[-16:].hex() == "c0875924c1c7987947deafd8780acf49"


@settings(max_examples=20)
@given(
    st.integers(1, 2**255).map(lambda number: number.to_bytes(32, "big")),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=24, max_size=24),
    st.sampled_from(Security),
)
def test_what_is_locked_is_unlocked(
    secret: bytes, password: str, salt: bytes, nonce: bytes, security: Security
) -> None:
    text = encrypt_key(SecretKey(secret), password, salt=salt, nonce=nonce, log_n=LOG_N, security=security)
    assert len(text) == 162
    assert decrypt_key(text, password).secret_bytes() == secret
    assert decrypt_key(f" {text.upper()}\n", password).secret_bytes() == secret


def test_nostr_sdk_opens_ours() -> None:
    theirs = nostr_sdk.EncryptedSecretKey.from_bech32(encrypted("Passwort: für")).decrypt("Passwort: für")
    assert theirs.to_hex() == KEY.secret_bytes().hex()


def test_we_open_nostr_sdks() -> None:
    secret = nostr_sdk.SecretKey.parse(KEY.secret_bytes().hex())
    text = secret.encrypt("Passwort: für").to_bech32()
    assert decrypt_key(text, "Passwort: für").pubkey == KEY.pubkey


def test_passwords_are_normalised_as_the_nip_shows() -> None:
    typed, normal = "\u212b\u2126\u1e9b\u0323", "\u00c5\u03a9\u1e69"
    assert decrypt_key(encrypted(typed), normal).pubkey == KEY.pubkey
    assert encrypted(typed) == encrypted(normal)


def test_another_password_opens_nothing() -> None:
    for password in ("", "Nostr", "nostr "):
        with pytest.raises(InvalidEncryptedKey, match="password") as caught:
            decrypt_key(encrypted(), password)
        assert "nostr" not in str(caught.value).lower()


def recoded(change: dict[int, int]) -> str:
    _, values = bech32.bech32_decode(encrypted())
    data = bytearray(bech32.convertbits(values, 5, 8, False))
    for place, value in change.items():
        data[place] = value
    return str(bech32.bech32_encode("ncryptsec", bech32.convertbits(data, 8, 5)))


@pytest.mark.parametrize("place", [2, 17, 18, 41, 42, 43, 74, 90])
def test_a_changed_byte_is_noticed(place: int) -> None:
    with pytest.raises(InvalidEncryptedKey):
        decrypt_key(recoded({place: 0xEE}), "nostr")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no ncryptsec"),
        ("nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5", "no ncryptsec"),
        (THE_NIPS[:-1] + "q", "no ncryptsec"),
        (THE_NIPS[:-4], "no ncryptsec"),
        (THE_NIPS + "q", "162"),
        (THE_NIPS.replace("q", "Q", 1), "no ncryptsec"),
        ("x" * 10**6, "162"),
        (recoded({0: 1}), "version 1"),
        (recoded({1: 21}), "rounds"),
        (recoded({1: 63}), "rounds"),
        (recoded({1: 0}), "rounds"),
    ],
)
def test_what_is_no_ncryptsec(text: str, word: str) -> None:
    with pytest.raises(InvalidEncryptedKey, match=word):
        decrypt_key(text, "nostr")


def test_nonces_salts_and_rounds_have_their_size() -> None:
    for salt, nonce, log_n in ((SALT[1:], NONCE, 4), (SALT, NONCE[1:], 4), (SALT, NONCE, 0), (SALT, NONCE, 21)):
        with pytest.raises(ValueError, match="24 of nonce"):
            encrypt_key(KEY, "x", salt=salt, nonce=nonce, log_n=log_n)
