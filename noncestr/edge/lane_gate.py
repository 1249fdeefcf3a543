"""The accounting's feed with a gate in it: while a lane is being closed, nothing of its edge gets past.

Else the accounting could state a reward with a batch that new terms, signed in the same moment, have made void: the
pool would contradict itself. What was held back follows the terms that close the lane.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Protocol

from nips.nip01 import Filter, VerifiedEvent
from nips.pool.kinds import TERMS
from noncestr.feed import Delivery


class Hold:
    """A gate that is shut for what some keys (hex) sign."""

    def __init__(self, edges: Collection[str]) -> None:
        self.edges = frozenset(edges)
        self.event_id = ""
        self.left = False

    def until(self, terms_id: str) -> None:
        """Keep it shut, after the block is left too, until these terms have passed."""
        self.event_id = terms_id


class Feed(Protocol):
    """A `BridgeFeed`, as far as this goes."""

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Durable in the outbox when it returns."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What the relays have stored."""

    def subscribe(
        self, filters: Sequence[Filter], *, name: str, held: tuple[int, int] | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[object]]:
        """Stored events, one end-of-stored, live events; `held`: what a reader that resumes has on its disk."""


class GatedFeed:
    """An `accounting.ports.EventFeed`; `pool` signs the terms (hex), `hear` is told of every event that came live."""

    def __init__(self, feed: Feed, pool: str, hear: Callable[[VerifiedEvent], None]) -> None:
        self._feed = feed
        self._pool = pool
        self._hear = hear
        self._holds: list[Hold] = []
        self._kept: list[Delivery] = []
        # Terms that passed: those that close a lane may be here before `until` names them.
        self._terms: set[str] = set()

    @contextmanager
    def hold(self, edges: Collection[str]) -> Iterator[Hold]:
        """Keep back what these keys (hex) sign from now on."""
        hold = Hold(edges)
        self._holds.append(hold)
        try:
            yield hold
        finally:
            hold.left = True

    def _is_held(self, pubkey: str) -> bool:
        self._holds = [hold for hold in self._holds if not (hold.left and self._is_over(hold))]
        return any(pubkey in hold.edges for hold in self._holds)

    def _is_over(self, hold: Hold) -> bool:
        return not hold.event_id or hold.event_id in self._terms

    def _freed(self) -> list[Delivery]:
        freed = [kept for kept in self._kept if not self._is_held(kept.event.pubkey)]
        self._kept = [kept for kept in self._kept if self._is_held(kept.event.pubkey)]
        return freed

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Durable in the outbox when it returns."""
        await self._feed.publish(event, chain=chain)

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What the relays have stored."""
        return await self._feed.fetch(filters, timeout_s=timeout_s)

    @asynccontextmanager
    async def subscribe(
        self, filters: Sequence[Filter], *, name: str, held: tuple[int, int] | None = None
    ) -> AsyncIterator[AsyncIterator[object]]:
        """Stored events, one end-of-stored, live events, less what is held back: its reader has not stored that."""
        async with self._feed.subscribe(filters, name=name, held=held) as items:

            async def passing() -> AsyncIterator[object]:
                live = False
                async for item in items:
                    for freed in self._freed():
                        yield freed
                    if not isinstance(item, Delivery):
                        live = True
                        yield item
                        continue
                    if live:
                        self._hear(item.event)
                    if self._is_held(item.event.pubkey):
                        self._kept.append(item)
                        continue
                    yield item
                    if item.event.kind == TERMS and item.event.pubkey == self._pool:
                        self._terms.add(item.event.id)

            yield passing()
