"""Events as the store keeps them: JSON as NIP-01 writes it, a long one deflated.

A full receipt, 60 KB of base64, comes to half of that; a replay that goes by what is kept of batches inflates none.
"""

import zlib

import msgspec

from nips.nip01 import Event, VerifiedEvent, encode_event

# What is shorter gains a third at most, and is read as it is with SQL: payouts, statuses, small statements.
DEFLATE_FROM = 1024
# The highest levels save a twentieth more for three and sixteen times the work (0.7 ms a full receipt at this one).
LEVEL = 1
# The first byte of what is deflated; JSON begins with a brace.
_DEFLATED = b"z"


def pack_event(event: Event) -> bytes:
    """An event for the store."""
    raw = encode_event(event)
    return raw if len(raw) < DEFLATE_FROM else _DEFLATED + zlib.compress(raw, LEVEL)


def unpack_raw(kept: bytes) -> bytes:
    """The event's JSON out of what `pack_event` wrote. Raises ValueError for what is damaged."""
    if kept[:1] != _DEFLATED:
        return kept
    try:
        return zlib.decompress(kept[1:])
    except zlib.error as error:
        raise ValueError(f"a kept event is damaged: {error}") from None


def unpack_event(kept: bytes) -> VerifiedEvent:
    """What `pack_event` was given: its signature was checked before it was put there. Raises ValueError,
    msgspec.MsgspecError for what is damaged.
    """
    return msgspec.json.decode(unpack_raw(kept), type=VerifiedEvent)
