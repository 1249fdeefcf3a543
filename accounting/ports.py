"""What the accounting asks of the rest of the pool: a way to and from the relays, and the chain."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from nips.nip01 import Filter, VerifiedEvent


class Held(NamedTuple):
    """What is on our disk: how many events, and the newest created_at (Unix s) of them."""

    events: int
    newest_s: int


# A live question to the relays: an async context manager that gives an iterator once entered. Items that carry an
# `event` (VerifiedEvent) are deliveries: first what is stored, then one item without an `event` once every reachable
# relay has sent what it has, then what is new. None comes twice. A delivery may carry `stored`, a function without
# arguments that is called once its event is on our disk: what was not told so comes again after a restart.
Subscription = AbstractAsyncContextManager[AsyncIterator[object]]


class EventFeed(Protocol):
    """The relays, verified, deduplicated and in order."""

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Take the event over for good: it returns once the event is on disk. Events of one `chain` are sent in order;
        the same id twice is one event.
        """

    def subscribe(self, filters: Sequence[Filter], *, name: str, held: Held | None = None) -> Subscription:
        """What matches any of the filters, stored and live. `held`: what of it is on our disk by the feed's count of
        `stored`; nothing of that comes again, and everything does if we hold less than the feed has counted.
        """

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What is stored and matches, whole, oldest first. Raises an Exception when no relay answered."""


class ChainView(Protocol):
    """The block chain, as far as a reward's fate asks."""

    async def confirmations(self, block_hash: bytes) -> int | None:
        """1 for the tip and more below it, -1 for a block off the chain, None for one never seen.

        `block_hash`: 32 bytes in serialisation order.
        """

    def height(self) -> int:
        """The tip's height."""


class Funds(Protocol):
    """A place of the pool's money."""

    @property
    def name(self) -> str:
        """One word, of few in all: it stands in the hourly summaries."""

    @property
    def interval_s(self) -> float:
        """How often it can be asked."""

    async def balance_msat(self) -> int:
        """What can be spent there now. Raises an Exception when it can't be told."""
