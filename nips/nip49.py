"""NIP-49: secret keys under a password (`ncryptsec1...`): scrypt, then XChaCha20-Poly1305.

XChaCha20 is ChaCha20 (RFC 8439) with a longer nonce, by draft-irtf-cfrg-xchacha; `cryptography` has only the former.
"""

import enum
import hashlib
import struct
import unicodedata

import bech32
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from nips.errors import InvalidKey, NipError
from nips.keys import SecretKey

PREFIX = "ncryptsec"
VERSION = 2
SALT_SIZE = 16
NONCE_SIZE = 24
# 64 MiB and some 0.2 s: a small server has that at hand when it starts.
DEFAULT_LOG_N = 16
# 1 GiB. OpenSSL takes less than 2 GiB, and a text must not make us allocate more than a server has.
MAX_LOG_N = 20
_SIZE = 91
# 91 bytes are 146 characters of bech32, with prefix, separator and checksum 162.
MAX_LENGTH = 162
_BLOCK = 8
_CONSTANTS = b"expand 32-byte k"


class InvalidEncryptedKey(NipError):
    """A text is no ncryptsec, or its password is another. Neither is ever quoted."""


class Security(enum.IntEnum):
    """How the key was handled before it was encrypted."""

    INSECURE = 0
    SECURE = 1
    UNKNOWN = 2


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """The subkey (32 bytes) of a key and the first 16 bytes of a nonce.

    It is ChaCha20's state after the rounds, before its first state is added: so that is taken off again.
    """
    block = Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(bytes(64))
    mixed = struct.unpack("<16I", block)
    first = (*struct.unpack("<4I", _CONSTANTS), *struct.unpack("<4I", nonce))
    ends = (*mixed[:4], *mixed[12:])
    return struct.pack("<8I", *((after - before) % 2**32 for after, before in zip(ends, first, strict=True)))


def _xchacha20(key: bytes, nonce: bytes) -> tuple[ChaCha20Poly1305, bytes]:
    """The cipher under the subkey, and the nonce it takes."""
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])), bytes(4) + nonce[16:]


def _derive(password: str, salt: bytes, log_n: int) -> bytes:
    n = 1 << log_n
    return hashlib.scrypt(
        # "unicode normalized to NFKC format to ensure that the password can be entered identically"
        unicodedata.normalize("NFKC", password).encode(),
        salt=salt,
        n=n,
        r=_BLOCK,
        p=1,
        # What scrypt needs, and some for OpenSSL's own.
        maxmem=128 * _BLOCK * (n + 2) + 2**20,
        dklen=32,
    )


def encrypt_key(
    key: SecretKey,
    password: str,
    *,
    salt: bytes,
    nonce: bytes,
    log_n: int = DEFAULT_LOG_N,
    security: Security = Security.UNKNOWN,
) -> str:
    """`ncryptsec1...` of a key. `salt` and `nonce` are 16 and 24 fresh random bytes; takes 2**log_n KiB of memory."""
    if len(salt) != SALT_SIZE or len(nonce) != NONCE_SIZE or not 0 < log_n <= MAX_LOG_N:
        raise ValueError(
            f"a key is encrypted with {SALT_SIZE} bytes of salt, {NONCE_SIZE} of nonce, log_n to {MAX_LOG_N}"
        )
    aad = bytes([security])
    cipher, short = _xchacha20(_derive(password, salt, log_n), nonce)
    data = bytes([VERSION, log_n]) + salt + nonce + aad + cipher.encrypt(short, key.secret_bytes(), aad)
    values = bech32.convertbits(data, 8, 5)
    if values is None:
        raise ValueError("bytes convert to 5-bit groups always")
    return str(bech32.bech32_encode(PREFIX, values))


def decrypt_key(text: str, password: str) -> SecretKey:
    """The key in an `ncryptsec1...`. Raises InvalidEncryptedKey."""
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise InvalidEncryptedKey(f"an ncryptsec has {MAX_LENGTH} characters")
    prefix, values = bech32.bech32_decode(text)
    payload = None if prefix != PREFIX or values is None else bech32.convertbits(values, 5, 8, False)
    if payload is None or len(payload) != _SIZE:
        raise InvalidEncryptedKey("this is no ncryptsec: is it complete and typed right?")
    data = bytes(payload)
    log_n, salt, nonce, aad = data[1], data[2:18], data[18:42], data[42:43]
    if data[0] != VERSION:
        raise InvalidEncryptedKey(f"this ncryptsec is of version {data[0]}, which is not known here")
    if not 0 < log_n <= MAX_LOG_N:
        raise InvalidEncryptedKey(
            f"this ncryptsec asks for 2^{log_n} rounds of scrypt, at most 2^{MAX_LOG_N} are done here"
        )
    try:
        cipher, short = _xchacha20(_derive(password, salt, log_n), nonce)
        return SecretKey(cipher.decrypt(short, data[43:], aad))
    except InvalidTag:
        raise InvalidEncryptedKey("the password does not open this ncryptsec") from None
    except (InvalidKey, UnicodeEncodeError):
        raise InvalidEncryptedKey("this ncryptsec holds no secret key") from None
