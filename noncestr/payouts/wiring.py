"""The payouts of a pool: its wallets as rails, the zapper that uses them, and what an operator asks of it."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from accounting.service import Accounting
from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from noncestr.addresses import Bound
from noncestr.books.treasury import WalletFunds
from noncestr.clock import WallClock
from noncestr.config.chain import REGTEST
from noncestr.config.mint import MINT
from noncestr.config.payouts import WALLETS
from noncestr.config.sections import Config
from noncestr.demo.payouts import demo_wallet
from noncestr.errors import ConfigError
from noncestr.feed import BridgeFeed
from noncestr.joints import OwedByAccounting
from noncestr.payouts.backends import open_backend
from noncestr.payouts.chain import open_onchain
from noncestr.payouts.desk import PayoutDesk
from noncestr.payouts.ecash import Ecash
from noncestr.payouts.ecash_desk import EcashDesk
from noncestr.payouts.policy import payout_limits
from noncestr.payouts.psbt_desk import PsbtDesk
from noncestr.running import running
from relay_bridge.service import RelayBridge
from zapper.adapters.http_client import HttpLimits, open_http_client
from zapper.adapters.intent_store import SqliteIntentStore, open_intent_store
from zapper.adapters.mint_backend import MintBackend
from zapper.adapters.relay_reader import RelayReader
from zapper.config import ZapperConfig
from zapper.lightning_rails import InvoiceRail, LnurlRail
from zapper.ports import LightningBackend
from zapper.rails import Rail
from zapper.service import Zapper
from zapper.signing import Signing

log = logging.getLogger("noncestr.payouts")

# The intent store's name in the data folder.
STORE = "payouts.sqlite"


def has_lightning(config: Config, network: str) -> bool:
    """Whether there is a Lightning wallet: on a real network only one that the configuration names."""
    return config.payouts.backend in (*WALLETS, MINT) or (config.payouts.backend == "demo" and network == REGTEST)


def pays(config: Config, network: str) -> bool:
    """Whether anybody is paid: over Lightning, on chain or in ecash, each by itself too."""
    return has_lightning(config, network) or bool(config.payouts.onchain_wallet or config.mint.urls)


@dataclass(frozen=True, slots=True)
class Payouts:
    """The zapper at work, its memory, and the wallets it pays from, as places of the pool's money."""

    zapper: Zapper
    store: SqliteIntentStore
    signing: Signing
    funds: tuple[WalletFunds, ...] = ()
    ecash: EcashDesk | None = None

    def desk(self, now_ms: Callable[[], int]) -> PayoutDesk:
        """Where an operator asks about them."""
        return PayoutDesk(self.store, now_ms, self.zapper, ecash=self.ecash)

    def psbts(self) -> PsbtDesk:
        """Where an operator signs."""
        return PsbtDesk(self.signing, self.zapper)


@asynccontextmanager
async def open_payouts(
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
    ecash: Ecash,
) -> AsyncIterator[Payouts]:
    """The zapper, paying until the block is left. `users`: the names at the demo wallet, which has `wallet_key` and
    listens at `lightning`, and their keys; `ecash`: the treasury's rails.

    Raises ConfigError and KeyFileError for a wallet that only the operator can mend, StoreInUse.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        # First of all, so that two zappers never run on one store.
        store = await enter(open_intent_store(data / STORE))
        near: frozenset[str] = frozenset(config.payouts.private_hosts)
        backend: LightningBackend | None = None
        if not has_lightning(config, pool.network):
            log.info("no Lightning wallet is configured: miners are paid by the other ways alone")
        elif config.payouts.backend == "demo":
            wallet = demo_wallet(
                data, wallet_key=wallet_key, pool=pool, lightning=lightning, bridge=bridge, users=users
            )
            backend = await enter(wallet)
            near |= {f"{lightning.host}:{lightning.port}"}
        elif config.payouts.backend == MINT:
            if not ecash.treasuries:
                raise ConfigError(("[payouts] backend = 'mint' needs [mint] urls: the first one pays",))
            backend = MintBackend(ecash.treasuries[0])
        else:
            backend = await enter(open_backend(config.payouts, data))
        feed = BridgeFeed(bridge)
        rails = dict(ecash.rails)
        if backend is not None:
            rails |= await _lightning(
                stack, backend, signer, pool.network, relays, clock, near, config.payouts.tor_proxy
            )
        wallet_rpc, release = None, None
        if config.payouts.onchain_wallet:
            by_operator = config.payouts.sign == "operator"
            rail, wallet_rpc = await enter(
                open_onchain(config.node, config.payouts.onchain_wallet, store.chain, by_operator=by_operator)
            )
            rails["onchain"], release = rail, rail.release
        signing = Signing(
            store, store.chain, clock=clock.now_ms, one_at_a_time=anyio.Lock(), wallet=wallet_rpc, release=release
        )
        zapper = Zapper(
            ZapperConfig(
                pool=pool,
                pool_name=config.pool.name,
                relays=relays,
                schedule=config.payouts.schedule,
                payout_interval_s=config.payouts.interval_seconds,
                limits=payout_limits(config),
                concurrency=config.payouts.concurrency,
                methods=config.payouts.methods,
            ),
            signer=signer,
            owed=OwedByAccounting(accounting),
            store=store,
            rails=rails,
            feed=feed,
            miners_relays=RelayReader(),
            clock=clock.now_ms,
        )
        await enter(running(zapper.run))
        places = places_of(config.payouts.backend, backend, ecash)
        yield Payouts(zapper, store, signing, places, EcashDesk(data, clock.now_ms, ecash))


def places_of(name: str, backend: LightningBackend | None, ecash: Ecash) -> tuple[WalletFunds, ...]:
    """What the payouts spend, each wallet once. `name`: [payouts] backend."""
    held = [WalletFunds("ecash", MintBackend(treasury).balance_msat) for treasury in ecash.treasuries]
    if backend is not None and name != MINT:
        # With `mint` the backend spends the ecash of the first treasury, which is counted already.
        held.insert(0, WalletFunds("lightning" if name == "demo" else name, backend.balance_msat))
    return tuple(held)


async def _lightning(
    stack: AsyncExitStack,
    backend: LightningBackend,
    signer: SecretKey,
    network: str,
    relays: tuple[str, ...],
    clock: WallClock,
    near: frozenset[str],
    tor_proxy: str,
) -> dict[str, Rail]:
    """What a Lightning wallet can: zaps, plain LNURL payments and miners' invoices. `near`: LNURL servers of this
    machine or network that may be asked, over plain HTTP too.
    """
    http = await stack.enter_async_context(open_http_client(HttpLimits(private_hosts=near, tor_proxy=tor_proxy)))

    def now_s() -> int:
        return clock.now_ms() // 1000

    def lnurl(*, zaps: bool) -> LnurlRail:
        return LnurlRail(
            backend,
            http=http,
            signer=signer,
            network=network,
            relays=relays,
            now_s=now_s,
            zaps=zaps,
            allow_http_loopback=bool(near),
        )

    invoices = InvoiceRail(backend, network=network, now_s=now_s)
    return {"zap": lnurl(zaps=True), "lnurl": lnurl(zaps=False), "bolt11": invoices}
