"""Miners' settings (34216) as the pool's relays have them, live, the newest kept on disk.

Kept, so that a name to be hidden is hidden from the first share after a start, whatever relay is in reach, and so that
it is known since when money goes where it does.
"""

import logging
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import msgspec
from anyio.abc import TaskStatus

from accounting.settings_book import Known, SettingsBook
from nips.errors import NipError
from nips.nip01 import Filter, VerifiedEvent, make_filter, verify
from nips.pool.kinds import SETTINGS
from noncestr.feed import Delivery
from noncestr.whole_file import write_whole
from stratum_edge.privacy import SALT_SIZE, Hidden, HiddenNames

log = logging.getLogger("noncestr.settings")

FILE: Final = "settings.jsonl"
SALT: Final = "worker-names.salt"
# Lines beyond what stands in them, before the file is written anew.
SPARE_LINES: Final = 1_000
# After the relays failed.
RETRY_S: Final = 2.0
SECOND_MS: Final = 1000


class Feed(Protocol):
    """A `BridgeFeed`, as far as this goes."""

    def subscribe(self, filters: Sequence[Filter], *, name: str) -> AbstractAsyncContextManager[Any]:
        """Stored events, one end-of-stored, live events."""


class _Line(msgspec.Struct):
    """Settings that were in force, and since when (Unix ms) money goes where they say."""

    destination_ms: int
    event: VerifiedEvent


class SettingsFollower:
    """`accounting.settings_book.MinersSettings`, and `stratum_edge.adapters.house_server.HiddenTable`."""

    def __init__(
        self,
        folder: Path,
        pool: str,
        feed: Feed,
        now_ms: Callable[[], int],
    ) -> None:
        """`pool`: its key in hex."""
        self._path = folder / FILE
        self._pool = pool
        self._feed = feed
        self._now_ms = now_ms
        self._is_miner: Callable[[str], bool] = lambda _: False
        self._heed: Callable[[str], None] = lambda _: None
        self._book = SettingsBook(pool, self._knows)
        self._lines = 0
        self._version = 0
        self._moved = anyio.Event()
        self.names = HiddenNames(_salt(folder / SALT))
        self._read_file()

    def serve(self, is_miner: Callable[[str], bool], heed: Callable[[str], None]) -> None:
        """From now on ask `is_miner` who has mined here, and let `heed` know whose settings changed."""
        self._is_miner, self._heed = is_miner, heed

    def _knows(self, miner: str) -> bool:
        return self._is_miner(miner)

    def of(self, miner: str) -> Known | None:
        """The settings of a miner (key in hex), None if it has none."""
        return self._book.of(miner)

    def all(self) -> list[Known]:
        """Everybody's settings."""
        return list(self._book)

    async def changed(self, known: int) -> int:
        """The version of `names`, as soon as it is not `known`."""
        while self._version == known:
            await self._moved.wait()
        return self._version

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled."""
        task_status.started()
        wanted = make_filter(kinds=[SETTINGS], tags={"d": [self._pool]})
        while True:
            stored = True
            try:
                async with self._feed.subscribe([wanted], name="settings") as items:
                    async for item in items:
                        if isinstance(item, Delivery):
                            self.take(item.event, stored=stored)
                        else:
                            stored = False
            except Exception as error:  # relays come and go: what is known holds meanwhile
                log.warning("settings can't be followed just now: %r", error)
            await anyio.sleep(RETRY_S)

    def take(self, event: VerifiedEvent, *, stored: bool = False) -> bool:
        """Look at an event; whether it is in force now. `stored`: a relay had it when it was asked, for how
        long nobody knows: of a miner's first settings the date then tells since when money goes where they say.
        """
        now = self._now_ms()
        # Other settings were in force until now, whatever the new ones' date.
        unknown = stored and self._book.of(event.pubkey) is None
        known = self._book.take(event, now, seen_ms=event.created_at * SECOND_MS if unknown else None)
        if known is None:
            return False
        self._write(_Line(known.destination_ms, event))
        self._enforce(known)
        self._heed(known.settings.miner)
        return True

    def _enforce(self, known: Known) -> None:
        if self.names.put(known.settings.miner, _hidden(known)):
            self._version += 1
            moved, self._moved = self._moved, anyio.Event()
            moved.set()

    # The file

    def _read_file(self) -> None:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                read = msgspec.json.decode(line, type=_Line)
                event = verify(read.event)
            except (msgspec.MsgspecError, NipError):
                # The last line after a kill; the relays have what it said.
                continue
            known = self._book.take(event, self._now_ms(), seen_ms=read.destination_ms)
            if known is not None:
                self._enforce(known)
        self._lines = len(lines)
        if self._lines:
            self._rewrite()

    def _write(self, line: _Line) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            log.warning("settings can't be kept in %s: %s", self._path, error)
            return
        self._lines += 1
        if self._lines > 2 * len(self._book) + SPARE_LINES:
            self._rewrite()

    def _rewrite(self) -> None:
        """Beside and renamed: a kill leaves the old file or the new one."""
        # Of strangers that were forgotten nothing is kept.
        self.names.replace({each.settings.miner: hidden for each in self._book if (hidden := _hidden(each)).asks})
        draft = self._path.with_suffix(".new")
        try:
            with self._path.open("rb") as old, draft.open("wb") as file:
                self._lines = 0
                for line in old:
                    if self._stands(line):
                        file.write(line.rstrip(b"\n") + b"\n")
                        self._lines += 1
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            log.warning("settings can't be kept in %s: %s", self._path, error)

    def _stands(self, line: bytes) -> bool:
        try:
            event = msgspec.json.decode(line, type=_Line).event
        except msgspec.MsgspecError:
            return False
        known = self._book.of(event.pubkey)
        return known is not None and known.settings.id == event.id


def _hidden(known: Known) -> Hidden:
    body = known.settings.body
    return Hidden(body.hide_workers, frozenset(worker for worker, each in body.workers.items() if each.hidden))


def _salt(path: Path) -> bytes:
    """The secret that pseudonyms come of, made at the first start; never read half written."""
    try:
        salt = path.read_bytes()
        if len(salt) == SALT_SIZE:
            return salt
    except FileNotFoundError:
        pass
    salt = secrets.token_bytes(SALT_SIZE)
    write_whole(path, salt)
    return salt
