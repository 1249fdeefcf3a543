"""What an edge does about lanes of its own that the pool has closed: publishes what is left, void, and reports it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import anyio

from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent, make_filter
from nips.pool.block import BlockFound, parse_block
from nips.pool.chain import Head
from nips.pool.kinds import BLOCK, RECEIPT
from nips.pool.receipt import Receipt, parse_receipt
from noncestr.edge.lanes import Feed, lane_in
from noncestr.edge.lost_work import ClosedLane, lost_report, read_reports, write_report
from noncestr.edge.parts import Surroundings
from relay_bridge.errors import RelayBridgeError
from stratum_edge.adapters.lane_closer import finish_lane
from stratum_edge.errors import JournalError

log = logging.getLogger("noncestr.lanes")

# Relays that are behind have so long before a report is made of what is there; it is made again until it is whole.
FLUSH_S: Final = 10.0
RETRY_S: Final = 10.0


class Relays(Feed, Protocol):
    """The relay bridge, as far as this goes."""

    async def flush(self, timeout_s: float) -> bool:
        """Wait until every event has its quorum; False if that takes longer."""
        ...


def closed_journals(root: Path, edge: str, closed: Mapping[str, Head]) -> dict[int, Path]:
    """The journals that were put away of lanes that the terms have closed, by lane."""
    found = {}
    for folder in (root / "over").glob("*/"):
        if folder.name.isdecimal() and f"{edge}/{folder.name}" in closed:
            found[int(folder.name)] = folder
    return dict(sorted(found.items()))


async def account_for_closed(around: Surroundings, relays: Relays, closed: Mapping[str, Head]) -> None:
    """Publish what the journals of closed lanes still hold, and report what counts nowhere, until that is complete.

    A lane whose report is complete, or that held nothing beyond its end, is not looked at again.
    """
    edge = around.signer.pubkey
    done = {report["number"] for report in read_reports(around.data) if report["complete"]}
    for number, path in closed_journals(around.journal, edge, closed).items():
        end = closed[f"{edge}/{number}"]
        if number in done:
            continue
        try:
            kept = await lane_in(path)
            if kept is None or kept.seq < end.seq:
                # An old copy: what is sealed from it would contradict what was published.
                continue
            # As it is: void, but for everybody to see what was done and not counted. Blocks still go to the chain.
            await finish_lane(
                path,
                pool=around.pool,
                signer=around.signer,
                publisher=around.publisher,
                source=around.source,
                clock=around.clock,
            )
            kept = await lane_in(path)
        except (JournalError, OSError) as error:
            log.error("what lane %d held beyond its end can't be told: %s", number, error)
            continue
        if kept is not None and kept.seq > end.seq:
            await _report(around, relays, ClosedLane(edge, number, end, kept.seq))


async def _report(around: Surroundings, relays: Relays, lane: ClosedLane) -> None:
    while True:
        await relays.flush(FLUSH_S)
        try:
            events = await _told(around, relays, lane)
        except RelayBridgeError as error:
            log.warning("no relay says what of lane %d counts nowhere: %s", lane.number, error)
            await anyio.sleep(RETRY_S)
            continue
        report = lost_report(lane, *_parsed(events))
        write_report(around.data, lane.number, report)
        if report["complete"]:
            log.warning(
                "lane %d was closed at batch %d: %d shares of %d miners, work %s, and %d blocks count nowhere;"
                " `noncestr edge lost` has them",
                lane.number, lane.end.seq, report["shares"], len(report["miners"]), report["work"],
                len(report["blocks"]),
            )  # fmt: skip
            return
        await anyio.sleep(RETRY_S)


async def _told(around: Surroundings, relays: Relays, lane: ClosedLane) -> list[VerifiedEvent]:
    """The edge's batches and blocks from the lane's end on."""
    ends = await relays.fetch([make_filter(ids=[lane.end.id])])
    since = min((event.created_at for event in ends), default=None)
    wanted = make_filter(kinds=[RECEIPT, BLOCK], authors=[lane.edge], tags={"a": [str(around.pool)]}, since=since)
    return await relays.fetch([wanted])


def _parsed(events: list[VerifiedEvent]) -> tuple[list[Receipt], list[BlockFound]]:
    receipts, blocks = [], []
    for event in events:
        try:
            if event.kind == RECEIPT:
                receipts.append(parse_receipt(event))
            else:
                blocks.append(parse_block(event))
        except InvalidPoolEvent:
            continue
    return receipts, blocks
