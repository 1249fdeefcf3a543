"""A subscription over several relays: everything stored, once and in order, then what comes."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

import anyio
import msgspec
from anyio.abc import TaskGroup, TaskStatus

from nips.nip01 import Event, Filter, VerifiedEvent
from relay_bridge.adapters.arrival_store import ArrivalStore
from relay_bridge.adapters.catchup import OVERLAP_SECONDS, CatchUp
from relay_bridge.adapters.channel import Channel
from relay_bridge.adapters.reading import SILENCE_SECONDS, all_pages, check_page, in_span
from relay_bridge.adapters.relay_connection import RelayConnection
from relay_bridge.adapters.relay_link import RelayLink, wants_auth
from relay_bridge.adapters.repair import Repair
from relay_bridge.adapters.taken import Taken
from relay_bridge.chains import ChainOf, ChainOrder, ChainWatch, Fork, Gap, Place, seen_whole
from relay_bridge.errors import RelayBridgeError, RelayGone
from relay_bridge.inbox import Inbox
from relay_bridge.ports import Held

_log = logging.getLogger("relay_bridge")
# Stored events collected before they are sorted and handed out: about 2 KB each, 400 MB at worst with pool events.
# Above, they are handed out in sorted parts, and `EndOfStored.in_order` is False.
BACKLOG_EVENTS = 200_000
BACKLOG_BYTES = 256 * 1024 * 1024
# Delivered and not yet read, before feeders wait.
_READ_AHEAD = 1_000
# Pause before a request that a relay ended is made again.
_RETRY_SECONDS = 5.0
# How long an event waits for the one before it in its chain, when order is asked for: as long as a search takes.
HOLD_MS = 10_000
# Events that wait so. More come only from a relay that mixes everything up.
HOLD_MOST = 10_000
_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class EndOfStored:
    """Everything that the relays in `answered` had stored has been delivered. `silent` maps the others to why."""

    answered: tuple[str, ...]
    silent: dict[str, str]
    in_order: bool


Delivered = VerifiedEvent | EndOfStored


@dataclass(frozen=True, slots=True)
class Reading:
    """How a reader wants to read. Everything may be left out.

    `accept`: which verified events the terms allow; others are dropped and counted. `chain_of`: where events stand in
    chains: gaps are then looked for at all relays, and `on_alarm` hears of forks, and of gaps that no relay fills.
    `ordered`: live events of a chain come in its order (stored ones always do). `resume`: where to keep what was taken,
    so that the next reader of the same name gets what is new only; an event counts as taken when the next is asked for,
    or, with `held` (what the reader has on its disk as it begins), when it is said to be `stored`.
    """

    accept: Callable[[VerifiedEvent], bool] | None = None
    chain_of: ChainOf | None = None
    ordered: bool = False
    resume: ArrivalStore | None = None
    on_alarm: Callable[[Fork | Gap], None] | None = None
    held: Held | None = None


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
        reading: Reading | None = None,
    ) -> None:
        self.name = name
        self._tasks = tasks
        self._connections = connections
        self._filters = tuple(filters)
        self._inbox = inbox
        self._reading = reading or Reading()
        chain_of = self._reading.chain_of
        self._watch: ChainWatch | None = None
        self._repair: Repair | None = None
        self._order: ChainOrder | None = None
        if chain_of is not None:
            chain_of = seen_whole(chain_of, self._filters)
            # A reader that asks from some day on does not expect chains from their beginning.
            self._watch = ChainWatch(chain_of, whole=all(each.since is None for each in self._filters))
            self._repair = Repair(name, self._watch, connections, self._filters, self._deliver, self._report_gap)
            if self._reading.ordered:
                self._order = ChainOrder(chain_of, hold_ms=HOLD_MS, most=HOLD_MOST)
        self._taken: Taken | None = None
        self._catch_up: CatchUp | None = None
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
        if self._reading.resume is not None:
            arrivals = await self._reading.resume.reader(self.name, self._filters, self._reading.held)
            self._taken = Taken(arrivals, self._watch)
            await self._taken.load()
            if self._watch is not None and self._order is not None:
                self._order.begin(self._watch.heads())
            self._catch_up = CatchUp(self.name, arrivals, self._deliver)
        self._into, self._out = anyio.create_memory_object_stream[Delivered](_READ_AHEAD)
        try:
            # Begun when it returns: a task that is cancelled before its first step would never say that it has ended.
            await self._tasks.start(self._run)
        except BaseException:
            self._into.close()
            self._out.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._taken is not None and kind is None:
            self._taken.done()
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()
        self._out.close()

    @property
    def silent(self) -> dict[str, str]:
        """The relays that have not given what they have stored, and why."""
        return dict(self._silent)

    def stored(self, event: VerifiedEvent) -> None:
        """Say that an event is on the reader's disk; for readers with `held`."""
        if self._taken is not None:
            self._taken.stored(event)

    def gaps(self) -> list[Gap]:
        """What is missing in the chains now, as far as they are watched."""
        return [] if self._watch is None else self._watch.gaps()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Delivered:
        if self._taken is not None:
            # Whoever asks for the next event is done with the last.
            self._taken.done()
        try:
            delivered = await self._out.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
        if self._taken is not None and self._reading.held is None and isinstance(delivered, VerifiedEvent):
            self._taken.handed_out(delivered)
        return delivered

    async def _run(self, *, task_status: TaskStatus[None]) -> None:
        try:
            task_status.started()
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    if self._taken is not None:
                        tasks.start_soon(self._taken.run)
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
        async with anyio.create_task_group() as tasks:
            if self._repair is not None:
                tasks.start_soon(self._repair.run)
            if self._order is not None:
                tasks.start_soon(self._let_go_often)

    async def _let_go_often(self) -> None:
        """Hand out what has waited too long for the event before it."""
        assert self._order is not None
        while True:
            await anyio.sleep(_TICK_SECONDS)
            async with self._handing_out:
                for event in self._order.overdue(_mono_ms()):
                    await self._into.send(event)

    async def _hand_out_backlog(self) -> None:
        backlog, self._backlog, self._backlog_bytes = self._backlog, [], 0
        # Along a chain created_at never falls, so within a second the chain's own order decides.
        backlog.sort(key=self._sort_key)
        for event in backlog:
            if self._order is not None:
                self._order.passed(event)
            await self._into.send(event)

    def _sort_key(self, event: VerifiedEvent) -> tuple[int, str, int, str]:
        place = None if self._order is None or self._watch is None else self._watch.place(event)
        return (event.created_at, "", 0, event.id) if place is None else (event.created_at, *_standing(place), event.id)

    async def _deliver(self, relay: str, events: Sequence[Event]) -> None:
        """Verify and pass on what is new."""
        unseen = self._inbox.unseen(relay, events)
        if self._taken is not None:
            unseen = await self._leave_out_taken(unseen)
        fresh = self._inbox.admit(relay, await check_page(unseen), self._reading.accept)
        if self._taken is not None:
            self._taken.received(fresh)
        self._watch_chains(fresh)
        async with self._handing_out:
            if self._live:
                for event in fresh:
                    for due in [event] if self._order is None else self._order.push(event, _mono_ms()):
                        await self._into.send(due)
                return
            self._backlog += fresh
            self._backlog_bytes += sum(_rough_size(event) for event in fresh)
            if len(self._backlog) > BACKLOG_EVENTS or self._backlog_bytes > BACKLOG_BYTES:
                self._in_order = False
                await self._hand_out_backlog()

    async def _leave_out_taken(self, events: Sequence[Event]) -> list[Event]:
        """Those that were not taken before. The others still fill gaps of chains whose state was not saved in time."""
        assert self._taken is not None
        wanted = await self._taken.not_taken(events)
        if len(wanted) < len(events) and self._watch is not None and self._watch.gaps():
            ids = {event.id for event in wanted}
            for _, verified, _ in await check_page([event for event in events if event.id not in ids]):
                if verified is not None:
                    self._watch.see(verified)
        return wanted

    def _watch_chains(self, events: Sequence[VerifiedEvent]) -> None:
        if self._watch is None or self._repair is None or not events:
            return
        for event in events:
            fork = self._watch.see(event)
            if fork is not None:
                _log.error(
                    "two events say to be number %d of chain %s: %s", fork.seq, fork.chain, " and ".join(fork.ids)
                )
                if self._reading.on_alarm is not None:
                    self._reading.on_alarm(fork)
        self._repair.look()

    def _report_gap(self, gap: Gap) -> None:
        _log.error("no relay has %d to %d of chain %s, still looking", gap.first, gap.last, gap.chain)
        if self._reading.on_alarm is not None:
            self._reading.on_alarm(gap)

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
            newest = await self._read_stored(link)
            # Only from here on is "newest seen" a point to resume at: pages come newest first.
            self._resume_at(link.url, newest)
            self._answer(link.url)
            async with anyio.create_task_group() as tasks:
                if self._catch_up is not None:
                    tasks.start_soon(self._compare, link)
                try:
                    while True:
                        event = await channel.receive()
                        if event is not None:
                            events = [event, *channel.take()]
                            await self._deliver(link.url, events)
                            newest = max(newest, *(event.created_at for event in events))
                            self._resume_at(link.url, newest)
                except RelayBridgeError as error:
                    ended = error
                tasks.cancel_scope.cancel()
        raise ended

    async def _read_stored(self, link: RelayLink) -> int:
        if self._catch_up is not None:
            return await self._catch_up.begin(link)
        newest = self._resume.get(link.url, 0)
        async for page in all_pages(link, self.name, self._since(link.url), silence_s=SILENCE_SECONDS):
            await self._deliver(link.url, page)
            newest = max([newest, *(event.created_at for event in page)])
        return newest

    async def _compare(self, link: RelayLink) -> None:
        """What the live feed does not bring, found by comparing. A relay that fails at it is asked on the next link."""
        assert self._catch_up is not None
        try:
            await self._catch_up.go_on(link)
        except RelayBridgeError as error:
            _log.warning("subscription %s: comparing with what is stored: %s", self.name, error)

    def _resume_at(self, relay: str, newest: int) -> None:
        self._resume[relay] = min(newest, int(time.time()))
        if self._taken is not None:
            self._taken.cursors[relay] = self._resume[relay]

    def _since(self, relay: str) -> list[Filter]:
        """The filters, from a little before the newest event seen if this relay has given its stored ones before."""
        if relay not in self._resume:
            return list(self._filters)
        since = max(self._resume[relay] - OVERLAP_SECONDS, 0)
        return [in_span(asked, since, None) for asked in self._filters]

    @staticmethod
    async def _await_end(link: RelayLink, channel: Channel) -> None:
        """Read to EOSE. What comes before is stored, so the pages bring it."""
        with anyio.move_on_after(SILENCE_SECONDS) as bound:
            while await channel.receive() is not None:
                pass
        if bound.cancelled_caught:
            raise RelayGone(link.url, f"silent for {SILENCE_SECONDS:g} seconds")


def _standing(place: Place) -> tuple[str, int]:
    return place.chain, place.seq


def _mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _rough_size(event: Event) -> int:
    return 500 + len(event.content) + sum(len(item) for tag in event.tags for item in tag)
