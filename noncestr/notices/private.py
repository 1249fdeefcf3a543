"""The private parts of miners' settings: the relays have them, the zapper's key opens them."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from accounting.settings_book import Known
from nips.errors import NipError
from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent, make_filter
from nips.nip44 import InvalidPayload, KeyCipher
from nips.pool.settings import parse_settings
from noncestr.notices.ports import Feed
from noncestr.notices.wishes import Channel, InvalidPrivate, Wishes, parse_private

logger = logging.getLogger("noncestr.notices")

# A relay answers with some hundred events at once.
IDS_PER_FETCH: Final = 100
FETCH_S: Final = 10.0
# Settings that no relay gave are asked for again after so long.
UNREAD_MS: Final = 60_000
# So long after the start, settings that no relay has count as far as they are known: their public words.
UNREADABLE_MS: Final = 10 * 60_000


class PrivateParts:
    """What was read of them. `reader`: the zapper's key; `settings_of`: a miner's settings in force."""

    def __init__(
        self, reader: SecretKey, feed: Feed, settings_of: Callable[[str], Known | None], begun_ms: int
    ) -> None:
        self._cipher = KeyCipher(reader)
        self._feed = feed
        self._settings_of = settings_of
        self._begun_ms = begun_ms
        # By miner, with the settings' id they come of; and those whose private part no relay gave yet.
        self._wishes: dict[str, tuple[str, Wishes]] = {}
        self._unread: dict[str, int] = {}

    def wishes(self, miner: str) -> Wishes:
        """What this miner asked for; its private part once it is read."""
        known = self._settings_of(miner)
        if known is None:
            return Wishes(frozenset())
        read = self._wishes.get(miner)
        private = read[1].private if read is not None and read[0] == known.settings.id else None
        wishes = Wishes(frozenset(known.settings.body.notify))
        return wishes if private is None else replace(wishes, private=private)

    def channels(self, miner: str) -> tuple[Channel, ...] | None:
        """The places that the miner's settings in force name; None while those were not read."""
        known, read = self._settings_of(miner), self._wishes.get(miner)
        return read[1].private.channels if known and read and read[0] == known.settings.id else None

    def with_channels(self) -> list[str]:
        """The miners that name places besides Nostr."""
        return [miner for miner, (_, wishes) in self._wishes.items() if wishes.private.channels]

    def is_read(self, known: Known, now_ms: int) -> bool:
        """Whether these settings were read, or never will be."""
        read = self._wishes.get(known.settings.miner)
        has_it = read is not None and read[0] == known.settings.id
        return has_it or now_ms - self._begun_ms >= UNREADABLE_MS

    async def read(self, settings: Sequence[Known], now_ms: int) -> None:
        """Read the private parts of settings that are new; forget those of miners that have none any more.

        Raises RelayBridgeError.
        """
        miners = {known.settings.miner for known in settings}
        for gone in [miner for miner in self._wishes if miner not in miners]:
            del self._wishes[gone]
        new = {
            known.settings.id
            for known in settings
            if self._wishes.get(known.settings.miner, ("", None))[0] != known.settings.id
            and now_ms - self._unread.get(known.settings.id, 0) >= UNREAD_MS
        }
        await self._fetch(new, now_ms)
        waiting = {known.settings.id for known in settings}
        self._unread = {settings_id: at for settings_id, at in self._unread.items() if settings_id in waiting}

    async def _fetch(self, wanted: Iterable[str], now_ms: int) -> None:
        ids = sorted(wanted)
        for start in range(0, len(ids), IDS_PER_FETCH):
            asked = ids[start : start + IDS_PER_FETCH]
            self._unread.update(dict.fromkeys(asked, now_ms))
            for event in await self._feed.fetch([make_filter(ids=asked)], timeout_s=FETCH_S):
                if event.id in asked:
                    self._unread.pop(event.id, None)
                    self._wishes[event.pubkey] = (event.id, self._read(event))

    def _read(self, event: VerifiedEvent) -> Wishes:
        try:
            body = parse_settings(event).body
            wishes = Wishes(frozenset(body.notify))
            if not body.private:
                return wishes
            return replace(wishes, private=parse_private(self._cipher.decrypt(event.pubkey, body.private)))
        except (NipError, InvalidPayload, InvalidPrivate) as error:
            logger.info("the private part of settings %s is not read: %s", event.id, error)
            return Wishes(frozenset())
