"""Port numbers kept for processes that share them (SO_REUSEPORT)."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

from noncestr.addresses import Hold, hold_port
from stratum_edge.config import PortConfig


class HeldPorts:
    """Keeps the numbers of ports that several processes share, until it is closed."""

    def __init__(self, hold_of: Callable[[PortConfig], Hold | None] = lambda _: None) -> None:
        """`hold_of`: who holds a port already, for us to take over."""
        self._hold_of = hold_of
        self._held: dict[tuple[str, int, str], socket.socket] = {}

    @staticmethod
    def _place(port: PortConfig) -> tuple[str, int, str]:
        # A port picked freely goes by its name.
        return (port.host, port.port, "" if port.port else port.name)

    def share(self, ports: Sequence[PortConfig]) -> tuple[PortConfig, ...]:
        """The ports as the processes take them, with their numbers. Raises NoFreePort."""
        shared = []
        for port in ports:
            place = self._place(port)
            if place not in self._held:
                self._held[place] = self._keep(port)
            shared.append(replace(port, port=int(self._held[place].getsockname()[1]), reuse_port=True))
        return tuple(shared)

    def _keep(self, port: PortConfig) -> socket.socket:
        before = self._hold_of(port)
        kept = None if before is None else before.share()
        if kept is None:
            kept = hold_port(port.host, port.port).share()
        assert kept is not None
        return kept

    def keep_only(self, ports: Sequence[PortConfig]) -> None:
        """Let the others go."""
        for place in self._held.keys() - {self._place(port) for port in ports}:
            self._held.pop(place).close()

    def close(self) -> None:
        """Let all go."""
        self.keep_only(())
