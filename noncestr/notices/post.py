"""The way out of what is queued: wrapped once, tried again, and never a mail twice."""

import logging
import secrets
from collections.abc import Mapping
from typing import Final

import anyio

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent, decode_event, encode_event, verify
from nips.nip17 import build_chat
from nips.nip44 import KeyCipher
from nips.nip59 import MAX_TWEAK_S, OneTime, gift_wrap
from noncestr.citizen.limits import DAY_MS
from noncestr.notices.memory import MESSAGE, NoticeMemory, Queued
from noncestr.notices.ports import Clock, Line, Messages
from relay_bridge.errors import RelayBridgeError

logger = logging.getLogger("noncestr.notices")

# Strangers' relays and servers take their time: so many at once.
AT_ONCE: Final = 32
# 1, 5, 25 and 125 minutes after the first; with the last one the pool's own relays get it.
FIRST_WAIT_MS: Final = 60_000
MAX_ATTEMPTS: Final = 5
# What could not be sent for so long is no news any more.
STALE_NOTICE_MS: Final = DAY_MS
# Relays may forget a notice then.
KEEP_S: Final = 30 * 86_400


class Post:
    """Sends what a memory has queued. `voice`: the key that messages are from."""

    def __init__(
        self, memory: NoticeMemory, *, voice: SecretKey, messages: Messages, lines: Mapping[str, Line], clock: Clock
    ) -> None:
        self._memory = memory
        self._voice = voice
        self._cipher = KeyCipher(voice)
        self._messages = messages
        self._lines = lines
        self._clock = clock

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
