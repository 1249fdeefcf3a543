"""Where the bridge knows from what a relay should have: the embedded relay's store, or another relay."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from nips.nip01 import Event, Filter, decode_event
from relay_bridge.adapters.reading import SILENCE_SECONDS, all_pages, by_ids
from relay_bridge.adapters.relay_link import RelayLink
from relay_bridge.errors import TooManyRecords
from relay_bridge.ports import EventStore

_NAME = "refill"


class Truth(Protocol):
    """A place that has the log."""

    async def newest(self, asked: Filter) -> int | None:
        """The created_at of the newest event that matches, None if there is none."""

    async def records(self, asked: Filter, most: int) -> list[tuple[int, str]]:
        """(created_at, id) of all that match. Raises TooManyRecords if that is more than `most`."""

    async def events(self, ids: Sequence[str]) -> list[Event]:
        """The events of these ids that it has, unverified."""


class StoreTruth:
    """The store of a relay in this process. Raises StoreError."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def newest(self, asked: Filter) -> int | None:
        """See `Truth.newest`."""
        found = await self._store.query([msgspec.structs.replace(asked, limit=1)], default_limit=1, max_limit=1)
        return decode_event(found[0][1]).created_at if found else None

    async def records(self, asked: Filter, most: int) -> list[tuple[int, str]]:
        """See `Truth.records`."""
        return await self._store.records(asked, most=most)

    async def events(self, ids: Sequence[str]) -> list[Event]:
        """See `Truth.events`."""
        count = len(ids)
        found = await self._store.query([Filter(ids=frozenset(ids))], default_limit=count, max_limit=count)
        return [decode_event(text) for _, text in found]


class RelayTruth:
    """Another relay. Raises RelayGone, RequestClosed, RelayMisbehaved."""

    def __init__(self, link: RelayLink) -> None:
        self._link = link

    async def newest(self, asked: Filter) -> int | None:
        """See `Truth.newest`."""
        page = await self._link.page(_NAME, msgspec.structs.replace(asked, limit=1), silence_s=SILENCE_SECONDS)
        return max((event.created_at for event in page), default=None)

    async def records(self, asked: Filter, most: int) -> list[tuple[int, str]]:
        """See `Truth.records`."""
        found: list[tuple[int, str]] = []
        async for page in all_pages(self._link, _NAME, (asked,), silence_s=SILENCE_SECONDS):
            found += [(event.created_at, event.id) for event in page]
            if len(found) > most:
                raise TooManyRecords(f"more than {most} events match")
        return found

    async def events(self, ids: Sequence[str]) -> list[Event]:
        """See `Truth.events`."""
        return [event async for page in by_ids(self._link, _NAME, ids, silence_s=SILENCE_SECONDS) for event in page]
