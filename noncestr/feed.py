"""The relay bridge in the shape accounting and zapper ask for: deliveries that carry their event by name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nips.nip01 import Filter, VerifiedEvent
from relay_bridge.service import EndOfStored, RelayBridge


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of a subscription."""

    event: VerifiedEvent


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
    async def subscribe(self, filters: Sequence[Filter], *, name: str) -> AsyncIterator[AsyncIterator[object]]:
        """Stored events, one `EndOfStored`, live events."""
        async with self._bridge.subscribe(filters, name=name) as items:

            async def deliveries() -> AsyncIterator[object]:
                async for item in items:
                    yield item if isinstance(item, EndOfStored) else Delivery(item)

            yield deliveries()
