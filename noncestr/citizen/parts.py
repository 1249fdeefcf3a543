"""From a pool's parts to its citizen: who it is, what it reads, where it speaks."""

from collections.abc import Callable
from pathlib import Path

from accounting.service import Accounting
from nips.keys import AsyncSigner
from noncestr.citizen.books import AccountingBooks
from noncestr.citizen.citizen import Citizen
from noncestr.citizen.ports import Clock, Identity, Test
from noncestr.citizen.presence import Presence
from noncestr.config.social import SocialConfig
from noncestr.feed import BridgeFeed
from noncestr.joints import ChainHeights
from noncestr.terms.promises import key_at_hand
from relay_bridge.service import RelayBridge
from stratum_edge.ports import TemplateSource


def who_speaks(presence: Presence, key: AsyncSigner, *more: str) -> Identity:
    """The pool as it speaks. `key`: the pool's; `more`: keys of its own that have no name."""
    return Identity(
        key=key,
        secret=key_at_hand(key),
        name=presence.name,
        pool=presence.pool,
        own=frozenset({*presence.names.values(), *more}),
        stratum_url=presence.stratum,
        # A page that only this machine can open is no link for people.
        web=presence.web if presence.domain else None,
        relay=presence.relays[0],
    )


def make_citizen(
    config: SocialConfig,
    data: Path,
    *,
    who: Identity,
    signer: str,
    bridge: RelayBridge,
    accounting: Accounting,
    chain: TemplateSource,
    why_unpaid: Callable[[str], str],
    clock: Clock,
    test: Test | None = None,
) -> Citizen:
    """The citizen of a pool. `signer`: the accounting's key; `why_unpaid`: by miner, what stands in a payout's way, ""
    where nobody here knows; `test`: what a miner's word test does.
    """
    feed = BridgeFeed(bridge)
    books = AccountingBooks(accounting, signer, feed, ChainHeights(chain), why_unpaid)
    return Citizen(who, config, books, feed, clock, data, test)
