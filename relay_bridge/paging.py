"""Fetching more than a relay gives at once: page after page, going back by `until` (NIP-01).

`until` is inclusive, so each page repeats what the last one ended with. A relay gives the newest first, so that a page
of one second only may hide more of that second: it is asked for once more by itself, with the largest limit.
"""

from collections.abc import Sequence

import msgspec

from nips.nip01 import Event, Filter

# strfry's default for results a filter; more is cut by most relays.
PAGE_LIMIT = 500
# What a relay may give for a single second, when a page does not hold it. Our own relay's most; SPEC.md plans for
# fewer than 500 events a second.
TIE_LIMIT = 5_000
# A relay that gives no more for one second alone than it gave as a page has shown all of it, or its own cap. Relays
# cap at 100 and more; below half of that it was all.
CROWD = 50


class Pager:
    """The pages of one filter. Ask `next_filter`, hand the answer to `take`, until `next_filter` is None.

    A `limit` in the filter bounds the whole, not the page.
    """

    def __init__(self, asked: Filter, *, page_limit: int = PAGE_LIMIT) -> None:
        self._asked = asked
        self._page_limit = page_limit
        self._until = asked.until
        self._remaining = asked.limit
        # Ids already seen among those of the second `until`.
        self._seen_at_until: set[str] = set()
        self._tie: int | None = None
        self._largest = 0
        self._done = asked.limit == 0
        # Seconds of which a relay gave as many events as were asked for, or as it ever gives: there may be more.
        self.crowded: list[int] = []

    def next_filter(self) -> Filter | None:
        """The filter of the next page, None when all is fetched."""
        if self._done:
            return None
        if self._tie is not None:
            return msgspec.structs.replace(self._asked, since=self._tie, until=self._tie, limit=TIE_LIMIT)
        limit = self._page_limit
        if self._remaining is not None:
            limit = min(limit, self._remaining + len(self._seen_at_until))
        return msgspec.structs.replace(self._asked, until=self._until, limit=limit)

    def take(self, events: Sequence[Event]) -> list[Event]:
        """Digest a page; returns what is new in it."""
        new = [event for event in events if event.id not in self._seen_at_until]
        if self._remaining is not None:
            self._remaining -= len(new)
        if self._tie is not None:
            if len(events) >= TIE_LIMIT or CROWD <= len(events) <= self._largest:
                self.crowded.append(self._tie)
            self._step_below(self._tie)
            self._tie = None
        elif not events or (not new and len(events) < self._largest):
            # Nothing older is there: the relay has shown that it can send more than this at once.
            self._done = True
        else:
            self._go_back(events)
        self._largest = max(self._largest, len(events))
        if self._remaining is not None and self._remaining <= 0:
            self._done = True
        return new

    def _go_back(self, events: Sequence[Event]) -> None:
        oldest = min(event.created_at for event in events)
        if oldest < max(event.created_at for event in events):
            self._until = oldest
            self._seen_at_until = {event.id for event in events if event.created_at == oldest}
        elif len(events) > 1:
            self._tie = oldest
            if self._until != oldest:
                self._seen_at_until = set()
            self._until = oldest
            self._seen_at_until.update(event.id for event in events)
        else:
            self._step_below(oldest)

    def _step_below(self, second: int) -> None:
        self._until = second - 1
        self._seen_at_until = set()
        if self._until < (self._asked.since or 0):
            self._done = True


def by_kind(asked: Filter, second: int) -> list[Filter]:
    """Questions that divide a crowded second: one for each kind, [] if the filter names fewer than two."""
    kinds = sorted(asked.kinds or ())
    if len(kinds) < 2:
        return []
    return [
        msgspec.structs.replace(asked, kinds=frozenset({kind}), since=second, until=second, limit=TIE_LIMIT)
        for kind in kinds
    ]
