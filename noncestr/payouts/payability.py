"""Whether a miner can be paid: its profile's lightning address, read where the zapper will read it."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import anyio

from nips.lnurl import InvalidLnurl
from nips.nip01 import Filter, VerifiedEvent, make_filter
from nips.nip24 import METADATA
from nips.nip61 import NUTZAP_INFO
from nips.nip65 import RELAY_LIST
from nips.pool.kinds import SETTINGS
from relay_bridge.errors import RelayBridgeError
from zapper.errors import PaymentBlocked
from zapper.profile import destination_of, newest_profile

log = logging.getLogger(__name__)

# A miner hears about it minutes after it logged in as well as seconds: the relays are not asked for long, nor often.
FETCH_S: Final = 5.0
ASKED_AT_ONCE: Final = 4
# Keys that wait to be asked for; of more nobody knows, until they are asked about again.
MAX_ASKING: Final = 256
# Who can be paid stays so as a rule; who was told to mend its profile wants to see that it did.
GOOD_S: Final = 900.0
BAD_S: Final = 120.0
# Answers kept; the oldest are forgotten, which costs a look at the relays.
MAX_KEPT: Final = 10_000
# A relay list has some ten relays; the sentence names none of a longer one.
MAX_NAMED: Final = 3

EARNS_ANYWAY: Final = "you mine and earn all the same, and are paid once there is one"


class Feed(Protocol):
    """The relay bridge, as far as this goes."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """Stored events of the relays."""


class _Answer(NamedTuple):
    until: float
    advice: str | None


class RelayPayability:
    """`stratum_edge.ports.Payability` over the pool's relays.

    No profile found on the relays counts as no way to be paid, since the zapper looks nowhere else; nothing heard from
    any relay in time counts as not known, and the miner is told nothing.
    """

    def __init__(
        self,
        feed: Feed,
        relays: Sequence[str],
        now_ms: Callable[[], int],
        *,
        allow_http_loopback: bool = False,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        """`relays`: the pool's, to name them to a miner whose profile is elsewhere. `allow_http_loopback`: a lightning
        address on this machine counts (the demo's).
        """
        self._feed = feed
        self._relays = tuple(relays)
        self._now_ms = now_ms
        self._allow_http_loopback = allow_http_loopback
        self._mono = mono
        self._kept: OrderedDict[str, _Answer] = OrderedDict()
        self._slots = anyio.CapacityLimiter(ASKED_AT_ONCE)
        self._asking: dict[str, anyio.Event] = {}

    async def advice(self, miner: str) -> str | None:
        """What to tell a miner (hex key) that can't be paid; None when it can, or when nobody knows."""
        while True:
            answer = self._kept.get(miner)
            if answer is not None and answer.until > self._mono():
                return answer.advice
            under_way = self._asking.get(miner)
            if under_way is None:
                break
            await under_way.wait()
        if len(self._asking) >= MAX_ASKING:
            return None
        done = self._asking[miner] = anyio.Event()
        try:
            async with self._slots:
                return await self._look(miner)
        finally:
            del self._asking[miner]
            done.set()

    async def _look(self, miner: str) -> str | None:
        events: list[VerifiedEvent] = []
        try:
            with anyio.move_on_after(2 * FETCH_S):
                wanted = make_filter(authors=[miner], kinds=[METADATA, NUTZAP_INFO, SETTINGS, RELAY_LIST])
                events = await self._feed.fetch([wanted], timeout_s=FETCH_S)
                advice = self._judge(events, miner)
                return self._keep(miner, advice, GOOD_S if advice is None else BAD_S)
        except RelayBridgeError as error:
            log.info("whether %s can be paid is not known: %s", miner, error)
        return self._keep(miner, None, BAD_S)

    def _keep(self, miner: str, advice: str | None, seconds: float) -> str | None:
        self._kept[miner] = _Answer(self._mono() + seconds, advice)
        self._kept.move_to_end(miner)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return advice

    def _judge(self, events: Sequence[VerifiedEvent], miner: str) -> str | None:
        if any(event.kind in (NUTZAP_INFO, SETTINGS) for event in events):
            # Who names other ways is paid by those, or is told by the zapper why not.
            return None
        now_s = self._now_ms() // 1000
        profile = newest_profile(events, miner, now_s=now_s)
        if profile is None:
            return self._unseen(events)
        try:
            destination_of(profile, allow_http_loopback=self._allow_http_loopback)
        except PaymentBlocked:
            return f"your profile names no lightning address: add one (lud16) in your Nostr app; {EARNS_ANYWAY}"
        except InvalidLnurl as error:
            return f"the lightning address of your profile is none ({error}): correct it; {EARNS_ANYWAY}"
        return None

    def _unseen(self, events: Sequence[VerifiedEvent]) -> str:
        """No profile on the pool's relays: a relay list there says that the miner is known, and lives elsewhere."""
        where = ", ".join(self._relays[:MAX_NAMED])
        if any(event.kind == RELAY_LIST for event in events):
            found = f"your profile is on none of this pool's relays, which your relay list does not name: add {where}"
        else:
            found = f"this pool's relays have no profile of yours: publish one with a lightning address to {where}"
        return f"{found}; {EARNS_ANYWAY}"
