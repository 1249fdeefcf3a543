"""The relay bridge in the shape accounting and zapper ask for: deliveries that carry their event by name."""

import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nips.nip01 import Filter, VerifiedEvent
from relay_bridge.adapters.subscription import EndOfStored
from relay_bridge.ports import Held
from relay_bridge.service import RelayBridge


def _nothing() -> None:
    """Nobody keeps what this reader has taken."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of a subscription. `stored`: to be called once the event is on the reader's disk, if it resumes."""

    event: VerifiedEvent
    stored: Callable[[], None] = _nothing


class BridgeFeed:
    """An `EventFeed` (accounting.ports, zapper.ports) over a RelayBridge."""

    def __init__(self, bridge: RelayBridge) -> None:
        self._bridge = bridge

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Durable in the outbox when it returns."""
        await self._bridge.publish(event, chain=chain)

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What the relays have stored."""
        return await self._bridge.fetch(filters, timeout_s=timeout_s)

    @asynccontextmanager
    async def subscribe(
        self, filters: Sequence[Filter], *, name: str, held: tuple[int, int] | None = None
    ) -> AsyncIterator[AsyncIterator[object]]:
        """Stored events, one `EndOfStored`, live events. `held`: what a reader that resumes has on its disk, as
        (events, newest created_at): it gets, in the order of chains, what it has not yet said to be stored.
        """
        has = None if held is None else Held(*held)
        subscription = self._bridge.subscribe(
            filters, name=name, ordered=has is not None, resume=has is not None, held=has
        )
        async with subscription as items:

            async def deliveries() -> AsyncIterator[object]:
                async for item in items:
                    if isinstance(item, EndOfStored):
                        yield item
                    else:
                        yield Delivery(item, functools.partial(subscription.stored, item))

            yield deliveries()
