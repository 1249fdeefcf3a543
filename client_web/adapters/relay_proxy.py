"""The relay on the page's own origin: every frame is passed on as it came, in both directions."""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

import anyio
import httpx
import websockets
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from websockets.exceptions import ConnectionClosed, WebSocketException

from client_web.askers import asker_of

# An event is at most 65,536 bytes on common relays (60,000 in our protocol); a message carries one, or a filter.
MAX_MESSAGE_BYTES = 131_072
# Frames held for a side that reads slowly before the other side is made to wait.
MAX_QUEUED_MESSAGES = 32
# Each takes a connection of the relay too: enough for a page's audience, short of the file limit of 1024.
MAX_CONNECTIONS = 256
# Several pages and a phone or two behind one address.
MAX_CONNECTIONS_PER_CLIENT = 16
# The relay is on this machine or near: slower than this, it is down.
DIAL_SECONDS = 5.0
# A NIP-11 document is a few kilobytes.
MAX_INFORMATION_BYTES = 65_536
# Seconds that each step of a closing handshake with the relay may take; it is near.
CLOSE_SECONDS = 1.0

# Close codes that name a state and may not be sent (RFC 6455, 7.4.1).
_UNSENDABLE = frozenset({1004, 1005, 1006, 1015})
_NORMAL = 1000
_TRY_AGAIN_LATER = 1013
_PUBLIC = {"access-control-allow-origin": "*"}


class RelayProxy:
    """The RelayGate of one relay, given by its ws:// or wss:// URL."""

    def __init__(
        self,
        url: str,
        *,
        max_connections: int = MAX_CONNECTIONS,
        max_connections_per_client: int = MAX_CONNECTIONS_PER_CLIENT,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss"):
            raise ValueError(f"a relay URL starts with ws:// or wss://, not {url!r}")
        self._url = url
        self._http_url = urlunsplit(parts._replace(scheme="https" if parts.scheme == "wss" else "http"))
        self._max_connections = max_connections
        self._max_per_client = max_connections_per_client
        self._open: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        """How many browsers are joined with the relay, or are about to be."""
        return self._open.total()

    async def information(self) -> Response:
        """The relay's NIP-11 document as it came; 502 if there is none."""
        try:
            # The machine's proxy settings are for the outside, not for a relay beside us.
            async with (
                httpx.AsyncClient(trust_env=False, timeout=DIAL_SECONDS) as client,
                client.stream("GET", self._http_url, headers={"accept": "application/nostr+json"}) as answer,
            ):
                if answer.status_code != 200:
                    return _refusal(f"the relay answered {answer.status_code}", 502)
                body = b""
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_INFORMATION_BYTES:
                        return _refusal("the relay's document is too large", 502)
        except httpx.HTTPError:
            return _refusal("the relay does not answer", 502)
        return Response(body, media_type="application/nostr+json", headers=_PUBLIC)

    async def carry(self, websocket: WebSocket) -> None:
        """Join `websocket` with a connection of its own to the relay; 429, 502 or 503 before it is accepted if not."""
        client = asker_of(websocket.scope)
        if self.connections >= self._max_connections:
            await websocket.send_denial_response(_refusal("the relay's door is full: try again later", 503))
            return
        if self._open[client] >= self._max_per_client:
            await websocket.send_denial_response(_refusal("too many connections from your address", 429))
            return
        self._open[client] += 1
        try:
            await self._dial_and_join(websocket)
        finally:
            self._open[client] -= 1
            # Counters keep zeroes: an address that left is forgotten.
            self._open += Counter()

    async def _dial_and_join(self, websocket: WebSocket) -> None:
        try:
            upstream = await websockets.connect(
                self._url,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=MAX_QUEUED_MESSAGES,
                open_timeout=DIAL_SECONDS,
                close_timeout=CLOSE_SECONDS,
                compression=None,
                user_agent_header=None,
            )
        except (OSError, TimeoutError, WebSocketException):
            await websocket.send_denial_response(_refusal("the relay does not answer", 502))
            return
        code, reason = _TRY_AGAIN_LATER, "the pool's web server is stopping"
        try:
            await websocket.accept()
            code, reason = await _join(websocket, upstream)
        finally:
            # Both at once: a side that is slow to take leave does not keep the other waiting.
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(upstream.close, code, reason)
                    tasks.start_soon(_close, websocket, code, reason)


async def _join(websocket: WebSocket, upstream: websockets.WebSocketClientProtocol) -> tuple[int, str]:
    """Pass frames on until one side closes; the close code and reason to tell the other side."""
    ended: list[tuple[int | None, str]] = []

    async def from_browser() -> None:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                ended.append((message.get("code"), message.get("reason") or ""))
                break
            text = message.get("text")
            await upstream.send(message["bytes"] if text is None else text)

    async def from_relay() -> None:
        while True:
            frame = await upstream.recv()
            await websocket.send({"type": "websocket.send", "text" if isinstance(frame, str) else "bytes": frame})

    async def until_closed(side: Callable[[], Awaitable[None]]) -> None:
        try:
            await side()
        except ConnectionClosed:
            ended.append((upstream.close_code, upstream.close_reason or ""))
        except WebSocketDisconnect as left:
            ended.append((left.code, left.reason or ""))
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(until_closed, from_browser)
        tasks.start_soon(until_closed, from_relay)
    code, reason = ended[0]
    return (_NORMAL if code is None or code in _UNSENDABLE else code), reason


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    """Close the browser's side unless it was never opened or has gone."""
    if websocket.client_state is WebSocketState.CONNECTED and websocket.application_state is WebSocketState.CONNECTED:
        with suppress(WebSocketDisconnect):
            await websocket.close(code, reason)


def _refusal(error: str, status: int) -> Response:
    return JSONResponse({"error": error}, status_code=status, headers=_PUBLIC)
