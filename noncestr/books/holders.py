"""Reports of funds (34215) by holders on other hosts, as the pool's relays have them, live, the newest kept on disk.

Kept, so that after a restart a relay that has but an older report, or none, does not make us forget.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
from anyio.abc import TaskStatus

from accounting.holders import HoldersBook
from accounting.treasury import Holding
from nips.errors import NipError
from nips.nip01 import Filter, VerifiedEvent, decode_event, encode_event, make_filter, verify
from nips.pool.address import PoolAddress
from nips.pool.funds import TREASURY
from nips.pool.kinds import STATISTICS
from noncestr.feed import Delivery
from noncestr.running import first_of

log = logging.getLogger("noncestr.treasury")

FILE: Final = "funds.jsonl"
# After the relays failed.
RETRY_S: Final = 2.0
# Who is heard changes with the terms, a few times a year; a look costs nothing.
LOOK_S: Final = 1.0
# The keys (hex) that are heard, and what each is called.
Keys = Mapping[str, str]


class Feed(Protocol):
    """A `BridgeFeed`, as far as this goes."""

    def subscribe(self, filters: Sequence[Filter], *, name: str) -> AbstractAsyncContextManager[Any]:
        """Stored events, one end-of-stored, live events."""


class Holders:
    """What the holders named now have told last."""

    def __init__(
        self, folder: Path, pool: PoolAddress, feed: Feed, keys: Callable[[], Keys], now_ms: Callable[[], int]
    ) -> None:
        self._path = folder / FILE
        self._pool = pool
        self._feed = feed
        self._keys = keys
        self._now_ms = now_ms
        self._book = HoldersBook(pool)

    def holdings(self) -> list[Holding]:
        """What they hold."""
        return self._book.holdings(self._keys(), self._now_ms())

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled; started once the file was read."""
        self._read_file()
        task_status.started()
        while True:
            await self._run_with(frozenset(self._keys()))

    async def _run_with(self, keys: frozenset[str]) -> None:
        async def until_others() -> None:
            while frozenset(self._keys()) == keys:  # noqa: ASYNC110 - nobody says when terms or configuration change
                await anyio.sleep(LOOK_S)

        async def follow() -> None:
            await self._follow(keys)

        if keys:
            await first_of(follow, until_others)
        else:
            await until_others()

    async def _follow(self, keys: frozenset[str]) -> None:
        wanted = make_filter(kinds=[STATISTICS], authors=sorted(keys), tags={"d": [TREASURY]})
        while True:
            try:
                async with self._feed.subscribe([wanted], name="funds") as items:
                    async for item in items:
                        if isinstance(item, Delivery):
                            self.take(item.event)
            except Exception as error:  # relays come and go: what was told stands with its date
                log.warning("reports of funds can't be followed just now: %r", error)
            await anyio.sleep(RETRY_S)

    def take(self, event: VerifiedEvent) -> bool:
        """Look at a report; whether it stands from now on."""
        if not self._book.take(event, self._keys(), self._now_ms()):
            return False
        self._write_file()
        return True

    # The file

    def _read_file(self) -> None:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("the reports kept in %s can't be read: %s", self._path, error)
            return
        for line in lines:
            try:
                event = verify(decode_event(line))
            except NipError as error:
                log.warning("a report kept in %s can't be read: %s", self._path, error)
                continue
            # Whom the terms name is not known yet, maybe: whoever is not named is not counted either.
            self._book.take(event, {event.pubkey: ""}, self._now_ms())

    def _write_file(self) -> None:
        """Beside and renamed: a kill leaves the old ones or the new ones."""
        draft = self._path.with_suffix(".new")
        try:
            with draft.open("wb") as file:
                file.writelines(encode_event(event) + b"\n" for event in self._book.events(self._keys()))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            log.warning("reports of funds can't be kept in %s: %s", self._path, error)
