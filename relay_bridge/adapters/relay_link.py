"""One WebSocket to a relay: requests, publications, the proof of who we are."""

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import websockets
from websockets.legacy.client import WebSocketClientProtocol

from nips.keys import Signer
from nips.negentropy import Initiator, InvalidNegentropy, RecordSet
from nips.nip01 import Event, Filter
from nips.nip42 import client_auth
from nips.nip77 import NegError, NegMessage, NegOpen
from relay_bridge.adapters.channel import Answer, Channel, Question
from relay_bridge.client import RelayDialogue
from relay_bridge.errors import RelayBridgeError, RelayGone, RelayMisbehaved, RequestClosed
from relay_bridge.limits import PeerLimits
from relay_bridge.messages import (
    ClientAuth,
    RelayAuth,
    RelayClosed,
    RelayCount,
    RelayEose,
    RelayEvent,
    RelayNotice,
    RelayOk,
    encode_client_message,
)
from relay_bridge.refusal import prefix_of

# A frame in bytes: an event of 65,536 bytes in its envelope, and room for relays that allow twice that.
MAX_FRAME = 256 * 1024
# Seconds for TCP, TLS and the WebSocket handshake.
OPEN_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
# Events a relay may send beyond the limit of a page before that counts as misbehaving: live ones slip in.
_PAGE_SLACK = 1_000
# How long a relay may take to judge the answer to its challenge.
_AUTH_SECONDS = 10.0


def is_loopback(url: str) -> bool:
    """Whether the relay is on this machine: compression would only cost time."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def wants_auth(error: RelayBridgeError) -> bool:
    """Whether a request was ended because the relay wants to know who asks (NIP-42)."""
    return isinstance(error, RequestClosed) and prefix_of(error.reason) == "auth-required"


class RelayLink:
    """One open WebSocket to a relay. `on_ok` is called for every OK to an event that was published here, `on_closed` at
    the end."""

    def __init__(
        self,
        url: str,
        socket: WebSocketClientProtocol,
        dialogue: RelayDialogue,
        *,
        limits: PeerLimits | None = None,
        signer: Signer | None = None,
    ) -> None:
        self.url = url
        self.limits = limits or PeerLimits()
        self.notice = ""
        self.closed = anyio.Event()
        self.on_ok: Callable[[RelayOk], None] | None = None
        self.on_closed: Callable[[], None] | None = None
        self._socket = socket
        self._dialogue = dialogue
        self._channels: dict[str, Channel] = {}
        self._questions: dict[str, Question] = {}
        self._numbers = count()
        self._reason = "closed"
        self._signer = signer
        self._challenge = ""
        # Whether the challenge was answered well; None before it was.
        self._proven: bool | None = None
        self._proving = anyio.Lock()
        self._proof = ""
        self._judged = anyio.Event()

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
            for question in self._questions.values():
                question.break_off(self._reason)

    def _hand_out(self, data: str | bytes) -> None:
        match self._dialogue.receive(data):
            case RelayEvent(sub_id, event):
                if sub_id in self._channels:
                    self._channels[sub_id].push(event)
            case RelayEose(sub_id):
                if sub_id in self._channels:
                    self._channels[sub_id].push(None)
            case RelayCount(sub_id) | NegMessage(sub_id) | NegError(sub_id) as answer:
                self._answer(sub_id, answer)
            case RelayClosed(sub_id, message) as closed:
                if sub_id in self._questions:
                    self._answer(sub_id, closed)
                if sub_id in self._channels:
                    self._channels[sub_id].break_off(RequestClosed(self.url, message))
            case RelayOk() as ok:
                if ok.event_id == self._proof:
                    self._proven = ok.accepted
                    self._judged.set()
                elif self.on_ok is not None:
                    self.on_ok(ok)
            case RelayNotice(message):
                self.notice = message
            case RelayAuth(challenge):
                # Answered when something is refused for the lack of it: who reads need not be known to every relay.
                self._challenge, self._proven = challenge, None

    def _answer(self, sub_id: str, answer: Answer) -> None:
        if sub_id in self._questions:
            self._questions[sub_id].push(answer)

    async def send(self, frame: str) -> None:
        """Raises RelayGone."""
        try:
            await self._socket.send(frame)
        except websockets.ConnectionClosed as error:
            # The reader may not have noticed yet; whoever asks for a link now must wait for the next.
            self.closed.set()
            raise RelayGone(self.url, str(error)) from None

    @property
    def may_authenticate(self) -> bool:
        """Whether there is a challenge that was not answered yet, and a key to answer it with."""
        return self._signer is not None and self._proven is None and self._challenge != ""

    async def authenticate(self) -> bool:
        """Answer the relay's challenge (NIP-42), once; whether it took the answer. Raises RelayGone."""
        async with self._proving:
            if not self.may_authenticate:
                return self._proven is True
            assert self._signer is not None
            proof = self._signer.sign(client_auth(self.url, self._challenge, int(time.time())))
            self._proof, self._judged = proof.id, anyio.Event()
            self._proven = False
            self._dialogue.expect_ok(proof.id)
            await self.send(encode_client_message(ClientAuth(proof)))
            with anyio.move_on_after(_AUTH_SECONDS):
                await self._judged.wait()
            return self._proven

    async def publish(self, event_id: str, text: str) -> None:
        """Send an event's JSON text; `on_ok` hears the answer. Raises RelayGone."""
        await self.send(self._dialogue.publish(event_id, text))

    @asynccontextmanager
    async def ask(self, name: str, filters: Sequence[Filter]) -> AsyncIterator[Channel]:
        """A request, closed at the end of the block: as many REQs as the relay's limit of filters makes it.

        Raises RelayGone, RequestClosed when the relay allows no more requests at a time.
        """
        at_once = self.limits.filters or len(filters)
        parts = [filters[start : start + at_once] for start in range(0, len(filters), at_once)]
        most = self.limits.subscriptions
        if most is not None and len(self._channels) + len(parts) > most:
            raise RequestClosed(self.url, f"it allows {most} subscriptions (NIP-11), {len(self._channels)} are open")
        channel = Channel(self.url, len(parts))
        if self.closed.is_set():
            channel.break_off(RelayGone(self.url, self._reason))
        sub_ids = []
        try:
            for part in parts:
                # Relays see a name of ours and a number: never reused, so that late answers cannot be mistaken.
                sub_ids.append(f"{name[:48]}:{next(self._numbers)}")
                self._channels[sub_ids[-1]] = channel
                await self.send(self._dialogue.ask(sub_ids[-1], part))
            yield channel
        finally:
            for sub_id in sub_ids:
                del self._channels[sub_id]
                frame = self._dialogue.close(sub_id)
                if frame is not None:
                    await self.send_last(frame)

    async def send_last(self, frame: str) -> None:
        """Say that something is over, if that can be said at all."""
        if not self.closed.is_set():
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                try:
                    await self._socket.send(frame)
                except websockets.ConnectionClosed:
                    self.closed.set()

    async def page(self, name: str, asked: Filter, *, silence_s: float) -> list[Event]:
        """The stored events for one filter with a limit, to EOSE; asked again, once, after a proof of who we are if the
        relay wants one (NIP-42).

        Raises RelayGone (also when nothing comes for `silence_s`), RequestClosed, RelayMisbehaved.
        """
        try:
            return await self._page(name, asked, silence_s)
        except RequestClosed as error:
            if not (wants_auth(error) and self.may_authenticate and await self.authenticate()):
                raise
        return await self._page(name, asked, silence_s)

    async def _page(self, name: str, asked: Filter, silence_s: float) -> list[Event]:
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

    async def count(self, name: str, asked: Filter, *, silence_s: float) -> int:
        """How many stored events match (NIP-45). Raises RelayGone, RequestClosed, RelayMisbehaved."""
        async with self._question(name) as (sub_id, question):
            await self.send(self._dialogue.count(sub_id, asked))
            answer = await question.receive(silence_s)
            if isinstance(answer, RelayCount):
                return answer.count
            raise RelayMisbehaved(self.url, "answered a COUNT with something else")

    async def reconcile(
        self, name: str, asked: Filter, records: RecordSet, *, silence_s: float
    ) -> tuple[list[str], list[str]]:
        """Compare what the relay has for a filter with our records (NIP-77): the ids that only we have, and those that
        only the relay has.

        Raises RelayGone, RequestClosed (also when the relay won't), RelayMisbehaved.
        """
        initiator = Initiator(records)
        have: list[str] = []
        need: list[str] = []
        async with self._question(name) as (sub_id, question):
            message: NegOpen | NegMessage = NegOpen(sub_id, asked, await anyio.to_thread.run_sync(initiator.open))
            try:
                while True:
                    await self.send(self._dialogue.reconcile(message))
                    answer = await question.receive(silence_s)
                    if not isinstance(answer, NegMessage):
                        raise RelayMisbehaved(self.url, "answered a reconciliation with something else")
                    turn = await anyio.to_thread.run_sync(initiator.receive, answer.message)
                    have += turn.have
                    need += turn.need
                    if turn.reply is None:
                        return have, need
                    message = NegMessage(sub_id, turn.reply)
            except InvalidNegentropy as error:
                raise RelayMisbehaved(self.url, str(error)) from None
            finally:
                await self.send_last(self._dialogue.end_question(sub_id))

    @asynccontextmanager
    async def _question(self, name: str) -> AsyncIterator[tuple[str, Question]]:
        sub_id = f"{name[:48]}:{next(self._numbers)}"
        question = self._questions[sub_id] = Question(self.url)
        try:
            yield sub_id, question
        finally:
            del self._questions[sub_id]


@asynccontextmanager
async def open_link(
    url: str,
    counts: Counter[str] | None = None,
    report: Callable[[str], None] | None = None,
    *,
    limits: PeerLimits | None = None,
    signer: Signer | None = None,
) -> AsyncIterator[RelayLink]:
    """Connect to a relay. `counts` and `report` are told of frames that are dropped (see RelayDialogue); `signer`
    answers the relay's challenge if it insists on one.

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
    except (OSError, TimeoutError, EOFError, ValueError, websockets.WebSocketException) as error:
        # ValueError: a port beyond 65535, a host that is no name.
        raise RelayGone(url, str(error) or type(error).__name__) from None
    dialogue = RelayDialogue(Counter() if counts is None else counts, report)
    link = RelayLink(url, socket, dialogue, limits=limits, signer=signer)
    # Not a task group: it would wrap what the block raises. The reader itself raises nothing.
    reader = asyncio.create_task(link.read())
    try:
        yield link
    finally:
        with anyio.CancelScope(shield=True):
            await socket.close()
            await reader
