"""Addresses this machine listens on: a busy port moves to the next free one, and says so.

A port that is found free is held from then on, and its very socket given to the server.
"""

import errno
import socket
from dataclasses import dataclass, field
from typing import Final

from noncestr.errors import NoFreePort

# How far to look: enough for a few pools on one machine, few enough that the port stays recognisable.
TRIES: Final = 50
# Taken, or below 1024 and not for us.
BUSY: Final = frozenset({errno.EADDRINUSE, errno.EACCES})
# Connections that may wait for accept until the server says how many may.
BACKLOG: Final = 128


class Hold:
    """A port of this machine that is ours from now on: nobody else gets it, and whoever connects is refused until it
    is taken. Let go with the object at the latest.
    """

    __slots__ = ("_socket", "host", "port")

    def __init__(self, host: str, port: int) -> None:
        """`port` 0 picks one. Raises OSError."""
        self.host = host
        self._socket: socket.socket | None = None
        held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            # As servers do: a port with nothing but connections in TIME_WAIT counts as free.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((host, port))
        except OSError:
            held.close()
            raise
        # Linux binds two sockets that say so to one port while neither listens: so ours says so no more.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        self._socket = held
        self.port = int(held.getsockname()[1])

    def _given(self) -> socket.socket | None:
        given, self._socket = self._socket, None
        return given

    def take(self) -> socket.socket | None:
        """The socket, listening from now on; None when it was taken or let go before."""
        given = self._given()
        if given is not None:
            # Else connections in TIME_WAIT would keep it from listening.
            given.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            given.setblocking(False)
            given.listen(BACKLOG)
        return given

    def share(self) -> socket.socket | None:
        """The socket, not listening: it keeps the number for our processes that listen with SO_REUSEPORT; None as for
        `take`.
        """
        given = self._given()
        if given is not None:
            given.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return given

    def let_go(self) -> None:
        """Others may have it."""
        given = self._given()
        if given is not None:
            given.close()

    def __del__(self) -> None:
        self.let_go()


@dataclass(frozen=True, slots=True)
class Bound:
    """A port to listen on, and the one asked for. `hold` keeps it for the server that will."""

    host: str
    port: int
    asked: int
    hold: Hold | None = field(default=None, compare=False, repr=False)

    @property
    def moved(self) -> bool:
        """Whether the port asked for was busy."""
        return self.asked not in (0, self.port)

    def take(self) -> socket.socket | None:
        """The socket, listening; None when nobody holds the port (any more): then it is to be bound."""
        return None if self.hold is None else self.hold.take()

    def let_go(self) -> None:
        """Others may have it, if nobody took it."""
        if self.hold is not None:
            self.hold.let_go()


def free_port(host: str, port: int) -> Bound:
    """The first free port from `port` on (0 picks one), held. Raises NoFreePort."""
    for candidate in range(port, min(port + TRIES, 65536)):
        try:
            hold = Hold(host, candidate)
        except OSError as error:
            if error.errno in BUSY:
                continue
            raise NoFreePort(f"cannot listen on {host}: {error.strerror or error}") from None
        return Bound(host, hold.port, port, hold)
    raise NoFreePort(f"no free port from {port} to {port + TRIES - 1} on {host}")


def hold_port(host: str, port: int) -> Hold:
    """This port (0 picks one) and no other. Raises NoFreePort."""
    try:
        return Hold(host, port)
    except OSError as error:
        raise NoFreePort(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None


def lan_address() -> str | None:
    """The address other machines of this network reach us at, or None. Nothing is sent: a UDP socket is only routed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1 (RFC 5737): any address beyond this machine will do
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address
