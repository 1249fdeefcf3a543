"""An edge that no relay can be reached from: what it may mean for what is mined there, said in time."""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import anyio

from noncestr.terms.follower import TermsFollower
from noncestr.terms.promises import DEFAULT_GRACE_MS
from relay_bridge.roles import Role
from relay_bridge.status import RelayStatus

log = logging.getLogger("noncestr.lanes")

# How often it is looked whether a relay is connected.
LOOK_S: Final = 1.0
# Of the grace: time enough to mend what is broken.
WARN_PART: Final = 4


class CutOff:
    """How long no relay has been connected. `mono`: a monotonic clock in ms."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._said = 0

    def news(self, *, connected: bool, grace_ms: int, mono: int) -> str:
        """What an operator has not been told yet, at a quarter of the grace and when it is over; "" for nothing."""
        if connected:
            back = self._said and self._since is not None
            text = f"a relay is reached again after {(mono - (self._since or 0)) // 1000} s" if back else ""
            self._since, self._said = None, 0
            return text
        if self._since is None:
            self._since = mono
        away = mono - self._since
        if away >= grace_ms and self._said < 2:
            self._said = 2
            return (
                f"no relay is reached for {away // 1000} s: the pool may have closed this edge's lanes, and then what"
                " is mined here now counts nowhere"
            )
        if away >= grace_ms // WARN_PART and not self._said:
            self._said = 1
            return (
                f"no relay is reached for {away // 1000} s: what is mined here is kept and counts once they have it, if"
                f" that is before the pool closes this edge's lanes, which it may after {grace_ms // 1000} s"
            )
        return ""


class Relays(Protocol):
    """The relay bridge, as far as this goes."""

    def status(self) -> Sequence[RelayStatus]:
        """How things stand, relay by relay."""
        ...


async def watch_cut(relays: Relays, terms: TermsFollower, mono: Callable[[], float]) -> None:
    """Say when no relay is reached for long, and when one is again; until cancelled. `mono` in seconds."""
    cut = CutOff()
    while True:
        await anyio.sleep(LOOK_S)
        try:
            grace = terms.current().body.limits.lane_grace_ms
        except LookupError:
            continue
        connected = any(relay.connected for relay in relays.status() if Role.LOG in relay.roles)
        grace_ms = DEFAULT_GRACE_MS if grace is None else grace
        text = cut.news(connected=connected, grace_ms=grace_ms, mono=round(mono() * 1000))
        if text:
            log.warning("%s", text)
