"""The kind 1 note that tells people of a block."""

from typing import Final

from nips.nip01 import UnsignedEvent
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.hashing import display, hash_value
from nips.pool.targets import DIFFICULTY_1_TARGET
from stratum_edge.journal import FoundBlock

NOTE: Final = 1
_UNITS: Final = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def difficulty_text(target: int) -> str:
    """A difficulty for people: three or four digits with a unit, small ones as they are."""
    for unit, letter in _UNITS:
        tenths = DIFFICULTY_1_TARGET * 10 // (target * unit)
        if tenths >= 10:
            return f"{tenths // 10}.{tenths % 10}{letter}"
    return f"{DIFFICULTY_1_TARGET / target:.4g}"


def block_note(pool: PoolAddress, block: FoundBlock) -> UnsignedEvent:
    """The note of a block in the chain: height, finder, hash, difficulty and luck. Dated at the share, so that the
    same block always gives the same note.
    """
    npub = encode_npub(block.miner)
    best = difficulty_text(max(hash_value(block.hash), 1))
    needed = difficulty_text(int(block.mark, 16))
    lines = [
        f"Block {block.height} found by nostr:{npub} ⛏",
        display(block.hash),
        f"difficulty {best} where {needed} was needed",
    ]
    if block.effort_percent is not None:
        lines.append(f"the pool did {block.effort_percent} % of the work expected for it")
    tags = (pool.tag(), ("p", block.miner), ("t", "bitcoin"))
    return UnsignedEvent(NOTE, block.found_ms // 1000, tags, "\n".join(lines))
