"""What terms say of accounting and zapper keys that they leave out: their chains end at what relays have of them."""

from collections.abc import Collection, Sequence
from typing import Protocol

from nips.errors import InvalidPoolEvent
from nips.nip01 import Filter, VerifiedEvent, make_filter
from nips.pool.address import PoolAddress
from nips.pool.chain import Head, chain_name, link_of
from nips.pool.kinds import LEDGER_KINDS
from nips.pool.terms import EVERY_CHAIN, NEVER


class Feed(Protocol):
    """The relay bridge, as far as this goes."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """Stored events of the relays."""


async def close_signers(feed: Feed, pool: PoolAddress, left_out: Collection[str]) -> dict[str, Head]:
    """Every chain of these keys (hex) closed at its last event, and every other before its first. Whatever process
    signed with them is to be stopped before: what it says after that is void. Raises as `fetch`.
    """
    if not left_out:
        return {}
    ends: dict[str, Head] = {}
    asked = make_filter(authors=sorted(left_out), kinds=LEDGER_KINDS, tags={"a": [str(pool)]})
    for event in await feed.fetch([asked]):
        try:
            chain = chain_name(event)
            if chain is None:
                continue
            name, seq = f"{event.pubkey}/{chain}", link_of(event).seq
        except InvalidPoolEvent:
            continue
        if name not in ends or seq > ends[name].seq:
            ends[name] = Head(seq, event.id)
    return {**dict(sorted(ends.items())), **{f"{key}/{EVERY_CHAIN}": NEVER for key in sorted(left_out)}}
