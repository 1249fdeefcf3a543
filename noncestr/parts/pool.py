"""`noncestr pool run`: the process that holds the pool's key, for a pool whose other parts are processes of their own.

It has the embedded relay, signs terms and announcement, lends the embedded chain (regtest), closes silent lanes and
speaks to people. What it knows of the pool it reads from the log, as everybody does.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from nips.nip01 import VerifiedEvent
from nips.nip17 import DM_RELAYS
from nips.nip19 import encode_npub, parse_pubkey
from nips.nip89 import HANDLER
from nips.pool.address import PoolAddress
from nips.pool.chain import Head
from nips.pool.terms import Terms
from noncestr.addresses import free_port
from noncestr.alerts.part_watch import watch_part
from noncestr.books.archived import Archived
from noncestr.books.lone import open_books
from noncestr.books.treasury import Treasurer
from noncestr.books.treasury_parts import start_treasury
from noncestr.chains import open_source
from noncestr.citizen.parts import make_citizen, who_speaks
from noncestr.citizen.presence import Presence
from noncestr.citizen.profiles import pool_profiles
from noncestr.clock import WallClock
from noncestr.config.sections import Config
from noncestr.edge.control import CONTROL, Desk, Service, serve_desk
from noncestr.edge.lane_gate import GatedFeed
from noncestr.edge.lane_watch import LaneWatch
from noncestr.edge.parts import CHAIN_SOCKET
from noncestr.edge.watermarks import Watermarks
from noncestr.errors import NoncestrError
from noncestr.feed import BridgeFeed
from noncestr.garbage import calm, collect_calmly
from noncestr.joints import ChainHeights
from noncestr.keys.passphrase import Passphrase
from noncestr.keys.remote_key import RemoteKey
from noncestr.lifetime import run_until_signal
from noncestr.outpost import Say
from noncestr.parts.accounting import no_reload
from noncestr.relays.embedded import EmbeddedRelay, start_relay
from noncestr.relays.log_bridge import flush, log_bridge, reaches_log
from noncestr.running import looping, only_one, running
from noncestr.terms.promise_keeper import PromiseKeeper, publish_signed
from noncestr.terms.promises import REGTEST, further_edges, key_at_hand, load_signer
from relay_bridge.service import RelayBridge
from stratum_edge.adapters.house_server import HouseServer
from stratum_edge.ports import TemplateSource

logger = logging.getLogger("noncestr")


class LonePool:
    """The pool's key and relay in a data folder; the keys of its parts are in the configuration, as npubs."""

    def __init__(self, config: Config, data: Path, *, say: Say) -> None:
        """Raises NoncestrError when the configuration does not name every part."""
        self._config = config
        self._data = data
        self._say = say
        self._key = load_signer(data / "keys", "pool", Passphrase())
        self._pool = PoolAddress(self._key.pubkey, config.pool.network)
        if not (config.pool.accounting and config.pool.zapper and config.edge.keys):
            raise NoncestrError(
                f"this pool is {encode_npub(self._key.pubkey)}; its parts' npubs are to be in the configuration: [pool]"
                " accounting, [pool] zapper and [edge] keys; each part, given the pool's, prints its own when it starts"
            )
        self._accounting = parse_pubkey(config.pool.accounting)
        self._zapper = parse_pubkey(config.pool.zapper)
        self._clock = WallClock()
        self._place = free_port(config.relay.host, config.relay.port) if config.relay.embedded else None
        own = () if self._place is None else (f"ws://{self._place.host}:{self._place.port}",)
        self._relays = own + config.relay.relays
        self._archived = Archived(self._pool)
        self._watermarks = Watermarks()
        self._promises: PromiseKeeper | None = None

    def _named(self) -> tuple[tuple[str, str], ...]:
        edges = tuple((key, "edge") for key in further_edges(self._config))
        return ((self._accounting, "accounting"), (self._zapper, "zapper"), *edges)

    def _speakers(self) -> frozenset[str]:
        return frozenset({self._pool.pubkey, *(key for key, _ in self._named())})

    async def run(self, stopped: Callable[[], Awaitable[None]]) -> None:
        """Run every part that is here until `stopped` returns. Raises NoncestrError."""
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            relay = await start_relay(stack, self._config, self._data, self._place, self._pool, self._speakers)
            bridge = self._bridge(relay)
            await enter(running(bridge.run))
            stack.push_async_callback(flush, bridge, self._say)
            if isinstance(self._key, RemoteKey):
                await enter(running(self._key.run))
            gate = GatedFeed(BridgeFeed(bridge), self._pool.pubkey, self._hear)
            promises = PromiseKeeper(
                self._data / "terms.jsonl",
                pool=self._pool,
                signer=self._key,
                relays=self._relays,
                bridge=bridge,
                gate=gate,
                config=lambda: self._config,
                named=self._named,
                # An edge elsewhere does not say where it listens: its operator does.
                places=lambda: (self._config.pool.stratum, self._config.pool.web),
                clock=self._clock,
            )
            await promises.terms.open()
            await promises.issue()
            self._promises = promises
            await enter(looping(self._archived.follow, BridgeFeed(bridge), promises.terms))
            chain = await enter(open_source(self._config, self._data, self._clock))
            if self._config.chain.source == "embedded":
                await enter(running(HouseServer(self._data / CHAIN_SOCKET, chain).run))
            await self._start_watch(stack, gate, chain, promises, bridge)
            await promises.announce()
            await self._show(bridge)
            calm()
            await enter(looping(collect_calmly))
            self._introduce()
            await stopped()
            self._say("stopping ...")
        self._say(f"stopped; everything is kept in {self._data}")

    def _presence(self) -> Presence:
        config = self._config
        return Presence(
            name=config.pool.name,
            about=config.social.about,
            pool=self._pool,
            domain=config.social.domain,
            web=config.pool.web,
            stratum=next(iter(config.pool.stratum), ""),
            relays=self._relays,
            social=config.relay.social,
            keys=tuple((role, key) for key, role in self._named()),
        )

    async def _show(self, bridge: RelayBridge) -> None:
        """The pool's own profile, relay lists and handler; its parts' profiles are for who has their keys."""
        if not self._config.social.profiles:
            return
        presence = self._presence()
        # A key that signs elsewhere opens no message, and without a page there is none to offer.
        reads = self._config.social.replies and key_at_hand(self._key) is not None
        left_out = set() if reads else {DM_RELAYS}
        left_out |= set() if presence.web else {HANDLER}
        for signer, profile in pool_profiles(presence, self._key, (), self._clock.now_ms() // 1000):
            if profile.kind not in left_out:
                await publish_signed(bridge, signer, profile)

    async def _start_watch(
        self,
        stack: AsyncExitStack,
        gate: GatedFeed,
        chain: TemplateSource,
        promises: PromiseKeeper,
        bridge: RelayBridge,
    ) -> None:
        """What goes by the books: silent lanes, on regtest the demo target, and what the pool says to people."""
        books = await open_books(stack, self._data, self._pool, self._accounting, gate, ChainHeights(chain))

        async def issue(closed: Mapping[str, Head]) -> Terms:
            return await promises.promise_again(closed)

        lanes = LaneWatch(
            pool=self._pool,
            accounting=books,
            gate=gate,
            watermarks=self._watermarks,
            terms=promises.terms,
            issue=issue,
            running=frozenset,
            automatic=lambda: self._config.edge.close_silent,
            connected=lambda: reaches_log(bridge),
            clock=self._clock,
        )

        async def close(name: str, at_once: bool) -> dict[str, Any]:
            return await lanes.close(name, at_once=at_once)

        def measured() -> tuple[int, int]:
            found = books.fold.statistics.pool_statistics(self._clock.now_ms(), blocks=0, height=0)
            return found.shares, found.hashrate["5m"]

        citizen = make_citizen(
            self._config.social,
            self._data,
            who=who_speaks(self._presence(), self._key, *self._speakers()),
            signer=self._accounting,
            bridge=bridge,
            accounting=books,
            chain=chain,
            # Why a payout waits is known where the zapper runs.
            why_unpaid=lambda _: "",
            clock=self._clock,
            test=_no_test,
        )
        await stack.enter_async_context(running(citizen.run))
        await stack.enter_async_context(looping(lanes.watch))
        await watch_part(stack, "pool", self._config, self._data, bridge, self._clock, lanes=lanes.plain)
        treasurer = Treasurer(self._clock.now_ms)
        await start_treasury(
            stack,
            treasurer,
            (),
            config=self._config,
            data=self._data,
            pool=self._pool,
            bridge=bridge,
            terms=promises.terms.current,
            own=(),
            books=books,
            clock=self._clock,
        )
        if self._pool.network == REGTEST:
            await stack.enter_async_context(looping(promises.follow_hashrate, measured))
        services: dict[str, Service] = {"close": close, "treasury": treasurer.told}
        if self._config.edge.control:
            await stack.enter_async_context(running(serve_desk, self._data / CONTROL, Desk(dict, services)))

    def _bridge(self, relay: EmbeddedRelay | None) -> RelayBridge:
        return log_bridge(
            self._config.relay,
            self._data,
            self._relays,
            pool=self._pool,
            signer=key_at_hand(self._key),
            speakers=self._speakers,
            # Of all parts: the relay beside us has their events, and they may be away.
            own=self._speakers(),
            archived=self._archived,
            store=None if relay is None else relay.store,
        )

    def _hear(self, event: VerifiedEvent) -> None:
        if event.pubkey in further_edges(self._config):
            self._watermarks.hear(event, self._clock.now_ms())

    def _introduce(self) -> None:
        self._say(f"pool npub: {encode_npub(self._pool.pubkey)}")
        if self._place is not None and self._place.moved:
            self._say(f"port {self._place.asked} is busy: the relay port is {self._place.port}")
        self._say(f"relay:     {self._relays[0]}")


async def _no_test(_miner: str) -> str:
    """What the word test is answered: the process that tells miners reads no messages."""
    return "Notices are sent by the pool's zapper, which reads no messages: ask the operator for a test."


async def run_lone_pool(config: Config, data: Path, *, say: Say, reread: Callable[[], Config]) -> None:
    """Run until SIGINT or SIGTERM. Raises NoncestrError."""
    with only_one(data):
        await run_until_signal(LonePool(config, data, say=say).run, no_reload, reread)
