"""The composition root: which part gets what. Everything here is wiring; what the parts do is in their packages."""

import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import anyio

from accounting.errors import AccountingError
from accounting.readmodel import AccountingReadModel
from accounting.service import Accounting, AccountingConfig
from client_web.adapters.http_server import bind, serve
from client_web.adapters.relay_proxy import RelayProxy
from client_web.server import create_app
from client_web.site import RELAY_PATH, Site
from nips.nip11 import RelayInformation
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.targets import work_from_bits
from nips.pool.terms import TermsBody
from nips.pool.views import build_announcement
from noncestr import __version__
from noncestr.clock import WallClock
from noncestr.config import Config
from noncestr.control import CONTROL, Control
from noncestr.demo import DemoMiners
from noncestr.doors import stratum_limits, stratum_ports
from noncestr.edge_parts import Surroundings, finishing, make_edge, put_away_drained, put_away_ended
from noncestr.edges import EdgePart
from noncestr.errors import NoncestrError
from noncestr.feed import BridgeFeed
from noncestr.joints import ChainHeights, OwedByAccounting, ReceiptsToRelays
from noncestr.lanes import LanePlan, plan_lanes, wait_for_orphans
from noncestr.names_cli import FILE as NAMES
from noncestr.payability import RelayPayability
from noncestr.places import ANYWHERE, find_places, reachable
from noncestr.profiles import pool_profiles
from noncestr.promises import Keys, terms_body
from noncestr.readmodel import PoolReadModel
from noncestr.running import first_of, leaves, looping, only_one, running
from noncestr.termskeeper import TermsKeeper
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.errors import RelayBridgeError
from relay_bridge.policy import PoolPolicy
from relay_bridge.service import RelayBridge
from stratum_edge.adapters.embedded_chain import EmbeddedChain
from stratum_edge.adapters.nip05_names import open_names
from stratum_edge.config import EdgeConfig
from stratum_edge.demo_target import adjusted_block_bits, block_bits_for
from stratum_edge.errors import EdgeError
from stratum_edge.ports import Names
from zapper.adapters.demo_lightning import DemoLightning
from zapper.adapters.fake_backend import open_fake_lightning
from zapper.adapters.http_client import HttpLimits, open_http_client
from zapper.adapters.intent_store import open_intent_store
from zapper.config import ZapperConfig
from zapper.errors import ZapperError
from zapper.plan import PlanLimits
from zapper.service import Zapper

logger = logging.getLogger("noncestr")

# How long the last events may take to reach the relays when the pool stops.
FLUSH_SECONDS = 5.0
# How often the demo target is compared with the hashrate; terms change only when it is off by a factor.
TARGET_CHECK_SECONDS = 10.0
# Fewer shares say too little of the hashrate: 20 are right within a quarter, two times out of three.
TARGET_SHARES = 20
Say = Callable[[str], None]
# What an operator can mend: said in one line. Anything else is a fault of ours and shows where it happened.
MENDABLE = (EdgeError, AccountingError, RelayBridgeError, ZapperError, NoncestrError, OSError)


class Pool:
    """One pool in one process: made of a configuration and a data folder, run until stopped."""

    def __init__(self, config: Config, data: Path, *, lan: bool, demo: bool, say: Say) -> None:
        self.config = config
        self.data = data
        self.demo = demo and config.demo.miners > 0
        self.say = say
        self.clock = WallClock()
        self.keys = Keys.load(data / "keys")
        self.address = PoolAddress(self.keys.pool.pubkey, config.pool.network)
        self.places = find_places(config, lan=lan)
        self.relays = self._relays()
        self._lan = lan
        # Set once the edge was emptied by the operator's word: nobody serves miners any more.
        self._drained = anyio.Event()

    def _relays(self) -> tuple[str, ...]:
        own = () if self.places.relay is None else (f"ws://{self.places.relay.host}:{self.places.relay.port}",)
        return own + self.config.relay.relays

    @property
    def stratum_url(self) -> str:
        """What a miner enters."""
        return f"stratum+tcp://{reachable(self.places.stratum.host)}:{self.places.stratum.port}"

    @property
    def web_url(self) -> str:
        """What a browser enters."""
        return f"http://{reachable(self.places.web.host)}:{self.places.web.port}"

    async def run(self, stopped: Callable[[], Awaitable[None]]) -> None:
        """Start every part, say where it is, wait for `stopped`, stop in the reverse order."""
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            counts = await self._start_relay(stack)
            bridge = RelayBridge(self.relays, outbox_path=self.data / "outbox.sqlite", quorum=self.config.relay.quorum)
            await enter(running(bridge.run))
            stack.push_async_callback(self._flush, bridge)
            terms = TermsKeeper(self.data / "terms.jsonl", self.keys.pool, self.address, bridge)
            await terms.open()
            # Batches of a lane that may be given up must have left before its last one is looked for.
            await bridge.flush(FLUSH_SECONDS)
            closed = terms.current().body.closed if terms.issued else {}
            plan = await plan_lanes(
                bridge,
                self.keys.edge.pubkey,
                self.address,
                self.data / "journal",
                self.config.edge.workers,
                closed,
            )
            if plan.closed:
                logger.warning("a journal is gone: closing %s", ", ".join(plan.closed))
            await terms.issue(self._terms(terms, plan), self.clock.now_ms())
            for event in pool_profiles(
                self.keys.pool,
                self.config.pool.name,
                self.address.network,
                self.keys.roles(),
                self.relays,
                self.clock.now_ms() // 1000,
            ):
                await bridge.publish(event)
            chain = await self._start_chain(stack)
            names = await enter(open_names(self.data / NAMES, self.clock.now_ms))
            around = self._surroundings(chain, terms, bridge, names)
            await put_away_ended(around, plan)
            held = stack.enter_context(ExitStack())
            edge = make_edge(around, self._edge_config(), plan, held)
            await enter(running(edge.run))
            for finish in finishing(around, plan):
                await enter(looping(finish))
            if self.config.edge.control:
                await enter(running(self._control(edge, around, plan, bridge).run))
            accounting = Accounting(
                pool=self.address,
                signer=self.keys.accounting,
                feed=BridgeFeed(bridge),
                chain=ChainHeights(chain),
                store_path=self.data / "ledger.sqlite",
                clock=self.clock,
                config=AccountingConfig(),
            )
            await enter(running(accounting.run))
            miners = self._demo_miners(bridge)
            zapper = await self._start_payouts(stack, bridge, accounting, miners.users())
            books = AccountingReadModel(accounting)
            read_model = PoolReadModel(books, edge.status, bridge.status, lambda: zapper.status, lambda: counts)
            await self._start_web(stack, read_model)
            await self._announce(bridge, terms)
            await enter(looping(self._follow_hashrate, edge, terms, bridge))
            self.banner()
            if self.demo:
                await enter(running(miners.run))
            await first_of(stopped, self._drained.wait)
            self.say("stopping ...")
        self.say("stopped; everything is kept in " + str(self.data))

    async def _start_relay(self, stack: AsyncExitStack) -> Mapping[str, int]:
        """The embedded relay, if there is one; what it counts."""
        if self.places.relay is None:
            return {}
        store = await stack.enter_async_context(SqliteEventStore(self.data / "relay.sqlite"))
        # The demo wallet's receipts come from our own address, as many as there are payouts.
        keys = frozenset({*(signer.pubkey for _, signer in self.keys.roles()), self.keys.wallet.pubkey})
        server = RelayServer(
            self.places.relay.host,
            self.places.relay.port,
            store,
            PoolPolicy(self.address.pubkey, self.address.network, lambda: keys, store.is_known),
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

    async def _start_chain(self, stack: AsyncExitStack) -> EmbeddedChain:
        seconds = self.config.chain.network_block_seconds
        chain = EmbeddedChain(
            self.data / "chain",
            clock=self.clock,
            reward_sat=self.config.chain.reward_sat,
            network_block_ms=seconds * 1000 if seconds else None,
        )
        stack.callback(chain.close)
        await stack.enter_async_context(looping(chain.run))
        return chain

    def _surroundings(
        self, chain: EmbeddedChain, terms: TermsKeeper, bridge: RelayBridge, names: Names
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
            note_signer=self.keys.pool,
            names=names,
            # The demo wallet speaks plain HTTP on this machine.
            payability=RelayPayability(bridge, self.relays, self.clock.now_ms, allow_http_loopback=True),
        )

    def _edge_config(self) -> EdgeConfig:
        return EdgeConfig(
            ports=stratum_ports(self.config, self.places.stratum, lan=self._lan),
            limits=stratum_limits(self.config),
            # Taproot to the pool's key (BIP 341): on regtest the coins are the demo's, spent by nobody.
            payout_script=b"\x51\x20" + bytes.fromhex(self.address.pubkey),
            pool_tag=self.config.stratum.pool_tag.encode("ascii"),
        )

    def _control(self, edge: EdgePart, around: Surroundings, plan: LanePlan, bridge: RelayBridge) -> Control:
        def ended(fin: bool, left: int) -> None:
            if fin:
                put_away_drained(around, plan, left)
            self._drained.set()

        return Control(
            self.data / CONTROL, pool=self.address, edge_key=around.signer.pubkey, edge=edge, relays=bridge, ended=ended
        )

    async def _start_payouts(
        self, stack: AsyncExitStack, bridge: RelayBridge, accounting: Accounting, users: Mapping[str, str]
    ) -> Zapper:
        enter = stack.enter_async_context
        network = self.address.network
        node = await enter(open_fake_lightning(self.data / "demo-lightning.sqlite", network=network))
        wallet = DemoLightning(
            node=node,
            signer=self.keys.wallet,
            publisher=ReceiptsToRelays(bridge),
            network=network,
            users=users,
            host=self.places.lightning.host,
            port=self.places.lightning.port,
        )
        await enter(running(wallet.run))
        provider = f"{self.places.lightning.host}:{self.places.lightning.port}"
        zapper = Zapper(
            ZapperConfig(
                pool=self.address,
                pool_name=self.config.pool.name,
                relays=self.relays,
                payout_interval_s=self.config.payouts.interval_seconds,
                limits=PlanLimits(minimum_msat=self.config.terms.minimum_payout_sat * 1000),
                concurrency=self.config.payouts.concurrency,
                # The demo wallet speaks plain HTTP on this machine.
                allow_http_loopback=True,
            ),
            signer=self.keys.zapper,
            owed=OwedByAccounting(accounting),
            store=await enter(open_intent_store(self.data / "payouts.sqlite")),
            backend=node,
            feed=BridgeFeed(bridge),
            http=await enter(open_http_client(HttpLimits(private_hosts=frozenset({provider})))),
            clock=self.clock.now_ms,
        )
        await enter(running(zapper.run))
        return zapper

    async def _start_web(self, stack: AsyncExitStack, read_model: PoolReadModel) -> None:
        site = Site(
            pool=self.address.pubkey,
            network=self.address.network,
            stratum_url=self.stratum_url,
            edges=(self.keys.edge.pubkey,),
            accounting=(self.keys.accounting.pubkey,),
            zappers=(self.keys.zapper.pubkey,),
            relays=(RELAY_PATH,),
            names={"_": self.address.pubkey, "pool": self.address.pubkey},
        )
        app = create_app(site, read_model, RelayProxy(self.relays[0]))
        await stack.enter_async_context(running(serve, app, bind(self.places.web.host, self.places.web.port)))

    def _terms(self, terms: TermsKeeper, plan: LanePlan) -> TermsBody:
        """The configured terms; what was closed stays closed, and the demo target where the last run left it."""
        block_bits, closed = None, dict(plan.closed)
        if terms.issued:
            last = terms.current().body
            block_bits, closed = last.limits.block_bits, {**plan.closed, **last.closed}
        if block_bits is None:
            hashrate = max(1, self.config.demo.miners) * self.config.demo.hashes_per_second
            # The first mark is half as hard as the hashrate asks for, so that a newcomer sees a block soon.
            block_bits = block_bits_for(hashrate, max(1, self.config.chain.block_seconds // 2))
        return terms_body(self.config, self.keys, self.relays, block_bits, closed)

    async def _follow_hashrate(self, edge: EdgePart, terms: TermsKeeper, bridge: RelayBridge) -> None:
        while True:
            await anyio.sleep(TARGET_CHECK_SECONDS)
            last = terms.current().body
            bits = last.limits.block_bits
            assert bits is not None
            status = edge.status()
            if status.accepted < TARGET_SHARES:
                continue
            wanted = adjusted_block_bits(bits, status.hashrate_hs, self.config.chain.block_seconds)
            if wanted is not None:
                body = terms_body(self.config, self.keys, self.relays, wanted, last.closed)
                await terms.issue(body, self.clock.now_ms())
                await self._announce(bridge, terms)
                logger.info("new terms: a block takes about %d hashes now", work_from_bits(wanted))

    async def _announce(self, bridge: RelayBridge, terms: TermsKeeper) -> None:
        announcement = build_announcement(
            self.address,
            name=self.config.pool.name,
            terms=terms.current().id,
            stratum=(self.stratum_url,),
            relays=self.relays,
            web=self.web_url,
            created_at=self.clock.now_ms() // 1000,
        )
        await bridge.publish(self.keys.pool.sign(announcement))

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
        npub = encode_npub(self.address.pubkey)
        for sentence in self.places.moved():
            self.say(sentence)
        lines: Mapping[str, str] = {
            "pool npub": npub,
            "Stratum": self.stratum_url,
            "relay": self.relays[0],
            "web": self.web_url,
        }
        self.say("")
        self.say(f"{self.config.pool.name} is up ({self.address.network}: play money, real proofs)")
        for name, value in lines.items():
            self.say(f"  {name + ':':<11}{value}")
        self.say("")
        self.say("Point a miner at it: the user name is your npub and a name for the device, the password is x.")
        self.say(f"  Bitaxe:    host {reachable(self.places.stratum.host)}, port {self.places.stratum.port},")
        self.say("             user <your npub>.bitaxe, password x")
        self.say(f"  CPU:       .venv/bin/noncestr miner --url {self.stratum_url} --user <your npub>.cpu")
        if self.places.web.host in (ANYWHERE, "::"):
            self.say(f"From your network the relay is {self.web_url.replace('http', 'ws', 1)}{RELAY_PATH}")
        if self.places.stratum.host not in (ANYWHERE, "::"):
            self.say("  Only this machine can connect; `make up LAN=1` lets your network in.")
        self.say("Check what it says, trusting nobody:")
        self.say(f"  .venv/bin/noncestr verify --relay {self.relays[0]} --pool {npub}")
        self.say("Ctrl-C stops it; starting again goes on where it was.")
        self.say("")


async def run_pool(config: Config, data: Path, *, lan: bool, demo: bool, say: Say) -> None:
    """Run the pool until SIGINT or SIGTERM; a second one does not wait for a clean end."""
    with only_one(data):
        await wait_for_orphans(data / "journal")
        pool = Pool(config, data, lan=lan, demo=demo, say=say)
        stop = anyio.Event()

        async def watch() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    if stop.is_set():
                        os._exit(130)
                    stop.set()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                await pool.run(stop.wait)
                tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            mendable, rest = group.split(MENDABLE)
            if mendable is None or rest is not None:
                raise
            raise NoncestrError("; ".join(str(leaf) for leaf in leaves(mendable))) from group
