"""Calls between two processes of one pool, over a unix socket: frames, their answers, and what is told unasked.

A frame is its length (u32, little-endian) and a msgpack array, `[what, number, name, value]`. Both sides may call; an
answer carries the number of its call. The socket's mode is 0600: whoever can open it is the pool itself, so nothing is
signed or checked twice here.
"""

import asyncio
import logging
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
from anyio.abc import TaskGroup

from stratum_edge.errors import EdgeError, HouseGone, HouseRefused, NameRefused, SourceUnavailable

log = logging.getLogger(__name__)

# The largest frames are a full block's template and the block itself, 4 MB each; four times that is never meant.
MAX_FRAME: Final = 16 << 20
# sun_path of sockaddr_un (unix(7)) holds 108 bytes with its end.
MAX_PATH: Final = 107
BACKLOG: Final = 64
_LENGTH: Final = struct.Struct("<I")
# Errors that mean something to the caller keep their class; any other arrives as HouseRefused.
_KNOWN: Final[Mapping[str, type[EdgeError]]] = {cls.__name__: cls for cls in (SourceUnavailable, NameRefused)}

Serves = Mapping[str, Callable[..., Awaitable[Any]]]
Hears = Mapping[str, Callable[..., None]]


class What(IntEnum):
    """What a frame is."""

    CALL = 0
    ANSWER = 1
    REFUSAL = 2
    TELL = 3


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """`value`: the arguments of a call or a telling, the result of an answer, [class, reason] of a refusal."""

    what: What
    number: int
    name: str
    value: Any


def _encode(frame: Frame) -> bytes:
    data = msgspec.msgpack.encode(frame)
    if len(data) > MAX_FRAME:
        raise ValueError(f"{frame.name} with {len(data)} bytes is more than a frame holds")
    return data


class Link:
    """One end of a connection; `serves` answers the other's calls, `hears` takes what it tells, in order."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, serves: Serves, hears: Hears
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._serves = serves
        self._hears = hears
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.is_open = True

    async def run(self) -> None:
        """Read and answer until the other side goes; then all calls that wait fail with HouseGone."""
        try:
            async with anyio.create_task_group() as tasks:
                await self._read(tasks)
                tasks.cancel_scope.cancel()
        finally:
            self.close()

    async def _read(self, tasks: TaskGroup) -> None:
        while True:
            try:
                size = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))[0]
                if size > MAX_FRAME:
                    log.error("a frame of %d bytes: the other process is not ours", size)
                    return
                frame = msgspec.msgpack.decode(await self._reader.readexactly(size), type=Frame)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            except msgspec.MsgspecError as error:
                log.error("a frame that does not read, the other process is not ours: %s", error)
                return
            self._take(frame, tasks)

    def _take(self, frame: Frame, tasks: TaskGroup) -> None:
        if frame.what is What.CALL:
            tasks.start_soon(self._answer, frame)
        elif frame.what is What.TELL:
            hear = self._hears.get(frame.name)
            if hear is not None:
                hear(*frame.value)
        else:
            waiting = self._waiting.pop(frame.number, None)
            if waiting is None or waiting.done():
                return  # whoever asked has gone
            if frame.what is What.ANSWER:
                waiting.set_result(frame.value)
            else:
                name, reason = frame.value
                waiting.set_exception(_KNOWN.get(name, HouseRefused)(reason))

    async def _answer(self, frame: Frame) -> None:
        serve = self._serves.get(frame.name)
        try:
            if serve is None:
                raise HouseRefused(f"there is no {frame.name} here")
            data = _encode(Frame(What.ANSWER, frame.number, frame.name, await serve(*frame.value)))
        except Exception as error:  # whatever it is, the caller must not wait for ever
            if not isinstance(error, EdgeError):
                log.exception("%s failed", frame.name)
            data = _encode(Frame(What.REFUSAL, frame.number, frame.name, [type(error).__name__, str(error)]))
        with suppress(HouseGone):  # whoever asked has gone
            self._send(data)

    def _send(self, data: bytes) -> None:
        # A process that was killed may have closed the socket before we have read to its end; uvloop then refuses the
        # write with an error of its own.
        if not self.is_open or self._writer.is_closing():
            raise HouseGone("the other process has gone")
        try:
            self._writer.writelines((_LENGTH.pack(len(data)), data))
        except (OSError, RuntimeError) as error:
            raise HouseGone(f"the other process has gone: {error}") from None

    async def call(self, name: str, *args: Any) -> Any:
        """Ask the other side. Raises HouseGone, HouseRefused, or what it raised of SourceUnavailable, NameRefused."""
        self._numbers += 1
        number = self._numbers
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send(_encode(Frame(What.CALL, number, name, list(args))))
            return await answer
        finally:
            self._waiting.pop(number, None)

    def tell(self, name: str, *args: Any) -> None:
        """Say something that asks for no answer; nothing when the other side has gone."""
        data = _encode(Frame(What.TELL, 0, name, list(args)))
        with suppress(HouseGone):
            self._send(data)

    def close(self) -> None:
        """End the connection; calls that wait fail."""
        if not self.is_open:
            return
        self.is_open = False
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(HouseGone("the other process has gone"))
        self._waiting.clear()
        self._writer.close()


def leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """The single exceptions of nested groups, in order: a log cuts deep ones off."""
    return [
        leaf
        for error in group.exceptions
        for leaf in (leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name of the socket that fits into sockaddr_un: its own, or one by way of its open folder (Linux).

    Raises OSError.
    """
    plain = str(path)
    if len(os.fsencode(plain)) <= MAX_PATH:
        yield plain
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextmanager
def bound_socket(path: Path) -> Iterator[socket.socket]:
    """A socket only this user may open, in place of one that a killed process left behind; removed at the end.

    Raises OSError.
    """
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(path) as name:
            sock.bind(name)
        # Nobody can connect before it listens.
        path.chmod(0o600)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    inode = path.stat().st_ino
    try:
        yield sock
    finally:
        if path.exists() and path.stat().st_ino == inode:
            path.unlink()


async def serve_links(
    path: Path,
    serve: Callable[[], tuple[Serves, Hears]],
    meet: Callable[[Link], Coroutine[Any, Any, None]],
    started: Callable[[], None],
) -> None:
    """Accept on a unix socket until cancelled: `serve` makes a connection's answers, `meet` runs while it lasts.

    Raises OSError.
    """
    with bound_socket(path) as sock:
        async with anyio.create_task_group() as tasks:

            async def attend(link: Link) -> None:
                try:
                    async with anyio.create_task_group() as attending:
                        attending.start_soon(meet, link)
                        await link.run()
                        attending.cancel_scope.cancel()
                except* HouseGone:
                    pass  # it went while it was asked something
                except* Exception as failures:
                    # One link is lost, and its process starts anew; the house and its other lanes go on.
                    for failure in leaves(failures):
                        log.error("a link of the house failed", exc_info=failure)

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.start_soon(attend, Link(reader, writer, *serve()))

            server = await asyncio.start_unix_server(connected, sock=sock, backlog=BACKLOG)
            try:
                started()
                await anyio.sleep_forever()
            finally:
                server.close()


async def open_link(path: Path, serves: Serves, hears: Hears) -> Link:
    """Connect to a unix socket. Raises HouseGone."""
    try:
        with short_path(path) as name:
            reader, writer = await asyncio.open_unix_connection(name)
    except OSError as error:
        raise HouseGone(f"nothing answers at {path}: {error.strerror or error}") from None
    return Link(reader, writer, serves, hears)
