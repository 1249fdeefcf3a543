"""Payouts of the embedded mode: the zapper with a fake Lightning node, and the wallet its miners have there."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from accounting.service import Accounting
from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from noncestr.addresses import Bound
from noncestr.clock import WallClock
from noncestr.config import Config
from noncestr.feed import BridgeFeed
from noncestr.joints import OwedByAccounting, ReceiptsToRelays
from noncestr.running import running
from relay_bridge.service import RelayBridge
from zapper.adapters.demo_lightning import DemoLightning
from zapper.adapters.fake_backend import open_fake_lightning
from zapper.adapters.http_client import HttpLimits, open_http_client
from zapper.adapters.intent_store import open_intent_store
from zapper.config import ZapperConfig
from zapper.lightning_rails import LnurlRail
from zapper.plan import PlanLimits
from zapper.service import Zapper


@asynccontextmanager
async def demo_payouts(
    *,
    config: Config,
    data: Path,
    signer: SecretKey,
    wallet_key: SecretKey,
    pool: PoolAddress,
    lightning: Bound,
    relays: tuple[str, ...],
    bridge: RelayBridge,
    accounting: Accounting,
    users: Mapping[str, str],
    clock: WallClock,
) -> AsyncIterator[Zapper]:
    """The zapper, paying until the block is left. `users`: the names at the demo wallet, which has `wallet_key` and
    listens at `lightning`, and their keys.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        node = await enter(open_fake_lightning(data / "demo-lightning.sqlite", network=pool.network))
        wallet = DemoLightning(
            node=node,
            signer=wallet_key,
            publisher=ReceiptsToRelays(bridge),
            network=pool.network,
            users=users,
            host=lightning.host,
            port=lightning.port,
        )
        await enter(running(wallet.run))
        provider = f"{lightning.host}:{lightning.port}"
        rail = LnurlRail(
            node,
            http=await enter(open_http_client(HttpLimits(private_hosts=frozenset({provider})))),
            signer=signer,
            network=pool.network,
            relays=relays,
            now_s=lambda: clock.now_ms() // 1000,
            # The demo wallet speaks plain HTTP on this machine.
            allow_http_loopback=True,
        )
        zapper = Zapper(
            ZapperConfig(
                pool=pool,
                pool_name=config.pool.name,
                relays=relays,
                payout_interval_s=config.payouts.interval_seconds,
                limits=PlanLimits(minimum_msat=config.terms.minimum_payout_sat * 1000),
                concurrency=config.payouts.concurrency,
            ),
            signer=signer,
            owed=OwedByAccounting(accounting),
            store=await enter(open_intent_store(data / "payouts.sqlite")),
            rails={"zap": rail, "lnurl": rail},
            feed=BridgeFeed(bridge),
            clock=clock.now_ms,
        )
        await enter(running(zapper.run))
        yield zapper
