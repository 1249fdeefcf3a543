"""From a configuration and a plan of lanes to an edge that can be run: here, or in several processes."""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from nips.keys import Signer
from nips.pool.address import PoolAddress
from noncestr.bans_cli import FOLDER as BANS
from noncestr.config import LogConfig
from noncestr.edges import EdgePart, OneEdge
from noncestr.lanes import LanePlan, journal_of, lane_of, put_away, set_aside
from noncestr.workers import Workers
from stratum_edge.adapters.ban_files import BanFiles
from stratum_edge.adapters.house_server import SignedTerms
from stratum_edge.adapters.lane_closer import finish_lane
from stratum_edge.config import EdgeConfig
from stratum_edge.errors import JournalError
from stratum_edge.households import parse_networks
from stratum_edge.ports import Clock, Names, Payability, Publisher, TemplateSource
from stratum_edge.service import Edge

logger = logging.getLogger("noncestr.edges")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an edge of a pool works with, whoever runs it. `note_signer`: posts the kind 1 notes of blocks, if any."""

    data: Path
    pool: PoolAddress
    signer: Signer
    source: TemplateSource
    terms: SignedTerms
    publisher: Publisher
    clock: Clock
    log: LogConfig
    note_signer: Signer | None = None
    names: Names | None = None
    payability: Payability | None = None

    @property
    def journal(self) -> Path:
        """The folder of the journals."""
        return self.data / "journal"


def make_edge(around: Surroundings, config: EdgeConfig, plan: LanePlan) -> EdgePart:
    """The edge for as many processes as the plan has lanes. Raises NoFreePort."""
    if len(plan.lanes) == 1:
        edge = Edge(
            source=around.source,
            signer=around.signer,
            pool=around.pool,
            terms=around.terms,
            publisher=around.publisher,
            journal_dir=journal_of(around.journal, 0),
            clock=around.clock,
            config=replace(config, lane=plan.lanes[0]),
            note_signer=around.note_signer,
            names=around.names,
            payability=around.payability,
            bans=BanFiles(around.data / BANS, "0", parse_networks(config.limits.trusted)),
        )
        return OneEdge(edge, plan.lanes[0])
    return Workers(
        data=around.data,
        pool=around.pool,
        config=config,
        lanes=plan.lanes,
        log=around.log,
        source=around.source,
        terms=around.terms,
        publisher=around.publisher,
        names=around.names,
        payability=around.payability,
    )


def finishing(around: Surroundings, plan: LanePlan) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """What ends the lanes that no process goes on in: to be run beside the edge."""
    return [partial(_finish, around, path) for path in plan.finish]


async def _finish(around: Surroundings, journal_dir: Path) -> None:
    try:
        lane = await finish_lane(
            journal_dir,
            pool=around.pool,
            signer=around.signer,
            publisher=around.publisher,
            source=around.source,
            clock=around.clock,
            note_signer=around.note_signer,
        )
    except (JournalError, OSError) as error:
        # Its shares are not lost, and the next start tries again; what is mined now must not wait for it.
        logger.error("the lane of %s can't be finished, and statements wait for it: %s", journal_dir, error)
        return
    kept = put_away(journal_dir, around.journal, lane)
    logger.info("no process goes on in lane %s: it is finished, its journal kept in %s", lane, kept)


def put_away_drained(around: Surroundings, plan: LanePlan, left: int) -> None:
    """After the lanes ended for good: nobody goes on in their journals. With something left in one, the next start
    finishes what it holds.
    """
    for process, lane in enumerate(plan.lanes):
        path = journal_of(around.journal, process)
        if left:
            set_aside(path, around.journal, lane)
        else:
            put_away(path, around.journal, lane)


async def put_away_ended(around: Surroundings, plan: LanePlan) -> None:
    """Move the journals of lanes that have ended out of the way, before new lanes begin in their places."""
    for path in plan.over:
        lane = await lane_of(path)
        logger.warning("lane %s has ended: its journal is kept in %s", lane, put_away(path, around.journal, lane))
