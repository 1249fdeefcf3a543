"""What a client that does not know our kinds shows instead (NIP-31's `alt` tag; SPEC.md, "Kinds")."""

from typing import Final

from nips.nip01 import Tag
from nips.pool import kinds

# Jobs and receipts have none: only log relays get them, and they are nearly all of the log's events, where 40 bytes are
# 6 % of an empty batch. The addressable kinds' builders say more than the kind.
ALTS: Final = {
    kinds.TERMS: "Terms of a mining pool",
    kinds.BLOCK: "Block found by a mining pool",
    kinds.STATEMENT: "Reward statement of a mining pool",
    kinds.STATEMENT_PART: "Part of a statement of a mining pool",
    kinds.STATUS: "Status of a mining pool's reward",
    kinds.PAYOUT: "Payout of a mining pool",
    kinds.ARCHIVE: "Archive of a mining pool's log",
    kinds.SUMMARY: "Hourly summary of a mining pool",
}


def alt_tag(kind: int) -> Tag:
    """The tag of a kind in ALTS."""
    return ("alt", ALTS[kind])
