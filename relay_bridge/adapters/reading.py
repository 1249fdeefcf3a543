"""Reading what one relay has stored: page by page, by id, or only what we do not have."""

import logging
from collections.abc import AsyncIterator, Sequence

import anyio.to_thread
import msgspec

from nips.negentropy import RecordSet
from nips.nip01 import MAX_SAFE_INTEGER, Event, Filter
from relay_bridge.adapters.arrival_store import Arrivals
from relay_bridge.adapters.relay_link import RelayLink
from relay_bridge.errors import RelayMisbehaved, RequestClosed
from relay_bridge.inbox import Checked, check_all
from relay_bridge.paging import Pager, by_kind

_log = logging.getLogger("relay_bridge")
# How long a relay may be silent while we wait for its stored events.
SILENCE_SECONDS = 10.0
# Fewer events are verified in place: the switch to a thread costs as much as some ten signatures.
_THREAD_FROM = 24
# Ids in one request. nostream allows 1,000 values in a filter; answers of 100 receipts stay below 6 MB.
IDS_AT_ONCE = 100


async def check_page(events: Sequence[Event]) -> list[Checked]:
    """Verify events, many of them in a worker thread so that the loop goes on."""
    if len(events) < _THREAD_FROM:
        return check_all(events)
    return await anyio.to_thread.run_sync(check_all, events)


async def all_pages(
    link: RelayLink, name: str, filters: Sequence[Filter], *, silence_s: float
) -> AsyncIterator[list[Event]]:
    """What the relay has stored for the filters, page after page, unverified; a page holds what is new in it, but for
    seconds that hold more than the relay gives at once.

    Raises RelayGone, RequestClosed, RelayMisbehaved.
    """
    for asked in filters:
        pager = Pager(asked, page_limit=link.limits.page)
        while (page := pager.next_filter()) is not None:
            yield pager.take(await link.page(name, page, silence_s=silence_s))
        if pager.crowded:
            _log.warning("%s may hold more events than it gives for the seconds %s", link.url, pager.crowded)
        # Whoever floods a second with one kind hides no others in it; what numbered chains then lack is asked for by
        # their keys (relay_bridge.adapters.repair). Events may come again.
        for second in pager.crowded:
            for question in by_kind(asked, second):
                yield await link.page(name, question, silence_s=silence_s)


async def by_ids(link: RelayLink, name: str, ids: Sequence[str], *, silence_s: float) -> AsyncIterator[list[Event]]:
    """The events of these ids that the relay has, unverified. Raises as `all_pages`."""
    at_once = min(IDS_AT_ONCE, link.limits.page)
    for start in range(0, len(ids), at_once):
        some = frozenset(ids[start : start + at_once])
        yield await link.page(name, Filter(ids=some, limit=len(some)), silence_s=silence_s)


def in_span(asked: Filter, since: int | None, until: int | None) -> Filter:
    """The filter, for events created in these seconds (both included; None: without bound)."""
    lower = [bound for bound in (asked.since, since) if bound is not None]
    upper = [bound for bound in (asked.until, until) if bound is not None]
    return msgspec.structs.replace(asked, since=max(lower, default=None), until=min(upper, default=None))


async def missing(
    link: RelayLink, name: str, arrivals: Arrivals, part: int, since: int | None, until: int | None
) -> AsyncIterator[list[Event]]:
    """What the relay has of a span and we have not taken, unverified, and as little more as the relay allows.

    By negentropy where the relay offers it (NIP-77). Else by number where it counts (NIP-45): as many as we have, or
    fewer, means nothing new. Else, or if there are more, all of it. Raises as `all_pages`.
    """
    asked = in_span(arrivals.filters[part], since, until)
    span = (since or 0, MAX_SAFE_INTEGER if until is None else until)
    if link.limits.reconciles:
        records = await arrivals.records(part, *span)
        ours = await anyio.to_thread.run_sync(RecordSet, records)
        try:
            _, need = await link.reconcile(name, asked, ours, silence_s=SILENCE_SECONDS)
        except (RequestClosed, RelayMisbehaved) as error:
            _log.info("%s, reading pages instead", error)
        else:
            async for page in by_ids(link, name, need, silence_s=SILENCE_SECONDS):
                yield page
            return
    elif link.limits.counts:
        try:
            if await link.count(name, asked, silence_s=SILENCE_SECONDS) <= await arrivals.count(part, *span):
                return
        except (RequestClosed, RelayMisbehaved) as error:
            _log.info("%s, reading pages instead", error)
    async for page in all_pages(link, name, (asked,), silence_s=SILENCE_SECONDS):
        yield page
