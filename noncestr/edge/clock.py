"""An edge's clock check at work: fed by the pool's events and by the templates that pass."""

import logging
from collections.abc import Callable
from typing import Final, Protocol

import anyio

from nips.nip01 import VerifiedEvent, make_filter
from nips.pool.address import PoolAddress
from nips.pool.kinds import BALANCE, PAYOUT, STATEMENT, STATISTICS, STATUS, SUMMARY
from noncestr.edge.clock_check import ClockCheck
from noncestr.feed import BridgeFeed, Delivery
from noncestr.running import first_of
from noncestr.terms.follower import TermsFollower
from stratum_edge.ports import Submitted, Template, TemplateSource, Tip

log = logging.getLogger("noncestr.clock")

# What accounting and payouts sign as it happens, by the clock of the pool's own host.
PROMPT: Final = (STATEMENT, STATUS, SUMMARY, PAYOUT, STATISTICS, BALANCE)
# How often it is looked whether there is something to say or to do.
LOOK_S: Final = 1.0


class Clock(Protocol):
    """Unix time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        ...


class EdgeClock:
    """Watches the clock of a host that is not the pool's."""

    def __init__(
        self, pool: PoolAddress, terms: TermsFollower, feed: BridgeFeed, clock: Clock, mono: Callable[[], float]
    ) -> None:
        """`mono`: seconds of a clock that nobody sets."""
        self.check = ClockCheck()
        self._pool = pool
        self._terms = terms
        self._feed = feed
        self._clock = clock
        self._mono = mono

    def mono_ms(self) -> int:
        """The monotonic clock."""
        return round(self._mono() * 1000)

    @property
    def anchor_ms(self) -> int:
        """The bound, as the terms in force say. Raises LookupError before there are any."""
        return self._terms.current().body.limits.anchor_ms

    @property
    def is_off(self) -> bool:
        """Whether nobody may mine by this clock."""
        return self.check.is_off(self.anchor_ms, self.mono_ms())

    async def watch(self) -> None:
        """Follow the pool's events, and say what is new; until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow)
            while True:
                await anyio.sleep(LOOK_S)
                try:
                    text = self.check.news(self.anchor_ms, self.mono_ms())
                except LookupError:
                    continue
                if text:
                    log.warning("%s", text)

    async def until(self, *, off: bool) -> None:
        """Return as soon as the clock is off, or is not."""
        while self.is_off != off:  # noqa: ASYNC110 - a clock has no event to wait for
            await anyio.sleep(LOOK_S)

    async def _follow(self) -> None:
        while True:
            terms = await self._terms.changed("")
            keys = terms.body.keys_of("accounting") | terms.body.keys_of("zapper")
            await first_of(lambda: self._terms.changed(terms.id), lambda: self._hear(keys))  # noqa: B023 - ends in here

    async def _hear(self, keys: frozenset[str]) -> None:
        wanted = make_filter(kinds=list(PROMPT), authors=sorted(keys), tags={"a": [str(self._pool)]}, limit=1)
        live = False
        async with self._feed.subscribe([wanted], name="clock") as items:
            async for item in items:
                if not isinstance(item, Delivery):
                    live = True
                elif live:
                    self._take(item.event)

    def _take(self, event: VerifiedEvent) -> None:
        self.check.hear_pool(event.created_at, self._clock.now_ms(), self.mono_ms())


class ClockedSource:
    """A `TemplateSource` whose templates' times are noted."""

    def __init__(self, source: TemplateSource, clock: Clock, check: ClockCheck) -> None:
        self._source = source
        self._clock = clock
        self._check = check

    @property
    def network(self) -> str:
        """The chain's name."""
        return self._source.network

    async def template(self) -> Template:
        """A template on top of the tip. Raises SourceUnavailable."""
        return self._note(await self._source.template())

    async def quick_template(self) -> Template | None:
        """One without transactions, if it can be had at once."""
        return await self._source.quick_template()

    async def wait_tip(self, known: bytes) -> Tip:
        """The tip, as soon as it is another."""
        return await self._source.wait_tip(known)

    def tip(self) -> Tip:
        """The newest tip. Raises SourceUnavailable."""
        return self._source.tip()

    async def submit(self, block: bytes) -> Submitted:
        """Hand a block in."""
        return await self._source.submit(block)

    async def confirmations(self, block_hash: bytes) -> int | None:
        """How deep a block is in the chain."""
        return await self._source.confirmations(block_hash)

    def lost_s(self) -> float:
        """How long no node has answered."""
        return self._source.lost_s()

    def _note(self, template: Template) -> Template:
        self._check.hear_node(template.curtime, template.mintime, self._clock.now_ms())
        return template
