"""Doors: ports opened, exchanged and closed; nothing changes when a part of it can't be."""

import asyncio
import socket
import ssl

import pytest

from stratum_edge.adapters.doors import Doors
from stratum_edge.config import PortConfig, TlsFiles
from stratum_edge.errors import PortUnavailable, UnusableCertificate

pytestmark = pytest.mark.anyio


class Greeter(asyncio.Protocol):
    """Says what its door is called."""

    def __init__(self, door):
        self.door = door

    def connection_made(self, transport):
        transport.write(f"{self.door.port.name} {self.door.port.shares_per_minute}".encode())
        transport.close()


@pytest.fixture
async def doors():
    found = Doors(Greeter)
    yield found
    for server in found.close():
        await server.wait_closed()


async def greeting(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    try:
        return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_ports_are_opened_kept_and_closed(doors):
    first, second, third = (PortConfig(name=name, port=0) for name in ("first", "second", "third"))
    await doors.open(first)
    await doors.open(second)
    before = doors.numbers
    assert await greeting(before["second"]) == "second 12"
    await doors.apply([PortConfig(name="second", port=0, shares_per_minute=30), third])
    assert list(doors.numbers) == ["second", "third"]
    assert doors.numbers["second"] == before["second"]
    assert await greeting(before["second"]) == "second 30"
    assert await greeting(doors.numbers["third"]) == "third 12"
    with pytest.raises(ConnectionRefusedError):
        await greeting(before["first"])


async def test_a_port_may_change_its_name_and_keep_its_socket(doors):
    number = free_port()
    await doors.open(PortConfig(name="old", port=number))
    await doors.apply([PortConfig(name="new", port=number)])
    assert doors.numbers == {"new": number}
    assert await greeting(number) == "new 12"


async def test_a_busy_port_changes_nothing(doors):
    first = PortConfig(name="first", port=0)
    await doors.open(first)
    before = doors.numbers
    free = free_port()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = PortConfig(name="taken", port=busy.getsockname()[1])
        with pytest.raises(
            PortUnavailable, match=r"port taken: 127\.0\.0\.1:\d+ can't be listened on: Address already"
        ):
            await doors.apply([PortConfig(name="fine", port=free), taken])
        with pytest.raises(PortUnavailable):
            await doors.open(taken)
    assert doors.numbers == before
    assert await greeting(before["first"]) == "first 12"
    with pytest.raises(ConnectionRefusedError):
        await greeting(free)
    with pytest.raises(PortUnavailable, match="same address"):
        await doors.apply([PortConfig(name="a", port=free), PortConfig(name="b", port=free)])
    with pytest.raises(PortUnavailable, match=r"port odd: no\.such\.host\.invalid:3333"):
        await doors.open(PortConfig(name="odd", host="no.such.host.invalid"))


async def test_certificates_are_read_again_and_a_bad_one_keeps_the_old(doors, authority, caplog):
    files, other = authority.make(), authority.make()
    port = PortConfig(name="tls", port=0, tls=files)
    await doors.open(port)
    (door,) = doors._open.values()
    first = door.context
    assert isinstance(first, ssl.SSLContext)
    await doors.apply([port])
    second = door.context
    assert second is not first
    files.key.write_bytes(other.key.read_bytes())
    await doors.apply([port])
    assert door.context is second
    assert "port tls goes on with the certificate it has: the key" in caplog.text
    await doors.apply([PortConfig(name="tls", port=0)])
    assert door.context is None
    with pytest.raises(UnusableCertificate):
        await doors.apply([port])
    assert door.context is None
    with pytest.raises(UnusableCertificate):
        await doors.open(PortConfig(name="new", port=0, tls=TlsFiles(files.key, files.key)))


async def test_a_socket_that_was_bound_for_a_port_is_listened_on():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        bound.setblocking(False)
        number = bound.getsockname()[1]
        given = {"held": bound}
        found = Doors(Greeter, lambda port: given.pop(port.name, None))
        # Nobody could have it otherwise: its socket is what listens.
        assert await found.open(PortConfig(name="held", port=number)) == number
        assert await greeting(number) == "held 12"
        await found.open(PortConfig(name="other", port=0))
        assert await greeting(found.numbers["other"]) == "other 12"
        for server in found.close():
            await server.wait_closed()
