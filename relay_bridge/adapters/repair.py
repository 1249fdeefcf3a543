"""Looking for what is missing in a chain: at every relay, by id where it is known, else by the time it was created."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import anyio
import msgspec

from nips.nip01 import Event, Filter
from relay_bridge.adapters.reading import SILENCE_SECONDS, all_pages, by_ids, in_span
from relay_bridge.adapters.relay_connection import RelayConnection
from relay_bridge.chains import ChainWatch, Gap
from relay_bridge.errors import RelayBridgeError

_log = logging.getLogger("relay_bridge")
# Events of one chain come from several relays, a little out of order: most gaps close by themselves.
GRACE_SECONDS = 0.5
# Pauses between two searches for the same gap double up to the longest: the relay that has it may be away for a day.
FIRST_SECONDS = 2.0
LONGEST_SECONDS = 600.0
# Searches at all relays after which a gap is reported: 2 + 4 s on.
REPORT_AFTER = 3
# Gaps remembered as searched for; a signer with more has lost its log.
_MAX_SOUGHT = 10_000


class Repair:
    """Watches one reader's chains once its stored events are there. `searches` counts."""

    def __init__(
        self,
        name: str,
        watch: ChainWatch,
        connections: Sequence[RelayConnection],
        filters: Sequence[Filter],
        deliver: Callable[[str, Sequence[Event]], Awaitable[None]],
        report: Callable[[Gap], None],
    ) -> None:
        self._name = name
        self._watch = watch
        self._connections = connections
        self._filters = filters
        self._deliver = deliver
        self._report = report
        self._noticed = anyio.Event()
        # By chain and first missing number: searches so far, and when to search next (monotonic seconds).
        self._sought: dict[tuple[str, int], tuple[int, float]] = {}
        self.searches = 0

    def look(self) -> None:
        """Events came: there may be a gap."""
        self._noticed.set()

    async def run(self) -> None:
        """Search until cancelled."""
        while True:
            gaps = self._watch.gaps()
            known = {(gap.chain, gap.first) for gap in gaps}
            self._sought = {key: state for key, state in self._sought.items() if key in known}
            now = time.monotonic()
            for gap in gaps[:_MAX_SOUGHT]:
                searches, due = self._sought.setdefault((gap.chain, gap.first), (0, now + GRACE_SECONDS))
                if due <= now:
                    # A beginning that nobody has may have been archived: what would be read for it has no bound.
                    await self._search(gap, by_time=gap.since is not None or searches < REPORT_AFTER)
                    searches += 1
                    pause = min(FIRST_SECONDS * 2 ** min(searches - 1, 16), LONGEST_SECONDS)
                    self._sought[gap.chain, gap.first] = (searches, time.monotonic() + pause)
                    if searches == REPORT_AFTER and gap in self._watch.gaps():
                        self._report(gap)
            next_due = min((due for _, due in self._sought.values()), default=None)
            self._noticed = anyio.Event()
            with anyio.move_on_after(None if next_due is None else max(next_due - time.monotonic(), 0.01)):
                await self._noticed.wait()

    async def _search(self, gap: Gap, *, by_time: bool) -> None:
        """Ask every relay that is connected; what they give is verified and delivered like everything else."""
        self.searches += 1
        for connection in self._connections:
            if not connection.connected:
                continue
            link = await connection.link()
            try:
                if gap.last_id is not None:
                    async for page in by_ids(link, self._name, [gap.last_id], silence_s=SILENCE_SECONDS):
                        await self._deliver(link.url, page)
                if by_time and gap in self._watch.gaps():
                    spans = [
                        msgspec.structs.replace(in_span(each, gap.since, gap.until), authors=frozenset({gap.author}))
                        for each in self._filters
                        if each.authors is None or gap.author in each.authors
                    ]
                    async for page in all_pages(link, self._name, spans, silence_s=SILENCE_SECONDS):
                        await self._deliver(link.url, page)
            except RelayBridgeError as error:
                _log.info("looking for %s of chain %s: %s", f"{gap.first}-{gap.last}", gap.chain, error)
            if gap not in self._watch.gaps():
                # Found, or a part of it: what is left is another gap, searched for next.
                self._noticed.set()
                return
