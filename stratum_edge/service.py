"""The edge: a chain on one side, miners on the other, and the signed log that comes of it."""

import logging
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskStatus

from nips.keys import Signer
from nips.pool.address import PoolAddress
from nips.pool.lanes import implementation
from nips.pool.terms import Terms
from stratum_edge.adapters.deliveries import FIRST_RETRY_S, LAST_RETRY_S, Deliveries
from stratum_edge.adapters.doors import unbound
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.adapters.reception import Reception
from stratum_edge.adapters.stratum_server import StratumServer
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.desk import Desk, House
from stratum_edge.errors import LaneFinished, SourceUnavailable
from stratum_edge.extranonce import Seats
from stratum_edge.jobs import LiveJob, Payout
from stratum_edge.lane import Lane
from stratum_edge.ports import Bans, Clock, Names, Payability, Privacy, Publisher, Template, TemplateSource, TermsSource
from stratum_edge.snapshot import edge_status, session_row
from stratum_edge.status import Counts, EdgeStatus, SessionRow

log = logging.getLogger(__name__)

# How often silence and logins are looked at, and whether a batch is due.
SWEEP_S: Final = 5.0
SEAL_LOOK_S: Final = 0.25
# How often it is looked whether a node answers.
NODE_LOOK_S: Final = 1.0
# A node's clock and ours differ by seconds; from two hours on every share's time is out of range (SPEC.md).
CLOCK_TOLERANCE_S: Final = 600
# Going down: what is sealed must reach the outbox within this, else the journal has it for the next start.
SHUTDOWN_S: Final = 10.0


async def _shielded(
    run: Callable[[], Awaitable[None]], *, task_status: TaskStatus[anyio.CancelScope] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Run until the scope given back is cancelled; a cancellation from outside is not heard."""
    with anyio.CancelScope(shield=True) as scope:
        task_status.started(scope)
        await run()


async def _first(*waits: Callable[[], Awaitable[object]]) -> None:
    """Return when the first of the waits does."""
    async with anyio.create_task_group() as group:

        async def wait_for(wait: Callable[[], Awaitable[object]]) -> None:
            await wait()
            group.cancel_scope.cancel()

        for wait in waits:
            group.start_soon(wait_for, wait)


class Edge:
    """A lane of the log with its Stratum ports."""

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
        names: Names | None = None,
        payability: Payability | None = None,
        privacy: Privacy | None = None,
        bans: Bans | None = None,
        listener: Callable[[PortConfig], socket.socket | None] = unbound,
    ) -> None:
        """`signer` holds an edge key of the terms. Without `names` NIP-05 addresses are refused; without `bans` nobody
        is banned; without `privacy` all workers' names are in the log. `listener`: as for `Doors`.
        """
        self._source = source
        self._signer = signer
        self._pool = pool
        self._terms = terms
        self._publisher = publisher
        self._journal_dir = journal_dir
        self._clock = clock
        self._config = config
        self._reception = Reception(names, payability)
        self._privacy = privacy
        self._bans = bans
        self._listener = listener
        self._known: Terms | None = None
        # Newer terms leave out this edge, or what a port promises: until when (Unix ms) the known ones are mined under.
        self._barred_ms: int | None = None
        self._fin = False
        self._serving: anyio.CancelScope | None = None
        self._down = anyio.Event()

    @property
    def ports(self) -> dict[str, int]:
        """The TCP port of each port's name; empty before `run` has started."""
        return self._server.ports if self._serving is not None else {}

    def status(self) -> EdgeStatus:
        """A snapshot; RuntimeError before `run` has started."""
        if self._serving is None:
            raise RuntimeError("the edge has not started")
        return edge_status(self._desk, len(self._server.connections), self._source.lost_s(), self._server.mono())

    def sessions(self) -> list[SessionRow]:
        """Every connection, longest first."""
        mono = self._server.mono()
        rows = [session_row(connection.session, connection.address, mono) for connection in self._server.connections]
        return sorted(rows, key=lambda row: -row.since_ms)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled or drained; started once miners can connect and the first job is there.

        Raises JournalError, PortUnavailable, UnusableCertificate, ValueError for terms without this edge's key or
        offers.
        """
        self._check(self._terms.current(), self._config)
        log.info("shares are hashed by: %s", implementation())
        journal = JournalFile(self._journal_dir)
        try:
            self._open_desk(journal)
            async with anyio.create_task_group() as background:
                # They outlive a cancellation from outside: what is sealed on the way down goes through them. A block
                # found in the last moment is worth most: it goes to the chain before we go.
                kept = [
                    await background.start(_shielded, journal.run),
                    await background.start(_shielded, partial(self._deliveries.publish_all, journal)),
                    await background.start(_shielded, self._deliveries.submit_all),
                ]
                self._server = StratumServer(
                    self._desk,
                    self._config.limits,
                    self._clock.now_ms,
                    self._deliveries.look,
                    self._reception.greet,
                    self._bans,
                    self._listener,
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
            self._down.set()

    async def _serve(self, task_status: TaskStatus[None]) -> None:
        await self._renew()
        async with anyio.create_task_group() as serving:
            # Before the first port: who comes in while the next is opened logs in as everybody does.
            self._reception.tasks = serving
            for port in self._config.ports:
                await self._server.listen(port)
            self._serving = serving.cancel_scope
            serving.start_soon(self._follow)
            serving.start_soon(self._watch_nodes)
            serving.start_soon(self._seal_when_due)
            serving.start_soon(self._sweep)
            task_status.started()

    async def reload(self, config: EdgeConfig) -> None:
        """Go by other ports and limits, and read certificates again; the rest of `config` needs a restart.

        Raises ValueError for an offer that the terms don't have, PortUnavailable or UnusableCertificate; then all is
        as it was.
        """
        if self._serving is None:
            raise RuntimeError("the edge has not started")
        config = replace(self._config, ports=config.ports, limits=config.limits)
        self._check(self._terms.current(), config)
        before = self._desk.offers
        offers = [port.offer for port in config.ports]
        if not set(offers) <= set(before):
            # A new port has work from its first miner on.
            self._desk.promise([*before, *offers])
            await self._renew()
        try:
            await self._server.apply(config.ports, config.limits)
        except BaseException:
            self._desk.promise(before)
            raise
        self._desk.promise(offers)
        self._config = config
        log.info("ports now: %s", ", ".join(f"{name} {number}" for name, number in self.ports.items()))

    async def drain(self, *, fin: bool = False) -> int:
        """Let the miners go, seal and publish what is there, and end `run`. With `fin` the lane ends for good.

        How many batches and blocks are left in the journal for the next start: 0 unless relays or nodes are away.
        """
        if self._serving is None:
            raise RuntimeError("the edge has not started")
        self._fin = fin
        self._serving.cancel()
        await self._down.wait()
        return self._deliveries.open

    # Start and end

    def _check(self, terms: Terms, config: EdgeConfig) -> None:
        if terms.pool != self._pool:
            raise ValueError(f"the terms are of {terms.pool}, this edge is of {self._pool}")
        for port in config.ports:
            if port.offer not in terms.body.offers:
                raise ValueError(f"port {port.name}: the terms have no offer {port.offer!r}")
        if self._signer.pubkey not in terms.body.keys_of("edge"):
            raise ValueError(f"the terms do not name {self._signer.pubkey} as an edge")

    def _open_desk(self, journal: JournalFile) -> None:
        config = self._config
        now = self._clock.now_ms()
        recovered = journal.recover()
        if recovered is not None and recovered.finished:
            raise LaneFinished(f"lane {recovered.checkpoint.lane} of {self._journal_dir} has had its last batch")
        if recovered is None:
            lane = Lane(self._pool, config.lane, now)
        else:
            lane = Lane(self._pool, recovered.checkpoint.lane, recovered.from_ms, recovered.head, recovered.newest_s)
        self._desk = Desk(
            House(self._pool, Payout(config.payout_script, config.pool_tag)),
            self._signer,
            journal,
            lane,
            Seats(secrets.token_bytes(32), config.process),
            Counts(int(anyio.current_time() * 1000)),
            [port.offer for port in config.ports],
            self._privacy,
        )
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
        if recovered is None:
            # Everybody hears of the lane before it has work: no statement is made without it.
            self._desk.seal(now)
            journal.flush()
        self._deliveries = Deliveries(self._desk, self._publisher, self._source, self._signer)

    async def _go_down(self) -> None:
        """Stop accepting, seal what is there, hand it to the outbox, and blocks to the chain, within SHUTDOWN_S."""
        with anyio.move_on_after(SHUTDOWN_S):
            await self._server.close()
            self._desk.seal(self._clock.now_ms(), fin=self._fin)
            self._desk.journal.flush()
            self._deliveries.look()
            await self._deliveries.finished()
            self._desk.journal.flush()
            return
        log.warning("%d batches and blocks are not out in time: the next start sends them", self._deliveries.open)

    # Jobs

    async def _renew(self) -> bool:
        """Jobs from the source's newest template, as soon as there is one; True when they are on a new tip."""
        wait = FIRST_RETRY_S
        while True:
            try:
                template = await self._source.template()
                break
            except SourceUnavailable as error:
                log.warning("no template: %s", error)
                await anyio.sleep(wait)
                wait = min(wait * 2, LAST_RETRY_S)
        return self._take(template)

    def _take(self, template: Template) -> bool:
        terms = self._terms.current()
        if terms is not self._known:
            try:
                self._check(terms, self._config)
                self._known, self._barred_ms = terms, None
            except ValueError as error:
                if self._known is None:
                    raise
                if self._barred_ms is None:
                    # SPEC.md: jobs under terms replaced more than job_ms ago are refused; half is for slow clocks.
                    self._barred_ms = terms.created_at * 1000 + self._known.body.limits.job_ms // 2
                log.error("the new terms can't be mined under, the old ones hold a while longer: %s", error)
        assert self._known is not None
        now = self._clock.now_ms()
        ahead = template.curtime - now // 1000
        if abs(ahead) > CLOCK_TOLERANCE_S:
            log.warning("the chain's clock is %d s ahead of ours: set the time, or shares will be refused", ahead)
        clean = self._desk.renew(template, self._known, now)
        self._desk.journal.flush()
        self._deliveries.look()
        return clean

    async def _announce(self, clean: bool) -> None:
        lives: dict[str, LiveJob] = {}
        for offer in self._desk.offers:
            live = self._desk.current(offer)
            assert live is not None
            lives[offer] = live
        began = anyio.current_time()
        told = await self._server.announce(lives, clean)
        log.debug("a new job went to %d miners in %.0f ms", told, (anyio.current_time() - began) * 1000)

    async def _follow(self) -> None:
        """New jobs on a new tip or new terms at once, and every refresh_s.

        On a new tip an empty one goes out while the full template is made.
        """
        seen_terms = self._terms.current().id
        while True:
            current = self._desk.current(self._desk.offers[0])
            assert current is not None
            await _first(
                partial(self._source.wait_tip, current.job.prevhash),
                partial(self._terms.changed, seen_terms),
                partial(self._until_due, current),
            )
            seen_terms = self._terms.current().id
            try:
                quick = await self._source.quick_template()
            except SourceUnavailable:
                quick = None
            if quick is not None and quick.prevhash != current.job.prevhash:
                await self._announce(self._take(quick))
            await self._announce(await self._renew())

    async def _until_due(self, live: LiveJob) -> None:
        """Return when a job should be refreshed: after refresh_s, or when a leap of the wall clock ended its life."""
        with anyio.move_on_after(self._config.refresh_s):
            while self._clock.now_ms() < live.dies_at:  # noqa: ASYNC110 - the wall clock has no event to wait for
                await anyio.sleep(SWEEP_S)

    async def _watch_nodes(self) -> None:
        """Without a node, or terms that promise it, the last job is worth something for a while only; then miners are
        let go to fail over.
        """
        while True:
            await anyio.sleep(NODE_LOOK_S)
            lost = self._source.lost_s()
            barred = self._barred_ms is not None and self._clock.now_ms() >= self._barred_ms
            if not self._server.shut and lost > self._config.node_grace_s:
                log.error("no node has answered for %.0f s: the miners are let go until one does", lost)
                self._server.let_go("no node answers")
            elif not self._server.shut and barred:
                log.error("what is mined here would not be credited any more: the miners are let go (see the terms)")
                self._server.let_go("the pool's terms leave this port out")
            elif self._server.shut and lost == 0.0 and not barred:
                log.warning("there is work again: miners are let in")
                self._server.shut = ""

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(SWEEP_S)
            await self._server.sweep()

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
                self._deliveries.look()
