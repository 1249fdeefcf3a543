"""Addresses this machine listens on: a busy port moves to the next free one, and says so."""

import socket
from dataclasses import dataclass

from noncestr.errors import NoFreePort

# How far to look: enough for a few pools on one machine, few enough that the port stays recognisable.
TRIES = 50


@dataclass(frozen=True, slots=True)
class Bound:
    """A port to listen on, and the one asked for."""

    host: str
    port: int
    asked: int

    @property
    def moved(self) -> bool:
        """Whether the port asked for was busy."""
        return self.asked not in (0, self.port)


def _is_free(host: str, port: int) -> int | None:
    """The port if a server can bind it now (0 picks one), else None. Raises OSError for a host that is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As asyncio's servers do: a port in TIME_WAIT counts as free, one with a listener does not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (98, 48, 13):  # EADDRINUSE on Linux and BSD, EACCES for ports below 1024
                return None
            raise
        return int(probe.getsockname()[1])


def free_port(host: str, port: int, taken: frozenset[int] = frozenset()) -> Bound:
    """The first free port from `port` on that is not in `taken`. Raises NoFreePort."""
    for candidate in range(port, min(port + TRIES, 65536)):
        if candidate in taken and candidate != 0:
            continue
        try:
            found = _is_free(host, candidate)
        except OSError as error:
            raise NoFreePort(f"cannot listen on {host}: {error.strerror or error}") from None
        if found is not None:
            return Bound(host, found, port)
    raise NoFreePort(f"no free port from {port} to {port + TRIES - 1} on {host}")


def hold_port(host: str, port: int) -> socket.socket:
    """A socket that keeps a port (0 picks one) for processes that will share it. Raises NoFreePort."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        # It does not listen, so that the system hands no connection to it.
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise NoFreePort(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None
    return held


def lan_address() -> str | None:
    """The address other machines of this network reach us at, or None. Nothing is sent: a UDP socket is only routed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1 (RFC 5737): any address beyond this machine will do
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address
