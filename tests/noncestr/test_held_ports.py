"""Numbers kept for processes that share them."""

import socket

import pytest

from noncestr.addresses import free_port
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


def test_a_port_that_is_held_already_is_taken_over() -> None:
    bound = free_port("127.0.0.1", 0)
    held = HeldPorts(lambda port: bound.hold if port.name == "main" else None)
    (port,) = held.share([PortConfig(port=bound.port)])
    assert port.port == bound.port
    assert bound.take() is None
    held.close()
    (again,) = held.share([PortConfig(port=bound.port)])
    assert again.port == bound.port
    held.close()
