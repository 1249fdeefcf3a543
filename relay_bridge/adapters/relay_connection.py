"""A connection to a relay that comes back."""

import random
import time
from collections import Counter
from collections.abc import Callable

import anyio

from nips.keys import Signer
from nips.nip11 import RelayInformation
from relay_bridge.adapters.information import fetch_information
from relay_bridge.adapters.relay_link import RelayLink, open_link
from relay_bridge.backoff import Backoff
from relay_bridge.errors import RelayGone
from relay_bridge.limits import PeerLimits, peer_limits

# How old what a relay says of itself (NIP-11) may get: it is read when a connection is made, and once an hour.
INFORMATION_SECONDS = 3600.0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class RelayConnection:
    """A connection that is made again whenever it ends, with growing pauses."""

    def __init__(self, url: str, *, signer: Signer | None = None) -> None:
        self.url = url
        self.counts: Counter[str] = Counter()
        self.last_error = ""
        # Set once the first attempt has succeeded or failed.
        self.tried = anyio.Event()
        # What the relay says of itself, and what that means for us.
        self.information: RelayInformation | None = None
        self.limits = PeerLimits()
        # Called when the relay's word on itself was read.
        self.on_information: Callable[[RelayInformation | None], None] | None = None
        # When the connection was lost or first sought, Unix ms; None while there is one.
        self.down_since_ms: int | None = _now_ms()
        self._signer = signer
        self._informed: float | None = None
        self._link: RelayLink | None = None
        self._changed = anyio.Event()

    @property
    def connected(self) -> bool:
        """Whether a link is up now."""
        return self._link is not None

    async def run(self) -> None:
        """Connect again and again until cancelled."""
        backoff = Backoff()
        while True:
            started = time.monotonic()
            try:
                async with open_link(self.url, self.counts, limits=self.limits, signer=self._signer) as link:
                    started = time.monotonic()
                    await self._inform(link)
                    self._set(link)
                    while not link.closed.is_set():
                        with anyio.move_on_after(INFORMATION_SECONDS):
                            await link.closed.wait()
                        await self._inform(link)
                    self.last_error = link.notice or "the relay closed the connection"
                backoff.succeeded(int((time.monotonic() - started) * 1000))
            except RelayGone as error:
                self.last_error = error.reason
            finally:
                self._set(None)
                self.tried.set()
            await anyio.sleep(backoff.wait_ms(random.random()) / 1000)  # noqa: S311 - jitter, no secret

    async def _inform(self, link: RelayLink) -> None:
        """Learn what the relay says of itself if that is unknown or old. It holds for this link and the next ones."""
        known = self._informed is not None and time.monotonic() - self._informed < INFORMATION_SECONDS
        if known or link.closed.is_set():
            return
        self._informed = time.monotonic()
        told = await fetch_information(self.url)
        if told is not None or self.information is None:
            self.information, self.limits = told, peer_limits(told)
            link.limits = self.limits
            if self.on_information is not None:
                self.on_information(told)

    async def link(self) -> RelayLink:
        """The open link; waits until there is one."""
        while self._link is None or self._link.closed.is_set():
            await self._changed.wait()
        return self._link

    def _set(self, link: RelayLink | None) -> None:
        self._link = link
        if link is not None:
            self.down_since_ms = None
            self.tried.set()
        elif self.down_since_ms is None:
            self.down_since_ms = _now_ms()
        self._changed.set()
        self._changed = anyio.Event()
