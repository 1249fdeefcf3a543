"""BIP-340 keys as Nostr uses them: 32-byte x-only public keys, written in lowercase hex."""

import re
from typing import Any, Protocol

import secp256k1

from nips.errors import InvalidKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, event_id

_HEX64 = re.compile(r"[0-9a-f]{64}")
# The order of secp256k1's group (SEC 2): secret keys lie in 1 .. ORDER - 1.
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Signer(Protocol):
    """Whoever can sign events for one public key: a file key here, a remote signer (NIP-46) elsewhere."""

    @property
    def pubkey(self) -> str:
        """The x-only public key, 64 lowercase hex digits."""

    def sign(self, unsigned: UnsignedEvent) -> VerifiedEvent:
        """The signed event; its author is this signer's key."""


class AsyncSigner(Protocol):
    """Whoever can sign events for one public key and may take its time: a key at hand, or a remote signer (NIP-46)."""

    @property
    def pubkey(self) -> str:
        """The x-only public key, 64 lowercase hex digits."""

    async def sign(self, unsigned: UnsignedEvent) -> VerifiedEvent:
        """The signed event; its author is this signer's key. Raises an Exception when the signer does not answer, or
        does not want to."""


class AtHand:
    """A key at hand where one may be elsewhere. `key` is what signs."""

    __slots__ = ("key",)

    def __init__(self, key: Signer) -> None:
        self.key = key

    @property
    def pubkey(self) -> str:
        """The x-only public key, 64 lowercase hex digits."""
        return self.key.pubkey

    async def sign(self, unsigned: UnsignedEvent) -> VerifiedEvent:
        """The signed event, at once."""
        return self.key.sign(unsigned)


def _copy_x(output: Any, x: Any, _y: Any, _data: Any) -> int:
    secp256k1.ffi.memmove(output, x, 32)
    return 1


# libsecp256k1 hashes what ECDH gives unless told otherwise; NIP-44 wants the bare x.
_BARE_X = secp256k1.ffi.callback("int(unsigned char *, const unsigned char *, const unsigned char *, void *)", _copy_x)


class SecretKey:
    """A secret key held in memory. Its repr never shows it."""

    __slots__ = ("_key", "pubkey")

    def __init__(self, secret: bytes) -> None:
        """`secret`: 32 bytes, big-endian, within the group's order.

        Raises InvalidKey.
        """
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < ORDER:
            raise InvalidKey("a secret key is 32 bytes, not zero and below the group's order")
        self._key = secp256k1.PrivateKey(secret, raw=True)
        self.pubkey: str = self._key.pubkey.serialize(compressed=True)[1:].hex()

    @classmethod
    def from_hex(cls, text: str) -> "SecretKey":
        """Raises InvalidKey."""
        if not _HEX64.fullmatch(text):
            raise InvalidKey("a secret key is 64 lowercase hex digits")
        return cls(bytes.fromhex(text))

    def __repr__(self) -> str:
        return f"SecretKey(pubkey={self.pubkey})"

    def secret_bytes(self) -> bytes:
        """The 32 secret bytes: only for writing the key file."""
        return bytes(self._key.private_key)

    def shared_x(self, pubkey: str) -> bytes:
        """ECDH, in constant time: the 32-byte x of this key times the point of `pubkey` (hex), not hashed. A secret of
        both keys' holders. Raises InvalidKey.
        """
        point = _lift_x(pubkey)
        if point is None:
            raise InvalidKey("this is not a public key: no point on the curve")
        return bytes(point.ecdh(self._key.private_key, _BARE_X))

    def sign_digest(self, digest: bytes) -> bytes:
        """The 64-byte BIP-340 signature of a 32-byte digest."""
        if len(digest) != 32:
            raise ValueError(f"a digest has 32 bytes, not {len(digest)}")
        return bytes(self._key.schnorr_sign(digest, None, raw=True))

    def sign(self, unsigned: UnsignedEvent) -> VerifiedEvent:
        """Sign an event as this key (NIP-01)."""
        tags = tuple(tuple(tag) for tag in unsigned.tags)
        hashed = event_id(self.pubkey, unsigned.created_at, unsigned.kind, tags, unsigned.content)
        return VerifiedEvent(
            id=hashed.hex(),
            pubkey=self.pubkey,
            created_at=unsigned.created_at,
            kind=unsigned.kind,
            tags=tags,
            content=unsigned.content,
            sig=self.sign_digest(hashed).hex(),
        )


def _lift_x(pubkey: str) -> Any | None:
    """The point with an even y to an x in hex (BIP-340 lift_x), None if there is none."""
    if not _HEX64.fullmatch(pubkey):
        return None
    try:
        return secp256k1.PublicKey(b"\x02" + bytes.fromhex(pubkey), raw=True)
    except Exception:  # secp256k1 0.14 raises bare Exception("invalid public key")
        return None


def is_valid_xonly(pubkey: str) -> bool:
    """Whether 64 lowercase hex digits are the x of a point on the curve."""
    return _lift_x(pubkey) is not None
