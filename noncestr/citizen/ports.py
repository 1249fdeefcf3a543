"""What the citizen is and works with: its identity, the relays, the time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from nips.keys import AsyncSigner, SecretKey
from nips.nip01 import Filter, VerifiedEvent
from nips.pool.address import PoolAddress

# What the relays are waited for when something is looked up.
FETCH_S: Final = 5.0
# After a failure.
RETRY_S: Final = 5.0


# Sends a test of its notices to a miner (hex); what is to be answered.
Test = Callable[[str], Awaitable[str]]


class Feed(Protocol):
    """The relays."""

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Durable when it returns."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What they have stored."""

    def subscribe(self, filters: Sequence[Filter], *, name: str) -> AbstractAsyncContextManager[AsyncIterator[object]]:
        """Deliveries, among other things."""


class Clock(Protocol):
    """The time."""

    def now_ms(self) -> int:
        """Unix ms."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks: the pool's key, its name and network, all keys of the pool, where it is found. `secret`: the key if
    it is at hand; private messages are opened with it, and without it nobody reads them.
    """

    key: AsyncSigner
    secret: SecretKey | None
    name: str
    pool: PoolAddress
    own: frozenset[str]
    stratum_url: str
    web: str | None
    relay: str
