"""Two ends of a unix socket: calls both ways, refusals by class, what becomes of a call whose answerer goes."""

import asyncio
import stat
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from stratum_edge.adapters.house_wire import MAX_FRAME, Link, open_link, serve_links
from stratum_edge.errors import HouseGone, HouseRefused, SourceUnavailable

pytestmark = pytest.mark.anyio


async def add(one: int, other: int) -> int:
    return one + other


async def nothing_here() -> None:
    raise SourceUnavailable("no node")


async def broken() -> None:
    raise KeyError("ours")


async def never() -> None:
    await anyio.sleep_forever()


async def huge() -> bytes:
    return bytes(MAX_FRAME)


SERVES = {"add": add, "nothing_here": nothing_here, "broken": broken, "never": never, "huge": huge}


class Both:
    """A server with one client connected to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[object] = []
        self.met: Link | None = None
        self.meeting = anyio.Event()

    async def meet(self, link: Link) -> None:
        self.met = link
        self.meeting.set()
        await anyio.sleep_forever()

    async def run(self, *, task_status) -> None:
        await serve_links(self.path, lambda: (SERVES, {"said": self.heard.append}), self.meet, task_status.started)


@pytest.fixture
async def both(tmp_path: Path):
    pair = Both(tmp_path / "house.sock")
    async with anyio.create_task_group() as tasks:
        await tasks.start(pair.run)
        yield pair
        tasks.cancel_scope.cancel()
    assert not pair.path.exists()


async def test_calls_go_both_ways_and_side_by_side(both: Both) -> None:
    link = await open_link(both.path, {"add": add}, {})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.run)
        assert stat.S_IMODE(both.path.stat().st_mode) == 0o600
        tasks.start_soon(link.call, "never")
        assert await link.call("add", 1, 2) == 3
        await both.meeting.wait()
        assert both.met is not None
        assert await both.met.call("add", 3, 4) == 7
        link.tell("said", "first")
        link.tell("said", "second")
        link.tell("unheard")
        assert await link.call("add", 1, 1) == 2
        assert both.heard == ["first", "second"]
        tasks.cancel_scope.cancel()


async def test_a_refusal_keeps_its_class_where_the_caller_needs_it(both: Both, caplog) -> None:
    link = await open_link(both.path, {}, {})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.run)
        with pytest.raises(SourceUnavailable, match="no node"):
            await link.call("nothing_here")
        with pytest.raises(HouseRefused, match="ours"):
            await link.call("broken")
        assert "broken failed" in caplog.text
        with pytest.raises(HouseRefused, match="there is no such here"):
            await link.call("such")
        with pytest.raises(HouseRefused):
            await link.call("add", "not", 1)
        with pytest.raises(ValueError, match="more than a frame holds"):
            await link.call("add", bytes(MAX_FRAME), 1)
        with pytest.raises(HouseRefused, match="more than a frame holds"):
            await link.call("huge")
        assert await link.call("add", 1, 1) == 2
        tasks.cancel_scope.cancel()


async def test_a_call_fails_when_the_other_side_goes(both: Both) -> None:
    link = await open_link(both.path, {}, {})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.run)
        await both.meeting.wait()
        assert both.met is not None
        both.met.close()
        with pytest.raises(HouseGone):
            await link.call("never")
    assert not link.is_open
    link.tell("said", "into the void")
    with pytest.raises(HouseGone):
        await link.call("add", 1, 1)


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\x01\0\0\0\xc1", b"\x02\0\0\0\x91\x07", b"\x05\0\0\0ab"])
async def test_garbage_ends_the_connection_and_nothing_else(both: Both, garbage: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(both.path))
    writer.write(garbage)
    if garbage.endswith(b"ab"):
        writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    link = await open_link(both.path, {}, {})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.run)
        assert await link.call("add", 1, 1) == 2
        tasks.cancel_scope.cancel()


async def test_a_socket_left_behind_is_replaced_and_a_long_path_served(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    pair = Both(folder / "house.sock")
    for leave_behind in (True, False):
        async with anyio.create_task_group() as tasks:
            await tasks.start(pair.run)
            link = await open_link(pair.path, {}, {})
            tasks.start_soon(link.run)
            assert await link.call("add", 2, 2) == 4
            if leave_behind:
                pair.path.rename(folder / "kept")
            tasks.cancel_scope.cancel()
        if leave_behind:
            (folder / "kept").rename(pair.path)
    with pytest.raises(HouseGone, match="nothing answers"):
        await open_link(pair.path, {}, {})


async def test_a_killed_process_is_one_that_has_gone(tmp_path: Path) -> None:
    """The socket breaks under a write before its end was read: that is no error of the house."""
    path = tmp_path / "other.sock"
    gone = anyio.Event()

    async def other(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
        gone.set()

    server = await asyncio.start_unix_server(other, str(path))
    reader, writer = await asyncio.open_unix_connection(str(path))
    link = Link(reader, writer, {}, {})
    await gone.wait()
    # Nobody reads: only writing shows it, first to the socket, then to us.
    for _ in range(100):
        link.tell("said", bytes(100_000))
        await anyio.lowlevel.checkpoint()
    assert link.is_open
    with pytest.raises(HouseGone):
        await link.call("add", 1, 1)
    link.close()
    server.close()
