"""Processes that hash receipts for an audit, and the feed that keeps the log's order around them."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType

from accounting.ahead import Bad, JobNotes, Outcome, Wire, hash_ahead, outline, read_line
from accounting.drafts import JobSpec
from accounting.verifier import Audit, Unverified
from nips.nip01 import Event, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.kinds import LEDGER_KINDS, RECEIPT

# Receipts go out in parcels of about so many bytes: half a second of hashing at most, and few enough trips.
PARCEL_BYTES = 512 * 1024
# Seconds a process has to end by itself.
PATIENCE_S = 5

# Events that may wait behind a parcel that fills slowly.
MAX_QUEUE = 1000


@dataclass(slots=True)
class _Parcel:
    """Receipts and what they are hashed by; `worker` once it is out."""

    events: list[Wire] = field(default_factory=list)
    specs: dict[str, JobSpec] = field(default_factory=dict)
    size: int = 0
    worker: int | None = None

    def add(self, event: Wire, specs: dict[str, JobSpec]) -> None:
        """Pack one more."""
        self.events.append(event)
        self.specs.update(specs)
        self.size += len(event) if isinstance(event, bytes) else len(event.content)


def _work(line: Connection, pool: PoolAddress, miner: str | None) -> None:
    """A process's life: parcels in, outcomes out, until the other end closes."""
    # Ctrl-C reaches the whole group: the parent tells us by closing the line.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with line:
        while True:
            try:
                events, specs = line.recv()
                line.send(hash_ahead(events, specs, pool, miner))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                return


class Workers:
    """So many processes, each with at most one parcel. Use as a context manager."""

    def __init__(self, count: int, pool: PoolAddress, miner: str | None = None) -> None:
        # Spawned, not forked: the parent has threads and open files.
        context = multiprocessing.get_context("spawn")
        self.count = count
        self._lines: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, pool, miner), daemon=True)
            process.start()
            theirs.close()
            self._lines.append(ours)
            self._processes.append(process)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._lines:
            line.close()
        for process in self._processes:
            process.join(0 if kind is not None else PATIENCE_S)
            if process.is_alive():
                process.terminate()
                process.join()
            process.close()

    def send(self, worker: int, parcel: tuple[list[Wire], dict[str, JobSpec]]) -> None:
        """Hand a parcel to a process that has none."""
        self._lines[worker].send(parcel)

    def receive(self, worker: int) -> list[Outcome]:
        """What a process made of its parcel. Raises EOFError if it died."""
        outcomes: list[Outcome] = self._lines[worker].recv()
        return outcomes


def pretends(event: Event | None, pool: PoolAddress) -> bool:
    """Whether a bad event gives itself out as part of this pool's log."""
    return event is not None and event.kind in LEDGER_KINDS and str(pool) in event.tag_values("a")


class Feed:
    """Feeds an audit, in order; receipts are hashed by `workers` if there are any. `source` is named where a line is
    bad.
    """

    def __init__(
        self,
        judge: Audit,
        workers: Workers | None,
        *,
        source: str = "",
        on_event: Callable[[VerifiedEvent], None] | None = None,
    ) -> None:
        """`on_event` is told of every event but receipts that were hashed ahead."""
        self._judge = judge
        self._workers = workers
        self._source = source
        self._on_event = on_event
        self._notes = JobNotes(judge.log.pool)
        # In the log's order: events, and parcels before, in or after a process.
        self._queue: deque[VerifiedEvent | Bad | _Parcel] = deque()
        self._open: _Parcel | None = None
        self._next = 0
        self._out = 0

    def take(self, events: Iterable[Wire]) -> None:
        """Feed events of the log, signed or as lines. Raises EOFError if a process died."""
        for event in events:
            if self._workers is None:
                self._pass_on(read_line(event) if isinstance(event, bytes) else event)
            else:
                self._sort(event, self._workers)

    def drain(self) -> None:
        """Feed what is still out. Raises EOFError if a process died."""
        if self._workers is not None:
            while self._queue:
                self._collect(self._workers)

    def _sort(self, event: Wire, workers: Workers) -> None:
        told = outline(event) if isinstance(event, bytes) else event
        if told is not None and told.kind == RECEIPT and told.pubkey in self._judge.log.terms.all_keys():
            if self._open is None:
                self._open = _Parcel()
                self._queue.append(self._open)
            self._open.add(event, self._notes.specs(told.tags))
            if self._open.size >= PARCEL_BYTES:
                self._send(self._open, workers)
            return
        read = read_line(event) if isinstance(event, bytes) else event
        if isinstance(read, VerifiedEvent):
            self._notes.note(read)
        if not self._queue:
            self._pass_on(read)
            return
        self._queue.append(read)
        if len(self._queue) > MAX_QUEUE:
            self._collect(workers)

    def _send(self, parcel: "_Parcel", workers: Workers) -> None:
        """Hand the open parcel out. The processes take turns, so that the one with the oldest is free first."""
        while self._out == workers.count:
            self._collect(workers)
        workers.send(self._next, (parcel.events, parcel.specs))
        parcel.worker = self._next
        parcel.events, parcel.specs = [], {}
        self._open = None
        self._next = (self._next + 1) % workers.count
        self._out += 1

    def _collect(self, workers: Workers) -> None:
        """Feed the oldest of the queue."""
        entry = self._queue[0]
        if isinstance(entry, _Parcel):
            if entry.worker is None:
                self._send(entry, workers)
            assert entry.worker is not None
            outcomes = workers.receive(entry.worker)
            self._out -= 1
            for outcome in outcomes:
                if isinstance(outcome, tuple):
                    self._judge.add_draft(*outcome)
                else:
                    self._pass_on(outcome)
        else:
            self._pass_on(entry)
        self._queue.popleft()

    def _pass_on(self, event: VerifiedEvent | Bad) -> None:
        if isinstance(event, Bad):
            of_pool = pretends(event.event, self._judge.log.pool)
            self._judge.reject(Unverified(self._source, event.event.id if event.event else None, event.reason, of_pool))
            return
        if self._on_event is not None:
            self._on_event(event)
        self._judge.add(event)
