"""A CPU miner: one connection to a pool, and a `hash_worker` process that hashes for it."""

import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from nips.pool.hashing import sha256d
from stratum_edge.adapters.hash_process import HashProcess, open_hash_process
from stratum_edge.adapters.miner_evidence import Evidence
from stratum_edge.errors import BadReply, MinerError, Unauthorized
from stratum_edge.miner_dialogue import (
    Answered,
    Authorized,
    Event,
    JobChanged,
    Leave,
    Refused,
    Said,
    Send,
    StratumClient,
    backoff_ms,
)
from stratum_edge.miner_events import (
    Accepted,
    Connected,
    Disconnected,
    Hashrate,
    LoggedIn,
    MinerEvent,
    NewJob,
    PoolSaid,
    Rejected,
)
from stratum_edge.miner_work import Share, Work

# A notify is a few KiB at most; what is longer is no Stratum.
MAX_LINE_BYTES: Final = 1 << 16
CONNECT_S: Final = 10
# Pools notify at least each minute; after this long without a line the connection is taken for dead.
SILENCE_S: Final = 300
REPORT_S: Final = 5
PLAIN_SCHEMES: Final = frozenset({"stratum", "stratum+tcp", "tcp"})
TLS_SCHEMES: Final = frozenset({"stratum+ssl", "stratum+tls", "ssl", "tls"})


def parse_url(url: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS of `stratum+tcp://host:port`, `stratum+ssl://host:port` or `host:port`."""
    parts = urlsplit(url if "://" in url else f"stratum+tcp://{url}")
    if parts.scheme not in PLAIN_SCHEMES | TLS_SCHEMES or not parts.hostname or not parts.port:
        raise ValueError(f"{url} is not stratum+tcp://host:port")
    return parts.hostname, parts.port, parts.scheme in TLS_SCHEMES


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
class _Miner:
    """What lives as long as `run_miner`: the dialogue, the worker, the counts."""

    client: StratumClient
    worker: HashProcess
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
        async with open_hash_process(max_hps) as worker:
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
