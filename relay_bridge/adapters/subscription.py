"""A subscription over several relays: everything stored, once and in order, then what comes."""

import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskGroup

from nips.nip01 import Event, Filter, VerifiedEvent
from relay_bridge.adapters.channel import Channel
from relay_bridge.adapters.relay_connection import RelayConnection
from relay_bridge.adapters.relay_link import RelayLink, wants_auth
from relay_bridge.errors import RelayBridgeError, RelayGone
from relay_bridge.inbox import Checked, Inbox, check_all
from relay_bridge.paging import Pager

_log = logging.getLogger("relay_bridge")
# How long a relay may be silent while we wait for its stored events, and how long the first connection may take.
SILENCE_SECONDS = 10.0
# On coming back, ask from this long before the newest event seen: relays accept events dated up to 900 s ahead, so
# what is new may be dated that much older than the newest.
OVERLAP_SECONDS = 900
# Stored events collected before they are sorted and handed out: about 2 KB each, 400 MB at worst with pool events.
# Above, they are handed out in sorted parts, and `EndOfStored.in_order` is False.
BACKLOG_EVENTS = 200_000
BACKLOG_BYTES = 256 * 1024 * 1024
# Delivered and not yet read, before feeders wait.
_READ_AHEAD = 1_000
# Fewer events are verified in place: the switch to a thread costs as much as some ten signatures.
_THREAD_FROM = 24
# Pause before a request that a relay ended is made again.
_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class EndOfStored:
    """Everything that the relays in `answered` had stored has been delivered. `silent` maps the others to why."""

    answered: tuple[str, ...]
    silent: dict[str, str]
    in_order: bool


Delivered = VerifiedEvent | EndOfStored


async def check_page(events: Sequence[Event]) -> list[Checked]:
    """Verify events, many of them in a worker thread so that the loop goes on."""
    if len(events) < _THREAD_FROM:
        return check_all(events)
    return await anyio.to_thread.run_sync(check_all, events)


async def all_pages(
    link: RelayLink, name: str, filters: Sequence[Filter], *, silence_s: float
) -> AsyncIterator[list[Event]]:
    """What the relay has stored for the filters, page after page, unverified; a page holds what is new in it.

    Raises RelayGone, RequestClosed, RelayMisbehaved.
    """
    for asked in filters:
        pager = Pager(asked, page_limit=link.limits.page)
        while (page := pager.next_filter()) is not None:
            yield pager.take(await link.page(name, page, silence_s=silence_s))
        if pager.crowded:
            _log.warning("%s may hold more events than it gives for the seconds %s", link.url, pager.crowded)


class Subscription:
    """Iterate over `Delivered`: stored events by (created_at, id), one `EndOfStored`, then live events as they come.

    The end of stored comes when every relay that can be reached has given what it has, and not before one has.
    The iteration ends when the bridge stops.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        connections: Sequence[RelayConnection],
        filters: Sequence[Filter],
        name: str,
        inbox: Inbox,
    ) -> None:
        self.name = name
        self._tasks = tasks
        self._connections = connections
        self._filters = tuple(filters)
        self._inbox = inbox
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._handing_out = anyio.Lock()
        self._live = False
        self._in_order = True
        self._backlog: list[VerifiedEvent] = []
        self._backlog_bytes = 0
        # Relays whose stored events have come, or that have failed to give them, with the reason.
        self._answered: set[str] = set()
        self._silent: dict[str, str] = {}
        self._progress = anyio.Event()
        # By relay: the newest created_at seen, once its stored events have come whole.
        self._resume: dict[str, int] = {}

    async def __aenter__(self) -> "Subscription":
        self._into, self._out = anyio.create_memory_object_stream[Delivered](_READ_AHEAD)
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()
        self._out.close()

    @property
    def silent(self) -> dict[str, str]:
        """The relays that have not given what they have stored, and why."""
        return dict(self._silent)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Delivered:
        try:
            return await self._out.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def _run(self) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    for connection in self._connections:
                        tasks.start_soon(self._feed, connection)
                    tasks.start_soon(self._end_stored)
        finally:
            self._into.close()
            self._ended.set()

    async def _end_stored(self) -> None:
        """Hand out the stored events, sorted, once every relay has answered or failed and one has answered."""
        while not self._answered or len(self._answered) + len(self._silent) < len(self._connections):
            self._progress = anyio.Event()
            await self._progress.wait()
        async with self._handing_out:
            await self._hand_out_backlog()
            self._live = True
            await self._into.send(
                EndOfStored(tuple(sorted(self._answered)), dict(sorted(self._silent.items())), self._in_order)
            )

    async def _hand_out_backlog(self) -> None:
        backlog, self._backlog, self._backlog_bytes = self._backlog, [], 0
        backlog.sort(key=lambda event: (event.created_at, event.id))
        for event in backlog:
            await self._into.send(event)

    async def _deliver(self, relay: str, events: Sequence[Event]) -> None:
        """Verify and pass on what is new."""
        fresh = self._inbox.admit(relay, await check_page(self._inbox.unseen(events)))
        async with self._handing_out:
            if self._live:
                for event in fresh:
                    await self._into.send(event)
                return
            self._backlog += fresh
            self._backlog_bytes += sum(_rough_size(event) for event in fresh)
            if len(self._backlog) > BACKLOG_EVENTS or self._backlog_bytes > BACKLOG_BYTES:
                self._in_order = False
                await self._hand_out_backlog()

    def _fail(self, relay: str, reason: str) -> None:
        if relay not in self._answered:
            self._silent[relay] = reason
            self._progress.set()

    def _answer(self, relay: str) -> None:
        self._silent.pop(relay, None)
        self._answered.add(relay)
        self._progress.set()

    # One relay

    async def _feed(self, connection: RelayConnection) -> None:
        relay = connection.url
        with anyio.move_on_after(SILENCE_SECONDS):
            await connection.tried.wait()
        while True:
            if not connection.connected:
                self._fail(relay, connection.last_error or "no connection yet")
            link = await connection.link()
            try:
                await self._follow(link)
            except RelayBridgeError as error:
                if wants_auth(error) and link.may_authenticate and await self._authenticated(link):
                    continue
                self._fail(relay, str(error))
                if not link.closed.is_set():
                    _log.warning("subscription %s: %s, asking again", self.name, error)
                    await anyio.sleep(_RETRY_SECONDS)

    @staticmethod
    async def _authenticated(link: RelayLink) -> bool:
        try:
            return await link.authenticate()
        except RelayGone:
            return False

    async def _follow(self, link: RelayLink) -> None:
        """Open the live request, fetch what is stored, then pass on what comes, until the link or the request ends.

        The live request comes first, so that nothing falls between: what is stored after it was opened comes live,
        what was stored before is in the pages. One stored event is all it asks for: not every relay knows limit 0.
        """
        live = [msgspec.structs.replace(asked, limit=1) for asked in self._filters]
        async with link.ask(self.name, live) as channel:
            await self._await_end(link, channel)
            newest = self._resume.get(link.url, 0)
            async for page in all_pages(link, self.name, self._since(link.url), silence_s=SILENCE_SECONDS):
                await self._deliver(link.url, page)
                newest = max([newest, *(event.created_at for event in page)])
            # Only from here on is "newest seen" a point to resume at: pages come newest first.
            self._resume[link.url] = min(newest, int(time.time()))
            self._answer(link.url)
            while True:
                event = await channel.receive()
                if event is not None:
                    events = [event, *channel.take()]
                    await self._deliver(link.url, events)
                    newest = max(newest, *(event.created_at for event in events))
                    self._resume[link.url] = min(newest, int(time.time()))

    def _since(self, relay: str) -> list[Filter]:
        """The filters, from a little before the newest event seen if this relay has given its stored ones before."""
        if relay not in self._resume:
            return list(self._filters)
        since = max(self._resume[relay] - OVERLAP_SECONDS, 0)
        return [msgspec.structs.replace(asked, since=max(asked.since or 0, since)) for asked in self._filters]

    @staticmethod
    async def _await_end(link: RelayLink, channel: Channel) -> None:
        """Read to EOSE. What comes before is stored, so the pages bring it."""
        with anyio.move_on_after(SILENCE_SECONDS) as bound:
            while await channel.receive() is not None:
                pass
        if bound.cancelled_caught:
            raise RelayGone(link.url, f"silent for {SILENCE_SECONDS:g} seconds")


def _rough_size(event: Event) -> int:
    return 500 + len(event.content) + sum(len(item) for tag in event.tags for item in tag)
