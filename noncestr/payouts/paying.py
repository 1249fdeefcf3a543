"""What a whole pool pays with: zapper, wallets, mint, and on regtest the demo miners' own wallets."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from accounting.service import Accounting
from nips.pool.address import PoolAddress
from noncestr.books.treasury import WalletFunds
from noncestr.clock import WallClock
from noncestr.config.sections import Config
from noncestr.demo.miners import DemoMiners
from noncestr.demo.wallets import DemoWallets
from noncestr.feed import BridgeFeed
from noncestr.keys.files import load_or_create
from noncestr.payouts.desk import PayoutDesk, served
from noncestr.payouts.ecash import ecash_payouts
from noncestr.payouts.psbt_desk import PsbtDesk, psbt_services
from noncestr.payouts.wiring import Payouts, open_payouts, pays
from noncestr.places import ANYWHERE, Places
from noncestr.terms.promises import Keys
from relay_bridge.service import RelayBridge
from zapper.config import ZapperStatus
from zapper.ports import Payee
from zapper.said import Move


class Paying:
    """The payouts of one pool, once started and if anything pays; without them nobody is paid and nothing fails."""

    def __init__(
        self,
        config: Config,
        data: Path,
        *,
        keys: Keys,
        pool: PoolAddress,
        places: Places,
        relays: tuple[str, ...],
        clock: WallClock,
    ) -> None:
        self.is_on = pays(config, pool.network)
        # Where the demo's own mint is, if there is one.
        self.mint_url = ""
        self._config = config
        self._data = data
        self._keys = keys
        self._pool = pool
        self._places = places
        self._relays = relays
        self._clock = clock
        self._payouts: Payouts | None = None

    async def start(
        self,
        stack: AsyncExitStack,
        bridge: RelayBridge,
        accounting: Accounting,
        miners: DemoMiners | None,
        pool_up: Callable[[], Awaitable[None]],
    ) -> None:
        """Pay until the stack closes. `pool_up` returns once the pool has said where everything is."""
        if not self.is_on:
            return
        ecash = await stack.enter_async_context(
            ecash_payouts(
                config=self._config,
                data=self._data,
                key=self._keys.zapper,
                feed=BridgeFeed(bridge),
                relays=self._relays,
                clock=self._clock.now_ms,
                pool_up=pool_up,
                beside=None if miners is None else self._demo_wallets(bridge, miners).run,
            )
        )
        self.mint_url = "" if ecash.mint is None else ecash.mint.url
        self._payouts = await stack.enter_async_context(
            open_payouts(
                config=self._config,
                data=self._data,
                signer=self._keys.zapper,
                wallet_key=self._keys.wallet,
                pool=self._pool,
                lightning=self._places.lightning,
                relays=self._relays,
                bridge=bridge,
                accounting=accounting,
                users={} if miners is None else miners.users(),
                clock=self._clock,
                ecash=ecash,
            )
        )

    def status(self) -> ZapperStatus:
        """How the zapper is."""
        return ZapperStatus() if self._payouts is None else self._payouts.zapper.status

    @property
    def funds(self) -> tuple[WalletFunds, ...]:
        """The wallets it pays from."""
        return () if self._payouts is None else self._payouts.funds

    def services(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """What an operator asks of payouts and of batches on chain to be signed, by name, as the socket serves it."""
        return {**served(self._desk), **psbt_services(self._psbts)}

    def _desk(self) -> PayoutDesk | None:
        return None if self._payouts is None else self._payouts.desk(self._clock.now_ms)

    def _psbts(self) -> PsbtDesk | None:
        return None if self._payouts is None else self._payouts.psbts()

    async def payees(self) -> list[Payee]:
        """Whose last payouts failed, longest first."""
        return [] if self._payouts is None else await self._payouts.store.payees()

    async def moves(self, since_ms: int) -> list[Move]:
        """What profiles and nutzap infos changed of where money goes, seen since then, oldest first."""
        return [] if self._payouts is None else await self._payouts.store.moves(since_ms)

    def demo_miners(self, bridge: RelayBridge) -> DemoMiners:
        """The miners of the demo, with addresses at the demo wallet. Raises ValueError on any network but regtest."""
        stratum, lightning = self._places.stratum, self._places.lightning
        host = "127.0.0.1" if stratum.host == ANYWHERE else stratum.host
        return DemoMiners(
            keys_dir=self._data / "keys",
            network=self._pool.network,
            count=self._config.demo.miners,
            max_hps=self._config.demo.hashes_per_second,
            url=f"stratum+tcp://{host}:{stratum.port}",
            lightning=f"{lightning.host}:{lightning.port}",
            publish=bridge.publish,
            clock=self._clock,
            log_dir=self._data / "miners",
        )

    def _demo_wallets(self, bridge: RelayBridge, miners: DemoMiners) -> DemoWallets:
        return DemoWallets(
            miners.keys(),
            wallet=load_or_create(self._data / "keys", "demo-wallet"),
            pool=self._pool,
            zapper=self._keys.zapper.pubkey,
            relays=self._relays,
            feed=BridgeFeed(bridge),
            publish=bridge.publish,
            now_s=lambda: self._clock.now_ms() // 1000,
        )
