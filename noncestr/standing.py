"""Where the log's events stand in their chains, in the words of the relay bridge, which knows nothing else of them."""

from collections.abc import Callable

from nips.errors import InvalidPoolEvent
from nips.nip01 import Event
from nips.pool import kinds
from nips.pool.address import PoolAddress
from nips.pool.chain import chain_name, link_of
from relay_bridge.chains import ChainOf, Place

# The kinds that share a chain (SPEC.md, "Kinds").
CHAINS = (
    frozenset({kinds.TERMS}),
    frozenset({kinds.RECEIPT}),
    frozenset({kinds.STATEMENT, kinds.STATEMENT_PART, kinds.STATUS, kinds.ARCHIVE, kinds.SUMMARY}),
    frozenset({kinds.PAYOUT}),
)
_KINDS_OF = {kind: together for together in CHAINS for kind in together}


def chains_of(pool: PoolAddress, keys: Callable[[], frozenset[str]]) -> ChainOf:
    """The place of an event of this pool that one of its `keys` has signed; None of any other, and of one whose tags
    are wrong: strangers and broken events leave no gaps."""

    def place(event: Event) -> Place | None:
        together = _KINDS_OF.get(event.kind)
        if together is None or event.pubkey not in keys() or str(pool) not in event.tag_values("a"):
            return None
        try:
            link = link_of(event)
            return Place(f"{event.pubkey}/{chain_name(event)}", link.seq, link.prev, together)
        except InvalidPoolEvent:
            return None

    return place
