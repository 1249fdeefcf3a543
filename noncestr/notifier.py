"""Tells miners what they asked to be told: looks at the pool every few seconds, keeps what is new, sends it."""

import logging
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import anyio
from anyio.abc import TaskStatus

from accounting.settings_book import Known
from nips.errors import NipError
from nips.keys import SecretKey
from nips.nip01 import Filter, VerifiedEvent, decode_event, encode_event, make_filter, verify
from nips.nip17 import build_chat
from nips.nip44 import InvalidPayload, KeyCipher
from nips.nip59 import MAX_TWEAK_S, OneTime, gift_wrap
from nips.pool.payout import Payout
from nips.pool.settings import parse_settings
from noncestr.citizen_facts import BlockFacts
from noncestr.citizen_limits import DAY_MS, HOUR_MS
from noncestr.notice_memory import FILE, MESSAGE, Batch, NoticeMemory, Queued, open_notice_memory
from noncestr.notice_news import NEWS_MS, Measured, Newsroom, NoticeFacts, NoticeLimits
from noncestr.notice_texts import Speaker
from noncestr.notice_wishes import InvalidPrivate, Wishes, parse_private
from relay_bridge.errors import RelayBridgeError
from zapper.ports import Payee

logger = logging.getLogger("noncestr.notices")

LOOK_S: Final = 5.0
SEND_S: Final = 1.0
RETRY_S: Final = 5.0
# Hashrates are sampled, and the states of watched workers kept, this often.
SAMPLE_MS: Final = 60_000
SAVE_MS: Final = 10 * 60_000
# A log this far behind tells nothing of workers; a pool of long heartbeats says how long its are.
STALE_MS: Final = 3 * 60_000
# A relay answers with some hundred events at once.
IDS_PER_FETCH: Final = 100
FETCH_S: Final = 10.0
# Settings that no relay gave are asked for again after so long.
UNREAD_MS: Final = 60_000
# So long after the start, settings that no relay has count as far as they are known: their public words.
UNREADABLE_MS: Final = 10 * 60_000
# Strangers' relays and servers take their time: so many at once.
AT_ONCE: Final = 32
# 1, 5, 25 and 125 minutes after the first; with the last one the pool's own relays get it.
FIRST_WAIT_MS: Final = 60_000
MAX_ATTEMPTS: Final = 5
# What could not be sent for so long is no news any more.
STALE_NOTICE_MS: Final = DAY_MS
# Relays may forget a notice then.
KEEP_S: Final = 30 * 86_400
TESTS_PER_HOUR: Final = 3
# 50 bits, easily typed: nobody guesses one by publishing settings.
CODE_LENGTH: Final = 10
CODE_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class Books(Protocol):
    """`noncestr.notice_books.NoticeBooks`."""

    @property
    def failing(self) -> Callable[[], Awaitable[Sequence[Payee]]]:
        """Payees whose last payouts failed."""

    def synced(self) -> bool:
        """Whether the books are whole."""

    def log_ms(self) -> int:
        """How far the log goes."""

    def is_miner(self, key: str) -> bool:
        """Whether it has mined here."""

    def settings(self) -> Iterable[Known]:
        """Of miners."""

    def settings_of(self, miner: str) -> Known | None:
        """Of one."""

    def payouts(self, since_ms: int) -> Sequence[Payout]:
        """Signed since then."""

    def blocks(self, since_ms: int) -> Sequence[BlockFacts]:
        """Found since then."""

    async def in_chain(self, block: str) -> bool:
        """Whether the chain has it."""

    def measured(self, miner: str, now_ms: int) -> Measured:
        """Now."""

    def owed_msat(self, miner: str) -> int:
        """Owed."""

    def statement(self, miner: str) -> str | None:
        """The newest."""


class Feed(Protocol):
    """The pool's relays."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What they have stored."""


class Messages(Protocol):
    """`noncestr.notice_lines.MessageLine`."""

    async def send(self, miner: str, wrap: VerifiedEvent, *, now_s: int, last: bool) -> bool:
        """Whether it got there. Raises RelayBridgeError."""


class Line(Protocol):
    """A kind of channel."""

    async def send(self, address: str, title: str, text: str) -> bool:
        """Whether it was taken."""


class Clock(Protocol):
    """The time."""

    def now_ms(self) -> int:
        """Unix ms."""


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
        self._cipher = KeyCipher(voice)
        self._private = KeyCipher(reader)
        self._feed = feed
        self._messages = messages
        self._lines = lines
        self._clock = clock
        self._path = data / FILE
        self._stale_ms = stale_ms
        # By miner, with the settings' id they come of; and those whose private part no relay gave yet.
        self._wishes: dict[str, tuple[str, Wishes]] = {}
        self._unread: dict[str, int] = {}
        self._steady_ms: int | None = None
        self._sampled_ms = 0
        self._begun_ms = clock.now_ms()
        self._saved_ms = clock.now_ms()
        self._loaded_ms = clock.now_ms()
        self._tests: dict[str, list[int]] = {}
        self._memory: NoticeMemory
        self._news: Newsroom

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
        self._news = Newsroom(
            self._speaker,
            self._limits,
            memory,
            self.wishes,
            owed=self._books.owed_msat,
            statement=self._books.statement,
        )

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
        known = self._books.settings_of(miner)
        if known is None:
            return Wishes(frozenset())
        read = self._wishes.get(miner)
        private = read[1].private if read is not None and read[0] == known.settings.id else None
        wishes = Wishes(frozenset(known.settings.body.notify))
        return wishes if private is None else replace(wishes, private=private)

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
        await self._read_private(settings, now_ms)
        batch = self._news.look(await self._facts(settings, now_ms))
        await self._write(batch, now_ms)
        if self._memory.is_new:
            await self._memory.begin(now_ms)
        for miner, (_, wishes) in list(self._wishes.items()):
            if wishes.private.channels:
                await self._write(self._news.codes(miner, new_code, now_ms), now_ms)
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
        read = {known.settings.miner for known in settings if self._is_read(known, now_ms)}
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

    def _is_read(self, known: Known, now_ms: int) -> bool:
        read = self._wishes.get(known.settings.miner)
        has_it = read is not None and read[0] == known.settings.id
        return has_it or now_ms - self._begun_ms >= UNREADABLE_MS

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

    async def _read_private(self, settings: list[Known], now_ms: int) -> None:
        """Read the private parts of settings that are new: the relays have them, the settings' book has not."""
        miners = {known.settings.miner for known in settings}
        for gone in [miner for miner in self._wishes if miner not in miners]:
            del self._wishes[gone]
        new = {
            known.settings.id: known.settings.miner
            for known in settings
            if self._wishes.get(known.settings.miner, ("", None))[0] != known.settings.id
            and now_ms - self._unread.get(known.settings.id, 0) >= UNREAD_MS
        }
        ids = list(new)
        for start in range(0, len(ids), IDS_PER_FETCH):
            asked = ids[start : start + IDS_PER_FETCH]
            self._unread.update(dict.fromkeys(asked, now_ms))
            for event in await self._feed.fetch([make_filter(ids=asked)], timeout_s=FETCH_S):
                if event.id in new:
                    self._unread.pop(event.id, None)
                    self._wishes[event.pubkey] = (event.id, self._read(event))
        waiting = {known.settings.id for known in settings}
        self._unread = {settings_id: at for settings_id, at in self._unread.items() if settings_id in waiting}

    def _read(self, event: VerifiedEvent) -> Wishes:
        try:
            body = parse_settings(event).body
            wishes = Wishes(frozenset(body.notify))
            if not body.private:
                return wishes
            return replace(wishes, private=parse_private(self._private.decrypt(event.pubkey, body.private)))
        except (NipError, InvalidPayload, InvalidPrivate) as error:
            logger.info("the private part of settings %s is not read: %s", event.id, error)
            return Wishes(frozenset())

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
        silent = [channel.kind for channel in asked if not self._news.is_confirmed(miner, channel)]
        lines = [f"A test is on its way by {', '.join(way.way for way in ways) or 'no way'}."]
        lines.append(f"Your settings ask for: {', '.join(sorted(wishes.words)) or 'nothing'}.")
        if silent:
            lines.append(f"Not used before your settings repeat the code sent there: {', '.join(silent)}.")
        return "\n".join(lines)

    # Sending

    async def send(self) -> None:
        """Send what is due, several at once."""
        now_ms = self._clock.now_ms()
        async with anyio.create_task_group() as tasks:
            for queued in await self._memory.due(now_ms, AT_ONCE):
                tasks.start_soon(self._send, queued, now_ms)

    async def _send(self, queued: Queued, now_ms: int) -> None:
        if now_ms - queued.at_ms >= STALE_NOTICE_MS:
            await self._memory.mark_done(queued.id)
        elif queued.way == MESSAGE:
            await self._send_message(queued, now_ms)
        else:
            # Taken out first: a crash costs it, and it is never sent twice.
            await self._memory.mark_done(queued.id)
            line = self._lines.get(queued.way)
            if line is None or not await line.send(queued.address, queued.title, queued.text):
                logger.warning("a notice by %s was not taken", queued.way)

    async def _send_message(self, queued: Queued, now_ms: int) -> None:
        if queued.event:
            wrap = verify(decode_event(queued.event))
        else:
            wrap = self._wrapped(queued, now_ms // 1000)
            await self._memory.set_event(queued.id, encode_event(wrap).decode())
        try:
            last = queued.attempts + 1 >= MAX_ATTEMPTS
            done = await self._messages.send(queued.miner, wrap, now_s=now_ms // 1000, last=last)
        except RelayBridgeError as error:
            logger.info("a notice waits: %s", error)
            done = False
        if done:
            await self._memory.mark_done(queued.id)
        else:
            await self._memory.put_off(queued.id, now_ms + FIRST_WAIT_MS * 5 ** min(queued.attempts, MAX_ATTEMPTS))

    def _wrapped(self, queued: Queued, now_s: int) -> VerifiedEvent:
        rumor = build_chat(
            sender=self._voice.pubkey, recipients=[queued.miner], text=queued.text, created_at=queued.at_ms // 1000
        )
        once = OneTime(
            key=SecretKey(secrets.token_bytes(32)),
            seal_nonce=secrets.token_bytes(32),
            wrap_nonce=secrets.token_bytes(32),
            seal_at=now_s - secrets.randbelow(MAX_TWEAK_S),
            wrap_at=now_s - secrets.randbelow(MAX_TWEAK_S),
        )
        return gift_wrap(
            rumor,
            signer=self._voice,
            cipher=self._cipher,
            recipient=queued.miner,
            once=once,
            expiration=now_s + KEEP_S,
        )


def new_code() -> str:
    """A code that nobody guesses."""
    return "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))
