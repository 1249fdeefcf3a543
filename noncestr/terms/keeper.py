"""The pool's terms: kept in a file of signed 4210 events, chained, handed to the edge, published to relays.

The file is written and synced before an event is published, so that a kill never leaves two different terms with one
number. What the file lacks, or all of it, is taken from the relays first: a chain is continued, never begun twice.
"""

import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import anyio

from nips.errors import InvalidPoolEvent, NipError
from nips.keys import AsyncSigner
from nips.nip01 import Filter, VerifiedEvent, decode_event, encode_event, make_filter, verify
from nips.pool.address import PoolAddress
from nips.pool.chain import Head, next_link
from nips.pool.kinds import TERMS
from nips.pool.terms import Terms, TermsBody, build_terms, parse_terms
from noncestr.errors import NoncestrError
from noncestr.whole_file import sync_folder
from relay_bridge.errors import RelayBridgeError

logger = logging.getLogger("noncestr.terms")

# After a failure of the outbox's disk.
RETRY_S: Final = 2.0


class Feed(Protocol):
    """The relay bridge, as far as terms need it."""

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Returns once the event is durable in the outbox."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """Stored events of the relays."""


class TermsKeeper:
    """The newest terms, and the one place that issues new ones."""

    def __init__(self, path: Path, signer: AsyncSigner, pool: PoolAddress, feed: Feed) -> None:
        self._path = path
        self._signer = signer
        self._pool = pool
        self._feed = feed
        self._terms: list[Terms] = []
        self._newest: VerifiedEvent | None = None
        self._changed = anyio.Event()

    async def open(self) -> None:
        """Read the file, and from the relays what it lacks; publish all of it (a relay knows most).

        A file may be old, put back from a copy: going on from there would contradict what was promised since. Raises
        NoncestrError for a damaged one.
        """
        events = self._read_file()
        newest = parse_terms(events[-1]).link.seq if events else -1
        newer = await self._newer(newest, is_first=not events)
        for event in newer:
            self._append(event)
        if newer:
            lacks = "was behind" if events else "was missing"
            logger.warning("the terms file %s: %d terms were taken from the relays", lacks, len(newer))
        for event in (*events, *newer):
            self._terms.append(parse_terms(event))
            self._newest = event
            await self._feed.publish(event, chain=self._chain)

    async def _newer(self, known: int, *, is_first: bool) -> list[VerifiedEvent]:
        """Terms on the relays beyond number `known`, in order. Raises what the feed does if there is no file."""
        wanted = make_filter(kinds=[TERMS], authors=[self._pool.pubkey], tags={"a": [str(self._pool)]})
        try:
            found = await self._feed.fetch([wanted])
        except RelayBridgeError as error:
            if is_first:
                raise
            logger.warning("whether there are newer terms than the file's is not known: %s", error)
            return []
        newer: dict[int, VerifiedEvent] = {}
        for event in sorted(found, key=lambda event: (event.created_at, event.id)):
            seq = parse_terms(event).link.seq if self._fits(event) else known
            if seq > known and newer.setdefault(seq, event).id != event.id:
                logger.error("the relays hold two terms numbered %d: those signed first stay", seq)
        return [newer[seq] for seq in sorted(newer)]

    @property
    def _chain(self) -> str:
        return f"{self._pool.pubkey}/terms"

    def _fits(self, event: VerifiedEvent) -> bool:
        try:
            return parse_terms(event).pool == self._pool
        except InvalidPoolEvent:
            return False

    def _read_file(self) -> list[VerifiedEvent]:
        """The file's events; a last line cut by a kill was never published and is dropped. Raises NoncestrError."""
        if not self._path.exists():
            return []
        lines = self._path.read_bytes().split(b"\n")
        if lines[-1]:
            with self._path.open("r+b") as file:
                file.truncate(self._path.stat().st_size - len(lines[-1]))
        events = []
        for number, line in enumerate(lines[:-1], start=1):
            try:
                event = verify(decode_event(line))
                parse_terms(event)
            except NipError as error:
                raise NoncestrError(
                    f"{self._path}: line {number} is damaged ({error}): move the file aside and start; "
                    "the terms are read back from the relays"
                ) from None
            events.append(event)
        return events

    def _append(self, event: VerifiedEvent) -> None:
        """Raises OSError, and then the file is as it was."""
        is_new = not self._path.exists()
        with self._path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            line = encode_event(event) + b"\n"
            try:
                written = file.write(line)
                if written != len(line):
                    raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes of new terms could be written")
                os.fsync(file.fileno())
            except OSError:
                # On a full disk: the next terms would stand behind a torn line.
                file.truncate(size)
                raise
        if is_new:
            sync_folder(self._path.parent)

    @property
    def issued(self) -> bool:
        """Whether there are terms at all."""
        return bool(self._terms)

    def every(self) -> tuple[Terms, ...]:
        """All terms so far, the first first."""
        return tuple(self._terms)

    def current(self) -> Terms:
        """The terms in force. Raises LookupError before the first were issued."""
        if not self._terms:
            raise LookupError("no terms were issued yet")
        return self._terms[-1]

    def current_event(self) -> VerifiedEvent:
        """The 4210 of the terms in force. Raises LookupError before the first were issued."""
        if self._newest is None:
            raise LookupError("no terms were issued yet")
        return self._newest

    async def changed(self, known: str) -> Terms:
        """The terms in force, as soon as their id is not `known`."""
        while not self._terms or self._terms[-1].id == known:
            await self._changed.wait()
        return self._terms[-1]

    async def issue(self, body: TermsBody, now_ms: int) -> Terms:
        """New terms, unless the ones in force say the same; one at a time. Once they are in the file they are in force,
        and it waits until the outbox has them. Raises what the signer does, and OSError: then nothing has changed.
        """
        last = self._terms[-1] if self._terms else None
        if last is not None and last.body == body:
            return last
        head = None if last is None else Head(last.link.seq, last.id)
        # created_at never falls along a chain, whatever the clock does.
        created_at = max(now_ms // 1000, 0 if last is None else last.created_at)
        event = await self._signer.sign(build_terms(self._pool, next_link(head), created_at, body))
        terms = parse_terms(event)
        self._append(event)
        self._terms.append(terms)
        self._newest = event
        self._changed.set()
        self._changed = anyio.Event()
        await self._publish(event)
        return terms

    async def _publish(self, event: VerifiedEvent) -> None:
        """Into the outbox, however long its disk is full: what is made by these terms is worth nothing without them."""
        said = ""
        while True:
            try:
                await self._feed.publish(event, chain=self._chain)
            except RelayBridgeError as error:
                if str(error) != said:
                    said = str(error)
                    logger.error("new terms can't be published, it is tried on: %s", said)
                await anyio.sleep(RETRY_S)
            else:
                return
