"""What the relay's core and server need of the outside."""

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from nips.nip01 import Event, Filter, VerifiedEvent
from relay_bridge.refusal import Refusal


class Held(NamedTuple):
    """What a reader that resumes has on its own disk: how many events, and the newest created_at (Unix s) of them.

    More than that it can't have taken: if it is noted to have, its disk was lost or put back to an older state.
    """

    events: int
    newest_s: int


class Outcome(enum.Enum):
    """What became of an event that was put into the store."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    # A newer event of the same address is there already.
    SUPERSEDED = "superseded"
    # Its author has asked for its deletion before (NIP-09).
    DELETED = "deleted"
    # The disk or the database failed: nothing is promised.
    FAILED = "failed"


class EventStore(Protocol):
    """Keeps events. All times are Unix seconds, all events are JSON text as relays send it."""

    def put(self, event: VerifiedEvent, done: Callable[[Outcome], None]) -> None:
        """Store the event; `done` is called on the event loop, and with STORED only after the event is on disk."""

    async def query(self, filters: Sequence[Filter], *, default_limit: int, max_limit: int) -> list[tuple[str, str]]:
        """(id, JSON) of what matches any of the filters: newest first, ties lowest id first, none twice.

        A filter's own `limit`, else `default_limit`, bounds what it brings, and never above `max_limit`.
        Raises QueryTooSlow, StoreError.
        """

    async def count(self, filters: Sequence[Filter]) -> int:
        """How many stored events match any of the filters. Raises QueryTooSlow, StoreError."""

    async def records(self, asked: Filter, *, most: int) -> list[tuple[int, str]]:
        """(created_at, id) of what matches, in no order; the filter's `limit` plays no part.

        Raises TooManyRecords if that is more than `most`, QueryTooSlow, StoreError.
        """


class Policy(Protocol):
    """Decides which events the relay takes."""

    def screen(self, event: Event, *, size: int, now_ms: int) -> Refusal | None:
        """What can be said before the signature is checked. `size` is the event's JSON in bytes."""

    def charge(self, event: VerifiedEvent, *, source: str, now_ms: int) -> Refusal | None:
        """Count a verified event against its author and its `source` (a peer's address)."""
