"""Filling a relay with what it should have and has not: after it was away, lost its disk, or is new among ours.

A relay is looked at when it comes, and once an hour. First a sample: if the relay has every event of it, it is left
alone; but one that reconciles (NIP-77) is compared whole when it was away for long, and once a day. Comparing goes a
day at a time, by negentropy or by the ids of the relay's pages, and what is missing is sent in the order it was
created, chains in theirs, slowly and after everything that is new.
"""

import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread

from nips.negentropy import RecordSet
from nips.nip01 import Filter, VerifiedEvent
from relay_bridge.adapters.publisher import Publisher
from relay_bridge.adapters.reading import SILENCE_SECONDS, all_pages, by_ids, check_page, in_span
from relay_bridge.adapters.relay_connection import RelayConnection
from relay_bridge.adapters.relay_link import RelayLink
from relay_bridge.adapters.truth import RelayTruth, StoreTruth, Truth
from relay_bridge.chains import ChainOf
from relay_bridge.errors import RelayBridgeError, RelayGone, RelayMisbehaved, RequestClosed, TooManyRecords
from relay_bridge.ports import EventStore

_log = logging.getLogger("relay_bridge")
_NAME = "refill"
# After a connection came up: what waits in the outbox goes first.
SETTLE_SECONDS = 5.0
# Between two looks at a relay that stays connected.
LOOK_SECONDS = 3600.0
# Younger events may be on their way there right now.
YOUNG_SECONDS = 60
# Events asked for to see whether a relay has the log: the newest, and as many of three times drawn by lot, in the last
# day, month and year.
SAMPLE = 50
_DRAWN_DAYS = (1, 30, 365)
# A relay that reconciles is compared whole as often, and when it was away for so long.
WHOLE_SECONDS = 24 * 3600
AWAY_SECONDS = 600
# Events of one span: 120 bytes each while it is compared. A day of a pool of 10,000 miners is 90,000.
SPAN_RECORDS = 200_000
# Missing events remembered at a time, as ids: 150 MB. A relay that lacks more is sent the oldest of them, then looked
# at again.
MOST_MISSING = 1_000_000
# A second: strfry takes 1,000 and more, but other clients write there too, and a public relay's limit is not far.
EVENTS_A_SECOND = 100
# Ids remembered a relay, of those it refused and of those it took, 100 bytes each.
REMEMBERED = 20_000
_DAY = 86_400
# Whole seconds, the first of a period and the one after its last.
Periods = Sequence[tuple[int, int]]


def _no_periods() -> Periods:
    return ()


@dataclass(frozen=True, slots=True)
class Keep:
    """Events that every relay of their role should have: by authors and kinds; but for those of the periods that
    `let_go` gives now (by created_at, Unix s), which relays may have dropped.
    """

    wanted: Filter
    let_go: Callable[[], Periods] = _no_periods


class Refill:
    """Keeps the relays of one role whole. `source`: URL and store of a relay in this process that has the log."""

    def __init__(
        self,
        asked: Filter,
        connections: Sequence[RelayConnection],
        publisher: Publisher,
        *,
        source: tuple[str, EventStore] | None = None,
        on_complaint: Callable[[str, str], None] | None = None,
        others: Sequence[RelayConnection] = (),
        chain_of: ChainOf | None = None,
        chance: Callable[[], float] = random.random,
        let_go: Callable[[], Periods] = _no_periods,
    ) -> None:
        """`asked`: what every one of these relays should have, but for the periods of `let_go`; `others` are asked for
        it if there is no `source`, and for the source's own relay. `on_complaint` hears (relay, text) of a relay that
        can't be filled.
        """
        self._asked = asked
        self._connections = connections
        self._publisher = publisher
        self._source = source
        self._others = others
        self._chain_of = chain_of
        self._chance = chance
        self._let_go = let_go
        self._on_complaint = on_complaint
        # By relay: ids it refuses for good, and some that it has taken from us. Both bounded.
        self._refused: dict[str, set[str]] = {each.url: set() for each in connections}
        self._given: dict[str, set[str]] = {each.url: set() for each in connections}
        self._hopeless: set[str] = set()
        # When each was last compared whole, monotonic seconds.
        self._compared: dict[str, float] = {}

    async def run(self) -> None:
        """Look at the relays until cancelled."""
        async with anyio.create_task_group() as tasks:
            for connection in self._connections:
                tasks.start_soon(self._keep, connection)

    async def _keep(self, connection: RelayConnection) -> None:
        while True:
            link = await connection.link()
            # It may have lost its disk for a second time: that is no lie.
            self._given[link.url].clear()
            await anyio.sleep(SETTLE_SECONDS)
            while not link.closed.is_set():
                try:
                    sent = await self.look(link)
                    if sent:
                        _log.warning("%s had lost %d events, they were sent again", link.url, sent)
                except RelayBridgeError as error:
                    _log.info("%s can't be compared with the log: %s", link.url, error)
                with anyio.move_on_after(LOOK_SECONDS):
                    await link.closed.wait()
            gone = time.monotonic()
            await connection.link()
            if time.monotonic() - gone >= AWAY_SECONDS:
                self._compared.pop(link.url, None)

    async def look(self, link: RelayLink) -> int:
        """Fill one relay if its sample has holes; how many events it took. Raises RelayBridgeError."""
        if link.url in self._hopeless:
            return 0
        asked = in_span(self._asked, None, int(time.time()) - YOUNG_SECONDS)
        async with self._truth(link.url) as truth:
            if truth is None:
                return 0
            if not self._due(link) and not await self._has_holes(link, truth, asked):
                return 0
            refused = self._refused[link.url]
            lacking = [record for record in await self._compare(link, truth, asked) if record[1] not in refused]
            if self._forgets(link.url, {event_id for _, event_id in lacking}):
                return 0
            sent = await self._send(link, truth, lacking)
            self._compared[link.url] = time.monotonic()
            return sent

    def _due(self, link: RelayLink) -> bool:
        """Whether a relay that reconciles is to be compared whole."""
        compared = self._compared.get(link.url)
        return link.limits.reconciles and (compared is None or time.monotonic() - compared >= WHOLE_SECONDS)

    @asynccontextmanager
    async def _truth(self, relay: str) -> AsyncIterator[Truth | None]:
        if self._source is not None and self._source[0] != relay:
            yield StoreTruth(self._source[1])
            return
        others = [each for each in self._others if each.connected and each.url != relay]
        yield RelayTruth(await others[0].link()) if others else None

    async def _has_holes(self, link: RelayLink, truth: Truth, asked: Filter) -> bool:
        """Whether the relay lacks any of a sample: the newest events, and some of a time drawn by lot."""
        newest = await truth.newest(asked)
        if newest is None:
            return False
        sample = await self._up_to(truth, asked, newest)
        for days in _DRAWN_DAYS:
            drawn = int(newest - self._chance() * days * _DAY)
            older = await truth.newest(in_span(asked, None, max(drawn, 0)))
            if older is not None:
                sample += await self._up_to(truth, asked, older)
        periods = self._let_go()
        held = {event_id for second, event_id in sample if _period_of(second, periods) is None}
        ids = list(held - self._refused[link.url])
        has = {event.id async for page in by_ids(link, _NAME, ids, silence_s=SILENCE_SECONDS) for event in page}
        return not has.issuperset(ids)

    def _forgets(self, relay: str, lacking: set[str]) -> bool:
        """Whether the relay lacks again what it took from us: more of the same would go the same way."""
        given = self._given[relay]
        if not given or len(given & lacking) * 2 < len(given):
            return False
        self._hopeless.add(relay)
        complaint = "unfit: it says OK to events and does not keep them"
        _log.error("%s: %s; it is not filled any more until the next start", relay, complaint)
        if self._on_complaint is not None:
            self._on_complaint(relay, complaint)
        return True

    async def _up_to(self, truth: Truth, asked: Filter, second: int) -> list[tuple[int, str]]:
        """Up to SAMPLE records of the hour before a second, fewer if that holds too many to ask for."""
        for span in (3600, 60, 0):
            try:
                found = await truth.records(in_span(asked, max(second - span, 0), second), SPAN_RECORDS)
            except TooManyRecords:
                continue
            return sorted(found, reverse=True)[:SAMPLE]
        return []

    async def _compare(self, link: RelayLink, truth: Truth, asked: Filter) -> list[tuple[int, str]]:
        """(created_at, id) of all that the relay lacks, newest days first."""
        lacking: list[tuple[int, str]] = []
        periods = self._let_go()
        until = await truth.newest(asked)
        while until is not None and len(lacking) < MOST_MISSING:
            period = _period_of(until, periods)
            if period is None:
                since = max([until // _DAY * _DAY, *(end for _, end in periods if end <= until)])
                lacking += await self._compare_span(link, truth, asked, since, until)
            else:
                since = period[0]
            until = None if since <= 0 else await truth.newest(in_span(asked, None, since - 1))
        return lacking

    async def _compare_span(
        self, link: RelayLink, truth: Truth, asked: Filter, since: int, until: int
    ) -> list[tuple[int, str]]:
        spanned = in_span(asked, since, until)
        try:
            records = await truth.records(spanned, SPAN_RECORDS)
        except TooManyRecords:
            if since == until:
                _log.warning("more than %d events are of the second %d: they are not compared", SPAN_RECORDS, since)
                return []
            middle = (since + until) // 2
            newer = await self._compare_span(link, truth, asked, middle + 1, until)
            return newer + await self._compare_span(link, truth, asked, since, middle)
        lacking = await self._not_there(link, spanned, records)
        return [record for record in records if record[1] in lacking]

    @staticmethod
    async def _not_there(link: RelayLink, spanned: Filter, records: list[tuple[int, str]]) -> set[str]:
        if link.limits.reconciles:
            try:
                ours = await anyio.to_thread.run_sync(RecordSet, records)
                have, _ = await link.reconcile(_NAME, spanned, ours, silence_s=SILENCE_SECONDS)
            except (RequestClosed, RelayMisbehaved) as error:
                _log.info("%s, comparing pages instead", error)
            else:
                return set(have)
        lacking = {event_id for _, event_id in records}
        async for page in all_pages(link, _NAME, (spanned,), silence_s=SILENCE_SECONDS):
            lacking.difference_update(event.id for event in page)
        return lacking

    async def _send(self, link: RelayLink, truth: Truth, lacking: list[tuple[int, str]]) -> int:
        """Send in order, a second's worth at a time; how many were accepted."""
        before = self._publisher.refilled[link.url]
        lacking.sort()
        for start in range(0, len(lacking), EVENTS_A_SECOND):
            began = time.monotonic()
            ids = [event_id for _, event_id in lacking[start : start + EVENTS_A_SECOND]]
            events = [verified for _, verified, _ in await check_page(await truth.events(ids)) if verified is not None]
            refused = await self._publisher.refill(link.url, sorted(events, key=self._order))
            _remember(self._refused[link.url], refused)
            _remember(self._given[link.url], set(ids) - refused)
            if link.closed.is_set():
                raise RelayGone(link.url, "it went away while it was filled")
            await anyio.sleep(max(1.0 - (time.monotonic() - began), 0))
        return self._publisher.refilled[link.url] - before

    def _order(self, event: VerifiedEvent) -> tuple[int, str, int, str]:
        place = None if self._chain_of is None else self._chain_of(event)
        return (event.created_at, "" if place is None else place.chain, 0 if place is None else place.seq, event.id)


def _period_of(second: int, periods: Periods) -> tuple[int, int] | None:
    return next((period for period in periods if period[0] <= second < period[1]), None)


def _remember(known: set[str], more: set[str]) -> None:
    """As many as there is room for."""
    known.update(sorted(more)[: max(REMEMBERED - len(known), 0)])
