"""Payment requests (NUT-18) as wallets write them."""

import base64
from collections.abc import Sequence
from typing import Any

import cbor2

from nips.nip19 import _encode


def nprofile(pubkey: str, relays: Sequence[str]) -> str:
    """`nprofile1...`: TLV 0 is the key, 1 a relay."""
    rows = [(0, bytes.fromhex(pubkey)), *((1, relay.encode()) for relay in relays)]
    return _encode("nprofile", b"".join(bytes([kind, len(value)]) + value for kind, value in rows))


def encode_request(
    *, nostr: tuple[str, Sequence[str]] | None = None, post: str = "", nips: Sequence[str] = ("17",), **fields: Any
) -> str:
    """A `creqA` with these fields and ways."""
    ways: list[dict[str, Any]] = []
    if nostr is not None:
        ways.append({"t": "nostr", "a": nprofile(*nostr), "g": [["n", *nips]]})
    if post:
        ways.append({"t": "post", "a": post})
    value = {**fields, **({"t": ways} if ways else {})}
    return "creqA" + base64.urlsafe_b64encode(cbor2.dumps(value)).decode().rstrip("=")
