"""NIP-19: bech32 names of keys and events (npub, nsec, note, nprofile)."""

import bech32

from nips.errors import InvalidKey
from nips.keys import is_valid_xonly

# NIP-19 advises to refuse longer texts; bech32's own limit of 90 does not hold for TLV names.
MAX_LENGTH = 5000


def _decode(text: str, prefix: str) -> bytes:
    """The bytes under a bech32 (not bech32m) name with that prefix. Raises InvalidKey."""
    if len(text) > MAX_LENGTH:
        raise InvalidKey(f"a {prefix} has at most {MAX_LENGTH} characters")
    # The Kelvin sign is upper case and its lower case is k: without the first test it would pass for one.
    if not text.isascii() or (text.lower() != text and text.upper() != text):
        raise InvalidKey(f"a {prefix} is ASCII and does not mix upper and lower case")
    text = text.lower()
    found, separator, data = text.rpartition("1")
    if not separator or found != prefix:
        raise InvalidKey(f"this does not start with {prefix}1")
    values = [bech32.CHARSET.find(char) for char in data]
    if len(values) < 6 or -1 in values:
        raise InvalidKey(f"this {prefix} has a character that bech32 does not use, or is too short")
    if not bech32.bech32_verify_checksum(prefix, values):
        raise InvalidKey(f"the checksum of this {prefix} does not match: is it complete and typed right?")
    payload = bech32.convertbits(values[:-6], 5, 8, False)
    if payload is None:
        raise InvalidKey(f"the padding of this {prefix} is wrong")
    return bytes(payload)


def _encode(prefix: str, payload: bytes) -> str:
    values = bech32.convertbits(payload, 8, 5)
    if values is None:
        raise ValueError("bytes convert to 5-bit groups always")
    return str(bech32.bech32_encode(prefix, values))


def decode_npub(text: str) -> str:
    """The public key, 64 lowercase hex digits, of an `npub1...`. Raises InvalidKey, and for an nsec says so."""
    if text.lower().startswith("nsec1"):
        raise InvalidKey("this is an nsec, a secret key: keep it to yourself and use the npub")
    payload = _decode(text, "npub")
    if len(payload) != 32:
        raise InvalidKey(f"an npub holds 32 bytes, this one {len(payload)}")
    if not is_valid_xonly(payload.hex()):
        raise InvalidKey("this npub is not a point on the curve: no one has its secret key")
    return payload.hex()


def encode_npub(pubkey: str) -> str:
    """`npub1...` of a public key in hex."""
    return _encode("npub", bytes.fromhex(pubkey))


def decode_nsec(text: str) -> bytes:
    """The 32 secret bytes of an `nsec1...`. Raises InvalidKey, never quoting the text."""
    payload = _decode(text, "nsec")
    if len(payload) != 32:
        raise InvalidKey("an nsec holds 32 bytes")
    return payload


def encode_nsec(secret: bytes) -> str:
    """`nsec1...` of 32 secret bytes."""
    return _encode("nsec", secret)


def encode_note(event_id: str) -> str:
    """`note1...` of an event id in hex."""
    return _encode("note", bytes.fromhex(event_id))


def decode_nprofile(text: str) -> tuple[str, tuple[str, ...]]:
    """The public key (hex) and the relays of an `nprofile1...`. Raises InvalidKey."""
    payload = _decode(text, "nprofile")
    pubkey = ""
    relays: list[str] = []
    at = 0
    while at < len(payload):
        if at + 2 > len(payload):
            raise InvalidKey("this nprofile is cut short")
        kind, size = payload[at], payload[at + 1]
        value = payload[at + 2 : at + 2 + size]
        if len(value) != size:
            raise InvalidKey("this nprofile is cut short")
        if kind == 0 and not pubkey:
            pubkey = value.hex()
        elif kind == 1:
            relays.append(value.decode("ascii", "replace"))
        at += 2 + size
    if not is_valid_xonly(pubkey):
        raise InvalidKey("this nprofile holds no valid public key")
    return pubkey, tuple(relays)


def parse_pubkey(text: str) -> str:
    """A public key in hex from an npub, an nprofile or 64 hex digits. Raises InvalidKey with advice."""
    text = text.strip()
    if text.lower().startswith("nostr:"):
        text = text[6:]
    if text.lower().startswith("nprofile1"):
        return decode_nprofile(text)[0]
    if len(text) == 64 and is_valid_xonly(text.lower()):
        return text.lower()
    return decode_npub(text)
