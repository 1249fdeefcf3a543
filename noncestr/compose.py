"""The composition root: which part gets what. Everything here is wiring; what the parts do is in their packages."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from accounting.lanes import LaneKey
from accounting.service import Accounting, AccountingConfig
from client_web.adapters.relay_proxy import RelayProxy
from client_web.site import RELAY_PATH, Site
from nips.keys import AtHand
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from noncestr.alerts.parts import make_watch
from noncestr.banner import banner, stratum_url, web_url
from noncestr.books.archived import Archived
from noncestr.books.attestations import WebAttestations
from noncestr.books.place import LEDGER, find_database, ledger_place
from noncestr.books.settings_follower import SettingsFollower
from noncestr.books.treasury import Treasurer
from noncestr.books.treasury_parts import open_funds, start_treasury
from noncestr.chains import open_source
from noncestr.citizen.presence import Presence, find_presence
from noncestr.citizen.profiles import pool_profiles
from noncestr.clock import WallClock
from noncestr.config.sections import Config
from noncestr.edge.control import Desk
from noncestr.edge.edges import EdgePart, measured
from noncestr.edge.files import NAMES
from noncestr.edge.lane_gate import GatedFeed
from noncestr.edge.lane_watch import LaneWatch
from noncestr.edge.lanes import LanePlan, plan_lanes, wait_for_orphans
from noncestr.edge.parts import CHAIN_SOCKET, Surroundings, edge_config, start_edge
from noncestr.edge.watermarks import Watermarks
from noncestr.errors import NoncestrError
from noncestr.feed import BridgeFeed
from noncestr.garbage import calm, collect_calmly
from noncestr.joints import ChainHeights
from noncestr.lifetime import run_until_signal
from noncestr.logs import set_level
from noncestr.payouts.payability import RelayPayability
from noncestr.payouts.paying import Paying
from noncestr.payouts.wiring import STORE
from noncestr.places import find_places, move_stratum
from noncestr.relays.embedded import EmbeddedRelay, start_relay
from noncestr.relays.log_bridge import FLUSH_S, flush, log_bridge, reaches_log
from noncestr.reloads import reloaded, warn_of_restart
from noncestr.running import first_of, looping, only_one, running
from noncestr.speaking import start_speaking
from noncestr.terms.keeper import TermsKeeper
from noncestr.terms.promise_keeper import PromiseKeeper, publish_signed
from noncestr.terms.promises import REGTEST, Keys, further_edges, named_keys, refuse_others, refuse_revoked
from noncestr.web.parts import open_read_api, start_web
from noncestr.web.read_api import ReadApi
from relay_bridge.service import RelayBridge
from stratum_edge.adapters.house_server import HouseServer
from stratum_edge.adapters.nip05_names import open_names
from stratum_edge.config import EdgeConfig
from stratum_edge.ports import Names, TemplateSource

logger = logging.getLogger("noncestr")

Say = Callable[[str], None]


class Pool:
    """One pool: made of a configuration and a data folder, run until stopped."""

    def __init__(self, config: Config, data: Path, *, lan: bool, demo: bool, say: Say) -> None:
        self.config = config
        self.data = data
        self.is_regtest = config.pool.network == REGTEST
        self.demo = demo and config.demo.miners > 0 and self.is_regtest
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
        self._archived = Archived(self.address)
        self._lan = lan
        # Set once the edge was emptied by the operator's word: nobody serves miners any more.
        self._drained = anyio.Event()
        # Set once the start has said where everything is.
        self._up = anyio.Event()
        self._edge: EdgePart | None = None
        # Who signs terms and announcement; None while the pool starts, as is the word that it is up.
        self._promises: PromiseKeeper | None = None
        self._is_up = False
        self._watermarks = Watermarks()
        # Between relays and accounting, and what watches the lanes that come through; None while the pool starts.
        self._gate: GatedFeed
        self._lanes: LaneWatch | None = None
        self._paying = Paying(
            config, data, keys=self.keys, pool=self.address, places=self.places, relays=self.relays, clock=self.clock
        )

    def _relays(self) -> tuple[str, ...]:
        own = () if self.places.relay is None else (f"ws://{self.places.relay.host}:{self.places.relay.port}",)
        return own + self.config.relay.relays

    def _presence(self) -> Presence:
        return find_presence(self.config, self.places, self.address, self.keys, self.relays)

    def _bridge(self, relay: EmbeddedRelay | None) -> RelayBridge:
        return log_bridge(
            self.config.relay,
            self.data,
            self.relays,
            pool=self.address,
            # The log's events are signed by several keys of ours; a relay that asks who writes hears one of them.
            signer=self.keys.pool_at_hand or self.keys.zapper,
            speakers=self._speakers,
            own=self._own_keys,
            archived=self._archived,
            store=None if relay is None else relay.store,
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
            relay = await start_relay(stack, self.config, self.data, self.places.relay, self.address, self._speakers)
            bridge = self._bridge(relay)
            await enter(running(bridge.run))
            stack.push_async_callback(flush, bridge, self.say)
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
                {"close": self._close, "treasury": treasurer.told, **self._paying.services()},
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
            miners = self._paying.demo_miners(bridge) if self.demo else None
            await self._paying.start(stack, bridge, accounting, miners, self._up.wait)
            await start_treasury(
                stack,
                treasurer,
                (*self._paying.funds, *await enter(open_funds(self.config))),
                config=self.config,
                data=self.data,
                pool=self.address,
                bridge=bridge,
                terms=terms.current,
                own=self._own_keys,
                books=accounting,
                clock=self.clock,
                # A page on another host is told what is held here.
                signer=AtHand(self.keys.zapper),
            )
            await start_speaking(
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
                paying=self._paying,
                clock=self.clock,
            )
            read_api = await open_read_api(
                stack,
                accounting,
                ledger=ledger_place(self.config.accounting, self.data),
                payouts=self.data / STORE,
                edge=edge,
                bridge=bridge,
                zapper=self._paying.status,
                relay_counts=lambda: {} if relay is None else relay.counts,
                lanes=self._marks,
                payability=around.payability,
                treasury=treasurer.told,
                data=self.data,
            )
            watch = make_watch(
                self.config,
                self.data,
                model=read_api,
                edge=edge.status,
                zapper=self._paying.status,
                payouts=self.data / STORE,
                clock=self.clock,
            )
            await enter(looping(watch.run))
            await self._start_web(stack, read_api, terms, bridge)
            await promises.announce()
            self._is_up = True
            if self.is_regtest:
                await enter(looping(promises.follow_hashrate, lambda: measured(edge)))
            calm()
            await enter(looping(collect_calmly))
            self.places.let_go()
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
        await bridge.flush(FLUSH_S)
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
            connected=lambda: reaches_log(bridge),
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
            stratum=lambda: self.places.stratum,
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

    # Relay and page

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

    def banner(self) -> None:
        """Where everything is, one a line."""
        for line in banner(
            self.config, self.address, self.places, self.relays, pays=self._paying.is_on, mint=self._paying.mint_url
        ):
            self.say(line)


async def run_pool(
    config: Config, data: Path, *, lan: bool, demo: bool, say: Say, reread: Callable[[], Config]
) -> None:
    """Run the pool until SIGINT or SIGTERM; a second one does not wait for a clean end. SIGHUP goes by `reread`."""
    with only_one(data):
        await wait_for_orphans(data / "journal")
        pool = Pool(config, data, lan=lan, demo=demo, say=say)
        await run_until_signal(pool.run, pool.reload, reread)
