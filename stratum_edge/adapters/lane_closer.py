"""The end of a lane that no process goes on in: what its journal holds is sealed, published, and followed by `fin`."""

import logging
from functools import partial
from pathlib import Path

import anyio

from nips.keys import Signer
from nips.pool.address import PoolAddress
from stratum_edge.adapters.deliveries import Deliveries
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.desk import Desk, House
from stratum_edge.extranonce import Seats
from stratum_edge.jobs import Payout
from stratum_edge.lane import Lane
from stratum_edge.ports import Clock, Publisher, TemplateSource
from stratum_edge.status import Counts

log = logging.getLogger(__name__)


async def finish_lane(
    journal_dir: Path,
    *,
    pool: PoolAddress,
    signer: Signer,
    publisher: Publisher,
    source: TemplateSource,
    clock: Clock,
) -> int | None:
    """End the lane of a journal; its number, once all of it is in the outbox and every block has its answer.

    None when the journal never began. Can be cancelled and called again. Raises JournalError.
    """
    journal = JournalFile(journal_dir)
    try:
        recovered = journal.recover()
        if recovered is None:
            return None
        start = recovered.checkpoint
        lane = Lane(pool, start.lane, recovered.from_ms, recovered.head, recovered.newest_s)
        # Nobody mines here: no offers, and a payout that no job will name.
        desk = Desk(House(pool, Payout(b"", b"")), signer, journal, lane, Seats(bytes(32)), Counts(0), ())
        desk.take_up(recovered, clock.now_ms())
        if not desk.begin_segment():
            raise OSError(f"no journal can be begun in {journal_dir}")
        if not recovered.finished:
            desk.seal(clock.now_ms(), fin=True)
        deliveries = Deliveries(desk, publisher, source, signer)
        async with anyio.create_task_group() as tasks:
            for run in (journal.run, partial(deliveries.publish_all, journal), deliveries.submit_all):
                tasks.start_soon(run)
            await deliveries.finished()
            tasks.cancel_scope.cancel()
    finally:
        journal.close()
    log.info("lane %d is finished", start.lane)
    return start.lane
