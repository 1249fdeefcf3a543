"""The composition root: which part gets what. Everything here is wiring; what the parts do is in their packages."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from accounting.lanes import LaneKey
from accounting.service import Accounting, AccountingConfig
from client_web.adapters.relay_proxy import RelayProxy
from client_web.site import RELAY_PATH, Site
from nips.nip01 import VerifiedEvent
from nips.nip11 import RelayInformation
from nips.pool.address import PoolAddress
from noncestr import __version__
from noncestr.alert_parts import make_watch
from noncestr.archived import Archived, kept
from noncestr.attestations import WebAttestations
from noncestr.banner import banner, stratum_url, web_url
from noncestr.chains import open_source
from noncestr.citizen_parts import make_citizen, who_speaks
from noncestr.clock import WallClock
from noncestr.config import Config
from noncestr.control import Desk
from noncestr.demo import DemoMiners
from noncestr.demo_wallets import DemoWallets
from noncestr.ecash_payouts import ecash_payouts
from noncestr.edge_parts import CHAIN_SOCKET, Surroundings, edge_config, start_edge
from noncestr.edges import EdgePart
from noncestr.errors import NoncestrError
from noncestr.feed import BridgeFeed
from noncestr.garbage import calm, collect_calmly
from noncestr.joints import ChainHeights
from noncestr.keyfiles import load_or_create
from noncestr.lane_gate import GatedFeed
from noncestr.lane_watch import LaneWatch
from noncestr.lanes import LanePlan, plan_lanes, wait_for_orphans
from noncestr.ledger_place import LEDGER, find_database, ledger_place
from noncestr.lifetime import run_until_signal
from noncestr.logs import set_level
from noncestr.mint_process import MintProcess
from noncestr.names_cli import FILE as NAMES
from noncestr.notice_parts import make_notifier
from noncestr.payability import RelayPayability
from noncestr.payout_desk import PayoutDesk, served
from noncestr.payouts import STORE, Payouts, open_payouts, pays
from noncestr.places import ANYWHERE, find_places, move_stratum
from noncestr.presence import Presence, find_presence
from noncestr.profiles import pool_profiles
from noncestr.promise_keeper import PromiseKeeper, publish_signed
from noncestr.promises import REGTEST, Keys, further_edges, named_keys, refuse_others, refuse_revoked
from noncestr.read_api import ReadApi
from noncestr.reloads import reloaded, warn_of_restart
from noncestr.running import first_of, looping, only_one, running
from noncestr.settings_follower import SettingsFollower
from noncestr.standing import chains_of
from noncestr.termskeeper import TermsKeeper
from noncestr.treasury import Treasurer
from noncestr.treasury_parts import open_funds
from noncestr.watermarks import Watermarks
from noncestr.web_parts import open_read_api, start_web
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.limits import FOREVER_S
from relay_bridge.policy import PoolPolicy
from relay_bridge.roles import Role
from relay_bridge.service import RelayBridge
from stratum_edge.adapters.house_server import HouseServer
from stratum_edge.adapters.nip05_names import open_names
from stratum_edge.config import EdgeConfig
from stratum_edge.ports import Names, TemplateSource
from zapper.config import ZapperStatus
from zapper.ports import Payee

logger = logging.getLogger("noncestr")

# How long the last events may take to reach the relays when the pool stops.
FLUSH_SECONDS = 5.0
Say = Callable[[str], None]


class Pool:
    """One pool: made of a configuration and a data folder, run until stopped."""

    def __init__(self, config: Config, data: Path, *, lan: bool, demo: bool, say: Say) -> None:
        self.config = config
        self.data = data
        self.is_regtest = config.pool.network == REGTEST
        self.demo = demo and config.demo.miners > 0 and self.is_regtest
        self.pays = pays(config, config.pool.network)
        self.say = say
        self.clock = WallClock()
        self.keys = Keys.load(data / "keys")
        self.address = PoolAddress(self.keys.pool.pubkey, config.pool.network)
        refuse_others(config, self.keys)
        self.places = find_places(config, lan=lan)
        self.relays = self._relays()
        # The demo wallet's receipts come from our own address.
        roles = (signer.pubkey for _, signer in self.keys.roles())
        self._own_keys = frozenset((*roles, self.keys.pool.pubkey, self.keys.wallet.pubkey))
        # The embedded relay's, if there is one: what other relays lost is filled from it.
        self._log_store: SqliteEventStore | None = None
        self._archived = Archived(self.address)
        self._lan = lan
        # Set once the edge was emptied by the operator's word: nobody serves miners any more.
        self._drained = anyio.Event()
        # Set once the start has said where everything is.
        self._up = anyio.Event()
        self._mint: MintProcess | None = None
        self._edge: EdgePart | None = None
        # Who signs terms and announcement; None while the pool starts, as is the word that it is up.
        self._promises: PromiseKeeper | None = None
        self._is_up = False
        self._watermarks = Watermarks()
        # Between relays and accounting, and what watches the lanes that come through; None while the pool starts.
        self._gate: GatedFeed
        self._lanes: LaneWatch | None = None
        self._payouts: Payouts | None = None

    def _relays(self) -> tuple[str, ...]:
        own = () if self.places.relay is None else (f"ws://{self.places.relay.host}:{self.places.relay.port}",)
        return own + self.config.relay.relays

    def _presence(self) -> Presence:
        return find_presence(self.config, self.places, self.address, self.keys, self.relays)

    def _bridge(self) -> RelayBridge:
        relay = self.config.relay
        return RelayBridge(
            self.relays,
            outbox_path=self.data / "outbox.sqlite",
            quorum=relay.quorum,
            social=relay.social,
            social_quorum=relay.social_quorum,
            # The log's events are signed by several keys of ours; a relay that asks who writes hears one of them.
            signer=self.keys.pool_at_hand or self.keys.zapper,
            # The terms promise the log for good.
            retention_s=FOREVER_S,
            chain_of=chains_of(self.address, self._speakers),
            keep=kept(self._own_keys, self._archived.periods),
            source=None if self._log_store is None else (self.relays[0], self._log_store),
        )

    def _speakers(self) -> frozenset[str]:
        """Whose events are the pool's: our own keys, and the edges elsewhere."""
        # Edges elsewhere connect before the terms are read, and must not hear that they are strangers.
        named = self._own_keys.union(further_edges(self.config))
        if self._promises is None or not self._promises.terms.issued:
            return named
        return named | self._promises.terms.current().body.keys_of("edge")

    async def run(self, stopped: Callable[[], Awaitable[None]]) -> None:
        """Start every part, say where it is, wait for `stopped`, stop in the reverse order."""
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            counts = await self._start_relay(stack)
            bridge = self._bridge()
            await enter(running(bridge.run))
            stack.push_async_callback(self._flush, bridge)
            for key in self.keys.remote:
                await enter(running(key.run))
            self._gate = GatedFeed(BridgeFeed(bridge), self.address.pubkey, self._hear)
            promises = PromiseKeeper(
                self.data / "terms.jsonl",
                pool=self.address,
                signer=self.keys.pool,
                relays=self.relays,
                bridge=bridge,
                gate=self._gate,
                config=lambda: self.config,
                named=lambda: named_keys(self.config, self.keys.roles()),
                places=lambda: ((stratum_url(self.places),), web_url(self.places)),
                clock=self.clock,
            )
            terms = promises.terms
            await terms.open()
            self._promises = promises
            plan = await self._promise(promises, bridge)
            await enter(looping(self._archived.follow, BridgeFeed(bridge), terms))
            chain = await enter(open_source(self.config, self.data, self.clock))
            names = await enter(open_names(self.data / NAMES, self.clock.now_ms))
            settings = SettingsFollower(self.data, self.address.pubkey, BridgeFeed(bridge), self.clock.now_ms)
            await enter(running(settings.run))
            around = replace(self._surroundings(chain, terms, bridge, names), privacy=settings)
            treasurer = Treasurer(self.clock.now_ms)
            desk = Desk(
                lambda: {"watermarks": self._marks()},
                {"close": self._close, "treasury": treasurer.told, **served(self._payout_desk)},
            )
            control = self.config.edge.control
            edge = await start_edge(stack, around, self._edge_config(), plan, bridge, control, self._drained.set, desk)
            self._edge = edge
            if self.config.chain.source == "embedded":
                await enter(running(HouseServer(self.data / CHAIN_SOCKET, chain).run))
            accounting = Accounting(
                pool=self.address,
                signer=self.keys.accounting,
                feed=self._gate,
                chain=ChainHeights(chain),
                store_path=self.data / LEDGER,
                database=find_database(self.config.accounting),
                clock=self.clock,
                config=AccountingConfig(),
                settings=settings,
                treasury=treasurer.summary,
            )
            settings.serve(accounting.knows, accounting.heed_settings)
            await enter(running(accounting.run))
            self._lanes = self._lane_watch(accounting, promises, bridge, plan)
            await enter(looping(self._lanes.watch))
            miners = self._demo_miners(bridge) if self.demo else None
            zapper_status = await self._start_payouts(stack, bridge, accounting, miners)
            treasurer.keep(accounting)
            paying = () if self._payouts is None else self._payouts.funds
            for funds in (*paying, *await enter(open_funds(self.config))):
                treasurer.add(funds)
            await enter(running(treasurer.run))
            notifier = await make_notifier(
                stack,
                self.config,
                self.data,
                presence=self._presence(),
                keys=self.keys,
                relays=self.relays,
                bridge=bridge,
                accounting=accounting,
                chain=chain,
                settings=settings,
                failing=self._failing,
                clock=self.clock,
            )
            await enter(running(notifier.run))
            citizen = make_citizen(
                self.config.social,
                self.data,
                who=who_speaks(self._presence(), self.keys.pool, self.keys.wallet.pubkey),
                signer=self.keys.accounting.pubkey,
                bridge=bridge,
                accounting=accounting,
                chain=chain,
                why_unpaid=lambda miner: zapper_status().why_unpaid.get(miner, ""),
                clock=self.clock,
                test=notifier.test,
            )
            await enter(running(citizen.run))
            read_api = await open_read_api(
                stack,
                accounting,
                ledger=ledger_place(self.config.accounting, self.data),
                payouts=self.data / STORE,
                edge=edge,
                bridge=bridge,
                zapper=zapper_status,
                relay_counts=lambda: counts,
                lanes=self._marks,
                payability=around.payability,
                treasury=treasurer.told,
            )
            watch = make_watch(
                self.config,
                self.data,
                read_api=read_api,
                edge=edge.status,
                zapper=zapper_status,
                payouts=self.data / "payouts.sqlite",
                clock=self.clock,
            )
            await enter(looping(watch.run))
            await self._start_web(stack, read_api, terms, bridge)
            await promises.announce()
            self._is_up = True
            if self.is_regtest:
                await enter(looping(promises.follow_hashrate, lambda: _measured(edge)))
            calm()
            await enter(looping(collect_calmly))
            self.banner()
            self._up.set()
            if miners is not None:
                await enter(running(miners.run))
            await first_of(stopped, self._drained.wait)
            self.say("stopping ...")
        self.say("stopped; everything is kept in " + str(self.data))

    # Terms

    async def _promise(self, promises: PromiseKeeper, bridge: RelayBridge) -> LanePlan:
        """Plan the lanes, and issue terms that say what became of those nobody goes on in; publish who is who."""
        # Batches of a lane that may be given up must have left before its last one is looked for.
        await bridge.flush(FLUSH_SECONDS)
        closed = promises.terms.current().body.closed if promises.terms.issued else {}
        edge, workers = self.keys.edge.pubkey, self.config.edge.workers
        plan = await plan_lanes(bridge, edge, self.address, self.data / "journal", workers, closed)
        if plan.closed:
            logger.warning("a journal is gone: closing %s", ", ".join(plan.closed))
        await promises.issue(plan.closed)
        if self.config.social.profiles:
            now_s = self.clock.now_ms() // 1000
            for signer, profile in pool_profiles(self._presence(), self.keys.pool, self.keys.roles(), now_s):
                await publish_signed(bridge, signer, profile)
        return plan

    # Lanes

    def _lane_watch(
        self, accounting: Accounting, promises: PromiseKeeper, bridge: RelayBridge, plan: LanePlan
    ) -> LaneWatch:
        own = frozenset(LaneKey(self.keys.edge.pubkey, number) for number in plan.lanes)
        return LaneWatch(
            pool=self.address,
            accounting=accounting,
            gate=self._gate,
            watermarks=self._watermarks,
            terms=promises.terms,
            issue=promises.promise_again,
            running=lambda: own,
            automatic=lambda: self.config.edge.close_silent,
            connected=lambda: any(relay.connected for relay in bridge.status() if Role.LOG in relay.roles),
            clock=self.clock,
        )

    def _hear(self, event: VerifiedEvent) -> None:
        # Whoever else signs batches with our name is nobody to keep a record of.
        if self._promises is not None and event.pubkey in self._promises.terms.current().body.keys_of("edge"):
            self._watermarks.hear(event, self.clock.now_ms())

    def _marks(self) -> list[dict[str, Any]]:
        return [] if self._lanes is None else self._lanes.plain()

    async def _close(self, name: str, at_once: bool) -> dict[str, Any]:
        if self._lanes is None:
            raise NoncestrError("the pool is still starting")
        return await self._lanes.close(name, at_once=at_once)

    # The edge

    def _surroundings(
        self, chain: TemplateSource, terms: TermsKeeper, bridge: RelayBridge, names: Names
    ) -> Surroundings:
        return Surroundings(
            data=self.data,
            pool=self.address,
            signer=self.keys.edge,
            source=chain,
            terms=terms,
            publisher=bridge,
            clock=self.clock,
            log=self.config.log,
            names=names,
            # The demo wallet speaks plain HTTP on this machine.
            payability=RelayPayability(bridge, self.relays, self.clock.now_ms, allow_http_loopback=self.is_regtest),
        )

    def _edge_config(self) -> EdgeConfig:
        return edge_config(self.config, self.places.stratum, self.address.pubkey, lan=self._lan)

    async def reload(self, config: Config) -> None:
        """Go by a new configuration's ports, limits, certificates, further edges and log level.

        Raises NoncestrError, EdgeError, ValueError or OSError, and then the ports are as they were.
        """
        if self._edge is None or self._promises is None or not self._is_up:
            raise NoncestrError("the pool is still starting")
        refuse_revoked(config, self._promises.terms.current().body.closed)
        warn_of_restart(self.config, config)
        before = self.config, self.places
        self.config = reloaded(self.config, config)
        try:
            stratum = move_stratum(self.places.stratum, before[0], config, lan=self._lan)
            self.places = replace(self.places, stratum=stratum)
            await self._edge.reload(self._edge_config(), config.log)
        except BaseException:
            self.config, self.places = before
            raise
        set_level(config.log.level)
        await self._promises.promise_again()

    # Everything else

    async def _start_relay(self, stack: AsyncExitStack) -> Mapping[str, int]:
        """The embedded relay, if there is one; what it counts."""
        if self.places.relay is None:
            return {}
        store = await stack.enter_async_context(SqliteEventStore(self.data / "relay.sqlite"))
        self._log_store = store
        server = RelayServer(
            self.places.relay.host,
            self.places.relay.port,
            store,
            PoolPolicy(
                self.address.pubkey,
                self.address.network,
                self._speakers,
                store.is_known,
                mentions=self.config.social.replies,
            ),
            RelayInformation(
                name=f"{self.config.pool.name} relay",
                description="The log of a mining pool: jobs, share receipts, statements, payouts.",
                pubkey=self.address.pubkey,
                software="noncestr",
                version=__version__,
            ),
        )
        await stack.enter_async_context(running(server.run))
        return server.stats

    def _payout_desk(self) -> PayoutDesk | None:
        return None if self._payouts is None else self._payouts.desk(self.clock.now_ms)

    async def _start_payouts(
        self, stack: AsyncExitStack, bridge: RelayBridge, accounting: Accounting, miners: DemoMiners | None
    ) -> Callable[[], ZapperStatus]:
        """What pays, if anything does; how it is."""
        if not self.pays:
            return ZapperStatus
        ecash = await stack.enter_async_context(
            ecash_payouts(
                config=self.config,
                data=self.data,
                key=self.keys.zapper,
                feed=BridgeFeed(bridge),
                relays=self.relays,
                clock=self.clock.now_ms,
                pool_up=self._up.wait,
                beside=None if miners is None else self._demo_wallets(bridge, miners).run,
            )
        )
        self._mint = ecash.mint
        payouts = self._payouts = await stack.enter_async_context(
            open_payouts(
                config=self.config,
                data=self.data,
                signer=self.keys.zapper,
                wallet_key=self.keys.wallet,
                pool=self.address,
                lightning=self.places.lightning,
                relays=self.relays,
                bridge=bridge,
                accounting=accounting,
                users={} if miners is None else miners.users(),
                clock=self.clock,
                ecash=ecash,
            )
        )
        return lambda: payouts.zapper.status

    def _demo_wallets(self, bridge: RelayBridge, miners: DemoMiners) -> DemoWallets:
        return DemoWallets(
            miners.keys(),
            wallet=load_or_create(self.data / "keys", "demo-wallet"),
            pool=self.address,
            zapper=self.keys.zapper.pubkey,
            relays=self.relays,
            feed=BridgeFeed(bridge),
            publish=bridge.publish,
            now_s=lambda: self.clock.now_ms() // 1000,
        )

    async def _failing(self) -> list[Payee]:
        return [] if self._payouts is None else await self._payouts.store.payees()

    async def _start_web(
        self, stack: AsyncExitStack, read_api: ReadApi, terms: TermsKeeper, bridge: RelayBridge
    ) -> None:
        site = Site(
            pool=self.address.pubkey,
            network=self.address.network,
            stratum_url=stratum_url(self.places),
            edges=tuple(sorted(terms.current().body.keys_of("edge"))),
            accounting=(self.keys.accounting.pubkey,),
            zappers=(self.keys.zapper.pubkey,),
            relays=(RELAY_PATH,),
            names=self._presence().names,
            name_relays=self._presence().relays,
        )
        attestations = WebAttestations(self.address, bridge, read_api.knows, self.clock.now_ms)
        relay = RelayProxy(self.relays[0])
        await start_web(stack, site, read_api, relay, self.config.web, self.places.web, attestations)

    def _demo_miners(self, bridge: RelayBridge) -> DemoMiners:
        host = "127.0.0.1" if self.places.stratum.host == ANYWHERE else self.places.stratum.host
        return DemoMiners(
            keys_dir=self.data / "keys",
            network=self.address.network,
            count=self.config.demo.miners,
            max_hps=self.config.demo.hashes_per_second,
            url=f"stratum+tcp://{host}:{self.places.stratum.port}",
            lightning=f"{self.places.lightning.host}:{self.places.lightning.port}",
            publish=bridge.publish,
            clock=self.clock,
            log_dir=self.data / "miners",
        )

    async def _flush(self, bridge: RelayBridge) -> None:
        if not await bridge.flush(FLUSH_SECONDS):
            self.say("some events have not reached their relays yet: they are kept and sent at the next start")

    def banner(self) -> None:
        """Where everything is, one a line."""
        mint = "" if self._mint is None else self._mint.url
        for line in banner(self.config, self.address, self.places, self.relays, pays=self.pays, mint=mint):
            self.say(line)


def _measured(edge: EdgePart) -> tuple[int, int]:
    status = edge.status()
    return status.accepted, status.hashrate_hs


async def run_pool(
    config: Config, data: Path, *, lan: bool, demo: bool, say: Say, reread: Callable[[], Config]
) -> None:
    """Run the pool until SIGINT or SIGTERM; a second one does not wait for a clean end. SIGHUP goes by `reread`."""
    with only_one(data):
        await wait_for_orphans(data / "journal")
        pool = Pool(config, data, lan=lan, demo=demo, say=say)
        await run_until_signal(pool.run, pool.reload, reread)
