"""Connections to relays over WebSocket: one that lives as long as its socket, one that comes back."""

import asyncio
import ipaddress
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from urllib.parse import urlsplit

import anyio
import websockets
from websockets.legacy.client import WebSocketClientProtocol

from nips.nip01 import Event, Filter
from relay_bridge.backoff import Backoff
from relay_bridge.client import RelayDialogue
from relay_bridge.errors import RelayBridgeError, RelayGone, RelayMisbehaved, RequestClosed
from relay_bridge.messages import RelayAuth, RelayClosed, RelayEose, RelayEvent, RelayNotice, RelayOk

# A frame in bytes: an event of 65,536 bytes in its envelope, and room for relays that allow twice that.
MAX_FRAME = 256 * 1024
# Seconds for TCP, TLS and the WebSocket handshake.
OPEN_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
# Events waiting in one channel. When a reader falls further behind, the channel breaks and is asked anew, from where
# it was: memory stays bounded and other requests of the connection go on.
MAX_WAITING = 20_000
# Events a relay may send beyond the limit of a page before that counts as misbehaving: live ones slip in.
_PAGE_SLACK = 1_000


def is_loopback(url: str) -> bool:
    """Whether the relay is on this machine: compression would only cost time."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Channel:
    """What a relay sends for one request."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: deque[Event | None] = deque()
        self._arrived = anyio.Event()
        self._broken: RelayBridgeError | None = None

    def push(self, event: Event | None) -> None:
        """An event, or None for EOSE."""
        if len(self._waiting) >= MAX_WAITING:
            self.break_off(RelayGone(self._url, f"{MAX_WAITING} events wait to be read"))
            return
        self._waiting.append(event)
        self._arrived.set()

    def break_off(self, error: RelayBridgeError) -> None:
        """Nothing more will come; `receive` raises once what waits is read."""
        if self._broken is None:
            self._broken = error
        self._arrived.set()

    async def receive(self) -> Event | None:
        """The next event, or None for EOSE. Raises RelayGone, RequestClosed."""
        while not self._waiting:
            if self._broken is not None:
                raise self._broken
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()

    def take(self) -> list[Event]:
        """The events that wait, without waiting; up to an EOSE."""
        taken = []
        while self._waiting and self._waiting[0] is not None:
            event = self._waiting.popleft()
            assert event is not None
            taken.append(event)
        return taken


class RelayLink:
    """One open WebSocket to a relay. `on_ok` is called for every OK to an event that was published here, `on_closed` at
    the end."""

    def __init__(self, url: str, socket: WebSocketClientProtocol, dialogue: RelayDialogue) -> None:
        self.url = url
        self.notice = ""
        self.closed = anyio.Event()
        self.on_ok: Callable[[RelayOk], None] | None = None
        self.on_closed: Callable[[], None] | None = None
        self._socket = socket
        self._dialogue = dialogue
        self._channels: dict[str, Channel] = {}
        self._numbers = count()
        self._reason = "closed"

    async def read(self) -> None:
        """Hand out what comes until the socket ends."""
        try:
            async for data in self._socket:
                self._hand_out(data)
        except websockets.ConnectionClosed as error:
            self._reason = str(error)
        finally:
            self.closed.set()
            if self.on_closed is not None:
                self.on_closed()
            for channel in self._channels.values():
                channel.break_off(RelayGone(self.url, self._reason))

    def _hand_out(self, data: str | bytes) -> None:
        match self._dialogue.receive(data):
            case RelayEvent(sub_id, event):
                if sub_id in self._channels:
                    self._channels[sub_id].push(event)
            case RelayEose(sub_id):
                if sub_id in self._channels:
                    self._channels[sub_id].push(None)
            case RelayClosed(sub_id, message):
                if sub_id in self._channels:
                    self._channels[sub_id].break_off(RequestClosed(self.url, message))
            case RelayOk() as ok:
                if self.on_ok is not None:
                    self.on_ok(ok)
            case RelayNotice(message):
                self.notice = message
            case RelayAuth():
                # The bridge reads open relays and publishes what its own signature vouches for: it has no key to show.
                # A relay that insists says auth-required, which is reported.
                pass

    async def send(self, frame: str) -> None:
        """Raises RelayGone."""
        try:
            await self._socket.send(frame)
        except websockets.ConnectionClosed as error:
            # The reader may not have noticed yet; whoever asks for a link now must wait for the next.
            self.closed.set()
            raise RelayGone(self.url, str(error)) from None

    async def publish(self, event_id: str, text: str) -> None:
        """Send an event's JSON text; `on_ok` hears the answer. Raises RelayGone."""
        await self.send(self._dialogue.publish(event_id, text))

    @asynccontextmanager
    async def ask(self, name: str, filters: Sequence[Filter]) -> AsyncIterator[Channel]:
        """A request, closed at the end of the block. Raises RelayGone."""
        # Relays see a name of ours and a number: never reused, so that late answers cannot be mistaken.
        sub_id = f"{name[:48]}:{next(self._numbers)}"
        channel = self._channels[sub_id] = Channel(self.url)
        if self.closed.is_set():
            channel.break_off(RelayGone(self.url, self._reason))
        try:
            await self.send(self._dialogue.ask(sub_id, filters))
            yield channel
        finally:
            del self._channels[sub_id]
            frame = self._dialogue.close(sub_id)
            if frame is not None and not self.closed.is_set():
                with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                    try:
                        await self._socket.send(frame)
                    except websockets.ConnectionClosed:
                        self.closed.set()

    async def page(self, name: str, asked: Filter, *, silence_s: float) -> list[Event]:
        """The stored events for one filter with a limit, to EOSE.

        Raises RelayGone (also when nothing comes for `silence_s`), RequestClosed, RelayMisbehaved.
        """
        events: list[Event] = []
        most = (asked.limit or 0) + _PAGE_SLACK
        async with self.ask(name, (asked,)) as channel:
            while True:
                event: Event | None = None
                with anyio.move_on_after(silence_s) as bound:
                    event = await channel.receive()
                if bound.cancelled_caught:
                    raise RelayGone(self.url, f"silent for {silence_s:g} seconds")
                if event is None:
                    return events
                events.append(event)
                events += channel.take()
                if len(events) > most:
                    raise RelayMisbehaved(self.url, f"sent more than the {asked.limit} events asked for")


@asynccontextmanager
async def open_link(
    url: str, counts: Counter[str] | None = None, report: Callable[[str], None] | None = None
) -> AsyncIterator[RelayLink]:
    """Connect to a relay. `counts` and `report` are told of frames that are dropped (see RelayDialogue).

    Raises RelayGone when no connection comes about.
    """
    try:
        socket = await websockets.connect(
            url,
            compression=None if is_loopback(url) else "deflate",
            open_timeout=OPEN_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            max_size=MAX_FRAME,
            max_queue=1024,
            ping_interval=20,
            ping_timeout=30,
        )
    except (OSError, TimeoutError, EOFError, websockets.WebSocketException) as error:
        raise RelayGone(url, str(error) or type(error).__name__) from None
    link = RelayLink(url, socket, RelayDialogue(Counter() if counts is None else counts, report))
    # Not a task group: it would wrap what the block raises. The reader itself raises nothing.
    reader = asyncio.create_task(link.read())
    try:
        yield link
    finally:
        with anyio.CancelScope(shield=True):
            await socket.close()
            await reader


class RelayConnection:
    """A connection that is made again whenever it ends, with growing pauses."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.counts: Counter[str] = Counter()
        self.last_error = ""
        # Set once the first attempt has succeeded or failed.
        self.tried = anyio.Event()
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
                async with open_link(self.url, self.counts) as link:
                    started = time.monotonic()
                    self._set(link)
                    await link.closed.wait()
                    self.last_error = link.notice or "the relay closed the connection"
                backoff.succeeded(int((time.monotonic() - started) * 1000))
            except RelayGone as error:
                self.last_error = error.reason
            finally:
                self._set(None)
                self.tried.set()
            await anyio.sleep(backoff.wait_ms(random.random()) / 1000)  # noqa: S311 - jitter, no secret

    async def link(self) -> RelayLink:
        """The open link; waits until there is one."""
        while self._link is None or self._link.closed.is_set():
            await self._changed.wait()
        return self._link

    def _set(self, link: RelayLink | None) -> None:
        self._link = link
        if link is not None:
            self.tried.set()
        self._changed.set()
        self._changed = anyio.Event()
