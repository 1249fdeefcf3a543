"""The pool's edge, in this process or in several: what serves miners, how it is, how it is emptied."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import anyio
from anyio.abc import TaskStatus

from noncestr.config.sections import LogConfig
from noncestr.edge.orders import LaneReport
from stratum_edge.config import EdgeConfig
from stratum_edge.service import Edge
from stratum_edge.status import EdgeStatus, SessionRow

NOTHING: Final = EdgeStatus(
    sessions=0, miners=0, workers=0, hashrate_hs=0, accepted=0, rejected={}, bad_lines=0, height=0, job="",
    batch_seq=-1, batch_id="", unpublished=0, stalled=False, blocks={},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain came to: `left` batches and blocks that did not get out and wait in the journals."""

    lanes: int
    sessions: int
    left: int


class EdgePart(Protocol):
    """An edge, however many processes it has."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled or drained; started once miners can connect."""
        ...

    @property
    def ports(self) -> dict[str, int]:
        """The TCP port of each port's name."""
        ...

    def status(self) -> EdgeStatus:
        """All lanes together."""
        ...

    def lanes(self) -> list[LaneReport]:
        """Each lane that is up."""
        ...

    async def sessions(self) -> list[tuple[int, SessionRow]]:
        """Every connection with the number of its process."""
        ...

    async def reload(self, config: EdgeConfig, log: LogConfig) -> None:
        """Go by other ports, limits, certificates and log level.

        Raises EdgeError, NoncestrError or ValueError, and then all is as it was.
        """
        ...

    async def drain(self, *, fin: bool) -> Drained:
        """Let the miners go, seal and publish what is there; `run` then ends. With `fin` the lanes end for good."""
        ...


class OneEdge:
    """An edge in this process."""

    def __init__(self, edge: Edge, lane: int) -> None:
        self._edge = edge
        self._lane = lane
        self.run = edge.run

    @property
    def ports(self) -> dict[str, int]:
        """The TCP port of each port's name."""
        return self._edge.ports

    def status(self) -> EdgeStatus:
        """The lane."""
        return self._edge.status()

    def lanes(self) -> list[LaneReport]:
        """The one lane."""
        return [LaneReport(0, os.getpid(), self._lane, self._edge.ports, self._edge.status())]

    async def sessions(self) -> list[tuple[int, SessionRow]]:
        """Every connection."""
        return [(0, row) for row in self._edge.sessions()]

    async def reload(self, config: EdgeConfig, log: LogConfig) -> None:  # noqa: ARG002 - its own is the process's
        """Go by other ports and limits. Raises EdgeError, ValueError."""
        await self._edge.reload(config)

    async def drain(self, *, fin: bool) -> Drained:
        """Empty it."""
        sessions = self._edge.status().sessions
        return Drained(1, sessions, await self._edge.drain(fin=fin))


def measured(edge: EdgePart) -> tuple[int, int]:
    """Shares accepted since it runs, and hashes a second."""
    status = edge.status()
    return status.accepted, status.hashrate_hs


def total(lanes: Iterable[EdgeStatus]) -> EdgeStatus:
    """Lanes added up; a miner on two lanes counts on both. Job and batch are those of the lane at the newest block."""
    found = list(lanes)
    if not found:
        return NOTHING
    newest = max(found, key=lambda status: status.height)
    return replace(
        newest,
        sessions=sum(status.sessions for status in found),
        miners=sum(status.miners for status in found),
        workers=sum(status.workers for status in found),
        hashrate_hs=sum(status.hashrate_hs for status in found),
        accepted=sum(status.accepted for status in found),
        rejected=dict(sum((Counter(status.rejected) for status in found), Counter())),
        bad_lines=sum(status.bad_lines for status in found),
        unpublished=sum(status.unpublished for status in found),
        stalled=any(status.stalled for status in found),
        blocks=dict(sum((Counter(status.blocks) for status in found), Counter())),
        node_lost_s=max(status.node_lost_s for status in found),
    )
