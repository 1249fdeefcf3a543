"""Where what a relay answers waits for who asked."""

from collections import deque

import anyio

from nips.nip01 import Event
from nips.nip77 import NegError, NegMessage
from relay_bridge.errors import RelayBridgeError, RelayGone, RequestClosed
from relay_bridge.messages import RelayClosed, RelayCount

# Events waiting in one channel. When a reader falls further behind, the channel breaks and is asked anew, from where
# it was: memory stays bounded and other requests of the connection go on.
MAX_WAITING = 20_000
Answer = RelayCount | NegMessage | NegError | RelayClosed


class Channel:
    """What a relay sends for one request, which may be made in several `parts` (REQs)."""

    def __init__(self, url: str, parts: int = 1) -> None:
        self._url = url
        self._parts = parts
        self._waiting: deque[Event | None] = deque()
        self._arrived = anyio.Event()
        self._broken: RelayBridgeError | None = None

    def push(self, event: Event | None) -> None:
        """An event, or None for EOSE of one part."""
        if event is None:
            self._parts -= 1
            if self._parts:
                return
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


class Question:
    """A question with one answer at a time: COUNT, or a message of a reconciliation."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._answer: Answer | None = None
        self._gone = ""
        self._arrived = anyio.Event()

    def push(self, answer: Answer) -> None:
        """The answer is here."""
        self._answer = answer
        self._arrived.set()

    def break_off(self, reason: str) -> None:
        """The link is gone."""
        self._gone = reason
        self._arrived.set()

    async def receive(self, silence_s: float) -> RelayCount | NegMessage:
        """The answer. Raises RelayGone, also when it takes longer than `silence_s`, and RequestClosed for a refusal."""
        with anyio.move_on_after(silence_s):
            await self._arrived.wait()
        answer, self._answer, self._arrived = self._answer, None, anyio.Event()
        match answer:
            case None:
                raise RelayGone(self._url, self._gone or f"silent for {silence_s:g} seconds")
            case NegError(_, reason):
                raise RequestClosed(self._url, reason)
            case RelayClosed(_, reason):
                raise RequestClosed(self._url, reason)
            case _:
                return answer
