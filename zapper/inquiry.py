"""What relays know of how a miner wants to be paid: the pool's relays, and those that the miner's own list names."""

import logging
from collections.abc import Callable

from nips.nip01 import VerifiedEvent, make_filter
from nips.nip65 import RELAY_LIST, parse_relay_list
from zapper.errors import PoolFault
from zapper.plan import OURS
from zapper.ports import EventFeed, MinersRelays
from zapper.profile import newest
from zapper.wishes import WISH_KINDS

log = logging.getLogger("zapper")

# Relays that strangers name are not waited for as long as the pool's own.
MINERS_RELAYS_S = 5.0


class Inquiry:
    """`clock` gives Unix ms; `relays`: None where no relays but the pool's are asked (the demo's miners name none)."""

    def __init__(
        self,
        feed: EventFeed,
        relays: MinersRelays | None,
        *,
        fetch_timeout_s: float,
        clock: Callable[[], int],
    ) -> None:
        self._feed = feed
        self._relays = relays
        self._fetch_timeout_s = fetch_timeout_s
        self._clock = clock

    async def about(self, miner: str) -> list[VerifiedEvent]:
        """The miner's own events, whoever had them. Raises PoolFault when none of the pool's relays answered."""
        kinds = [*WISH_KINDS, RELAY_LIST]
        try:
            events = await self._feed.fetch(
                [make_filter(authors=[miner], kinds=kinds)], timeout_s=self._fetch_timeout_s
            )
        except Exception as error:  # each bridge has its own; all mean that no relay answered
            raise PoolFault(f"{OURS}no relay could be asked for the profile ({error})") from None
        listed = newest(events, RELAY_LIST, miner, now_s=self._clock() // 1000)
        if self._relays is None or listed is None:
            return events
        # NIP-65: what a person publishes is where he writes.
        urls = parse_relay_list(listed).write
        wanted = make_filter(authors=[miner], kinds=list(WISH_KINDS))
        more = await self._relays.ask(urls, [wanted], timeout_s=MINERS_RELAYS_S)
        return list({event.id: event for event in (*events, *more)}.values())
