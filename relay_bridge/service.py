"""The bridge between a part of the pool and its relays: publish durably, subscribe, fetch."""

import functools
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import msgspec

from nips.keys import Signer
from nips.nip01 import Filter, VerifiedEvent
from nips.nip11 import RelayInformation
from relay_bridge.adapters.arrival_store import ArrivalStore, arrivals_path
from relay_bridge.adapters.fetch import Collected
from relay_bridge.adapters.outbox_store import OutboxStore
from relay_bridge.adapters.publisher import Publisher
from relay_bridge.adapters.refill import Keep, Refill
from relay_bridge.adapters.relay_connection import RelayConnection
from relay_bridge.adapters.relay_link import RelayLink
from relay_bridge.adapters.subscription import Reading, Subscription
from relay_bridge.chains import ChainOf, Fork, Gap
from relay_bridge.errors import BridgeNotRunning, RelayGone, RelayUnavailable, StoreError
from relay_bridge.inbox import Inbox
from relay_bridge.limits import complaints
from relay_bridge.outbox import Outbox
from relay_bridge.ports import EventStore, Held
from relay_bridge.roles import SOCIAL_KINDS, Routes, is_kept
from relay_bridge.status import RelayStatus

_log = logging.getLogger("relay_bridge")


class RelayBridge:
    """A connection to each relay, a durable outbox, subscriptions. Start `run` in a task group, then use the rest."""

    def __init__(
        self,
        relays: Sequence[str],
        *,
        outbox_path: Path,
        quorum: int = 1,
        social: Sequence[str] = (),
        social_quorum: int = 1,
        signer: Signer | None = None,
        retention_s: int = 0,
        chain_of: ChainOf | None = None,
        on_alarm: Callable[[Fork | Gap], None] | None = None,
        keep: Sequence[Keep] = (),
        source: tuple[str, EventStore] | None = None,
    ) -> None:
        """`relays` carry the log, that is everything; `social` ones what people follow (see roles). The quorums say how
        many of each must accept an event before it counts as published. `signer` answers relays that want to know who
        we are (NIP-42). `retention_s`: how long the pool promises its log to be kept.

        What readers that resume have taken is kept beside the outbox.
        `chain_of` says where an event stands in a chain, if it does: what is missing in one is then looked for at all
        relays, and `on_alarm` hears of forks, and of gaps that no relay fills.

        `keep`: events that every log relay should have (of those kinds that people follow, every social one). A relay
        that lost some is sent them again, out of `source` (URL and store of a relay in this process), or without one
        out of the other log relays. None: no relay is filled.

        Raises ValueError if there are fewer relays than a quorum.
        """
        self._routes = Routes(relays, quorum=quorum, social=social, social_quorum=social_quorum)
        self._connections = [RelayConnection(url, signer=signer) for url in self._routes.relays]
        # What is read is read from the log relays: the social ones have a part of it.
        self._log_connections = [each for each in self._connections if each.url in self._routes.log]
        # What is wrong with relays: by their own word, and by what they did.
        self._complaints: dict[str, tuple[str, ...]] = {}
        self._lasting: dict[str, tuple[str, ...]] = {}
        for connection in self._connections:
            connection.on_information = functools.partial(
                self._judge, connection.url, retention_s=retention_s, can_authenticate=signer is not None
            )
        self._arrivals = ArrivalStore(arrivals_path(outbox_path))
        self._chain_of = chain_of
        self._on_alarm = on_alarm
        # What readers were told of: "forks" and "gaps" so far.
        self.alarms: Counter[str] = Counter()
        self._store = OutboxStore(outbox_path)
        outbox = Outbox(self._routes, random.random)
        self._publisher = Publisher(self._store, outbox, self._connections)
        self._refills = [refill for each in keep for refill in self._refillers(each, source)]
        self._inboxes = Counter[str](), Counter[str](), Counter[str]()
        self._tasks: anyio.abc.TaskGroup | None = None

    def _refillers(self, keep: Keep, source: tuple[str, EventStore] | None) -> list[Refill]:
        log, social = self._log_connections, [each for each in self._connections if each not in self._log_connections]
        asked = keep.wanted
        followed = frozenset(SOCIAL_KINDS if asked.kinds is None else asked.kinds & SOCIAL_KINDS)
        wanted = [
            (msgspec.structs.replace(asked, kinds=asked.kinds and frozenset(filter(is_kept, asked.kinds))), log),
            (msgspec.structs.replace(asked, kinds=frozenset(filter(is_kept, followed))), social),
        ]
        return [
            Refill(
                asked,
                relays,
                self._publisher,
                source=source,
                others=log,
                chain_of=self._chain_of,
                on_complaint=self._complain,
                let_go=keep.let_go,
            )
            for asked, relays in wanted
            if relays and asked.kinds != frozenset()
        ]

    def _complain(self, url: str, complaint: str) -> None:
        self._lasting[url] = (*self._lasting.get(url, ()), complaint)

    def _judge(self, url: str, told: RelayInformation | None, *, retention_s: int, can_authenticate: bool) -> None:
        """Say what is wrong with a relay by its own word, once each."""
        found = (
            ()
            if told is None
            else complaints(told, self._routes.roles(url), retention_s=retention_s, can_authenticate=can_authenticate)
        )
        for complaint in found:
            if complaint not in self._complaints.get(url, ()):
                level = logging.ERROR if complaint.startswith("unfit") else logging.WARNING
                _log.log(level, "%s: %s", url, complaint)
        self._complaints[url] = found

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Connect and publish until cancelled. Raises StoreError if the outbox cannot be kept."""
        if self._tasks is not None:
            raise RuntimeError("the bridge is running already")
        await self._store.open()
        try:
            await self._arrivals.open()
        except StoreError:
            await self._store.close()
            raise
        try:
            await self._publisher.load()
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for connection in self._connections:
                    tasks.start_soon(connection.run)
                tasks.start_soon(self._publisher.run)
                for refill in self._refills:
                    tasks.start_soon(refill.run)
                task_status.started()
        finally:
            self._tasks = None
            with anyio.CancelScope(shield=True):
                await self._store.close()
                await self._arrivals.close()

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Hand over an event; returns once it is durable here. It goes out as relays can be reached.

        Events of one `chain` reach a relay strictly in order, "" means no order. Publishing an id again does nothing.
        Raises BridgeNotRunning, StoreError.
        """
        await self.publish_many((event,), chain=chain)

    async def publish_many(self, events: Sequence[VerifiedEvent], *, chain: str = "") -> None:
        """Hand over several events, in order and in one commit: all of them or none. Raises as `publish`."""
        self._running()
        await self._publisher.publish([(event, chain) for event in events])

    async def flush(self, timeout_s: float) -> bool:
        """Wait until every event has its quorum of log relays; False if that takes longer."""
        return await self._publisher.flush(timeout_s)

    def subscribe(
        self,
        filters: Sequence[Filter],
        *,
        name: str,
        accept: Callable[[VerifiedEvent], bool] | None = None,
        ordered: bool = False,
        resume: bool = False,
        held: Held | None = None,
    ) -> Subscription:
        """An async context manager and iterator of `Delivered`. `name` is for logs and shows in subscription ids.

        `accept` lets pass what the terms allow; it sees verified events. `ordered`: live events of a chain come in its
        order, if need be after a wait for those that are missing. `resume`: only what no reader of this name has taken
        before, also in earlier runs; an event counts as taken when the next one is asked for, and may come again after
        a crash. `held`: with `resume`, a reader that reads ahead of its disk: what it has there now; an event then
        counts as taken when the reader calls `stored` with it, and if more was taken than it holds, it is given
        everything anew. Raises BridgeNotRunning, and StoreError on entering.
        """
        reading = Reading(accept, self._chain_of, ordered, self._arrivals if resume else None, self._alarm, held)
        return Subscription(self._running(), self._log_connections, filters, name, self._inbox(), reading)

    def _alarm(self, what: Fork | Gap) -> None:
        self.alarms["forks" if isinstance(what, Fork) else "gaps"] += 1
        if self._on_alarm is not None:
            self._on_alarm(what)

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What the relays have stored, each event once, by (created_at, id).

        `timeout_s` bounds the wait for a connection, and any silence after. A relay known to be away is not waited for
        while another is there. Raises RelayUnavailable if no relay
        answered to the end, BridgeNotRunning.
        """
        self._running()
        collected = Collected(self._inbox())
        async with anyio.create_task_group() as tasks:
            for connection in self._log_connections:
                linked = functools.partial(self._existing_link, connection, timeout_s)
                tasks.start_soon(collected.collect, connection.url, linked, filters, timeout_s)
        if not any(report.complete for report in collected.result.relays):
            raise RelayUnavailable({report.url: report.error for report in collected.result.relays})
        return collected.finish().events

    def status(self) -> list[RelayStatus]:
        """How things stand, relay by relay."""
        received, bad, unwanted = self._inboxes
        return [
            RelayStatus(
                url=connection.url,
                connected=connection.connected,
                last_error=self._publisher.last_refusal.get(connection.url, "") or connection.last_error,
                published=self._publisher.published[connection.url],
                refused=self._publisher.refused[connection.url],
                received=received[connection.url],
                bad=bad[connection.url] + connection.counts.total(),
                backlog=self._publisher.backlog(connection.url),
                roles=self._routes.roles(connection.url),
                down_since_ms=connection.down_since_ms,
                refused_by_size=self._publisher.refused_by_size[connection.url],
                refilled=self._publisher.refilled[connection.url],
                unwanted=unwanted[connection.url],
                complaints=self._complaints.get(connection.url, ()) + self._lasting.get(connection.url, ()),
            )
            for connection in self._connections
        ]

    def _running(self) -> anyio.abc.TaskGroup:
        if self._tasks is None:
            raise BridgeNotRunning
        return self._tasks

    @asynccontextmanager
    async def _existing_link(self, connection: RelayConnection, timeout_s: float) -> AsyncIterator[RelayLink]:
        link: RelayLink | None = None
        with anyio.move_on_after(timeout_s):
            await connection.tried.wait()
            if connection.connected or not any(other.connected for other in self._log_connections):
                link = await connection.link()
        if link is None:
            raise RelayGone(connection.url, connection.last_error or f"no connection within {timeout_s:g} seconds")
        yield link

    def _inbox(self) -> Inbox:
        """An inbox of its own for each reader, whose counts are the bridge's."""
        inbox = Inbox()
        inbox.received, inbox.bad, inbox.unwanted = self._inboxes
        return inbox
