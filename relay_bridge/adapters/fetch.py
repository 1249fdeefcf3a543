"""A question put to several relays, and the answers of all of them, with what is wrong with each."""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

import anyio

from nips.nip01 import Event, Filter, VerifiedEvent
from relay_bridge.adapters.reading import all_pages, check_page
from relay_bridge.adapters.relay_link import RelayLink, open_link
from relay_bridge.errors import RelayBridgeError
from relay_bridge.inbox import Inbox

# Events one relay may give for one fetch, about 4 GB of pool events at worst: a bound against a relay that never ends.
MAX_FETCHED: Final = 2_000_000
# Bad events kept for one relay; more of them say nothing new, they are still counted.
MAX_UNVERIFIED: Final = 1_000


@dataclass(slots=True)
class RelayReport:
    """What came of asking one relay: `count` verified events, and whether its answer is `complete`."""

    url: str
    reached: bool = False
    complete: bool = False
    count: int = 0
    bad: int = 0
    error: str = ""


@dataclass(slots=True)
class FetchResult:
    """`events`: verified, each once, by (created_at, id). `unverified`: (relay, event or None, what is wrong)."""

    events: list[VerifiedEvent] = field(default_factory=list)
    unverified: list[tuple[str, Event | None, str]] = field(default_factory=list)
    relays: list[RelayReport] = field(default_factory=list)


class Collected:
    """The answers of several relays to one question."""

    def __init__(self, inbox: Inbox, on_progress: Callable[[int], None] | None = None) -> None:
        self.result = FetchResult()
        self._inbox = inbox
        self._on_progress = on_progress
        self._rejected: Counter[str] = Counter()

    def reject(self, url: str, event: Event | None, reason: str) -> None:
        """Keep something that is wrong."""
        self._rejected[url] += 1
        if self._rejected[url] <= MAX_UNVERIFIED:
            self.result.unverified.append((url, event, reason))

    async def collect(
        self,
        url: str,
        linked: Callable[[], AbstractAsyncContextManager[RelayLink]],
        filters: Sequence[Filter],
        silence_s: float,
    ) -> None:
        """Ask one relay; errors end up in its report."""
        report = RelayReport(url)
        self.result.relays.append(report)
        fetched = 0
        try:
            async with linked() as link:
                report.reached = True
                async for page in all_pages(link, "fetch", filters, silence_s=silence_s):
                    fetched += len(page)
                    if fetched > MAX_FETCHED:
                        report.error = f"more than {MAX_FETCHED} events"
                        return
                    await self._digest(report, page)
                report.complete = True
        except RelayBridgeError as error:
            report.error = str(error)
        finally:
            report.bad = self._rejected[url]

    async def _digest(self, report: RelayReport, page: Sequence[Event]) -> None:
        unseen = self._inbox.unseen(report.url, page)
        checked = await check_page(unseen)
        for event, verified, reason in checked:
            if verified is None:
                self.reject(report.url, event, reason)
        # Repeats of what another relay gave count here too: they are there.
        report.count += len(page) - sum(1 for _, verified, _ in checked if verified is None)
        self.result.events += self._inbox.admit(report.url, checked)
        if self._on_progress is not None:
            self._on_progress(len(self.result.events))

    def finish(self) -> FetchResult:
        """Everything in order."""
        self.result.events.sort(key=lambda event: (event.created_at, event.id))
        return self.result


async def fetch_events(
    relays: Sequence[str],
    filters: Sequence[Filter],
    *,
    timeout_s: float,
    on_progress: Callable[[int], None] | None = None,
) -> FetchResult:
    """Ask relays for everything they have stored, and keep what is wrong with it too. Needs no bridge.

    `timeout_s` bounds any silence of a relay, not the whole. `on_progress` is told how many events are there so far.
    """
    collected = Collected(Inbox(capacity=MAX_FETCHED), on_progress)
    async with anyio.create_task_group() as tasks:
        for url in dict.fromkeys(relays):
            counts: Counter[str] = Counter()
            linked = functools.partial(open_link, url, counts, functools.partial(collected.reject, url, None))
            tasks.start_soon(collected.collect, url, linked, filters, timeout_s)
    return collected.finish()
