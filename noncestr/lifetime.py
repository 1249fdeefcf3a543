"""How long a process runs: until a signal; what SIGHUP does meanwhile; what its errors are for people."""

import logging
import os
import signal
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskStatus

from accounting.errors import AccountingError
from noncestr.config.sections import Config
from noncestr.errors import NoncestrError
from noncestr.running import leaves
from relay_bridge.errors import RelayBridgeError
from stratum_edge.errors import EdgeError
from zapper.errors import ZapperError

logger = logging.getLogger("noncestr")

# What an operator can mend: said in one line. Anything else is a fault of ours and shows where it happened.
MENDABLE = (EdgeError, AccountingError, RelayBridgeError, ZapperError, NoncestrError, OSError)


async def run_until_signal(
    run: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
    reload: Callable[[Config], Awaitable[None]],
    reread: Callable[[], Config],
) -> None:
    """Run something that ends when the wait it is given returns: at SIGINT or SIGTERM; a second one waits for nothing.

    SIGHUP gives `reload` what `reread` reads. Raises NoncestrError for what an operator can mend.
    """
    stop = anyio.Event()
    # One after the other: each reload goes from what the one before has left.
    reloading = anyio.Lock()

    async def watch(*, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    tasks.start_soon(_reload, reloading, reload, reread)
                    continue
                if stop.is_set():
                    os._exit(130)
                stop.set()

    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch)
            await run(stop.wait)
            tasks.cancel_scope.cancel()
    except ExceptionGroup as group:
        mendable, rest = group.split(MENDABLE)
        if mendable is None or rest is not None:
            raise
        raise NoncestrError("; ".join(str(leaf) for leaf in leaves(mendable))) from group


async def _reload(
    reloading: anyio.Lock, reload: Callable[[Config], Awaitable[None]], reread: Callable[[], Config]
) -> None:
    try:
        async with reloading:
            await reload(reread())
    except (*MENDABLE, ValueError) as error:
        logger.error("SIGHUP: nothing was changed: %s", error)
    except ExceptionGroup as group:
        logger.error("SIGHUP: nothing was changed: %s", "; ".join(str(leaf) for leaf in leaves(group)))
    else:
        logger.warning("SIGHUP: the configuration was read again")
