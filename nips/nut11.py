"""Cashu, NUT-11: ecash locked to a public key (P2PK), with a time after which a refund key may take it back."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from nips.errors import NipError
from nips.keys import SecretKey
from nips.nut00 import MAX_SECRET

_POINT = re.compile(r"0[23][0-9a-f]{64}")
_HEX64 = re.compile(r"[0-9a-f]{64}")
# Unix seconds up to the year 5138.
_SECONDS = re.compile(r"[0-9]{1,11}")


class InvalidLock(NipError):
    """A secret is no P2PK lock, or one that its receiver could not open alone."""


@dataclass(frozen=True, slots=True)
class Lock:
    """Who may spend: `pubkey` (33 bytes in hex), and from `locktime` (Unix seconds) on any of `refund` too.

    With a locktime and no refund key, anybody may from then on.
    """

    pubkey: str
    locktime: int | None = None
    refund: tuple[str, ...] = ()


def build_secret(lock: Lock, nonce: str) -> str:
    """The secret of a proof under that lock. `nonce`: 64 fresh random hex digits."""
    points = (lock.pubkey, *lock.refund)
    if not all(_POINT.fullmatch(point) for point in points) or not _HEX64.fullmatch(nonce):
        raise ValueError("a lock has compressed public keys in hex, a secret a nonce of 64 hex digits")
    if (lock.locktime is None) != (not lock.refund):
        raise ValueError("a lock has a locktime and refund keys, or neither")
    tags: list[list[str]] = []
    if lock.locktime is not None:
        tags += [["locktime", str(lock.locktime)], ["refund", *lock.refund]]
    # The default, said for wallets that expect the tag.
    tags.append(["sigflag", "SIG_INPUTS"])
    secret = ["P2PK", {"nonce": nonce, "data": lock.pubkey, "tags": tags}]
    return msgspec.json.encode(secret).decode()


def _tags(value: object) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for tag in value if isinstance(value, list) else []:
        # Some wallets write numbers where the NUT has texts of digits.
        if not isinstance(tag, list) or len(tag) < 2 or not all(type(item) in (str, int) for item in tag):
            raise InvalidLock("a tag of a lock has a name and values")
        name = str(tag[0])
        # "Each of the above tags may appear exactly ONCE in a P2PK secret."
        if name in found:
            raise InvalidLock(f"the lock has two {name} tags")
        found[name] = [str(item) for item in tag[1:]]
    return found


def parse_secret(secret: str) -> Lock:
    """The lock of a proof's secret, if the one key can open it: no multisig, no SIG_ALL. Raises InvalidLock."""
    try:
        value = msgspec.json.decode(secret) if len(secret) <= MAX_SECRET else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    if not isinstance(value, list) or len(value) != 2 or value[0] != "P2PK" or not isinstance(value[1], dict):
        raise InvalidLock("this secret is not locked to a key")
    pubkey = value[1].get("data")
    if not isinstance(pubkey, str) or not _POINT.fullmatch(pubkey):
        raise InvalidLock("a lock names a compressed public key in hex")
    tags = _tags(value[1].get("tags"))
    if tags.get("sigflag", ["SIG_INPUTS"]) != ["SIG_INPUTS"]:
        raise InvalidLock("the lock asks for a signature over all outputs")
    for name in ("n_sigs", "n_sigs_refund"):
        if tags.get(name, ["1"]) != ["1"]:
            raise InvalidLock("the lock asks for more than one signature")
    if "pubkeys" in tags:
        raise InvalidLock("the lock lets other keys spend too")
    refund = tags.get("refund", [])
    if not all(_POINT.fullmatch(point) for point in refund):
        raise InvalidLock("the refund keys of a lock are compressed public keys in hex")
    locktime = tags.get("locktime")
    if locktime is not None and (len(locktime) != 1 or not _SECONDS.fullmatch(locktime[0])):
        raise InvalidLock("the locktime of a lock is a number of seconds")
    return Lock(pubkey, None if locktime is None else int(locktime[0]), tuple(refund))


def sign_input(secret: str, key: SecretKey) -> str:
    """The witness that spends a locked proof: a BIP-340 signature over the secret's SHA-256 (SIG_INPUTS)."""
    signature = key.sign_digest(hashlib.sha256(secret.encode()).digest()).hex()
    return msgspec.json.encode({"signatures": [signature]}).decode()
