"""Going on after a restart: what one relay has and a reader has not taken, whenever it came and however it is dated.

Three nets, each wider and slower than the one before:
    1. on connecting    negentropy over everything (NIP-77); without it, all from a little before the newest taken
    2. right after      without negentropy: every span of days is counted (NIP-45), and read when the relay has more
    3. later            the newest span every ten minutes, everything once a day; a relay that neither reconciles nor
                        counts is read whole once a day, slowly
So an event that came late, or was dated back, is found at once at relays that reconcile or count, else within a day.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import anyio

from nips.nip01 import Event
from relay_bridge.adapters.arrival_store import Arrivals
from relay_bridge.adapters.reading import SILENCE_SECONDS, all_pages, in_span, missing
from relay_bridge.adapters.relay_link import RelayLink

_log = logging.getLogger("relay_bridge")
# Read again before the newest seen: relays accept events dated up to 900 s ahead, so what is new may be so much older.
OVERLAP_SECONDS = 900
# Taken events in one comparison: 5 MB of records, and within the 60,000 bytes of one message some 15 turns.
SLICE_RECORDS = 50_000
# The newest span again: what a relay dropped from the live feed (rust-nostr's does for slow readers) is found by then.
NEWEST_SECONDS = 600.0
# Everything again: numbers may agree by chance, and relays are filled from others.
WHOLE_SECONDS = 24 * 3600
# Between two spans of a whole comparison, so that a relay and a reader do other things too.
PAUSE_SECONDS = 1.0

Deliver = Callable[[str, Sequence[Event]], Awaitable[None]]


class CatchUp:
    """What one reader reads from relays besides the live feed."""

    def __init__(self, name: str, arrivals: Arrivals, deliver: Deliver) -> None:
        self._name = name
        self._arrivals = arrivals
        self._deliver = deliver

    async def begin(self, link: RelayLink) -> int:
        """Deliver what is new there, as far as that is told quickly; the newest created_at read.

        Raises as `all_pages`.
        """
        cursor = await self._arrivals.cursor(link.url)
        if link.limits.reconciles and await self._arrivals.total():
            return max(cursor or 0, await self._compare(link, pause_s=0))
        filters = self._arrivals.filters
        if cursor is not None:
            filters = tuple(in_span(each, max(cursor - OVERLAP_SECONDS, 0), None) for each in filters)
        newest = cursor or 0
        async for page in all_pages(link, self._name, filters, silence_s=SILENCE_SECONDS):
            await self._deliver(link.url, page)
            newest = max([newest, *(event.created_at for event in page)])
        return newest

    async def go_on(self, link: RelayLink) -> None:
        """Compare again and again, until cancelled. Raises as `all_pages`."""
        if link.limits.counts and not link.limits.reconciles:
            await self._compare(link, pause_s=0)
        while True:
            since_s = int(time.time()) - await self._arrivals.compared_s(link.url)
            if since_s >= WHOLE_SECONDS:
                await self._compare(link, pause_s=PAUSE_SECONDS)
                await self._arrivals.set_compared(link.url, int(time.time()))
            await anyio.sleep(NEWEST_SECONDS)
            for part in range(len(self._arrivals.filters)):
                newest = (await self._arrivals.slices(part, SLICE_RECORDS))[0]
                await self._compare_span(link, part, *newest)

    async def _compare(self, link: RelayLink, *, pause_s: float) -> int:
        newest = 0
        for part in range(len(self._arrivals.filters)):
            for since, until in await self._arrivals.slices(part, SLICE_RECORDS):
                newest = max(newest, await self._compare_span(link, part, since, until))
                await anyio.sleep(pause_s)
        return newest

    async def _compare_span(self, link: RelayLink, part: int, since: int | None, until: int | None) -> int:
        newest = 0
        async for page in missing(link, self._name, self._arrivals, part, since, until):
            await self._deliver(link.url, page)
            newest = max([newest, *(event.created_at for event in page)])
        return newest
