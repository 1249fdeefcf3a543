"""The listening sockets of an edge: opened, exchanged and closed as the configuration says."""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from stratum_edge.adapters.tls import load_context
from stratum_edge.config import PortConfig
from stratum_edge.errors import PortUnavailable, UnusableCertificate

log = logging.getLogger(__name__)

# Connections that may wait for accept: a restart brings all miners back within the same second.
BACKLOG: Final = 4096

Place = tuple[str, int, str, bool]


class Door:
    """A listening port, with the settings and the certificate that its next connection gets."""

    __slots__ = ("context", "number", "port", "server")

    def __init__(self, port: PortConfig, context: ssl.SSLContext | None) -> None:
        self.port = port
        self.context = context
        # None once it is closed.
        self.server: asyncio.Server | None = None
        # The TCP port it is.
        self.number = 0

    def close(self) -> None:
        """Accept no more; who came in by it stays."""
        if self.server is not None:
            self.server.close()
            self.server = None


def _place(port: PortConfig) -> Place:
    """Where a port listens; configurations of one place share its socket. A port picked freely goes by its name."""
    return (port.host, port.port, "" if port.port else port.name, port.reuse_port)


def unbound(_port: PortConfig) -> socket.socket | None:
    """No socket is there already."""
    return None


class Doors:
    """All of an edge's ports. `answer` makes the protocol of a connection that comes in by a door; `listener` gives the
    socket of a port that was bound by somebody else for us, None when there is none.
    """

    def __init__(
        self,
        answer: Callable[[Door], asyncio.Protocol],
        listener: Callable[[PortConfig], socket.socket | None] = unbound,
    ) -> None:
        self._answer = answer
        self._listener = listener
        self._open: dict[Place, Door] = {}

    @property
    def numbers(self) -> dict[str, int]:
        """The TCP port of each open port's name."""
        return {door.port.name: door.number for door in self._open.values()}

    async def open(self, port: PortConfig) -> int:
        """Listen; the TCP port it is. Raises PortUnavailable, UnusableCertificate."""
        door = await self._listen(port, None if port.tls is None else load_context(port.tls))
        self._open[_place(port)] = door
        return door.number

    async def apply(self, ports: Sequence[PortConfig]) -> None:
        """Have these ports and no others. Sockets that stay where they are stay open, with the new settings.

        Raises PortUnavailable or UnusableCertificate, and then all is as it was. A certificate that can't be read
        again is no such reason: the one in use stays, and it is said.
        """
        if len({_place(port) for port in ports}) < len(ports):
            raise PortUnavailable("two ports are to listen on the same address")
        contexts = [self._context(port) for port in ports]
        opened: list[Door] = []
        try:
            for port, context in zip(ports, contexts, strict=True):
                if _place(port) not in self._open:
                    opened.append(await self._listen(port, context))
        except PortUnavailable:
            for door in opened:
                door.close()
            raise
        before, after = self._open, {_place(door.port): door for door in opened}
        self._open = {}
        for port, context in zip(ports, contexts, strict=True):
            place = _place(port)
            door = after.get(place) or before.pop(place)
            door.port, door.context = port, context
            self._open[place] = door
        for door in before.values():
            door.close()

    def close(self) -> list[asyncio.Server]:
        """Accept no more anywhere; what was closed by it."""
        servers = [door.server for door in self._open.values() if door.server is not None]
        for door in self._open.values():
            door.close()
        return servers

    def _context(self, port: PortConfig) -> ssl.SSLContext | None:
        """The port's certificate, read again if it has one already."""
        if port.tls is None:
            return None
        try:
            return load_context(port.tls)
        except UnusableCertificate as error:
            door = self._open.get(_place(port))
            if door is None or door.context is None:
                raise
            log.error("port %s goes on with the certificate it has: %s", port.name, error)
            return door.context

    async def _listen(self, port: PortConfig, context: ssl.SSLContext | None) -> Door:
        loop = asyncio.get_running_loop()
        door = Door(port, context)
        answer = partial(self._answer, door)
        listener = self._listener(port)
        try:
            if listener is not None:
                door.server = await loop.create_server(answer, sock=listener, backlog=BACKLOG)
            else:
                door.server = await loop.create_server(
                    answer, port.host, port.port, backlog=BACKLOG, reuse_port=port.reuse_port or None
                )
        except OSError as error:
            if listener is not None:
                listener.close()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise PortUnavailable(f"port {port.name}: {port.host}:{port.port} can't be listened on: {reason}") from None
        door.number = int(door.server.sockets[0].getsockname()[1])
        return door
