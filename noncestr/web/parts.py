"""The page and the read API of a running pool: the books' questions, the live feed, the server."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio.lowlevel

from accounting.adapters.reads import open_reads
from accounting.adapters.store import StorePlace
from accounting.reads import Reads
from accounting.service import Accounting
from client_web.adapters.http_server import bind, serve
from client_web.adapters.live import LiveFeed
from client_web.api.limits import parse_proxies
from client_web.doors import Doors
from client_web.ports import Attestations, RelayGate
from client_web.server import create_app
from client_web.site import Site
from noncestr.addresses import Bound
from noncestr.config.sections import WebConfig
from noncestr.disk_watch import Disk, disk_now
from noncestr.edge.edges import EdgePart
from noncestr.running import running
from noncestr.web.metrics import PayoutCount
from noncestr.web.read_api import Parts, ReadApi, no_treasury
from relay_bridge.service import RelayBridge
from stratum_edge.ports import Payability
from stratum_edge.status import EdgeStatus
from zapper.adapters.payout_counts import payout_counts
from zapper.config import ZapperStatus


async def _no_advice(_miner: str) -> str | None:
    return None


def no_edge() -> EdgeStatus:
    """What an edge elsewhere tells here: nothing. All it does is in the books."""
    return EdgeStatus(
        sessions=0, miners=0, workers=0, hashrate_hs=0, accepted=0, rejected={}, bad_lines=0, height=0, job="",
        batch_seq=-1, batch_id="", unpublished=0, stalled=False, blocks={},
    )  # fmt: skip


def lasting_counts(
    ask: Callable[[], Awaitable[Mapping[str, tuple[int, int]]]],
) -> Callable[[], Awaitable[Mapping[str, PayoutCount]]]:
    """What the zapper's store tells, or told last: it is silent also while it is busy, and counters do not go down."""
    told: dict[str, PayoutCount] = {}

    async def counts() -> Mapping[str, PayoutCount]:
        nonlocal told
        if found := await ask():
            told = {state: PayoutCount(*each) for state, each in found.items()}
        return told

    return counts


async def open_read_api(
    stack: AsyncExitStack,
    accounting: Accounting,
    *,
    ledger: StorePlace,
    payouts: Path,
    edge: EdgePart | None,
    bridge: RelayBridge,
    zapper: Callable[[], ZapperStatus],
    relay_counts: Callable[[], Mapping[str, int]],
    lanes: Callable[[], list[dict[str, Any]]],
    payability: Payability | None,
    treasury: Callable[[], Awaitable[dict[str, Any] | None]] = no_treasury,
    data: Path,
) -> ReadApi:
    """What the API asks. `ledger`: where the accounting, which runs, has its books; `payouts`: the zapper's file;
    `edge`: None where no edge runs, whose numbers are then 0; `data`: the folder whose disk is told of.
    """
    reads = Reads(accounting, await stack.enter_async_context(open_reads(ledger)), anyio.lowlevel.checkpoint)

    def disk() -> Disk | None:
        try:
            return disk_now(data, accounting.clock.now_ms())
        except OSError:
            # A disk that can't be read is told of by the watch.
            return None

    return ReadApi(
        reads,
        Parts(
            edge=no_edge if edge is None else edge.status,
            reports=list if edge is None else edge.lanes,
            relays=bridge.status,
            relay_counts=relay_counts,
            zapper=zapper,
            payouts=lasting_counts(lambda: payout_counts(payouts)),
            lanes=lanes,
            advice=_no_advice if payability is None else payability.advice,
            now_ms=accounting.clock.now_ms,
            treasury=treasury,
            alarms=lambda: bridge.alarms,
            disk=disk,
        ),
    )


async def start_web(
    stack: AsyncExitStack,
    site: Site,
    read_api: ReadApi,
    relay: RelayGate,
    config: WebConfig,
    place: Bound,
    attestations: Attestations | None = None,
) -> None:
    """Serve until the stack closes. Raises OSError when the port is taken, ValueError for a proxy that is none."""
    live, doors = LiveFeed(read_api), Doors(read_api.doors, parse_proxies(config.proxies))
    app = create_app(site, read_api, relay, live=live, doors=doors, attestations=attestations)
    await stack.enter_async_context(running(serve, app, place.take() or bind(place.host, place.port), doors))
    # Before the server is told to stop, or it would wait for readers who never leave.
    stack.callback(live.close)
