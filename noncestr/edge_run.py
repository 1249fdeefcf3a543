"""`noncestr edge run`: an edge of somebody's pool on a host of its own, with a key of its own.

It shares nothing with the pool but relays: terms come from them, jobs, receipts and blocks go to them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from noncestr.archived import Archived, kept
from noncestr.chains import open_source
from noncestr.clock import WallClock
from noncestr.closed_lanes import account_for_closed
from noncestr.config import Config
from noncestr.control import Desk
from noncestr.cut_off import watch_cut
from noncestr.edge_clock import ClockedSource, EdgeClock
from noncestr.edge_parts import CHAIN_SOCKET, Surroundings, edge_config, start_edge
from noncestr.edges import EdgePart
from noncestr.errors import NoncestrError
from noncestr.feed import BridgeFeed
from noncestr.garbage import calm, collect_calmly
from noncestr.keyfiles import load_or_create
from noncestr.lanes import LanePlan, plan_lanes, wait_for_orphans
from noncestr.lifetime import run_until_signal
from noncestr.logs import set_level
from noncestr.names_cli import FILE as NAMES
from noncestr.payability import RelayPayability
from noncestr.places import move_stratum, place_stratum, reachable
from noncestr.profiles import delegate_profile, relay_list
from noncestr.promises import REGTEST
from noncestr.reloads import reloaded, warn_of_restart
from noncestr.running import first_of, looping, only_one, running
from noncestr.settings_follower import SettingsFollower
from noncestr.standing import chains_of
from noncestr.terms_follower import TermsFollower
from relay_bridge.limits import FOREVER_S
from relay_bridge.service import RelayBridge
from stratum_edge.adapters.house_client import HouseClient
from stratum_edge.adapters.nip05_names import open_names
from stratum_edge.config import EdgeConfig
from stratum_edge.ports import TemplateSource

# How often an edge that the terms do not name says what it waits for.
REMIND_S: Final = 60.0
# How long the last events may take to reach the relays when the edge stops, and when it starts.
FLUSH_S: Final = 5.0
# An edge knows its pool by npub only: so much of it stands in the edge's name.
SHOWN_NPUB: Final = 12
Say = Callable[[str], None]


class LoneEdge:
    """An edge in a data folder of its own."""

    def __init__(
        self,
        config: Config,
        data: Path,
        *,
        pool: PoolAddress,
        relays: tuple[str, ...],
        chain_of: Path | None,
        lan: bool,
        say: Say,
    ) -> None:
        """`chain_of`: the data folder of a pool on this machine whose embedded chain is mined on."""
        self._config = config
        self._data = data
        self._pool = pool
        self._relays = relays
        self._chain_of = chain_of
        self._lan = lan
        self._say = say
        self._key = load_or_create(data / "keys", "edge")
        self._stratum = place_stratum(config, lan=lan)
        self._edge: EdgePart | None = None
        self._terms: TermsFollower | None = None
        self._archived = Archived(pool)
        self._clock = WallClock()
        self._drained = anyio.Event()

    async def run(self, stopped: Callable[[], Awaitable[None]]) -> None:
        """Wait until the terms name this edge, then serve miners until stopped or drained.

        Raises NoncestrError when the terms name it no more.
        """
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            bridge = RelayBridge(
                self._relays,
                outbox_path=self._data / "outbox.sqlite",
                quorum=self._config.relay.quorum,
                social=self._config.relay.social,
                social_quorum=self._config.relay.social_quorum,
                signer=self._key,
                # The terms promise the log for good.
                retention_s=FOREVER_S,
                chain_of=chains_of(self._pool, self._speakers),
                keep=kept([self._key.pubkey], self._archived.periods),
            )
            await enter(running(bridge.run))
            stack.push_async_callback(self._flush, bridge)
            terms = TermsFollower(self._data / "terms.json", self._pool, BridgeFeed(bridge))
            self._terms = terms
            await enter(running(terms.run))
            await enter(looping(self._archived.follow, BridgeFeed(bridge), terms))
            clock = EdgeClock(self._pool, terms, BridgeFeed(bridge), self._clock, anyio.current_time)
            await enter(looping(clock.watch))
            await enter(looping(watch_cut, bridge, terms, anyio.current_time))
            self._introduce()
            left_out = False
            while not left_out:
                await first_of(stopped, lambda: self._may_serve(terms, clock))
                if not self._is_named(terms) or clock.is_off:
                    break
                if await self._serve_while(stopped, terms, bridge, clock):
                    break
                left_out = not self._is_named(terms)
            self._say("stopping ...")
        self._say("stopped; everything is kept in " + str(self._data))
        if left_out:
            raise NoncestrError("the pool's terms name this edge no more: what is mined here would not be credited")

    async def _serve_while(
        self, stopped: Callable[[], Awaitable[None]], terms: TermsFollower, bridge: RelayBridge, clock: EdgeClock
    ) -> bool:
        """Serve miners until something changes; whether it is over then."""
        over = False

        async def told_to_end() -> None:
            nonlocal over
            await first_of(stopped, self._drained.wait)
            over = True

        async with AsyncExitStack() as serving:
            plan = await self._serve(serving, terms, bridge, clock)
            await first_of(
                told_to_end, lambda: self._no_longer_served(terms, plan.lanes), lambda: clock.until(off=True)
            )
            if not over and clock.is_off:
                self._say("the clock is too far from the pool's: miners are let go until it is set")
            elif not over and self._is_named(terms):
                self._say("a lane was closed by the pool: miners are let go for a moment, another lane is begun")
        self._edge = None
        return over

    async def _no_longer_served(self, terms: TermsFollower, lanes: Collection[int]) -> None:
        """Return once the terms leave this edge out, or close one of its lanes."""
        names = {f"{self._key.pubkey}/{number}" for number in lanes}
        while self._is_named(terms) and not names & terms.current().body.closed.keys():
            await terms.changed(terms.current().id)

    # Who we are

    def _speakers(self) -> frozenset[str]:
        """Whose chains are watched: those of the keys that the terms name, and ours."""
        try:
            named = () if self._terms is None else self._terms.current().body.keys
        except LookupError:
            named = ()
        return frozenset({self._key.pubkey, self._pool.pubkey, *(key for key, _ in named)})

    def _introduce(self) -> None:
        self._say(f"edge npub: {encode_npub(self._key.pubkey)}")
        self._say(f"edge hex:  {self._key.pubkey}")
        self._say(f"of the {self._pool.network} pool {encode_npub(self._pool.pubkey)}, over {', '.join(self._relays)}")

    def _is_named(self, terms: TermsFollower) -> bool:
        try:
            return self._key.pubkey in terms.current().body.keys_of("edge")
        except LookupError:
            return False

    async def _may_serve(self, terms: TermsFollower, clock: EdgeClock) -> None:
        """Return once the pool's terms name this edge and its clock is right; say once a minute what is waited for."""
        while not self._is_named(terms) or clock.is_off:
            if self._is_named(terms):
                self._say("waiting: the clock is too far from the pool's")
                await clock.until(off=False)
                continue
            try:
                known = terms.current().id
                missing = "the pool's terms do not name this edge: its operator puts the npub into [edge] keys"
            except LookupError:
                known = ""
                missing = "no terms of the pool were seen on its relays yet"
            self._say(f"waiting: {missing}")
            with anyio.move_on_after(REMIND_S):
                await terms.changed(known)

    # Serving

    @asynccontextmanager
    async def _chain(self) -> AsyncIterator[TemplateSource]:
        if self._chain_of is not None:
            if self._pool.network != REGTEST:
                raise NoncestrError("--chain-of is for regtest: other networks need [chain] source and [node]")
            house = HouseClient(self._chain_of / CHAIN_SOCKET)
            async with running(house.run):
                yield house.source
        elif self._config.chain.source == "embedded":
            raise NoncestrError(
                'an edge mines on its pool\'s chain: [chain] source = "bitcoind" and [node] name a node of it; on'
                " regtest, --chain-of the data folder of a pool on this machine"
            )
        else:
            async with open_source(self._config, self._data, WallClock()) as source:
                yield source

    async def _serve(
        self, stack: AsyncExitStack, terms: TermsFollower, bridge: RelayBridge, clock: EdgeClock
    ) -> LanePlan:
        enter = stack.enter_async_context
        await bridge.flush(FLUSH_S)
        edge, workers = self._key.pubkey, self._config.edge.workers
        closed = terms.current().body.closed
        plan = await plan_lanes(bridge, edge, self._pool, self._data / "journal", workers, closed)
        if plan.closed:
            names = ", ".join(f'"{encode_npub(edge)}/{name.partition("/")[2]}"' for name in plan.closed)
            self._say(f"a journal is gone: statements wait until the pool's [edge] closed holds {names}")
        settings = SettingsFollower(self._data, self._pool.pubkey, BridgeFeed(bridge), self._clock.now_ms)
        await enter(running(settings.run))
        around = Surroundings(
            data=self._data,
            pool=self._pool,
            signer=self._key,
            source=ClockedSource(await enter(self._chain()), self._clock, clock.check),
            terms=terms,
            publisher=bridge,
            clock=self._clock,
            log=self._config.log,
            privacy=settings,
            names=await enter(open_names(self._data / NAMES, self._clock.now_ms)),
            payability=RelayPayability(
                bridge, self._relays, self._clock.now_ms, allow_http_loopback=self._pool.network == REGTEST
            ),
        )
        control = self._config.edge.control
        desk = Desk(lambda: {"clock": clock.check.plain(clock.anchor_ms, clock.mono_ms())})
        self._edge = await start_edge(
            stack, around, self._edge_config(), plan, bridge, control, self._drained.set, desk
        )
        await enter(looping(account_for_closed, around, bridge, closed))
        if self._config.social.profiles:
            now_s = self._clock.now_ms() // 1000
            name = encode_npub(self._pool.pubkey)[:SHOWN_NPUB]
            await bridge.publish(self._key.sign(delegate_profile(self._pool, "edge", now_s, name=name)))
            await bridge.publish(self._key.sign(relay_list(now_s, self._relays, self._config.relay.social)))
        calm()
        await enter(looping(collect_calmly))
        if self._stratum.moved:
            self._say(f"port {self._stratum.asked} is busy: the Stratum port is {self._stratum.port}")
        self._say(f"Stratum: stratum+tcp://{reachable(self._stratum.host)}:{self._stratum.port}")
        return plan

    def _edge_config(self) -> EdgeConfig:
        return edge_config(self._config, self._stratum, self._pool.pubkey, lan=self._lan)

    async def reload(self, config: Config) -> None:
        """Go by a new configuration's ports, limits, certificates and log level.

        Raises NoncestrError, EdgeError, ValueError or OSError, and then all is as it was.
        """
        if self._edge is None:
            raise NoncestrError("the edge does not serve miners yet")
        warn_of_restart(self._config, config)
        before = self._config, self._stratum
        self._config = reloaded(self._config, config)
        try:
            self._stratum = move_stratum(self._stratum, before[0], config, lan=self._lan)
            await self._edge.reload(self._edge_config(), config.log)
        except BaseException:
            self._config, self._stratum = before
            raise
        set_level(config.log.level)

    async def _flush(self, bridge: RelayBridge) -> None:
        if not await bridge.flush(FLUSH_S):
            self._say("some events have not reached their relays yet: they are kept and sent at the next start")


async def run_edge(
    config: Config,
    data: Path,
    *,
    pool: PoolAddress,
    relays: tuple[str, ...],
    chain_of: Path | None,
    lan: bool,
    say: Say,
    reread: Callable[[], Config],
) -> None:
    """Run an edge until SIGINT or SIGTERM; SIGHUP goes by `reread`. Raises NoncestrError."""
    with only_one(data):
        await wait_for_orphans(data / "journal")
        lone = LoneEdge(config, data, pool=pool, relays=relays, chain_of=chain_of, lan=lan, say=say)
        await run_until_signal(lone.run, lone.reload, reread)
