"""Numbers kept for processes that share them."""

import socket

import pytest

from noncestr.errors import NoncestrError
from noncestr.held_ports import HeldPorts
from stratum_edge.config import PortConfig


def test_held_ports_keep_their_numbers_until_they_are_let_go() -> None:
    held = HeldPorts()
    free = PortConfig(port=0)
    (port,) = held.share([free])
    assert port.port > 0
    assert port.reuse_port
    assert held.share([free]) == (port,)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((port.host, port.port))
    with pytest.raises(NoncestrError, match="cannot listen"):
        held.share([free, PortConfig(host="192.0.2.1", port=3333)])
    held.close()
    with socket.socket() as other:
        other.bind((port.host, port.port))
