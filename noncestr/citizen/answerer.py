"""Whom the pool answers: people who ask by private message, or in a note that names it. At most once each."""

import logging
import secrets
import sqlite3
from collections import OrderedDict
from typing import Final

import anyio

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent, make_filter
from nips.nip17 import ChatMessage, InvalidChat, build_chat, parse_chat
from nips.nip24 import METADATA, InvalidMetadata, parse_metadata
from nips.nip44 import KeyCipher
from nips.nip59 import GIFT_WRAP, MAX_TWEAK_S, InvalidWrap, OneTime, gift_wrap, unwrap
from noncestr.citizen.facts import Books
from noncestr.citizen.limits import Answered, answer_limits
from noncestr.citizen.memory import Memory
from noncestr.citizen.notes import NOTE
from noncestr.citizen.ports import FETCH_S, RETRY_S, Clock, Feed, Identity, Test
from noncestr.citizen.replies import (
    GRACE_S,
    Command,
    answer,
    asked_in_message,
    asked_in_note,
    build_reply,
    hashrate_answer,
)
from noncestr.config.social import SocialConfig
from noncestr.keys.remote_key import RemoteKeyError
from relay_bridge.errors import RelayBridgeError

logger = logging.getLogger("noncestr.citizen")

# Opening a wrap takes a millisecond or two, and anybody can send one: so many a second leave miners their processor.
UNWRAPS_PER_S: Final = 20
# Wraps that were opened, so that a relay that says them again costs nothing.
MAX_OPENED: Final = 100_000
# Relays may forget an answer after so long.
KEEP_ANSWER_S: Final = 30 * 86_400


class Answerer:
    """Questions are kept in the memory before they are answered: a crash costs an answer, and never gives two."""

    def __init__(
        self,
        who: Identity,
        config: SocialConfig,
        books: Books,
        feed: Feed,
        clock: Clock,
        memory: Memory,
        test: Test | None = None,
    ) -> None:
        """`test`: what the word test does; without it that is answered as any other."""
        self._test = test
        self._who = who
        self._books = books
        self._feed = feed
        self._clock = clock
        self._memory = memory
        self._limits = answer_limits(config.replies_per_hour, config.replies_per_day)
        # A key elsewhere would have to be asked to open whatever anybody sends.
        self._cipher = None if who.secret is None else KeyCipher(who.secret)
        self._started_s = clock.now_ms() // 1000
        self._opened: OrderedDict[str, None] = OrderedDict()

    async def run(self) -> None:
        """Until cancelled; what fails is logged, and the relays are asked anew."""
        while not self._books.synced():  # noqa: ASYNC110 - the books have no event for it
            await anyio.sleep(RETRY_S / 10)
        named = {"p": [self._who.key.pubkey]}
        since = self._started_s - GRACE_S
        wanted = [make_filter(kinds=[NOTE], tags=named, since=since)]
        if self._cipher is not None:
            # A wrap is dated up to two days before what it holds.
            wanted.append(make_filter(kinds=[GIFT_WRAP], tags=named, since=since - MAX_TWEAK_S))
        while True:
            try:
                async with self._feed.subscribe(wanted, name="citizen") as items:
                    async for item in items:
                        event: VerifiedEvent | None = getattr(item, "event", None)
                        if event is not None:
                            await self.hear(event)
            except (RelayBridgeError, RemoteKeyError, sqlite3.Error) as error:
                logger.warning("nobody is heard for a moment: %s", error)
            except Exception:  # whatever somebody sent, others are heard after it
                logger.exception("an answer failed")
            await anyio.sleep(RETRY_S)

    async def hear(self, event: VerifiedEvent) -> None:
        """Answer what asks something; anything else is passed over in silence."""
        if event.kind == NOTE:
            await self._hear_note(event)
        elif event.kind == GIFT_WRAP and self._cipher is not None and event.id not in self._opened:
            self._opened[event.id] = None
            if len(self._opened) > MAX_OPENED:
                self._opened.popitem(last=False)
            try:
                message = parse_chat(unwrap(event, self._cipher))
            except (InvalidWrap, InvalidChat) as error:
                logger.debug("a wrap holds nothing for us: %s", error)
            else:
                await self._hear_message(message)
            await anyio.sleep(1 / UNWRAPS_PER_S)

    async def _hear_message(self, message: ChatMessage) -> None:
        now_ms = self._clock.now_ms()
        command = asked_in_message(
            message,
            pool=self._who.key.pubkey,
            own=self._who.own,
            started_s=self._started_s,
            now_s=now_ms // 1000,
        )
        if command is None or not await self._may_answer(message.id, message.sender, command):
            return
        await self._memory.add_answer(message.id, Answered(now_ms, message.sender, command.value))
        if command is Command.TEST and self._test is not None:
            text = await self._test(message.sender)
        else:
            text = answer(
                command,
                self._books.pool(now_ms),
                self._books.miner(message.sender, now_ms),
                name=self._who.name,
                stratum_url=self._who.stratum_url,
                now_ms=now_ms,
            )
        await self._feed.publish(self._wrapped(message, text, now_ms // 1000))

    def _wrapped(self, message: ChatMessage, text: str, now_s: int) -> VerifiedEvent:
        rumor = build_chat(
            sender=self._who.key.pubkey,
            recipients=[message.sender],
            text=text,
            created_at=now_s,
            reply_to=message.id,
        )
        once = OneTime(
            key=SecretKey(secrets.token_bytes(32)),
            seal_nonce=secrets.token_bytes(32),
            wrap_nonce=secrets.token_bytes(32),
            seal_at=now_s - secrets.randbelow(MAX_TWEAK_S),
            wrap_at=now_s - secrets.randbelow(MAX_TWEAK_S),
        )
        assert self._who.secret is not None, "what was opened is answered"
        return gift_wrap(
            rumor,
            signer=self._who.secret,
            cipher=KeyCipher(self._who.secret),
            recipient=message.sender,
            once=once,
            expiration=now_s + KEEP_ANSWER_S,
        )

    async def _hear_note(self, note: VerifiedEvent) -> None:
        now_ms = self._clock.now_ms()
        is_asked = asked_in_note(
            note,
            pool=self._who.key.pubkey,
            own=self._who.own,
            answers=self._memory.answers,
            started_s=self._started_s,
            now_s=now_ms // 1000,
        )
        if not is_asked or not await self._may_answer(note.id, note.pubkey, Command.HASHRATE):
            return
        text = hashrate_answer(self._books.pool(now_ms), None, now_ms)
        reply = await self._who.key.sign(
            build_reply(note, text, pool=self._who.key.pubkey, relay=self._who.relay, now_s=now_ms // 1000)
        )
        await self._memory.add_answer(note.id, Answered(now_ms, note.pubkey, Command.HASHRATE.value), reply.id)
        await self._feed.publish(reply)

    async def _may_answer(self, question: str, asker: str, command: Command) -> bool:
        if question in self._memory.questions:
            return False
        unasked = command is Command.OTHER
        now_ms = self._clock.now_ms()
        if not self._limits.allow(self._memory.answered, asker, command.value, now_ms, unasked=unasked):
            logger.info("%s has had enough answers", asker)
            return False
        return not await self._is_machine(asker)

    async def _is_machine(self, asker: str) -> bool:
        """Whether the asker's profile says so (NIP-24's `bot`): two machines never come to an end."""
        try:
            found = await self._feed.fetch([make_filter(authors=[asker], kinds=[METADATA])], timeout_s=FETCH_S)
        except RelayBridgeError:
            return False
        for event in found:
            try:
                if parse_metadata(event).bot:
                    return True
            except InvalidMetadata:
                continue
        return False
