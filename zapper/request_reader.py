"""Reads the open withdrawal requests (4217) off the relays, so that nobody's flood of them hides another's.

Anybody may sign requests, and a relay gives the newest first. While one page holds all, one question is enough. When
it is full, those who are owed something are asked for by their keys, in groups that are halved while theirs is full: in
the end a flood stands alone, and hides nothing but what its own key signed.
"""

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from nips.nip01 import VerifiedEvent, make_filter
from nips.pool.kinds import WITHDRAWAL
from nips.pool.withdrawal import MAX_LIFE_S
from zapper.ports import EventFeed

log = logging.getLogger("zapper")

# What one query to any relay brings; the bridge asks a relay of smaller pages for more of them.
PAGE: Final = 500
# Of one second a relay may give no more than one page of its own, whatever is asked: the smallest that is in use. Who
# floods picks the dates, that of another's request too.
SECOND: Final = 50
# Keys in a question: 500 take 33 KiB of the 64 to 128 that relays allow a message.
GROUP: Final = 500
# In one look, each of PAGE events at most, some seconds' work; and no more once so long has gone by, as with a relay
# that is silent to each. What is left is asked in the next look: rounds of payouts wait for this one.
MAX_QUESTIONS: Final = 24
MAX_LOOK_MS: Final = 20_000


class RequestReader:
    """`zapper`: the key (hex) the requests are to; `clock` gives Unix ms."""

    def __init__(self, feed: EventFeed, zapper: str, *, fetch_timeout_s: float, clock: Callable[[], int]) -> None:
        self._feed = feed
        self._zapper = zapper
        self._timeout_s = fetch_timeout_s
        self._clock = clock
        # Groups of keys that were not asked for yet since all were.
        self._left: deque[tuple[str, ...]] = deque()
        # Why they could not be read the last time.
        self._failed = ""

    async def read_if_it_can(self, owed: Callable[[], Awaitable[Sequence[str]]]) -> list[VerifiedEvent]:
        """As `read`; none when no relay answers, which is said once until one does."""
        try:
            found = await self.read(owed)
        except Exception as error:  # each bridge has its own; all mean that no relay answered
            if str(error) != self._failed:
                self._failed = str(error)
                log.warning("withdrawal requests cannot be read just now: %s", error)
            return []
        self._failed = ""
        return found

    async def read(self, owed: Callable[[], Awaitable[Sequence[str]]]) -> list[VerifiedEvent]:
        """Requests that may be open. `owed`: who is owed something, as it stands now.

        Raises what the feed and `owed` raise.
        """
        began_ms = self._clock()
        events = await self._ask(None)
        if not _may_hide(events):
            self._left.clear()
            return events
        if not self._left:
            keys = sorted(await owed())
            self._left.extend(tuple(keys[start : start + GROUP]) for start in range(0, len(keys), GROUP))
        found = {event.id: event for event in events}
        for _ in range(MAX_QUESTIONS):
            if not self._left or self._clock() - began_ms >= MAX_LOOK_MS:
                break
            group = self._left[0]
            events = await self._ask(group)
            found.update((event.id, event) for event in events)
            self._left.popleft()
            if len(group) > 1 and _may_hide(events):
                self._left.extendleft((group[len(group) // 2 :], group[: len(group) // 2]))
        return list(found.values())

    async def _ask(self, authors: Sequence[str] | None) -> list[VerifiedEvent]:
        wanted = make_filter(
            authors=None if authors is None else frozenset(authors),
            kinds=[WITHDRAWAL],
            tags={"p": [self._zapper]},
            since=self._clock() // 1000 - MAX_LIFE_S,
            limit=PAGE,
        )
        return await self._feed.fetch([wanted], timeout_s=self._timeout_s)


def _may_hide(events: Sequence[VerifiedEvent]) -> bool:
    """Whether there may be more than these."""
    seconds = Counter(event.created_at for event in events)
    return len(events) >= PAGE or max(seconds.values(), default=0) >= SECOND
