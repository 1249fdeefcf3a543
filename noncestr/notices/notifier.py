"""Tells miners what they asked to be told: looks at the pool every few seconds, keeps what is new, sends it."""

import logging
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskStatus

from accounting.settings_book import Known
from nips.keys import SecretKey
from noncestr.citizen.limits import DAY_MS, HOUR_MS
from noncestr.notices.channels import Channels
from noncestr.notices.memory import FILE, Batch, NoticeMemory, open_notice_memory
from noncestr.notices.news import MOVES_MS, NEWS_MS, Newsroom, NoticeFacts, NoticeLimits
from noncestr.notices.ports import Books, Clock, Feed, Line, Messages
from noncestr.notices.post import Post
from noncestr.notices.private import PrivateParts
from noncestr.notices.texts import Speaker
from noncestr.notices.wishes import Wishes
from relay_bridge.errors import RelayBridgeError

logger = logging.getLogger("noncestr.notices")

LOOK_S: Final = 5.0
SEND_S: Final = 1.0
RETRY_S: Final = 5.0
# Hashrates are sampled, and the states of watched workers kept, this often.
SAMPLE_MS: Final = 60_000
SAVE_MS: Final = 10 * 60_000
# A log this far behind tells nothing of workers; a pool of long heartbeats says how long its are.
STALE_MS: Final = 3 * 60_000
TESTS_PER_HOUR: Final = 3
# 50 bits, easily typed: nobody guesses one by publishing settings.
CODE_LENGTH: Final = 10
CODE_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class Notifier:
    """Run it beside the books. Nothing it does may stop the pool: what fails is logged and tried again."""

    def __init__(
        self,
        speaker: Speaker,
        limits: NoticeLimits,
        books: Books,
        *,
        voice: SecretKey,
        reader: SecretKey,
        feed: Feed,
        messages: Messages,
        lines: Mapping[str, Line],
        clock: Clock,
        data: Path,
        stale_ms: int = STALE_MS,
    ) -> None:
        """`voice`: the key that messages are from. `reader`: the zapper's, to which private parts are encrypted."""
        self._speaker = speaker
        self._limits = limits
        self._books = books
        self._voice = voice
        self._private = PrivateParts(reader, feed, books.settings_of, clock.now_ms())
        self._messages = messages
        self._lines = lines
        self._clock = clock
        self._path = data / FILE
        self._stale_ms = stale_ms
        self._steady_ms: int | None = None
        self._sampled_ms = 0
        self._saved_ms = clock.now_ms()
        self._loaded_ms = clock.now_ms()
        self._tests: dict[str, list[int]] = {}
        self._memory: NoticeMemory
        self._channels: Channels
        self._news: Newsroom
        self._post: Post

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Raises NoncestrError for a memory that can't be opened."""
        async with open_notice_memory(self._path, self._clock.now_ms()) as memory, anyio.create_task_group() as tasks:
            self.begin(memory)
            tasks.start_soon(self._repeat, self.look, LOOK_S)
            tasks.start_soon(self._repeat, self.send, SEND_S)
            task_status.started()

    def begin(self, memory: NoticeMemory) -> None:
        """Go by this memory."""
        self._memory = memory
        self._channels = Channels(self._speaker, self._limits.kinds, memory)
        self._news = Newsroom(
            self._speaker,
            self._limits,
            memory,
            self.wishes,
            self._channels,
            owed=self._books.owed_msat,
            statement=self._books.statement,
        )
        self._post = Post(memory, voice=self._voice, messages=self._messages, lines=self._lines, clock=self._clock)

    async def _repeat(self, act: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            try:
                await act()
            except (RelayBridgeError, sqlite3.Error) as error:
                logger.warning("miners can't be told for a moment: %s", error)
                await anyio.sleep(RETRY_S)
            except Exception:  # whatever it was, the pool goes on, and so do other notices
                logger.exception("a notice failed")
                await anyio.sleep(RETRY_S)
            await anyio.sleep(every_s)

    def wishes(self, miner: str) -> Wishes:
        """What this miner asked for; its private part once it is read."""
        return self._private.wishes(miner)

    async def send(self) -> None:
        """Send what is due."""
        await self._post.send()

    # Looking

    async def look(self) -> None:
        """Keep what is new, to be sent."""
        if not self._books.synced():
            return
        now_ms = self._clock.now_ms()
        if now_ms - self._loaded_ms >= DAY_MS:
            self._loaded_ms = now_ms
            await self._save(now_ms)
            await self._memory.load(now_ms)
        settings = list(self._books.settings())
        await self._private.read(settings, now_ms)
        batch = self._news.look(await self._facts(settings, now_ms))
        await self._write(batch, now_ms)
        if self._memory.is_new:
            await self._memory.begin(now_ms)
        for miner in {*self._private.with_channels(), *self._memory.confirmed}:
            channels = self._private.channels(miner)
            if channels is not None:
                await self._write(self._channels.look(miner, channels, new_code, now_ms), now_ms)
        for miner in await self._memory.take_asked(now_ms - HOUR_MS):
            await self.test(miner)
        if now_ms - self._saved_ms >= SAVE_MS:
            await self._save(now_ms)

    async def _facts(self, settings: list[Known], now_ms: int) -> NoticeFacts:
        if not 0 <= now_ms - self._books.log_ms() <= self._stale_ms:
            self._steady_ms = None
        elif self._steady_ms is None:
            self._steady_ms = now_ms
        # Who watches what stands in the private part: without it nothing is judged, nor let go.
        read = {known.settings.miner for known in settings if self._private.is_read(known, now_ms)}
        watched = {miner for miner in read if self.wishes(miner).watches_some}
        sampled = now_ms - self._sampled_ms >= SAMPLE_MS
        if sampled:
            self._sampled_ms = now_ms
        return NoticeFacts(
            now_ms=now_ms,
            steady_ms=self._steady_ms,
            settings=settings,
            payouts=self._books.payouts(now_ms - NEWS_MS),
            failing=await self._books.failing(),
            moves=await self._books.moves(now_ms - MOVES_MS),
            blocks=[
                block
                for block in self._books.blocks(now_ms - NEWS_MS)
                # The node is asked of what is new alone.
                if f"block {block.block}" not in self._memory.subjects and await self._books.in_chain(block.block)
            ],
            measured={miner: self._books.measured(miner, now_ms) for miner in sorted(watched)},
            unwatched=frozenset(read - watched),
            sampled=sampled,
        )

    async def _write(self, batch: Batch, now_ms: int) -> None:
        if batch.is_empty:
            return
        try:
            await self._memory.write(batch, now_ms)
        except sqlite3.Error:
            # Watches went on already: the file says where they were.
            await self._memory.load(now_ms)
            raise

    async def _save(self, now_ms: int) -> None:
        self._saved_ms = now_ms
        await self._write(Batch(watches=dict(self._memory.watches)), now_ms)

    # A test

    async def test(self, miner: str) -> str:
        """Send a test by every way this miner has; what is to be answered to it."""
        if not self._books.is_miner(miner):
            return "This pool has never seen a share of your npub. Use it as your miner's user name, and ask again."
        now_ms = self._clock.now_ms()
        before = [at for at in self._tests.get(miner, ()) if at > now_ms - HOUR_MS]
        if len(before) >= TESTS_PER_HOUR:
            return f"You had {TESTS_PER_HOUR} tests within an hour: ask again later."
        self._tests[miner] = [*before, now_ms]
        ways = self._news.ways(self._speaker.test(miner, now_ms, len(before)))
        await self._write(Batch(sends=ways), now_ms)
        wishes = self.wishes(miner)
        asked = wishes.private.channels
        silent = [channel.kind for channel in asked if not self._channels.is_confirmed(miner, channel)]
        lines = [f"A test is on its way by {', '.join(way.way for way in ways) or 'no way'}."]
        lines.append(f"Your settings ask for: {', '.join(sorted(wishes.words)) or 'nothing'}.")
        if silent:
            lines.append(f"Not used before your settings repeat the code sent there: {', '.join(silent)}.")
        return "\n".join(lines)


def new_code() -> str:
    """A code that nobody guesses."""
    return "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))
