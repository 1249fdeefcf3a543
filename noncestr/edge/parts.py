"""From a configuration and a plan of lanes to an edge that can be run: here, or in several processes."""

import logging
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from nips.keys import Signer
from nips.pool.address import PoolAddress
from noncestr.addresses import Bound, Hold
from noncestr.chains import coinbase_script
from noncestr.config.sections import Config, LogConfig
from noncestr.edge.control import CONTROL, Control, Desk, Relays
from noncestr.edge.doors import MAIN, stratum_limits, stratum_ports
from noncestr.edge.edges import EdgePart, OneEdge
from noncestr.edge.files import BANS
from noncestr.edge.lanes import LanePlan, journal_of, lane_in, put_away, set_aside
from noncestr.edge.workers import Workers
from noncestr.running import looping, running
from stratum_edge.adapters.ban_files import BanFiles
from stratum_edge.adapters.house_server import HiddenTable, SignedTerms
from stratum_edge.adapters.lane_closer import finish_lane
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.errors import JournalError
from stratum_edge.households import parse_networks
from stratum_edge.ports import Clock, Names, Payability, Publisher, TemplateSource
from stratum_edge.service import Edge

logger = logging.getLogger("noncestr.edges")

# Where in the data folder the embedded chain is lent to other edges of this machine; mode 0600.
CHAIN_SOCKET: Final = "chain.sock"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an edge of a pool works with, whoever runs it."""

    data: Path
    pool: PoolAddress
    signer: Signer
    source: TemplateSource
    terms: SignedTerms
    publisher: Publisher
    clock: Clock
    log: LogConfig
    names: Names | None = None
    payability: Payability | None = None
    privacy: HiddenTable | None = None
    # Where the port of [stratum] is now.
    stratum: Callable[[], Bound] | None = None

    def hold_of(self, port: PortConfig) -> Hold | None:
        """Who holds a port until it is listened on."""
        return self.stratum().hold if self.stratum is not None and port.name == MAIN else None

    def listener(self, port: PortConfig) -> socket.socket | None:
        """The socket of a port that was held."""
        hold = self.hold_of(port)
        return None if hold is None else hold.take()

    @property
    def journal(self) -> Path:
        """The folder of the journals."""
        return self.data / "journal"


def edge_config(config: Config, stratum: Bound, pool_pubkey: str, *, lan: bool) -> EdgeConfig:
    """The configuration as the edge takes it; `stratum`: where the port of [stratum] is."""
    return EdgeConfig(
        ports=stratum_ports(config, stratum, lan=lan),
        limits=stratum_limits(config),
        payout_script=coinbase_script(config, pool_pubkey),
        pool_tag=config.stratum.pool_tag.encode("ascii"),
        node_grace_s=float(config.node.grace_seconds),
    )


async def start_edge(
    stack: AsyncExitStack,
    around: Surroundings,
    config: EdgeConfig,
    plan: LanePlan,
    relays: Relays,
    control: bool,
    drained: Callable[[], None],
    desk: Desk | None = None,
) -> EdgePart:
    """Run the edge, the end of lanes nobody goes on in, and the operator's socket, until the stack closes.

    `drained` is called once the operator had the edge emptied; `desk`: what else the socket answers.
    """
    enter = stack.enter_async_context
    await put_away_ended(around, plan)
    edge = make_edge(around, config, plan)
    await enter(running(edge.run))
    for path in plan.finish:
        await enter(looping(_finish, around, path))

    def ended(fin: bool, left: int) -> None:
        if fin:
            put_away_drained(around, plan, left)
        drained()

    if control:
        operator = Control(
            around.data / CONTROL,
            pool=around.pool,
            edge_key=around.signer.pubkey,
            edge=edge,
            relays=relays,
            ended=ended,
            desk=desk,
        )
        await enter(running(operator.run))
    return edge


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
            names=around.names,
            payability=around.payability,
            privacy=None if around.privacy is None else around.privacy.names,
            bans=BanFiles(around.data / BANS, "0", parse_networks(config.limits.trusted)),
            listener=around.listener,
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
        privacy=around.privacy,
        hold_of=around.hold_of,
    )


async def _finish(around: Surroundings, journal_dir: Path) -> None:
    try:
        lane = await finish_lane(
            journal_dir,
            pool=around.pool,
            signer=around.signer,
            publisher=around.publisher,
            source=around.source,
            clock=around.clock,
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
        lane = await lane_in(path)
        number = None if lane is None else lane.number
        logger.warning("lane %s has ended: its journal is kept in %s", number, put_away(path, around.journal, number))
