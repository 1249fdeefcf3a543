"""Parts that run beside each other and stop in the reverse order they were started."""

import fcntl
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio

from noncestr.errors import NoncestrError

# Miners, relay clients and browsers each hold a socket. A usual soft limit is 1024, which one address alone may use up
# (Stratum's connections_per_address): then neither journal nor databases could be opened.
OPEN_FILES = 65_536


@asynccontextmanager
async def running(run: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> AsyncIterator[None]:
    """Run `run(*args, task_status=...)` in the background, from its start on until the block is left.

    Leaving cancels it and waits for its clean end. If it fails, the block is cancelled and the failure raised.
    """
    async with anyio.create_task_group() as tasks:
        await tasks.start(run, *args)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def looping(loop: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> AsyncIterator[None]:
    """As `running`, for a coroutine function without a start of its own."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop, *args)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


async def first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Return when the first of the waits does; the others are cancelled."""
    async with anyio.create_task_group() as group:

        async def wait_for(wait: Callable[[], Awaitable[object]]) -> None:
            await wait()
            group.cancel_scope.cancel()

        for wait in waits:
            group.start_soon(wait_for, wait)


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold the data folder: two pools on one journal would fork its chains. Raises NoncestrError."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise NoncestrError(f"the data folder {directory} can't be used: {error.strerror or error}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoncestrError(
                f"another noncestr is running on {directory}: stop it, or give --data another folder"
            ) from None
        yield
    finally:
        os.close(descriptor)


def raise_file_limit(wanted: int = OPEN_FILES) -> int:
    """Allow this process more open files, up to what the system lets it; returns how many it may have now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(soft, most)


def leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """The single exceptions of nested groups, in order."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
