"""Words that nobody keeps: events said to some relays and heard from them while both ends are there (NIP-46, NIP-47).

Unlike the bridge's, what is said here is not durable: an answer that does not come is asked for again.
"""

import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

import anyio
import anyio.abc

from nips.errors import InvalidEvent
from nips.keys import Signer
from nips.nip01 import Event, Filter, VerifiedEvent, encode_event, verify
from relay_bridge.adapters.relay_connection import RelayConnection
from relay_bridge.adapters.relay_link import RelayLink, wants_auth
from relay_bridge.errors import RelayBridgeError, RelayGone, RelayUnavailable, RequestClosed
from relay_bridge.messages import RelayOk

_log = logging.getLogger("relay_bridge.talk")
# Events heard lately: each comes once from every relay, within seconds.
REMEMBERED = 1_000
# A relay that refuses to listen is asked again after so long.
RETRY_SECONDS = 5.0


class Talk:
    """`hear` is called for every event that matches `filters`, once, verified. Start `run` in a task group."""

    def __init__(
        self,
        relays: Sequence[str],
        filters: Sequence[Filter],
        hear: Callable[[VerifiedEvent], None],
        *,
        signer: Signer | None = None,
    ) -> None:
        if not relays:
            raise ValueError("nobody is reached without a relay")
        self._filters = filters
        self._hear = hear
        self._connections = [RelayConnection(url, signer=signer) for url in dict.fromkeys(relays)]
        # The links on which we hear already: who speaks before would miss the answer.
        self._open: dict[str, RelayLink] = {}
        self._changed = anyio.Event()
        self._heard: OrderedDict[str, None] = OrderedDict()
        self._errors: dict[str, str] = {}

    @property
    def heard_on(self) -> int:
        """On how many relays we hear now."""
        return len(self._open)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled."""
        async with anyio.create_task_group() as tasks:
            for connection in self._connections:
                tasks.start_soon(connection.run)
                tasks.start_soon(self._listen, connection)
            task_status.started()

    async def listening(self) -> None:
        """Wait until we hear on one relay at least."""
        while not self._open:
            await self._changed.wait()

    async def say(self, event: VerifiedEvent, *, timeout_s: float) -> None:
        """Say an event to every relay on which we hear, one at least; whether anybody else hears it is not known.

        Raises RelayUnavailable when no relay is there in time.
        """
        with anyio.move_on_after(timeout_s):
            await self.listening()
        text = encode_event(event).decode()
        said = False
        for url, link in list(self._open.items()):
            link.on_ok = functools.partial(self._judged, url)
            try:
                if link.may_authenticate:
                    await link.authenticate()
                await link.publish(event.id, text)
                said = True
            except RelayGone as error:
                self._errors[url] = error.reason
        if not said:
            raise RelayUnavailable({each.url: self._trouble(each) for each in self._connections})

    def _trouble(self, connection: RelayConnection) -> str:
        return self._errors.get(connection.url) or connection.last_error or "no connection yet"

    def _judged(self, url: str, ok: RelayOk) -> None:
        if not ok.accepted:
            self._errors[url] = ok.message
            _log.warning("%s did not take a message: %s", url, ok.message)

    async def _listen(self, connection: RelayConnection) -> None:
        while True:
            link = await connection.link()
            try:
                await self._read(link)
            except RelayBridgeError as error:
                self._errors[link.url] = str(error)
                if wants_auth(error) and await self._authenticate(link):
                    continue
                if isinstance(error, RequestClosed):
                    await anyio.sleep(RETRY_SECONDS)
            finally:
                self._open.pop(link.url, None)

    async def _authenticate(self, link: RelayLink) -> bool:
        try:
            return await link.authenticate()
        except RelayGone:
            return False

    async def _read(self, link: RelayLink) -> None:
        async with link.ask("talk", self._filters) as channel:
            while True:
                event = await channel.receive()
                if event is not None:
                    self._take(link.url, event)
                    continue
                self._open[link.url] = link
                self._changed.set()
                self._changed = anyio.Event()

    def _take(self, url: str, event: Event) -> None:
        if event.id in self._heard:
            return
        try:
            verified = verify(event)
        except InvalidEvent as error:
            _log.warning("%s sent an event that is wrong: %s", url, error)
            return
        self._heard[event.id] = None
        if len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)
        self._hear(verified)
