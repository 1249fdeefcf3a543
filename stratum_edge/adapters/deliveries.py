"""What leaves the edge: batches to the outbox in order, blocks to the chain at once; tried until they are taken."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from nips.keys import Signer
from nips.nip01 import VerifiedEvent
from nips.pool.hashing import display
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.desk import Desk
from stratum_edge.errors import HouseGone, SourceUnavailable
from stratum_edge.journal import FoundBlock
from stratum_edge.ports import Publisher, TemplateSource

log = logging.getLogger(__name__)

# Waiting between tries: a source, a publisher or a block's submission that failed.
FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 5.0


async def retry(act: Callable[[], Awaitable[None]], name: str) -> None:
    """Act until it does not raise. Whatever the adapter raises, the thing stays ours until it is taken."""
    wait = FIRST_RETRY_S
    while True:
        try:
            await act()
        except (HouseGone, SourceUnavailable) as error:
            # Whoever is away comes back; where it was missed tells nobody more. Once for each thing that waits.
            if wait == FIRST_RETRY_S:
                log.warning("%s has to wait: %s", name, error)
            await anyio.sleep(wait)
            wait = min(wait * 2, LAST_RETRY_S)
        except Exception:
            # Where it failed is told once: a disk may be full for hours.
            log.error("%s failed, trying again in %.1f s", name, wait, exc_info=wait == FIRST_RETRY_S)
            await anyio.sleep(wait)
            wait = min(wait * 2, LAST_RETRY_S)
        else:
            return


class Deliveries:
    """Takes from the desk's outbox and its found blocks."""

    def __init__(self, desk: Desk, publisher: Publisher, source: TemplateSource, signer: Signer) -> None:
        self._desk = desk
        self._publisher = publisher
        self._source = source
        self._chain = f"{signer.pubkey}/{desk.lane.number}"
        self._wake = anyio.Event()
        self._done = anyio.Event()
        # Blocks on their way to the chain.
        self._submitting = 0

    @property
    def open(self) -> int:
        """Batches not yet in the outbox and blocks without an answer."""
        return self._desk.unpublished + len(self._desk.found) + self._submitting

    def look(self) -> None:
        """There may be something to take: call after a seal or a share."""
        if self._desk.outbox or self._desk.found:
            wake, self._wake = self._wake, anyio.Event()
            wake.set()

    async def finished(self) -> None:
        """Wait until nothing is open."""
        while self.open:
            await self._done.wait()

    def _tell_done(self) -> None:
        done, self._done = self._done, anyio.Event()
        done.set()

    async def publish_all(self, journal: JournalFile) -> None:
        """Hand batches to the outbox, each once it is on the disk; until cancelled."""
        desk = self._desk
        while True:
            while desk.outbox:
                # All at hand share one sync: batches come faster than the disk turns when blocks do.
                publications = list(desk.outbox)
                desk.outbox.clear()
                await journal.synced()
                for publication in publications:
                    for event in publication.events:

                        async def publish(event: VerifiedEvent = event) -> None:
                            await self._publisher.publish(event, chain=self._chain)

                        await retry(publish, f"publishing {event.id}")
                    desk.published(publication)
                self._tell_done()
            await self._wake.wait()

    async def submit_all(self) -> None:
        """Hand found blocks in, each at once and on its own; until cancelled."""
        async with anyio.create_task_group() as submissions:
            while True:
                while self._desk.found:
                    self._submitting += 1
                    submissions.start_soon(self._submit, self._desk.found.popleft())
                await self._wake.wait()

    async def _submit(self, block: FoundBlock) -> None:
        """Hand a block in until the chain answers."""
        name = display(block.hash)

        async def hand_in() -> None:
            submitted = await self._source.submit(block.block)
            outcome = "accepted" if submitted.accepted else submitted.reason
            self._desk.counts.blocks[outcome] += 1
            log.log(
                logging.INFO if submitted.accepted else logging.WARNING,
                "block %d %s of %s: %s",
                block.height,
                name,
                block.miner,
                outcome,
            )

        await retry(hand_in, f"submitting block {name}")
        self._desk.resolved(block)
        self._desk.journal.flush()
        self._submitting -= 1
        self._tell_done()
