"""A CPU miner: one connection to a pool, and a `hash_worker` process that hashes for it."""

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final, TextIO
from urllib.parse import urlsplit

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from nips.pool.hashing import sha256d
from stratum_edge.cpuminer import (
    Answered,
    Authorized,
    Event,
    Job,
    JobChanged,
    Leave,
    Refused,
    Said,
    Send,
    Share,
    StratumClient,
    Work,
    backoff_ms,
)
from stratum_edge.errors import BadReply, MinerError, Unauthorized

# A notify is a few KiB at most; what is longer is no Stratum.
MAX_LINE_BYTES: Final = 1 << 16
CONNECT_S: Final = 10
# Pools notify at least each minute; after this long without a line the connection is taken for dead.
SILENCE_S: Final = 300
REPORT_S: Final = 5
# The worker must find the same packages, wherever it is started.
PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
WORKER: Final = "stratum_edge.adapters.hash_worker"
PLAIN_SCHEMES: Final = frozenset({"stratum", "stratum+tcp", "tcp"})
TLS_SCHEMES: Final = frozenset({"stratum+ssl", "stratum+tls", "ssl", "tls"})


@dataclass(frozen=True, slots=True)
class Connected:
    """The pool answered at `host` and `port`."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The pool authorized `user`."""

    user: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to mine on, at the pool's difficulty."""

    job_id: str
    difficulty: float
    clean: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """The pool took a share; `block_hash` is its header's hash in serialisation order."""

    job_id: str
    difficulty: float
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """The pool refused a share, with its Stratum code and its words."""

    job_id: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Hashrate:
    """Hashes per second since the last of these, and the shares so far."""

    hps: int
    accepted: int
    rejected: int


@dataclass(frozen=True, slots=True)
class PoolSaid:
    """A message from the pool."""

    text: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone, or could not be made; the next attempt follows in `retry_ms`."""

    reason: str
    retry_ms: int


MinerEvent = Connected | LoggedIn | NewJob | Accepted | Rejected | Hashrate | PoolSaid | Disconnected


def parse_url(url: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS of `stratum+tcp://host:port`, `stratum+ssl://host:port` or `host:port`."""
    parts = urlsplit(url if "://" in url else f"stratum+tcp://{url}")
    if parts.scheme not in PLAIN_SCHEMES | TLS_SCHEMES or not parts.hostname or not parts.port:
        raise ValueError(f"{url} is not stratum+tcp://host:port")
    return parts.hostname, parts.port, parts.scheme in TLS_SCHEMES


class Evidence:
    """The miner's own record of what it handed in: JSON lines, each job before its first share.

    With its job's notify and extranonce1, a share's header can be rebuilt and hashed by anyone, so a miner can check
    that the pool's receipts hold all its work, and show it if they don't.
    """

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._told: Job | None = None

    def add(self, share: Share, answer: Any) -> None:
        """One submission; `answer` is true, the pool's error, or None if the connection ended first."""
        job = share.work.job
        if job is not self._told:
            self._told = job
            self._line(
                type="job",
                job=job.job_id,
                notify=job.params,
                extranonce1=job.extranonce1.hex(),
                difficulty=job.difficulty,
            )
        header = share.work.header76 + share.nonce.to_bytes(4, "little")
        self._line(type="share", job=job.job_id, params=share.params, header=header.hex(), answer=answer)

    def _line(self, **fields: Any) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"ms": time.time_ns() // 1_000_000, **fields}) + "\n")
            self._file.flush()


# What ends a connection. MinerError but BadReply ends the miner too.
_OVER: Final = (
    MinerError,
    OSError,
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.DelimiterNotFound,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)


@dataclass
class _Worker:
    """The hashing process as its parent sees it."""

    process: anyio.abc.Process
    reports: BufferedByteReceiveStream

    async def order(self, work_id: int, work: Work | None) -> None:
        """Drop what it hashes and turn to `work` (None: rest)."""
        order: dict[str, int | str] = {"id": work_id}
        if work is not None:
            order |= {"header": work.header76.hex(), "target": f"{work.job.target:064x}"}
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send(json.dumps(order).encode() + b"\n")
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise MinerError("the hashing process died") from error

    async def report(self) -> dict[str, Any]:
        """The next report: {"id", "hashes", "found", "done"} of `hash_worker`."""
        try:
            line = await self.reports.receive_until(b"\n", MAX_LINE_BYTES)
        except (OSError, anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise MinerError("the hashing process died") from error
        report: dict[str, Any] = json.loads(line)
        return report


@asynccontextmanager
async def _worker(max_hps: int | None) -> AsyncIterator[_Worker]:
    """A hashing process for the time of the block."""
    path = os.pathsep.join(filter(None, (str(PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
    process = await anyio.open_process(
        [sys.executable, "-m", WORKER, str(max_hps or 0)],
        stdin=PIPE,
        stdout=PIPE,
        stderr=None,
        env={**os.environ, "PYTHONPATH": path},
        # Its own session: a Ctrl-C at the terminal is for the parent, whose end it follows.
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield _Worker(process, BufferedByteReceiveStream(process.stdout))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


@dataclass
class _Miner:
    """What lives as long as `run_miner`: the dialogue, the worker, the counts."""

    client: StratumClient
    worker: _Worker
    evidence: Evidence
    on_event: Callable[[MinerEvent], None]
    works: dict[int, Work] = field(default_factory=dict)
    work_id: int = 0
    accepted: int = 0
    rejected: int = 0
    hashes: int = 0
    reported_at: float = field(default_factory=time.monotonic)
    failures: int = 0
    # The connection and the worker's input take one writer at a time; both of the miner's tasks write.
    writing: anyio.Lock = field(default_factory=anyio.Lock)

    async def turn_to_new_work(self) -> None:
        """Order the worker to headers nobody has tried, or to rest when there are none."""
        self.work_id += 1
        work = self.client.next_work()
        # A report on the work before may be on its way still; those on older work have all come, or come too late.
        self.works = {work_id: old for work_id, old in self.works.items() if work_id == self.work_id - 1}
        if work is not None:
            self.works[self.work_id] = work
        await self.order(work)

    async def order(self, work: Work | None) -> None:
        """Give the worker its order under the current id."""
        async with self.writing:
            await self.worker.order(self.work_id, work)

    async def send(self, send: Send, stream: anyio.abc.ByteStream) -> None:
        """Write a line to the pool."""
        async with self.writing:
            await stream.send(send.line)

    def tell_hashrate(self) -> None:
        """Report the rate when it is due."""
        now = time.monotonic()
        if (elapsed := now - self.reported_at) >= REPORT_S:
            self.on_event(Hashrate(round(self.hashes / elapsed), self.accepted, self.rejected))
            self.hashes, self.reported_at = 0, now

    async def hash_on(self, stream: anyio.abc.ByteStream) -> None:
        """Take the worker's reports, hand the shares in, give it new work when it ran out."""
        while True:
            report = await self.worker.report()
            self.hashes += report["hashes"]
            self.tell_hashrate()
            work = self.works.get(report["id"])
            if work is None:
                continue
            for nonce in report["found"]:
                if (send := self.client.submit(work, nonce)) is not None:
                    await self.send(send, stream)
            if report["done"] and report["id"] == self.work_id:
                await self.turn_to_new_work()

    async def talk(self, stream: anyio.abc.ByteStream) -> None:
        """Take the pool's lines until the connection ends; raises what `_OVER` names."""
        lines = BufferedByteReceiveStream(stream)
        for event in self.client.open():
            await self.take(event, stream)
        while True:
            with anyio.fail_after(SILENCE_S):
                line = await lines.receive_until(b"\n", MAX_LINE_BYTES)
            for event in self.client.receive(line):
                await self.take(event, stream)

    async def take(self, event: Event, stream: anyio.abc.ByteStream) -> None:
        """Do what an event of the dialogue asks for."""
        match event:
            case Send():
                await self.send(event, stream)
            case JobChanged(job):
                self.on_event(NewJob(job.job_id, job.difficulty, job.clean))
                await self.turn_to_new_work()
            case Authorized():
                self.failures = 0
                self.on_event(LoggedIn(self.client.user))
                await self.turn_to_new_work()
            case Refused(reason):
                raise Unauthorized(self.client.user, reason)
            case Answered(share, accepted, code, reason, error):
                self.answered(share, accepted, code, reason, error)
            case Said(text):
                self.on_event(PoolSaid(text))
            case Leave():
                raise ConnectionAbortedError("the pool asked to reconnect")

    def answered(self, share: Share, accepted: bool, code: int, reason: str, error: Any) -> None:
        """Count and record the pool's answer to a share."""
        self.evidence.add(share, True if accepted else error if error is not None else [code, reason, None])
        job = share.work.job
        if accepted:
            self.accepted += 1
            block_hash = sha256d(share.work.header76 + share.nonce.to_bytes(4, "little"))
            self.on_event(Accepted(job.job_id, job.difficulty, block_hash))
        else:
            self.rejected += 1
            self.on_event(Rejected(job.job_id, code, reason))

    async def mine(self, stream: anyio.abc.ByteStream) -> Exception:
        """Mine over a connection until it ends; returns what ended it."""
        ends: list[Exception] = []

        async def until_over(part: Callable[[anyio.abc.ByteStream], Awaitable[None]]) -> None:
            try:
                await part(stream)
            except _OVER as error:
                ends.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(until_over, self.hash_on)
            group.start_soon(until_over, self.talk)
        return ends[0]

    async def rest(self) -> None:
        """Between connections there is nothing to hash."""
        self.work_id += 1
        self.works.clear()
        await self.order(None)

    def hang_up(self) -> None:
        """End the dialogue; what the pool left unanswered goes on record."""
        for share in self.client.restart():
            self.evidence.add(share, None)


def _reason(error: Exception) -> str:
    match error:
        case anyio.EndOfStream() | anyio.IncompleteRead() | anyio.BrokenResourceError():
            return "the pool closed the connection"
        case anyio.DelimiterNotFound():
            return f"the pool sent a line of more than {MAX_LINE_BYTES} bytes"
        case TimeoutError():
            return "the pool is silent"
    return str(error)


async def _connect(host: str, port: int, tls: bool) -> anyio.abc.ByteStream:
    with anyio.fail_after(CONNECT_S):
        if tls:
            # Pools close without TLS's farewell; a Stratum line is whole or is not there, so nothing is lost by it.
            return await anyio.connect_tcp(host, port, tls=True, tls_standard_compatible=False)
        return await anyio.connect_tcp(host, port)


async def run_miner(
    url: str,
    user: str,
    password: str = "x",  # noqa: S107 - what miners send for none
    *,
    max_hps: int | None = None,
    on_event: Callable[[MinerEvent], None],
    record: Path | None = None,
    version_rolling: bool = False,
) -> None:
    """Mine at `url` until cancelled, at most `max_hps` hashes a second, reconnecting for ever.

    `user` is the pool's `user[.worker]`. `record` is a file that gets a JSON line for each submission, appended.
    Raises ValueError for a URL that is none, `Unauthorized` when the pool refuses the user, `MinerError` when the
    hashing process dies.
    """
    host, port, tls = parse_url(url)
    if max_hps is not None and max_hps < 1:
        raise ValueError("max_hps must be at least 1, or None")
    with ExitStack() as files:
        file = None if record is None else files.enter_context(record.open("a", encoding="utf-8"))
        async with _worker(max_hps) as worker:
            client = StratumClient(user, password, version_rolling=version_rolling)
            miner = _Miner(client, worker, Evidence(file), on_event)
            while True:
                try:
                    stream = await _connect(host, port, tls)
                except OSError as error:
                    end: Exception = error
                else:
                    try:
                        async with stream:
                            on_event(Connected(host, port))
                            end = await miner.mine(stream)
                    finally:
                        miner.hang_up()
                if isinstance(end, MinerError) and not isinstance(end, BadReply):
                    raise end
                await miner.rest()
                retry_ms = backoff_ms(miner.failures)
                miner.failures += 1
                on_event(Disconnected(_reason(end), retry_ms))
                await anyio.sleep(retry_ms / 1000)
