"""NIP-44, version 2: texts encrypted from one key to another. Nonces come from outside: 32 fresh random bytes each.

"MUST be used in the context of a signed event": the payload alone does not say who made it.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher as _Stream
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from nips.errors import NipError
from nips.keys import SecretKey

VERSION = 2
NONCE_SIZE = 32
_MAC_SIZE = 32
# The NIP has a second length prefix from 65,536 bytes on. Relays take events of about that size whole, so that such
# a text never arrives; and nobody makes us decrypt gigabytes.
MAX_PLAINTEXT = 65_535
# Version, nonce, length, MAC and 32 to 65,536 padded bytes, in base64.
_MIN_DATA, _MAX_DATA = 99, 65_603
_MIN_PAYLOAD, _MAX_PAYLOAD = 132, 87_472


class InvalidPayload(NipError):
    """A payload can not be decrypted: not of NIP-44's form, of another version, altered, or for other keys."""


class Cipher(Protocol):
    """Whoever reads and writes payloads as one key: a key in memory (KeyCipher) or a remote signer (NIP-46)."""

    @property
    def pubkey(self) -> str:
        """The x-only public key, 64 lowercase hex digits."""

    def encrypt(self, pubkey: str, plaintext: str, nonce: bytes) -> str:
        """A payload for `pubkey`. A remote signer takes a nonce of its own."""

    def decrypt(self, pubkey: str, payload: str) -> str:
        """The text of a payload that `pubkey` made for us, or we for it. Raises InvalidPayload."""


@dataclass(frozen=True, slots=True)
class MessageKeys:
    """What one nonce makes of a conversation key."""

    chacha_key: bytes
    chacha_nonce: bytes
    hmac_key: bytes


def conversation_key(key: SecretKey, pubkey: str) -> bytes:
    """The 32 bytes two keys share for all their payloads: a secret. Raises InvalidKey for no public key."""
    # hkdf_extract(IKM=shared_x, salt="nip44-v2") is an HMAC with the salt as its key (RFC 5869).
    return hmac.digest(b"nip44-v2", key.shared_x(pubkey), "sha256")


def message_keys(shared: bytes, nonce: bytes) -> MessageKeys:
    """hkdf_expand(conversation key, info=nonce, 76 bytes), cut in three."""
    if len(shared) != 32 or len(nonce) != NONCE_SIZE:
        raise ValueError("a conversation key has 32 bytes, and so has a nonce")
    stream = block = b""
    for count in (1, 2, 3):
        block = hmac.digest(shared, block + nonce + bytes([count]), "sha256")
        stream += block
    return MessageKeys(stream[:32], stream[32:44], stream[44:76])


def padded_length(length: int) -> int:
    """How many bytes a text of `length` (1 or more) is padded to."""
    if length <= 32:
        return 32
    power = 1 << (length - 1).bit_length()
    chunk = 32 if power <= 256 else power // 8
    return chunk * ((length - 1) // chunk + 1)


def _chacha20(keys: MessageKeys, data: bytes) -> bytes:
    # `cryptography` wants the block counter, little-endian and 0 at first, before the nonce of 12 bytes.
    stream = _Stream(ChaCha20(keys.chacha_key, bytes(4) + keys.chacha_nonce), mode=None)
    return stream.encryptor().update(data)


def _mac(keys: MessageKeys, nonce: bytes, ciphertext: bytes) -> bytes:
    return hmac.digest(keys.hmac_key, nonce + ciphertext, hashlib.sha256)


def encrypt(shared: bytes, plaintext: str, nonce: bytes) -> str:
    """The payload, in base64. `nonce`: 32 random bytes, never used again. Raises ValueError for no or a long text."""
    text = plaintext.encode()
    if not 1 <= len(text) <= MAX_PLAINTEXT:
        raise ValueError(f"a text to encrypt has 1 to {MAX_PLAINTEXT} bytes, not {len(text)}")
    keys = message_keys(shared, nonce)
    padded = len(text).to_bytes(2, "big") + text + bytes(padded_length(len(text)) - len(text))
    ciphertext = _chacha20(keys, padded)
    return base64.b64encode(bytes([VERSION]) + nonce + ciphertext + _mac(keys, nonce, ciphertext)).decode()


def _decode(payload: str) -> bytes:
    # "instead of throwing `base64 is invalid`, implementations MUST indicate that the encryption version is not yet
    # supported"
    if payload.startswith("#"):
        raise InvalidPayload("the payload is of a version of NIP-44 that is not known here")
    if not _MIN_PAYLOAD <= len(payload) <= _MAX_PAYLOAD:
        raise InvalidPayload(f"a payload has {_MIN_PAYLOAD} to {_MAX_PAYLOAD} characters, not {len(payload)}")
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    # The decoder lets surplus padding pass.
    if base64.b64encode(data).decode() != payload:
        raise InvalidPayload("the payload is not base64")
    if data[0] != VERSION:
        raise InvalidPayload(f"the payload is of version {data[0]} of NIP-44, which is not known here")
    if not _MIN_DATA <= len(data) <= _MAX_DATA:
        raise InvalidPayload(f"a payload has {_MIN_DATA} to {_MAX_DATA} bytes, not {len(data)}")
    return data


def decrypt(shared: bytes, payload: str) -> str:
    """The text under a payload. Raises InvalidPayload."""
    data = _decode(payload)
    nonce, ciphertext, mac = data[1:33], data[33:-_MAC_SIZE], data[-_MAC_SIZE:]
    keys = message_keys(shared, nonce)
    if not hmac.compare_digest(mac, _mac(keys, nonce, ciphertext)):
        raise InvalidPayload("the payload was altered, or is not for these keys")
    padded = _chacha20(keys, ciphertext)
    length = int.from_bytes(padded[:2], "big")
    text, padding = padded[2 : 2 + length], padded[2 + length :]
    if not length or len(padded) != 2 + padded_length(length) or any(padding):
        raise InvalidPayload("the padding of the payload is wrong")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise InvalidPayload("the payload holds no text") from None


class KeyCipher:
    """A Cipher with a key in memory."""

    __slots__ = ("_key",)

    def __init__(self, key: SecretKey) -> None:
        self._key = key

    @property
    def pubkey(self) -> str:
        """The key's public key in hex."""
        return self._key.pubkey

    def encrypt(self, pubkey: str, plaintext: str, nonce: bytes) -> str:
        """Raises InvalidKey for no public key; ValueError for no text or a long one."""
        return encrypt(conversation_key(self._key, pubkey), plaintext, nonce)

    def decrypt(self, pubkey: str, payload: str) -> str:
        """Raises InvalidKey, InvalidPayload."""
        return decrypt(conversation_key(self._key, pubkey), payload)
