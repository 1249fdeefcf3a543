"""What a whole pool says to people: notices to its miners, and the citizen's notes, status and answers."""

from contextlib import AsyncExitStack
from pathlib import Path

from accounting.service import Accounting
from noncestr.books.settings_follower import SettingsFollower
from noncestr.citizen.parts import make_citizen, who_speaks
from noncestr.citizen.presence import Presence
from noncestr.clock import WallClock
from noncestr.config.sections import Config
from noncestr.joints import ChainHeights
from noncestr.notices.parts import make_notifier
from noncestr.notices.texts import Speaker
from noncestr.payouts.paying import Paying
from noncestr.running import running
from noncestr.terms.promises import Keys
from relay_bridge.service import RelayBridge
from stratum_edge.ports import TemplateSource


async def start_speaking(
    stack: AsyncExitStack,
    config: Config,
    data: Path,
    *,
    presence: Presence,
    keys: Keys,
    relays: tuple[str, ...],
    bridge: RelayBridge,
    accounting: Accounting,
    chain: TemplateSource,
    settings: SettingsFollower,
    paying: Paying,
    clock: WallClock,
) -> None:
    """Speak until the stack closes. Raises NoncestrError for a bad file of the mail service."""
    notifier = await make_notifier(
        stack,
        config,
        data,
        speaker=Speaker(presence.name, presence.pool, presence.relays[0]),
        # The zapper's profile names the pool: a message from it is no stranger's.
        voice=keys.pool_at_hand or keys.zapper,
        reader=keys.zapper,
        signer=keys.accounting.pubkey,
        relays=(*relays, *presence.relays),
        bridge=bridge,
        accounting=accounting,
        chain=ChainHeights(chain),
        settings=settings,
        payees=paying,
        heartbeat_s=config.terms.heartbeat_seconds,
        clock=clock,
    )
    await stack.enter_async_context(running(notifier.run))
    citizen = make_citizen(
        config.social,
        data,
        who=who_speaks(presence, keys.pool, keys.wallet.pubkey),
        signer=keys.accounting.pubkey,
        bridge=bridge,
        accounting=accounting,
        chain=chain,
        why_unpaid=lambda miner: paying.status().why_unpaid.get(miner, ""),
        clock=clock,
        test=notifier.test,
    )
    await stack.enter_async_context(running(citizen.run))
