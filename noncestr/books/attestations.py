"""Attestations (4222) that come over the web: judged, and published like any other event."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from client_web.api.answers import Refused
from nips.errors import InvalidPoolEvent
from nips.nip01 import Filter, VerifiedEvent, make_filter
from nips.pool.address import PoolAddress
from nips.pool.attestation import parse_attestation
from nips.pool.kinds import ATTESTATION

DAY_S: Final = 86_400
# A clock that is wrong by a quarter of an hour is common; and what was signed yesterday may come today.
MAX_AHEAD_S: Final = 900
MAX_AGE_S: Final = DAY_S
# The relays are asked whether there is one of that day already; whoever sends it waits no longer.
FETCH_S: Final = 5.0


class Bridge(Protocol):
    """The relay bridge, as far as this goes."""

    async def publish(self, event: VerifiedEvent) -> None:
        """Durable in the outbox when it returns."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What the relays have stored. Raises an Exception when none answered."""


class WebAttestations:
    """`client_web.ports.Attestations`."""

    def __init__(
        self,
        pool: PoolAddress,
        bridge: Bridge,
        knows: Callable[[str], Awaitable[bool]],
        now_ms: Callable[[], int],
    ) -> None:
        """`knows`: whether a key has sent the pool a share."""
        self._pool = pool
        self._bridge = bridge
        self._knows = knows
        self._now_ms = now_ms
        # (miner, worker, day) of what was taken since yesterday -> event; only miners get in, so that it is bounded.
        self._taken: dict[tuple[str, str, int], str] = {}

    async def take(self, event: VerifiedEvent) -> None:
        """See `Attestations`."""
        try:
            told = parse_attestation(event)
        except InvalidPoolEvent as error:
            raise Refused(400, str(error)) from None
        if told.pool != self._pool:
            raise Refused(400, f"it is for another pool; this one is {self._pool}")
        now_s = self._now_ms() // 1000
        if not now_s - MAX_AGE_S <= told.created_at <= now_s + MAX_AHEAD_S:
            raise Refused(400, "it is dated more than a day back, or ahead of now: is the clock right?")
        if not await self._knows(told.miner):
            raise Refused(403, "this pool has credited no share to this key")
        day = told.created_at // DAY_S
        self._forget(now_s // DAY_S)
        place = (told.miner, told.body.worker, day)
        known = self._taken.get(place) or await self._stored(place)
        if known is not None and known != event.id:
            raise Refused(409, "this worker has an attestation of that day already: one a day counts")
        # Taken before it is sent: of two at once one goes out.
        first = self._taken.setdefault(place, event.id)
        if first != event.id:
            raise Refused(409, "this worker has an attestation of that day already: one a day counts")
        try:
            await self._bridge.publish(event)
        except Exception:
            del self._taken[place]
            raise Refused(503, "it can't be published now: try again in a minute") from None

    async def _stored(self, place: tuple[str, str, int]) -> str | None:
        """The attestation of that worker and day that a relay has."""
        miner, worker, day = place
        asked = make_filter(authors=[miner], kinds=[ATTESTATION], since=day * DAY_S, until=(day + 1) * DAY_S - 1)
        try:
            found = await self._bridge.fetch([asked], timeout_s=FETCH_S)
        except Exception:  # no relay answers: it waits in the outbox, and of two a day the bonus counts one
            return None
        for event in found:
            try:
                told = parse_attestation(event)
            except InvalidPoolEvent:
                continue
            if told.pool == self._pool and told.body.worker == worker:
                return event.id
        return None

    def _forget(self, today: int) -> None:
        if any(day < today - 1 for _, _, day in self._taken):
            self._taken = {place: event for place, event in self._taken.items() if place[2] >= today - 1}
