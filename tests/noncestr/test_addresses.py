"""A busy port moves to the next free one, and a free one is held until its server listens."""

import contextlib
import socket
import time

import pytest

from noncestr.addresses import Bound, free_port, hold_port
from noncestr.errors import NoFreePort


def test_a_busy_port_moves() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        bound = free_port("127.0.0.1", port)
        assert bound.port > port
        assert bound.moved
        assert free_port("127.0.0.1", port).port > bound.port


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


def steal(port: int, host: str = "127.0.0.1", *options: int) -> None:
    """Listen there as any server would. Raises OSError."""
    with socket.socket() as thief:
        for option in (socket.SO_REUSEADDR, *options):
            thief.setsockopt(socket.SOL_SOCKET, option, 1)
        thief.bind((host, port))
        thief.listen()


def reach(port: int) -> None:
    """Raises ConnectionRefusedError."""
    with socket.create_connection(("127.0.0.1", port), timeout=20):
        pass


def test_nobody_gets_a_port_between_its_finding_and_its_server() -> None:
    bound = free_port("127.0.0.1", 0)
    for host, *options in (("127.0.0.1",), ("0.0.0.0",), ("127.0.0.1", socket.SO_REUSEPORT)):
        with pytest.raises(OSError, match="in use"):
            steal(bound.port, host, *options)
    # Who connects meanwhile is refused, and does not wait in a queue.
    with pytest.raises(ConnectionRefusedError):
        reach(bound.port)
    listener = bound.take()
    assert listener is not None
    with listener:
        assert listener.getsockname()[1] == bound.port
        reach(bound.port)
        with pytest.raises(OSError, match="in use"):
            steal(bound.port)
        assert bound.take() is None
    steal(bound.port)


def test_what_is_let_go_or_forgotten_is_free_for_others() -> None:
    bound = free_port("127.0.0.1", 0)
    bound.let_go()
    assert bound.take() is None
    steal(bound.port)
    forgotten = free_port("127.0.0.1", 0)
    number = forgotten.port
    del forgotten
    steal(number)
    assert Bound("127.0.0.1", 1, 1).take() is None


def test_a_port_with_nothing_but_old_connections_is_free() -> None:
    bound = free_port("127.0.0.1", 0)
    listener = bound.take()
    assert listener is not None
    with listener, socket.create_connection(("127.0.0.1", bound.port), timeout=20) as client:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                # Closed by the server first: its side stays in TIME_WAIT for a minute.
                listener.accept()[0].close()
                break
        client.settimeout(20)
        assert client.recv(1) == b""
    again = free_port("127.0.0.1", bound.port)
    assert not again.moved
    listener = again.take()
    assert listener is not None
    listener.close()


def test_a_shared_port_is_for_our_processes_alone() -> None:
    kept = hold_port("127.0.0.1", 0).share()
    assert kept is not None
    with kept:
        port = kept.getsockname()[1]
        steal(port, "127.0.0.1", socket.SO_REUSEPORT)
        with pytest.raises(OSError, match="in use"):
            steal(port)
