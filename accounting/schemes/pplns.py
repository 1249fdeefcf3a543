"""pplns: pay the last N shares, N a multiple of a block's work (SPEC.md, "Splits").

Invariants: a full window holds W work, neither more nor less, a short one all there is; what an npub's work earns does
not change when another npub did part of it, nor with the order in which batches are read; a share is worth the same
whenever it comes, as long as the window fills and W is a multiple of a block's work. A window that its greatest age
keeps short shares a block among less work: a share is worth a little more before the pool grows, less before it
shrinks.
"""

from collections.abc import Iterable

from accounting.selection import Counted, Placed, count_newest
from nips.pool.targets import work_from_bits
from nips.pool.terms import Offer

# window_milli counts thousandths of a block's work.
MILLI = 1000


def window_work(offer: Offer, nbits: int) -> int:
    """W = max(floor(window_milli * work(nbits) / 1000), window_min_work); `nbits` the block's."""
    return max(offer.window_milli * work_from_bits(nbits) // MILLI, offer.window_min_work)


def oldest_ms(offer: Offer, end_ms: int) -> int:
    """The oldest time a share of the window may have: window_max_ms bounds its age, 0 does not."""
    return max(0, end_ms - offer.window_max_ms) if offer.window_max_ms else 0


def count(offer: Offer, nbits: int, end_ms: int, shares: Iterable[Placed]) -> Counted:
    """The work each miner has in the window; `shares` newest first."""
    return count_newest(shares, window_work(offer, nbits), end_ms)
