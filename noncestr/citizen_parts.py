"""From a pool's parts to its citizen: who it is, what it reads, where it speaks."""

from collections.abc import Callable
from pathlib import Path

from accounting.service import Accounting
from noncestr.citizen import Citizen
from noncestr.citizen_books import AccountingBooks
from noncestr.citizen_ports import Clock, Identity, Test
from noncestr.feed import BridgeFeed
from noncestr.joints import ChainHeights
from noncestr.presence import Presence
from noncestr.promises import Keys
from noncestr.social_config import SocialConfig
from relay_bridge.service import RelayBridge
from stratum_edge.ports import TemplateSource
from zapper.config import ZapperStatus


def make_citizen(
    config: SocialConfig,
    data: Path,
    *,
    presence: Presence,
    keys: Keys,
    bridge: RelayBridge,
    accounting: Accounting,
    chain: TemplateSource,
    zapper: Callable[[], ZapperStatus],
    clock: Clock,
    test: Test | None = None,
) -> Citizen:
    """The citizen of a pool whose parts run in one process. `test`: what a miner's word test does."""
    who = Identity(
        key=keys.pool,
        secret=keys.pool_at_hand,
        name=presence.name,
        pool=presence.pool,
        own=frozenset({*presence.names.values(), keys.wallet.pubkey}),
        stratum_url=presence.stratum,
        # A page that only this machine can open is no link for people.
        web=presence.web if presence.domain else None,
        relay=presence.relays[0],
    )
    feed = BridgeFeed(bridge)
    books = AccountingBooks(
        accounting,
        keys.accounting.pubkey,
        feed,
        ChainHeights(chain),
        lambda miner: zapper().why_unpaid.get(miner, ""),
    )
    return Citizen(who, config, books, feed, clock, data, test)
