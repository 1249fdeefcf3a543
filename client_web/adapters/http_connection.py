"""uvicorn's connections within bounds: counted by address, and let go when they send or take too slowly.

uvicorn itself waits for ever for a request that was begun, for its headers' end, and for a reader of an answer.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_impl import WebSocketProtocol

from client_web.doors import LONG, SLOW, Doors, Refusal

# A request, headers and body, comes within this time; what is sent here has 4 KB at most.
REQUEST_S: Final = 30.0
# Who takes less than TAKEN_BYTES of its answer in this time reads no more: 0.5 KB/s is less than any modem.
TAKE_S: Final = 30.0
TAKEN_BYTES: Final = 16_384
# Who is refused is told so once its request is here, which is at once; whoever sends none is let go without.
REFUSED_S: Final = 5.0
# Of these so many may wait; more are let go without a word, since each is a file.
MAX_REFUSED: Final = 64
# A browser's headers have some 2 KB, with large cookies of the same host 16 KB.
MAX_HEAD_BYTES: Final = 32_768
# Requests sent before the answers to those before: browsers do not, some programs send a few.
MAX_PIPELINED: Final = 32
# How often connections are looked at.
LOOK_S: Final = 2.0


class DoorConfig(uvicorn.Config):
    """uvicorn's settings, which every connection has, with the doors."""

    doors: Doors
    # Those who were refused and are still to be told.
    refused_waiting: int = 0


class Taking:
    """Whether a peer takes what it is sent, by how much of that still waits for it."""

    def __init__(self) -> None:
        self._waiting, self._since = 0, 0.0

    def has_stopped(self, waiting: int, now: float) -> bool:
        """Whether less than TAKEN_BYTES were taken in TAKE_S. `waiting`: bytes, `now`: seconds of any clock."""
        if not waiting or not self._waiting or waiting <= self._waiting - TAKEN_BYTES:
            self._waiting, self._since = waiting, now
        # Where more came to it, what is taken is measured from there.
        self._waiting = max(self._waiting, waiting)
        return bool(waiting) and now - self._since > TAKE_S


class HttpConnection(HttpToolsProtocol):
    """A connection until it ends or becomes a WebSocket's."""

    config: DoorConfig

    def __init__(
        self,
        config: DoorConfig,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # The peer that is counted; None once it is not, or not any more.
        self._peer: str | None = None
        self._refusal: Refusal | None = None
        # Since when we wait for the whole of a request, by the loop's clock; None while we don't.
        self._waits_since: float | None = None
        self._head_bytes = 0
        self._in_head = True
        self._taking = Taking()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._waits_since = self.loop.time()
        peer = self.client[0] if self.client else ""
        self._refusal = self.config.doors.enter(peer)
        if self._refusal is None:
            self._peer = peer
        else:
            self.config.refused_waiting += 1
            if self.config.refused_waiting > MAX_REFUSED:
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._refusal is not None:
            self._refusal = None
            self.config.refused_waiting -= 1
        self._leave()
        super().connection_lost(exc)

    def _leave(self) -> None:
        if self._peer is not None:
            self.config.doors.leave(self._peer)
            self._peer = None

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            self._end(self._refusal)
            return
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._waits_since is None and (self.cycle is None or self.cycle.response_complete):
            # Whatever it is, uvicorn's own timer for idle connections has been stopped by it.
            self._waits_since = self.loop.time()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._end(self.config.doors.refuse(LONG))
        if len(self.pipeline) > MAX_PIPELINED:
            self.config.doors.tally.refused["pipelined"] += 1
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._waits_since = self.loop.time()
        # For an answer that has no end: whoever does not take it can be let go of.
        self.scope["state"]["drop"] = self.transport.abort

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._waits_since = None
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._waits_since = None
        super().handle_websocket_upgrade()
        joined = self.transport.get_protocol()
        if isinstance(joined, WebSocketConnection):
            joined.peer, self._peer = self._peer, None

    def _end(self, refusal: Refusal) -> None:
        """Say why, and close; without a word amid another answer."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.write(refusal.response())
            self.transport.close()

    def look(self, now: float) -> None:
        """Let go of a peer that sends or takes too slowly. `now` by the loop's clock."""
        waited = 0.0 if self._waits_since is None else now - self._waits_since
        if self._refusal is not None:
            if waited > REFUSED_S:
                self.transport.abort()
            return
        if waited > REQUEST_S and not self.transport.is_closing():
            self._waits_since = None
            if self._head_bytes or not self._in_head:
                self._end(self.config.doors.refuse(SLOW))
            else:
                # It never asked anything, as browsers' spare connections don't.
                self.transport.close()
        if self._taking.has_stopped(self.transport.get_write_buffer_size(), now):
            self.config.doors.tally.refused["unread"] += 1
            self.transport.abort()


class WebSocketConnection(WebSocketProtocol):
    """A connection that has become a WebSocket's; pings find out who is gone."""

    config: DoorConfig
    # Who is counted for it.
    peer: str | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None:
            self.config.doors.leave(self.peer)
            self.peer = None
        super().connection_lost(exc)


def look_at(connections: Iterable[Any], now: float) -> None:
    """Look at all connections of a server."""
    for connection in list(connections):
        if isinstance(connection, HttpConnection):
            connection.look(now)
