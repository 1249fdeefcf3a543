"""The edge: a chain on one side, miners on the other, and the signed log that comes of it."""

import logging
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskStatus

from nips.keys import Signer
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.hashing import display
from nips.pool.targets import check_difficulty
from nips.pool.terms import Terms
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.adapters.stratum_server import Limits, StratumServer
from stratum_edge.desk import Desk, House
from stratum_edge.errors import SourceUnavailable
from stratum_edge.extranonce import Seats
from stratum_edge.framing import MAX_LINE
from stratum_edge.jobs import LiveJob, Payout
from stratum_edge.journal import FoundBlock
from stratum_edge.lane import Lane
from stratum_edge.notes import block_note
from stratum_edge.ports import Clock, Publisher, TemplateSource, TermsSource
from stratum_edge.session import State
from stratum_edge.status import Counts, EdgeStatus
from stratum_edge.vardiff import EASIEST, Policy

log = logging.getLogger(__name__)

# New transactions and a fresh time for miners, without a new block.
REFRESH_S: Final = 30.0
# How often silence and logins are looked at, and whether a batch is due.
SWEEP_S: Final = 5.0
SEAL_LOOK_S: Final = 0.25
# Waiting between tries: a source, a publisher or a block's submission that failed.
FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 5.0
# Going down: what is sealed must reach the outbox within this, else the journal has it for the next start.
SHUTDOWN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """One port's settings. `sock`: a bound socket instead of host and port; port 0 picks a free one. `lane`: its
    number if the journal is new. Difficulties are whole or 1/2^k.
    """

    payout_script: bytes
    host: str = "127.0.0.1"
    port: int = 3333
    sock: socket.socket | None = None
    offer: str = "main"
    lane: int = 0
    pool_tag: bytes = b"/noncestr/"
    start_difficulty: Fraction = Fraction(1024)
    min_difficulty: Fraction = EASIEST
    max_difficulty: Fraction = Fraction(1 << 60)
    shares_per_minute: int = 12
    max_line: int = MAX_LINE
    max_per_address: int = 1024
    login_deadline_s: float = 60.0
    refresh_s: float = REFRESH_S

    def __post_init__(self) -> None:
        """Raises ValueError for difficulties the protocol does not have, or bounds that cross."""
        for difficulty in (self.start_difficulty, self.min_difficulty, self.max_difficulty):
            check_difficulty(difficulty)
        if not self.min_difficulty <= self.start_difficulty <= self.max_difficulty:
            raise ValueError("the start difficulty must lie between the least and the greatest")


async def _shielded(
    run: Callable[[], Awaitable[None]], *, task_status: TaskStatus[anyio.CancelScope] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Run until the scope given back is cancelled; a cancellation from outside is not heard."""
    with anyio.CancelScope(shield=True) as scope:
        task_status.started(scope)
        await run()


class Edge:
    """A Stratum port with its lane of the log."""

    def __init__(
        self,
        *,
        source: TemplateSource,
        signer: Signer,
        pool: PoolAddress,
        terms: TermsSource,
        publisher: Publisher,
        journal_dir: Path,
        clock: Clock,
        config: EdgeConfig,
        note_signer: Signer | None = None,
    ) -> None:
        """`signer` holds an edge key of the terms; `note_signer`, if any, posts the kind 1 notes of blocks."""
        self._source = source
        self._signer = signer
        self._pool = pool
        self._terms = terms
        self._publisher = publisher
        self._journal_dir = journal_dir
        self._clock = clock
        self._config = config
        self._note_signer = note_signer
        self._port = 0
        self._known: Terms | None = None
        self._wake = anyio.Event()
        self._published = anyio.Event()
        # Blocks on their way to the chain.
        self._submitting = 0

    @property
    def port(self) -> int:
        """The TCP port miners reach; 0 before `run` has started."""
        return self._port

    def status(self) -> EdgeStatus:
        """A snapshot; RuntimeError before `run` has started."""
        if self._port == 0:
            raise RuntimeError("the edge has not started")
        sessions = [c.session for c in self._server.connections if c.session.state is State.MINING]
        desk, counts = self._desk, self._desk.counts
        current, head = desk.book.current, desk.lane.head
        return EdgeStatus(
            sessions=len(self._server.connections),
            miners=len({session.miner for session in sessions}),
            workers=len({name for session in sessions for name in session.users.values()}),
            hashrate_hs=counts.hashrate.per_second(self._server.mono()),
            accepted=counts.accepted,
            rejected=dict(counts.rejected),
            bad_lines=counts.bad_lines,
            height=0 if current is None else current.job.height,
            job="" if current is None else current.job.id,
            batch_seq=-1 if head is None else head.seq,
            batch_id=desk.lane.head_id,
            unpublished=desk.unpublished,
            stalled=desk.journal.failed,
            blocks=dict(counts.blocks),
        )

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once miners can connect and the first job is there.

        Raises JournalError, ValueError for terms without this edge's key or offer, OSError for a busy port.
        """
        self._check(self._terms.current())
        journal = JournalFile(self._journal_dir)
        try:
            self._open_desk(journal)
            async with anyio.create_task_group() as background:
                # They outlive a cancellation from outside: what is sealed on the way down goes through them.
                kept = [
                    await background.start(_shielded, journal.run),
                    await background.start(_shielded, partial(self._publish_all, journal)),
                    # A block found in the last moment is worth most: it goes to the chain before we go.
                    await background.start(_shielded, self._submit_all),
                ]
                self._server = StratumServer(
                    self._desk,
                    Limits(self._config.max_line, self._config.max_per_address, self._config.login_deadline_s),
                    self._clock.now_ms,
                    self._look,
                )
                try:
                    await self._serve(task_status)
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._go_down()
                    for scope in kept:
                        scope.cancel()
        finally:
            journal.close()

    async def _serve(self, task_status: TaskStatus[None]) -> None:
        await self._renew()
        self._port = await self._server.listen(self._config.host, self._config.port, self._config.sock)
        async with anyio.create_task_group() as serving:
            serving.start_soon(self._follow)
            serving.start_soon(self._seal_when_due)
            serving.start_soon(self._sweep)
            task_status.started()

    # Start and end

    def _check(self, terms: Terms) -> None:
        if terms.pool != self._pool:
            raise ValueError(f"the terms are of {terms.pool}, this edge is of {self._pool}")
        if self._config.offer not in terms.body.offers:
            raise ValueError(f"the terms have no offer {self._config.offer!r}")
        if self._signer.pubkey not in terms.body.keys_of("edge"):
            raise ValueError(f"the terms do not name {self._signer.pubkey} as an edge")

    def _open_desk(self, journal: JournalFile) -> None:
        config = self._config
        house = House(
            self._pool,
            config.offer,
            Payout(config.payout_script, config.pool_tag),
            Policy(config.shares_per_minute, config.min_difficulty, config.max_difficulty),
            config.start_difficulty,
        )
        now = self._clock.now_ms()
        recovered = journal.recover()
        if recovered is None:
            lane = Lane(self._pool, config.lane, now)
        else:
            lane = Lane(self._pool, recovered.checkpoint.lane, recovered.from_ms, recovered.head, recovered.newest_s)
        mono = int(anyio.current_time() * 1000)
        self._desk = Desk(house, self._signer, journal, lane, Seats(secrets.token_bytes(32)), Counts(mono))
        if recovered is not None:
            log.info(
                "the journal ends at batch %d with %d shares to seal, %d batches to send, %d blocks to ask about",
                -1 if recovered.head is None else recovered.head.seq,
                len(recovered.shares),
                len(recovered.pending),
                len(recovered.blocks),
            )
            self._desk.take_up(recovered, now)
        if not self._desk.begin_segment():
            raise OSError(f"no journal can be begun in {self._journal_dir}")

    async def _go_down(self) -> None:
        """Stop accepting, seal what is there, hand it to the outbox, and blocks to the chain, within SHUTDOWN_S."""
        with anyio.move_on_after(SHUTDOWN_S):
            await self._server.close()
            self._desk.seal(self._clock.now_ms())
            self._desk.journal.flush()
            self._look()
            while self._desk.unpublished or self._desk.found or self._submitting:
                await self._published.wait()
            self._desk.journal.flush()
            return
        log.warning(
            "%d batches did not reach the outbox and %d blocks the chain in time: the next start sends them",
            self._desk.unpublished,
            len(self._desk.found) + self._submitting,
        )

    def _look(self) -> None:
        """Wake whoever takes from the desk's outbox and its found blocks."""
        if self._desk.outbox or self._desk.found:
            wake, self._wake = self._wake, anyio.Event()
            wake.set()

    # Jobs

    async def _renew(self) -> None:
        """A new job from the source's newest template, as soon as there is one."""
        wait = FIRST_RETRY_S
        while True:
            try:
                template = await self._source.template()
                break
            except SourceUnavailable as error:
                log.warning("no template: %s", error)
                await anyio.sleep(wait)
                wait = min(wait * 2, LAST_RETRY_S)
        terms = self._terms.current()
        if terms is not self._known:
            try:
                self._check(terms)
                self._known = terms
            except ValueError as error:
                if self._known is None:
                    raise
                log.error("the new terms can't be mined under, the old ones stay: %s", error)
        assert self._known is not None
        self._clean = self._desk.renew(template, self._known, self._clock.now_ms())
        self._desk.journal.flush()
        self._look()

    async def _first(self, *waits: Callable[[], Awaitable[object]]) -> None:
        """Return when the first of the waits does."""
        async with anyio.create_task_group() as group:

            async def wait_for(wait: Callable[[], Awaitable[object]]) -> None:
                await wait()
                group.cancel_scope.cancel()

            for wait in waits:
                group.start_soon(wait_for, wait)

    async def _follow(self) -> None:
        """A new job on a new tip or new terms at once, and every REFRESH_S."""
        seen_terms = self._terms.current().id
        while True:
            current = self._desk.book.current
            assert current is not None
            await self._first(
                partial(self._source.wait_tip, current.job.prevhash),
                partial(self._terms.changed, seen_terms),
                partial(self._until_due, current),
            )
            seen_terms = self._terms.current().id
            await self._renew()
            live = self._desk.book.current
            assert live is not None
            await self._server.announce(live, self._clean)

    async def _until_due(self, live: LiveJob) -> None:
        """Return when a job should be refreshed: after refresh_s, or when a leap of the wall clock ended its life."""
        with anyio.move_on_after(self._config.refresh_s):
            while self._clock.now_ms() < live.dies_at:  # noqa: ASYNC110 - the wall clock has no event to wait for
                await anyio.sleep(SWEEP_S)

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(SWEEP_S)
            self._server.sweep()

    # Batches

    async def _seal_when_due(self) -> None:
        """Seal after batch_seconds with shares, after heartbeat_seconds without: by a clock nobody sets."""
        sealed_at = anyio.current_time()
        head = self._desk.lane.head
        while True:
            await anyio.sleep(SEAL_LOOK_S)
            if self._desk.lane.head != head:
                head, sealed_at = self._desk.lane.head, anyio.current_time()
            assert self._known is not None
            limits = self._known.body.limits
            due = limits.heartbeat_seconds if self._desk.lane.is_empty else limits.batch_seconds
            if anyio.current_time() - sealed_at >= due:
                self._desk.seal(self._clock.now_ms())
                self._desk.journal.flush()
                self._look()

    async def _publish(self, event: VerifiedEvent, chain: str) -> None:
        await self._retry(lambda: self._publisher.publish(event, chain=chain), f"publishing {event.id}")

    async def _publish_all(self, journal: JournalFile) -> None:
        """Hand batches to the outbox in their order, each once it is on the disk."""
        desk = self._desk
        chain = f"{self._signer.pubkey}/{desk.lane.number}"
        while True:
            while desk.outbox:
                # All at hand share one sync: batches come faster than the disk turns when blocks do.
                publications = list(desk.outbox)
                desk.outbox.clear()
                await journal.synced()
                for publication in publications:
                    for event in publication.events:
                        await self._publish(event, chain)
                    desk.published(publication)
                self._tell_done()
            await self._wake.wait()

    def _tell_done(self) -> None:
        """Wake `_go_down`: a publication or a submission is done with."""
        published, self._published = self._published, anyio.Event()
        published.set()

    async def _retry(self, act: Callable[[], Awaitable[None]], name: str) -> None:
        wait = FIRST_RETRY_S
        while True:
            try:
                await act()
            except Exception:  # whatever the adapter raises, the event stays ours until it is taken
                # Where it failed is told once: a disk may be full for hours.
                log.error("%s failed, trying again in %.1f s", name, wait, exc_info=wait == FIRST_RETRY_S)
                await anyio.sleep(wait)
                wait = min(wait * 2, LAST_RETRY_S)
            else:
                return

    # Blocks

    async def _submit_all(self) -> None:
        async with anyio.create_task_group() as submissions:
            while True:
                while self._desk.found:
                    self._submitting += 1
                    submissions.start_soon(self._submit, self._desk.found.popleft())
                await self._wake.wait()

    async def _submit(self, block: FoundBlock) -> None:
        """Hand a block in until the chain answers; an accepted one gets its note."""
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
            if submitted.accepted and self._note_signer is not None:
                note = self._note_signer.sign(block_note(self._pool, block))
                await self._publish(note, "")

        await self._retry(hand_in, f"submitting block {name}")
        self._desk.resolved(block)
        self._desk.journal.flush()
        self._submitting -= 1
        self._tell_done()
