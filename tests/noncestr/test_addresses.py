"""A busy port moves to the next free one."""

import socket

import pytest

from noncestr.addresses import free_port
from noncestr.errors import NoFreePort


def test_a_busy_port_moves() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        bound = free_port("127.0.0.1", port)
        assert bound.port > port
        assert bound.moved
        assert free_port("127.0.0.1", port, frozenset({bound.port})).port > bound.port


def test_a_free_port_stays() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bound = free_port("127.0.0.1", port)
    assert (bound.port, bound.moved) == (port, False)
    assert not free_port("127.0.0.1", 0).moved


def test_a_host_that_is_not_ours_is_said() -> None:
    with pytest.raises(NoFreePort, match=r"cannot listen on 192\.0\.2\.1"):
        free_port("192.0.2.1", 3333)
