"""The operator's socket in the data folder: how the edge is, who is connected, emptying it for an upgrade."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
from anyio.abc import TaskStatus

from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from noncestr import __version__
from noncestr.edge.edges import EdgePart
from noncestr.edge.orders import plain
from noncestr.errors import NoncestrError
from relay_bridge.status import RelayStatus
from stratum_edge.adapters.house_wire import Hears, Link, Serves, open_link, serve_links
from stratum_edge.errors import EdgeError, HouseGone

logger = logging.getLogger("noncestr.control")

# Its name in the data folder; mode 0600.
CONTROL: Final = "control.sock"
# A pool that does not answer within this hangs.
ANSWER_S: Final = 30.0


# What a process answers, by name.
Service = Callable[..., Awaitable[Any]]


class Relays(Protocol):
    """The relay bridge, as far as this goes."""

    def status(self) -> list[RelayStatus]:
        """How things stand, relay by relay."""
        ...

    async def flush(self, timeout_s: float) -> bool:
        """Wait until every event has its quorum; False if that takes longer."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What a pool or an edge alone adds to its socket: `facts` to the status, and services of its own."""

    facts: Callable[[], Mapping[str, Any]] = dict
    services: Mapping[str, Callable[..., Awaitable[Any]]] = field(default_factory=dict)


class Control:
    """Answers on the socket. `ended` is called when the edge was emptied: the process then stops."""

    def __init__(
        self,
        path: Path,
        *,
        pool: PoolAddress,
        edge_key: str,
        edge: EdgePart,
        relays: Relays,
        ended: Callable[[bool, int], None],
        desk: Desk | None = None,
    ) -> None:
        """`ended` is told whether the lanes ended for good, and how much of them is left in the journals."""
        self._path = path
        self._pool = pool
        self._edge_key = edge_key
        self._edge = edge
        self._relays = relays
        self._ended = ended
        self._desk = desk or Desk()
        self._draining = False

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled. Raises OSError when the socket can't be bound."""
        await serve_links(self._path, self._services, _hold, task_status.started)

    def _services(self) -> tuple[Serves, Hears]:
        serves: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self._status,
            "sessions": self._sessions,
            "drain": self._drain,
            **{name: _mendable(serve) for name, serve in self._desk.services.items()},
        }
        return serves, {}

    async def _status(self) -> Any:
        return {
            "version": __version__,
            "pool": encode_npub(self._pool.pubkey),
            "network": self._pool.network,
            "edge": encode_npub(self._edge_key),
            "draining": self._draining,
            "ports": self._edge.ports,
            "total": plain(self._edge.status()),
            "lanes": plain(self._edge.lanes()),
            "relays": [
                {"url": relay.url, "connected": relay.connected, "backlog": relay.backlog, "error": relay.last_error}
                for relay in self._relays.status()
            ],
            **self._desk.facts(),
        }

    async def _sessions(self) -> Any:
        lanes = {report.process: report.lane for report in self._edge.lanes()}
        return [{"lane": lanes.get(process, -1), **asdict(row)} for process, row in await self._edge.sessions()]

    async def _drain(self, fin: bool, timeout_s: float) -> Any:
        """Empty the edge, wait until the relays have all of it, and have the process stop."""
        if self._draining:
            raise EdgeError("the edge is being drained already")
        self._draining = True
        logger.warning("draining: miners are let go, what they brought is sealed and published")
        # Whoever asked may lose patience: once begun it is brought to its end.
        with anyio.CancelScope(shield=True):
            try:
                drained = await self._edge.drain(fin=fin)
                published = await self._relays.flush(timeout_s)
            except BaseException:
                # What was not brought to its end may be asked for again.
                self._draining = False
                raise
            logger.warning("drained: %d left, %s", drained.left, "all published" if published else "relays are behind")
            self._ended(fin, drained.left)
        return {**asdict(drained), "published": published}


def _mendable(serve: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The service, with what an operator can mend as an answer and not as a fault of ours."""

    async def answer(*args: Any) -> Any:
        try:
            return await serve(*args)
        except NoncestrError as error:
            raise EdgeError(str(error)) from error

    return answer


async def serve_desk(path: Path, desk: Desk, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    """Answer what a process without an edge is asked, until cancelled. Raises OSError for a socket it can't bind."""

    def services() -> tuple[Serves, Hears]:
        return {name: _mendable(serve) for name, serve in desk.services.items()}, {}

    await serve_links(path, services, _hold, task_status.started)


async def _hold(_link: Link) -> None:
    await anyio.sleep_forever()


async def serve_services(
    path: Path,
    services: Mapping[str, Callable[..., Awaitable[Any]]],
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Answer with these services alone, for a process without an edge, until cancelled. Raises OSError."""
    serves = {name: _mendable(serve) for name, serve in services.items()}
    await serve_links(path, lambda: (serves, {}), _hold, task_status.started)


async def ask(data: Path, name: str, *args: Any, timeout_s: float = ANSWER_S) -> Any:
    """Ask the pool or edge that runs on a data folder. Raises NoncestrError when none does, or it can't answer."""
    try:
        link = await open_link(data / CONTROL, {}, {})
    except HouseGone:
        raise NoncestrError(f"no pool and no edge runs on {data} (or its [edge] control is off)") from None
    answer: Any = None
    failure = ""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.run)
        try:
            with anyio.fail_after(timeout_s):
                answer = await link.call(name, *args)
        except TimeoutError:
            failure = f"what runs on {data} has not answered for {timeout_s:g} s"
        except EdgeError as error:
            failure = str(error)
        tasks.cancel_scope.cancel()
    if failure:
        raise NoncestrError(failure)
    return answer
