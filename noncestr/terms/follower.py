"""The pool's terms as an edge elsewhere takes them: from the relays, live, the newest kept on disk.

With no relay in reach at a start, the terms seen last are mined under: the pool may have replaced them since, which its
relays say as soon as one answers.
"""

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio.abc import TaskStatus

from nips.errors import NipError
from nips.nip01 import Filter, VerifiedEvent, decode_event, encode_event, make_filter, verify
from nips.pool.address import PoolAddress
from nips.pool.kinds import TERMS
from nips.pool.terms import Terms, parse_terms
from noncestr.feed import Delivery
from noncestr.whole_file import write_whole

log = logging.getLogger("noncestr.terms")


class Feed(Protocol):
    """A `BridgeFeed`, as far as this goes."""

    def subscribe(self, filters: Sequence[Filter], *, name: str) -> AbstractAsyncContextManager[Any]:
        """Stored events, one end-of-stored, live events."""


class TermsFollower:
    """A `stratum_edge.adapters.house_server.SignedTerms`."""

    def __init__(self, path: Path, pool: PoolAddress, feed: Feed) -> None:
        self._path = path
        self._pool = pool
        self._feed = feed
        self._event: VerifiedEvent | None = None
        self._terms: Terms | None = None
        self._changed = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled; started once the file was read."""
        self._read_file()
        task_status.started()
        wanted = make_filter(kinds=[TERMS], authors=[self._pool.pubkey], tags={"a": [str(self._pool)]})
        async with self._feed.subscribe([wanted], name="terms") as items:
            async for item in items:
                if isinstance(item, Delivery):
                    self.take(item.event)

    def _read_file(self) -> None:
        try:
            event = verify(decode_event(self._path.read_bytes()))
        except FileNotFoundError:
            return
        except (NipError, OSError) as error:
            log.warning("the terms kept in %s can't be read: %s", self._path, error)
            return
        self.take(event)

    def take(self, event: VerifiedEvent) -> None:
        """Look at an event: newer terms of this pool are in force from now on."""
        try:
            terms = parse_terms(event)
        except NipError as error:
            log.warning("terms %s do not read: %s", event.id, error)
            return
        if terms.signer != self._pool.pubkey or terms.pool != self._pool:
            return
        known = self._terms
        if known is not None:
            if terms.id == known.id or terms.link.seq < known.link.seq:
                return
            if terms.link.seq == known.link.seq:
                log.error("the pool has signed two terms numbered %d: those seen first stay", terms.link.seq)
                return
        self._event, self._terms = event, terms
        self._write_file(event)
        log.info("terms %d of the pool: %s", terms.link.seq, terms.id)
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def _write_file(self, event: VerifiedEvent) -> None:
        try:
            write_whole(self._path, encode_event(event))
        except OSError as error:
            log.warning("the terms can't be kept in %s: %s", self._path, error)

    def current(self) -> Terms:
        """The newest terms seen. Raises LookupError before the first."""
        if self._terms is None:
            raise LookupError("no terms of the pool were seen yet")
        return self._terms

    def current_event(self) -> VerifiedEvent:
        """Their 4210. Raises LookupError before the first."""
        if self._event is None:
            raise LookupError("no terms of the pool were seen yet")
        return self._event

    async def changed(self, known: str) -> Terms:
        """The newest terms, as soon as their id is not `known`."""
        while self._terms is None or self._terms.id == known:
            await self._changed.wait()
        return self._terms
