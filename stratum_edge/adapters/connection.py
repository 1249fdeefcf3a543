"""One miner's TCP connection: a PROXY header and TLS where its port has them, then lines for its session."""

import asyncio
import logging
import socket
import ssl
from typing import TYPE_CHECKING, Final, cast

from stratum_edge.adapters.doors import Door
from stratum_edge.adapters.tls import TlsStream
from stratum_edge.costs import PAUSE_MS, Standing
from stratum_edge.errors import MalformedProxyHeader
from stratum_edge.framing import LineBuffer
from stratum_edge.messages import OTHER, error_reply
from stratum_edge.proxy_header import parse_proxy_header
from stratum_edge.session import Session
from stratum_edge.states import State

if TYPE_CHECKING:
    from stratum_edge.adapters.stratum_server import StratumServer

log = logging.getLogger(__name__)

# A miner reads a few hundred bytes a share; with this much unread it is gone or hostile.
MAX_UNREAD: Final = 256 * 1024
# A proxy sends its header with its first packet; a handshake takes three round trips and, on an ESP32, some seconds
# of reckoning. Looked at by the sweep, so that what is late ends up to one sweep later.
HEADER_DEADLINE_MS: Final = 5_000
HANDSHAKE_DEADLINE_MS: Final = 20_000


class Connection(asyncio.Protocol):
    """One miner's connection, by a door of the server."""

    __slots__ = (
        "_context",
        "_deadline",
        "_head",
        "_lines",
        "_pause",
        "_server",
        "_tls",
        "_transport",
        "_veiled",
        "_wanted",
        "address",
        "counted_as",
        "door",
        "session",
    )

    def __init__(self, server: "StratumServer", door: Door) -> None:
        self._server = server
        self._lines = LineBuffer(server.limits.max_line)
        self._transport: asyncio.Transport | None = None
        self._context = door.context
        self._tls: TlsStream | None = None
        # What came of the PROXY header.
        self._head = b""
        # Whether what comes in is not yet, or never, plain Stratum.
        self._veiled = door.port.proxy_protocol or self._context is not None
        self._pause: asyncio.TimerHandle | None = None
        self.door = door
        self.address = ""
        # The household it counts against, None while it does not.
        self.counted_as: str | None = None
        self.session = Session(server.desk, door.port, server.mono())
        self._wanted = "send a PROXY header"
        self._deadline = server.mono() + HEADER_DEADLINE_MS

    # From outside in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the peer in, unless there are too many, or its address is not welcome."""
        stream = cast(asyncio.Transport, transport)
        self._transport = stream
        peer = stream.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        raw = stream.get_extra_info("socket")
        if raw.family in (socket.AF_INET, socket.AF_INET6):
            # Replies are small and waited for.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.set_write_buffer_limits(high=MAX_UNREAD)
        refusal = self._server.enter(self, raw.fileno())
        if refusal:
            self._refuse(refusal)
        elif not self.session.port.proxy_protocol:
            self._known()

    def _known(self) -> bool:
        """Its address is known: count it against that, and go on to TLS or the login."""
        refusal = self._server.admit(self)
        if refusal:
            self._refuse(refusal)
            return False
        if self._context is not None:
            self._tls = TlsStream(self._context)
            self._wanted = "complete the TLS handshake"
            self._deadline = self._server.mono() + HANDSHAKE_DEADLINE_MS
        else:
            self._veiled = False
            self._await_login()
        return True

    def _await_login(self) -> None:
        self._wanted = "log in"
        self._deadline = self._server.mono() + int(self._server.limits.login_deadline_s * 1000)

    def _refuse(self, reason: str) -> None:
        """Turn the peer away with a line that says why; not for a handshake's cost."""
        log.debug("refusing %s: %s", self.address, reason)
        self._server.refused[reason] += 1
        assert self._transport is not None
        if self._context is None:
            self._transport.write(error_reply(b"null", OTHER, reason))
            self._transport.close()
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take one read; its submits wait for the turn's end."""
        server = self._server
        session = self.session
        if session.closing or session.state is State.CLOSED:
            return
        if self._veiled:
            data = self._unveil(data)
            if not data:
                return
        mono = server.mono()
        session.receive(self._lines.feed(data), mono)
        if session.has_news:
            server.on_news(self)
        if session.unsettled:
            server.touched.append(self)
        else:
            self.send()
        if session.standing(mono) is Standing.THROTTLE:
            self._throttle()

    def _unveil(self, data: bytes) -> bytes:
        """The Stratum bytes in a read that may hold a PROXY header and TLS."""
        if self._tls is None:  # the header comes before the handshake
            self._head += data
            try:
                header = parse_proxy_header(self._head)
            except MalformedProxyHeader as error:
                self.drop(str(error))
                return b""
            if header is None:
                return b""
            data, self._head = self._head[header.size :], b""
            self.address = header.address or self.address
            if not self._known():
                return b""
        tls = self._tls
        return data if tls is None or not data else self._decrypt(tls, data)

    def _decrypt(self, tls: TlsStream, data: bytes) -> bytes:
        transport = self._transport
        assert transport is not None
        was_ready = tls.ready
        try:
            data = tls.feed(data)
        except ssl.SSLError as error:
            log.info("closing %s: TLS: %s", self.address, (error.reason or "broken").replace("_", " ").lower())
            transport.write(tls.take())  # the alert that says why
            transport.close()
            return b""
        if answer := tls.take():
            transport.write(answer)
        if tls.ready and not was_ready:
            self._await_login()
        if tls.ended and not data:
            self.close()
        return data

    def _throttle(self) -> None:
        """Don't read from it for a moment."""
        if self._pause is None and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._pause = asyncio.get_running_loop().call_later(PAUSE_MS / 1000, self._resume)

    def _resume(self) -> None:
        self._pause = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # From inside out

    def send(self) -> None:
        """Write what the session has to say."""
        output = self.session.take_output()
        if output:
            self._write(output)
        if self.session.closing and not self.session.unsettled and self._transport is not None:
            log.info("closing %s: %s", self.address, self.session.closing)
            self.close()

    def _write(self, output: bytes) -> None:
        transport, tls = self._transport, self._tls
        if transport is None or transport.is_closing():
            return
        if self._context is None:
            transport.write(output)
        elif tls is not None and tls.ready:
            try:
                transport.write(tls.encrypt(output))
            except ssl.SSLError as error:
                self.drop(f"TLS: {error}")

    def end(self, reason: str) -> None:
        """Tell the peer why it must go, and close."""
        if not self.session.closing:
            self.session.closing = reason
            self._write(error_reply(b"null", OTHER, reason))
            self.send()

    def drop(self, reason: str) -> None:
        """End the connection now."""
        log.info("dropping %s: %s", self.address, reason)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End the connection once what was written is sent."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._tls is not None and (farewell := self._tls.close()):
            transport.write(farewell)
        transport.close()

    def pause_writing(self) -> None:
        """The peer does not read: it is not waited for."""
        self.drop("it does not read")

    def connection_lost(self, _exc: Exception | None) -> None:
        """Free what the connection held."""
        if self._pause is not None:
            self._pause.cancel()
        mono = self._server.mono()
        if self.session.standing(mono) is Standing.CLOSE:
            self._server.strike(self)
        self.session.close(mono)
        self._server.leave(self)
        self._transport = None

    # Now and then

    def sweep(self, mono: int) -> None:
        """Look at its difficulty, and whether it is worth its place; monotonic ms."""
        session = self.session
        if session.closing:
            # It was told, and still holds the connection open: it does not read.
            self.drop("it does not take its leave")
        elif session.state is not State.MINING:
            if mono >= self._deadline:
                self.drop(f"it did not {self._wanted}")
        elif mono - session.good_at >= self._server.limits.idle_s * 1000:
            self.end(f"no good share for {self._server.limits.idle_s:.0f} s: connect again when there is work to do")
        else:
            session.tick(mono)
            self.send()
