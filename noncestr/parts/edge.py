"""`noncestr edge run`: an edge of somebody's pool on a host of its own, with a key of its own.

It shares nothing with the pool but relays: terms come from them, jobs, receipts and blocks go to them.
"""

from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import anyio

from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from noncestr.alerts.part_watch import watch_part
from noncestr.books.settings_follower import SettingsFollower
from noncestr.books.treasury_parts import report_edge_funds
from noncestr.config.sections import Config
from noncestr.edge.clock import ClockedSource, EdgeClock
from noncestr.edge.closed_lanes import account_for_closed
from noncestr.edge.control import Desk
from noncestr.edge.cut_off import watch_cut
from noncestr.edge.edges import EdgePart
from noncestr.edge.files import NAMES
from noncestr.edge.lanes import LanePlan, plan_lanes, wait_for_orphans
from noncestr.edge.parts import Surroundings, edge_config, start_edge
from noncestr.errors import NoncestrError
from noncestr.garbage import calm, collect_calmly
from noncestr.lifetime import run_until_signal
from noncestr.logs import set_level
from noncestr.outpost import REMIND_S, Outpost, reach_chain
from noncestr.payouts.payability import RelayPayability
from noncestr.places import move_stratum, place_stratum, reachable
from noncestr.reloads import reloaded, warn_of_restart
from noncestr.running import first_of, looping, only_one, running
from noncestr.terms.follower import TermsFollower
from noncestr.terms.promises import REGTEST
from relay_bridge.service import RelayBridge
from stratum_edge.adapters.nip05_names import open_names
from stratum_edge.config import EdgeConfig

# How long the last events may take to reach the relays when the edge starts.
FLUSH_S: Final = 5.0
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
        self._outpost = Outpost(config, data, pool=pool, relays=relays, role="edge", say=say)
        assert self._outpost.key is not None
        self._key = self._outpost.key
        self._stratum = place_stratum(config, lan=lan)
        self._edge: EdgePart | None = None
        self._clock = self._outpost.clock
        self._drained = anyio.Event()

    async def run(self, stopped: Callable[[], Awaitable[None]]) -> None:
        """Wait until the terms name this edge, then serve miners until stopped or drained.

        Raises NoncestrError when the terms name it no more.
        """
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            await enter(self._outpost.reached())
            bridge, terms = self._outpost.bridge, self._outpost.terms
            clock = EdgeClock(self._pool, terms, self._outpost.feed, self._clock, anyio.current_time)
            await enter(looping(clock.watch))
            await enter(looping(watch_cut, bridge, terms, anyio.current_time))
            left_out = False
            while not left_out:
                await first_of(stopped, lambda: self._may_serve(terms, clock))
                if not self._outpost.is_named or clock.is_off:
                    break
                if await self._serve_while(stopped, terms, bridge, clock):
                    break
                left_out = not self._outpost.is_named
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
            elif not over and self._outpost.is_named:
                self._say("a lane was closed by the pool: miners are let go for a moment, another lane is begun")
        self._edge = None
        return over

    async def _no_longer_served(self, terms: TermsFollower, lanes: Collection[int]) -> None:
        """Return once the terms leave this edge out, or close one of its lanes."""
        names = {f"{self._key.pubkey}/{number}" for number in lanes}
        while self._outpost.is_named and not names & terms.current().body.closed.keys():
            await terms.changed(terms.current().id)

    async def _may_serve(self, terms: TermsFollower, clock: EdgeClock) -> None:
        """Return once the pool's terms name this edge and its clock is right; say once a minute what is waited for."""
        while not self._outpost.is_named or clock.is_off:
            if self._outpost.is_named:
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
        settings = SettingsFollower(self._data, self._pool.pubkey, self._outpost.feed, self._clock.now_ms)
        await enter(running(settings.run))
        chain = await enter(reach_chain(self._config, self._data, self._pool, self._chain_of))
        around = Surroundings(
            data=self._data,
            pool=self._pool,
            signer=self._key,
            source=ClockedSource(chain, self._clock, clock.check),
            terms=terms,
            publisher=bridge,
            clock=self._clock,
            log=self._config.log,
            privacy=settings,
            names=await enter(open_names(self._data / NAMES, self._clock.now_ms)),
            payability=RelayPayability(
                bridge, self._relays, self._clock.now_ms, allow_http_loopback=self._pool.network == REGTEST
            ),
            stratum=lambda: self._stratum,
        )
        control = self._config.edge.control
        desk = Desk(lambda: {"clock": clock.check.plain(clock.anchor_ms, clock.mono_ms())})
        self._edge = await start_edge(
            stack, around, self._edge_config(), plan, bridge, control, self._drained.set, desk
        )
        await enter(looping(account_for_closed, around, bridge, closed))
        await report_edge_funds(stack, self._outpost)
        await watch_part(stack, "edge", self._config, self._data, bridge, self._clock, edge=self._edge.status)
        await self._outpost.publish_profile()
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
