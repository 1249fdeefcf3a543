"""Places besides Nostr: used once the miner repeats the code sent there, and told when it takes them out."""

import hmac
from collections.abc import Callable, Sequence
from typing import Final

from noncestr.citizen.limits import DAY_MS
from noncestr.notices.memory import Batch, Code, NoticeMemory, Place, ToSend
from noncestr.notices.texts import Speaker
from noncestr.notices.wishes import Channel

# A code that was not used is sent again after so long, if it is still asked for.
CODE_MS: Final = 30 * DAY_MS
# Nobody tries more addresses of its own in a day; the pool is no means to write to strangers.
CODES_PER_DAY: Final = 3
CODES_PER_DAY_ALL: Final = 200
CODES_PER_ADDRESS: Final = 2


class Channels:
    """`kinds`: those that are open."""

    def __init__(self, speaker: Speaker, kinds: frozenset[str], memory: NoticeMemory) -> None:
        self._speaker = speaker
        self._kinds = kinds
        self._memory = memory

    def is_confirmed(self, miner: str, channel: Channel) -> bool:
        """Whether the miner repeats the code that went to this channel."""
        code = self._memory.codes.get((channel.kind, channel.address, miner))
        if code is None or channel.kind not in self._kinds:
            return False
        return hmac.compare_digest(code.code.encode(), channel.code.encode())

    def look(self, miner: str, channels: Sequence[Channel], make: Callable[[], str], now_ms: int) -> Batch:
        """What is to be written for the channels that a miner's settings name now; `make` gives a secret code.

        A place that was used and is no more is told so: whoever has a stolen key would take it out first.
        """
        batch = self._codes(miner, channels, make, now_ms)
        named = {Place(miner, each.kind, each.address) for each in channels if self.is_confirmed(miner, each)}
        known = self._memory.confirmed.get(miner, set())
        batch.confirmed += sorted(named - known)
        for place in sorted(known - named):
            # What the operator has closed can't be told, and may be opened again.
            if place.kind not in self._kinds:
                continue
            batch.left.append(place)
            # In and out and in again is told once a day.
            notice = self._speaker.left(miner, place.kind, place.address, now_ms // DAY_MS)
            if notice.subject not in self._memory.subjects:
                batch.subjects.append(notice.subject)
                batch.sends.append(ToSend(notice, place.kind, place.address))
        return batch

    def _codes(self, miner: str, channels: Sequence[Channel], make: Callable[[], str], now_ms: int) -> Batch:
        batch = Batch()
        for channel in channels:
            known = self._memory.codes.get((channel.kind, channel.address, miner))
            if channel.kind not in self._kinds or (
                known is not None and (self.is_confirmed(miner, channel) or now_ms - known.sent_ms < CODE_MS)
            ):
                continue
            recent = [code for code in self._memory.codes.values() if now_ms - code.sent_ms < CODE_MS] + batch.codes
            today = [code for code in recent if now_ms - code.sent_ms < DAY_MS]
            if (
                sum(code.miner == miner for code in today) >= CODES_PER_DAY
                or len(today) >= CODES_PER_DAY_ALL
                or sum(code.address == channel.address for code in recent) >= CODES_PER_ADDRESS
            ):
                continue
            code = make()
            batch.codes.append(Code(channel.kind, channel.address, miner, code, now_ms))
            notice = self._speaker.code(miner, channel.address, code)
            batch.sends.append(ToSend(notice, channel.kind, channel.address))
        return batch
