"""Which parts of the log relays may have let go: the periods of published archives (4220)."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

from nips.errors import InvalidPoolEvent
from nips.nip01 import Filter, VerifiedEvent, make_filter
from nips.pool.address import PoolAddress
from nips.pool.archive import parse_archive
from nips.pool.kinds import ARCHIVE, JOB, LEDGER_KINDS, RECEIPT
from nips.pool.terms import Terms
from noncestr.feed import Delivery
from noncestr.running import looping
from relay_bridge.adapters.refill import Keep

log = logging.getLogger("noncestr")

# What makes a log large. All else stays on the relays: statements, payouts, terms and summaries are its lasting part.
LET_GO: Final = frozenset({JOB, RECEIPT})


class Feed(Protocol):
    """A `BridgeFeed`, as far as this goes."""

    def subscribe(self, filters: Sequence[Filter], *, name: str) -> AbstractAsyncContextManager[Any]:
        """Stored events, one end-of-stored, live events."""
        ...


class TermsInForce(Protocol):
    """The terms, as far as this goes."""

    async def changed(self, known: str) -> Terms:
        """The terms in force, as soon as their id is not `known`."""
        ...


class Archived:
    """The archives that the accounting keys of the terms in force have announced."""

    def __init__(self, pool: PoolAddress) -> None:
        self._pool = pool
        self._trusted: frozenset[str] = frozenset()
        # By the key that announced them: periods [from, to) in Unix seconds.
        self._periods: dict[str, set[tuple[int, int]]] = {}

    def periods(self) -> list[tuple[int, int]]:
        """The archived periods, joined where they touch, oldest first."""
        found: list[tuple[int, int]] = []
        for begin, end in sorted({period for key in self._trusted for period in self._periods.get(key, ())}):
            if found and begin <= found[-1][1]:
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            else:
                found.append((begin, end))
        return found

    def take(self, event: VerifiedEvent) -> None:
        """Look at an announcement."""
        try:
            archive = parse_archive(event)
        except InvalidPoolEvent as error:
            log.warning("archive %s does not read: %s", event.id, error)
            return
        if archive.pool == self._pool:
            self._periods.setdefault(archive.signer, set()).add((archive.from_s, archive.to_s))

    def trust(self, keys: Iterable[str]) -> None:
        """Go by the archives of these keys (hex), and no others."""
        self._trusted = frozenset(keys)

    async def follow(self, feed: Feed, terms: TermsInForce) -> None:
        """Read announcements of whom the terms name, until cancelled."""
        in_force = await terms.changed("")
        while True:
            self.trust(in_force.body.keys_of("accounting"))
            async with looping(self._read, feed, self._trusted):
                while in_force.body.keys_of("accounting") == self._trusted:
                    in_force = await terms.changed(in_force.id)

    async def _read(self, feed: Feed, authors: frozenset[str]) -> None:
        asked = make_filter(kinds=[ARCHIVE], authors=sorted(authors), tags={"a": [str(self._pool)]})
        async with feed.subscribe([asked], name="archives") as items:
            async for item in items:
                if isinstance(item, Delivery):
                    self.take(item.event)


def kept(authors: Iterable[str], let_go: Callable[[], Sequence[tuple[int, int]]]) -> tuple[Keep, ...]:
    """What relays are filled with of the events of some keys (hex): all of the log, but for the receipts and jobs of
    the periods that `let_go` gives (Archived.periods).
    """
    keys = sorted(authors)
    return (
        Keep(make_filter(authors=keys, kinds=LEDGER_KINDS - LET_GO)),
        Keep(make_filter(authors=keys, kinds=LET_GO), let_go),
    )
