"""What the pool tells unasked: a note for each block, one for each day, its status. Once each, through any crash."""

import logging
import sqlite3
from typing import Final

import anyio

from nips.nip01 import VerifiedEvent, make_filter
from noncestr.citizen.facts import BlockFacts, Books, day_name
from noncestr.citizen.limits import DAY_MS, HOUR_MS, may_note
from noncestr.citizen.memory import Memory
from noncestr.citizen.notes import NOTE, NoteStyle, block_note, block_subject, day_note, day_subject, subjects_of
from noncestr.citizen.ports import FETCH_S, RETRY_S, Clock, Feed, Identity
from noncestr.citizen.status import pool_status
from noncestr.config.social import SocialConfig
from noncestr.keys.remote_key import RemoteKeyError
from relay_bridge.errors import RelayBridgeError

logger = logging.getLogger("noncestr.citizen")

# How often the books are looked at for news.
LOOK_S: Final = 2.0
# A block is told while it is news; the summary tells of older ones.
NEWS_MS: Final = 6 * HOUR_MS
# Seen this late after it was found, all the work there is by then is no measure of the work for a block.
FRESH_MS: Final = 60_000
# A day whose log is not whole yet is asked for again after so long.
DAY_RETRY_MS: Final = 300_000
# The first status comes so long after the start.
FIRST_STATUS_MS: Final = 60_000


class Teller:
    """Notes are kept in the memory before they are handed over: the same block, and the same day, has one note."""

    def __init__(
        self, who: Identity, config: SocialConfig, books: Books, feed: Feed, clock: Clock, memory: Memory
    ) -> None:
        self._who = who
        self._config = config
        self._books = books
        self._feed = feed
        self._clock = clock
        self._memory = memory
        self._style = NoteStyle(who.name, config.name_finders, config.block_note, config.daily_note)
        self._day_asked_ms = 0
        # Who has just begun has no hashrate to show yet.
        self._status_ms = clock.now_ms() - config.status_minutes * 60_000 + FIRST_STATUS_MS

    async def run(self) -> None:
        """Until cancelled; what fails is logged and tried again."""
        resumed = False
        loaded_ms = self._clock.now_ms()
        while True:
            try:
                if self._books.synced():
                    if not resumed:
                        await self.resume()
                        resumed = True
                    await self.look()
                if self._clock.now_ms() - loaded_ms >= DAY_MS:
                    loaded_ms = self._clock.now_ms()
                    await self._memory.load(loaded_ms)
            except (RelayBridgeError, RemoteKeyError, sqlite3.Error) as error:
                resumed = False
                logger.warning("nothing can be told for a moment: %s", error)
                await anyio.sleep(RETRY_S)
            except Exception:  # whatever it was, the pool goes on, and so do its other notes
                resumed = False
                logger.exception("what is told to people failed")
                await anyio.sleep(RETRY_S)
            await anyio.sleep(LOOK_S)

    async def resume(self) -> None:
        """Hand over what was written before a crash; what relays have and the memory has lost is not told twice."""
        for subject, note in await self._memory.unsent():
            await self._feed.publish(note)
            await self._memory.mark_sent(subject)
        now_ms = self._clock.now_ms()
        wanted = make_filter(authors=[self._who.key.pubkey], kinds=[NOTE], since=(now_ms - NEWS_MS - DAY_MS) // 1000)
        for note in await self._feed.fetch([wanted], timeout_s=FETCH_S):
            for subject in subjects_of(note):
                if subject not in self._memory.subjects:
                    await self._memory.add_silence(subject, now_ms)

    async def look(self) -> None:
        """Tell what is new."""
        now_ms = self._clock.now_ms()
        for block in self._books.blocks(now_ms - NEWS_MS):
            if block.block not in self._memory.efforts:
                total = self._books.work() if now_ms - block.found_ms <= FRESH_MS else None
                await self._memory.add_sighting(block.block, now_ms, total)
            if self._config.notes and block_subject(block.block) not in self._memory.subjects:
                await self._tell_block(block, now_ms)
        if self._config.daily:
            await self._tell_day(now_ms)
        every_ms = self._config.status_minutes * 60_000
        if every_ms and not 0 <= now_ms - self._status_ms < every_ms:
            status = pool_status(self._books.pool(now_ms), now_ms=now_ms, every_s=every_ms // 1000, url=self._who.web)
            await self._feed.publish(await self._who.key.sign(status))
            self._status_ms = now_ms

    async def _tell_block(self, block: BlockFacts, now_ms: int) -> None:
        subject = block_subject(block.block)
        if not await self._books.in_chain(block.block):
            return
        if not may_note(self._memory.noted_ms, now_ms, self._config.notes_per_day):
            logger.info("block %d gets no note: there were enough today", block.height)
            await self._memory.add_silence(subject, now_ms)
            return
        note = block_note(self._who.pool, block, self._memory.efforts[block.block], self._style)
        await self._post(subject, await self._who.key.sign(note), now_ms)

    async def _tell_day(self, now_ms: int) -> None:
        end_ms = now_ms // DAY_MS * DAY_MS
        subject = day_subject(day_name(end_ms - DAY_MS))
        if subject in self._memory.subjects or 0 <= now_ms - self._day_asked_ms < DAY_RETRY_MS:
            return
        self._day_asked_ms = now_ms
        day = await self._books.day(end_ms - DAY_MS)
        if day is None:
            return
        if day.is_empty:
            await self._memory.add_silence(subject, now_ms)
            return
        await self._post(subject, await self._who.key.sign(day_note(self._who.pool, day, self._style)), now_ms)

    async def _post(self, subject: str, note: VerifiedEvent, now_ms: int) -> None:
        await self._memory.add_note(subject, note, now_ms)
        await self._feed.publish(note)
        await self._memory.mark_sent(subject)
        logger.info("posted a note: %s", note.content.partition("\n")[0])
