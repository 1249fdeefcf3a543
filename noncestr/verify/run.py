"""`noncestr verify`: read a pool's log from relays and files, audit it, show the report.

Memory is flat in the length of the log: it is asked for by slices of time, oldest first, and what the fold has to keep
goes to a scratch file (accounting.adapters.shelf). A checkpoint is that file, kept.
"""

import dataclasses
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectSendStream
from rich.console import Console

from accounting.adapters.checkpoint_file import CheckpointRefused, open_checkpoint, resume, write_checkpoint
from accounting.adapters.shelf import SqliteShelves
from accounting.archive import ArchiveError
from accounting.chainfacts import Chain, ChainReport, check_chain
from accounting.checkpoint import CODEC
from accounting.ecash_proof import MintKeys
from accounting.findings import Code, Finding
from accounting.log import PoolLog
from accounting.payout_proof import NO_MINTS
from accounting.report import FAILS, Report
from accounting.verifier import Audit, Unverified
from nips.errors import InvalidKey
from nips.nip19 import parse_pubkey
from nips.pool.address import PoolAddress
from noncestr.errors import NoncestrError
from noncestr.moments import parse_moment, parse_pool, parse_relays
from noncestr.verify.chain import NodeChain, headers_file, node_of
from noncestr.verify.html import render_html
from noncestr.verify.mints import known_mints
from noncestr.verify.record import RecordCheck, RecordReport, read_record
from noncestr.verify.show import Shown, as_json, as_text, show_tables
from noncestr.verify.source import RelayLog, Slice, file_lines, terms_lines
from noncestr.verify.workers import Feed, Workers, pretends

COULD_NOT_LOOK = 2
# A resumed audit asks from this long before the last one ended: relays take events dated so far back and more, and a
# job is older than the batches that use it.
OVERLAP_S = 3600
# Terms may be published while a log is read; more often than this somebody plays.
MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for. Empty or None: not asked."""

    relays: str
    pool: str
    network: str = "regtest"
    since: str | None = None
    json: bool = False
    timeout_s: int = 30
    jobs: int = 1
    archives: tuple[Path, ...] = ()
    checkpoint: Path | None = None
    npub: str | None = None
    record: Path | None = None
    headers: Path | None = None
    headers_from: int = 0
    bitcoin_rpc: str | None = None
    bitcoin_cookie: Path | None = None
    html: Path | None = None
    # Mints to be asked for their keys, and files of keys (`noncestr ecash keys`).
    mints: tuple[str, ...] = ()
    mint_keys: tuple[Path, ...] = ()
    watch: bool = False
    # Unix ms of now, for what is overdue; the clock's when not given.
    now_ms: int | None = None


class Reopened(Exception):
    """What was read last changes what was read before: the log is to be read again, without the checkpoint."""


def resume_since(log: PoolLog, resume_s: int) -> int:
    """From when on (Unix s) a resumed audit asks. A chain's next event is dated no earlier than its last: so what an
    open chain brings late, dated before the checkpoint, is asked for too.
    """
    finished = {str(key) for key, lane in log.lanes.items() if lane.fin}
    open_chains = (chain for chain in log.chains() if not (chain.is_ended or chain.name in finished))
    heads = [chain.created_at for chain in open_chains if chain.head is not None]
    return max(0, min([resume_s, *heads]) - OVERLAP_S)


def resumed_note(since_s: int) -> str:
    """What an audit that goes on from a checkpoint does not look for."""
    when = datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"This audit goes on from a checkpoint of {when}. What is dated before and came to the relays since is read in"
        " open chains, of blocks, and where something names it; a second event in a chain that had ended by then is not"
        " looked for: an audit without the checkpoint does."
    )


def lacking(log: PoolLog) -> list[str]:
    """The ids of what was named and not read, and stands in no open chain: jobs and receipts that others wait for, zap
    receipts that would attest a payout. A relay may have had them late, dated long before.
    """
    jobs = {
        job
        for lane in log.lanes.values()
        for event in lane.chain.waiting_ids
        for job in log.mining.lacks(lane.chain.held[event])
    }
    receipts = {block.receipt for block in log.mining.announced.waiting.values()}
    return sorted(jobs | receipts | log.unattested())


@dataclass(slots=True)
class Reading:
    """An audit under way: the judge, what feeds it, and what went wrong at which relay."""

    judge: Audit
    feed: Feed
    shelves: SqliteShelves
    since_s: int
    resumed: bool
    shown: Shown
    faults: dict[str, str] = field(default_factory=dict)
    unread: bool = False

    async def take(self, part: Slice, *, needed: bool = True) -> None:
        """Feed a slice, in a thread beside the loop. Raises Reopened."""
        for report in part.reports:
            if not report.complete:
                self.faults.setdefault(report.url, report.error)
        self.unread = self.unread or (needed and not part.complete)
        await anyio.to_thread.run_sync(self._feed, part)
        self.check()

    def _feed(self, part: Slice) -> None:
        pool = self.judge.log.pool
        for url, event, reason in part.unverified:
            self.judge.reject(Unverified(url, event.id if event else None, reason, pretends(event, pool)))
        self.feed.take(part.events)
        self.shown.fetched(len(part.events))

    def check(self) -> None:
        """Raises Reopened."""
        if self.judge.reopened is not None:
            raise Reopened(self.judge.reopened)


@contextmanager
def opened(
    asked: Asked,
    pool: PoolAddress,
    record: RecordCheck | None,
    shown: Shown,
    *,
    fresh: bool,
    mints: MintKeys = NO_MINTS,
) -> Iterator[Reading]:
    """An audit on a scratch file, from the checkpoint if there is one and it isn't to be `fresh`. `mints`: their keys,
    for the payouts in ecash.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="noncestr-verify-"))) / "shelves"
        state, since_s, file = b"", 0, asked.checkpoint
        resumed = file is not None and file.exists() and not fresh
        if file is not None and resumed:
            try:
                shelves, state, since_s = open_checkpoint(file, pool, scratch)
            except CheckpointRefused as error:
                raise NoncestrError(str(error)) from None
        else:
            shelves = SqliteShelves(scratch, CODEC)
        stack.enter_context(shelves)
        judge = Audit(pool, shelves=shelves, progress=shown.checked, on_batch=None if record is None else record.see)
        judge.log.mint_keys = mints
        if file is not None and resumed:
            try:
                resume(judge, state, file)
            except CheckpointRefused as error:
                raise NoncestrError(str(error)) from None
        miner = None if record is None else record.miner
        workers = stack.enter_context(Workers(asked.jobs, pool, miner)) if asked.jobs > 1 else None
        yield Reading(judge, Feed(judge, workers), shelves, since_s, resumed, shown)


async def read_all(asked: Asked, reading: Reading, relays: RelayLog | None, now_s: int) -> None:
    """Feed the whole log: terms first, then files, then relays. Raises NoncestrError, Reopened."""
    judge, feed = reading.judge, reading.feed
    since_s = resume_since(judge.log, reading.since_s) if reading.resumed else 0
    first = [] if relays is None else [await relays.terms()]
    for part in first:
        await reading.take(part)
    try:
        await anyio.to_thread.run_sync(feed.take, terms_lines(asked.archives))
        await anyio.to_thread.run_sync(feed.drain)
        judge.settle()
        reading.check()
        for path in asked.archives:
            await anyio.to_thread.run_sync(feed.take, file_lines(path))
    except ArchiveError as error:
        raise NoncestrError(f"--archive: {error}") from None
    if relays is not None:
        await _read_relays(reading, relays, since_s, now_s)
    await anyio.to_thread.run_sync(feed.drain)
    await anyio.to_thread.run_sync(judge.settle)
    reading.check()


async def _read_relays(reading: Reading, relays: RelayLog, since_s: int, now_s: int) -> None:
    log = reading.judge.log
    if reading.resumed:
        await reading.take(await relays.blocks())
    else:
        begun = [terms.created_at for terms in log.terms.by_id.values()]
        since_s = min(begun, default=0)
        if since_s:
            await reading.take(await relays.before(since_s))
    async with anyio.create_task_group() as tasks:
        # One slice is fetched while the one before is judged.
        send, receive = anyio.create_memory_object_stream[Slice](0)
        tasks.start_soon(_fetch_ahead, relays.slices(since_s, now_s), send)
        async with receive:
            async for part in receive:
                await reading.take(part)
    if reading.resumed:
        await anyio.to_thread.run_sync(reading.feed.drain)
        reading.judge.settle()
        ids = lacking(log)
        if ids:
            await reading.take(await relays.by_id(ids), needed=False)


async def _fetch_ahead(slices: AsyncIterator[Slice], send: MemoryObjectSendStream[Slice]) -> None:
    async with send:
        async for part in slices:
            await send.send(part)


@dataclass(frozen=True, slots=True)
class Result:
    """All that an audit says. `since_s`: leave out findings on older events."""

    report: Report
    chain: ChainReport | None = None
    record: RecordReport | None = None

    @property
    def exit_code(self) -> int:
        """0 all holds, 1 something does not."""
        return FAILS if self.record is not None and not self.record.holds else self.report.exit_code


def conclude(asked: Asked, reading: Reading, record: RecordCheck | None, now_ms: int, chain: Chain | None) -> Result:
    """Write the checkpoint, ask the chain, and say what it all came to. Raises NoncestrError, Reopened."""
    judge = reading.judge
    if asked.checkpoint is not None:
        try:
            write_checkpoint(asked.checkpoint, judge, reading.shelves, now_ms // 1000)
        except (OSError, sqlite3.Error) as error:
            raise NoncestrError(f"--checkpoint {asked.checkpoint}: {error}") from None
    told: ChainReport | None = None
    if chain is not None:
        told, found = check_chain(judge.log, chain)
        for each in found:
            judge.log.report(each)
    recorded = None if record is None else record.report(judge.log)
    report = judge.finish(now_ms)
    if report is None:
        raise Reopened(judge.reopened)
    if told is not None and not told.not_shown:
        findings = tuple(each for each in report.findings if each.code is not Code.CHAIN_FACTS)
        report = dataclasses.replace(report, findings=findings)
    if reading.resumed:
        report = dataclasses.replace(report, notes=(*report.notes, resumed_note(reading.since_s)))
    if asked.since is not None:
        report = _only_since(report, judge.log, parse_moment("--since", asked.since, now_ms // 1000))
    return Result(report, told, recorded)


def _only_since(report: Report, log: PoolLog, since_s: int) -> Report:
    """The report with the findings that name an event since then, or none at all; every claim was checked whole."""

    def recent(found: Finding) -> bool:
        return not found.events or any(log.ids.get(event, since_s) >= since_s for event in found.events)

    return dataclasses.replace(report, findings=tuple(found for found in report.findings if recent(found)))


def check_asked(asked: Asked) -> tuple[PoolAddress, list[str], RecordCheck | None]:
    """The pool, the relays, the record. Raises NoncestrError for what was asked wrongly."""
    pool, urls = parse_pool(asked.pool, asked.network), parse_relays(asked.relays) if asked.relays else []
    if not urls and not asked.archives:
        raise NoncestrError("name a relay with --relay ws://..., or a file with --archive")
    if asked.since is not None:
        parse_moment("--since", asked.since, int(time.time()))
    if (asked.npub is None) != (asked.record is None):
        raise NoncestrError("--npub and --record go together: whose submissions, and the file they stand in")
    if asked.record is not None and asked.checkpoint is not None:
        raise NoncestrError("--record looks at the whole log, --checkpoint at its newest part: ask one at a time")
    if (asked.mints or asked.mint_keys) and asked.checkpoint is not None:
        raise NoncestrError("--mint and --mint-keys look at all payouts, --checkpoint at the newest: ask one at a time")
    if asked.headers is not None and asked.bitcoin_rpc is not None:
        raise NoncestrError("--headers or --bitcoin-rpc: one chain at a time")
    if asked.watch and (asked.html or asked.json or asked.record or asked.archives or not urls):
        raise NoncestrError("--watch follows relays and prints as it goes: it takes no file and writes no report")
    record = None
    if asked.record is not None and asked.npub is not None:
        try:
            record = RecordCheck(parse_pubkey(asked.npub), read_record(asked.record))
        except InvalidKey as error:
            raise NoncestrError(f"--npub: {error}") from None
    return pool, urls, record


async def with_chain(asked: Asked, work: Callable[[Chain | None], Result]) -> Result:
    """Do a thread's work with the chain that was asked for. Raises NoncestrError."""
    if asked.headers is not None:
        chain = headers_file(asked.headers, asked.headers_from)
        return await anyio.to_thread.run_sync(work, chain)
    if asked.bitcoin_rpc is None:
        return await anyio.to_thread.run_sync(work, None)
    node = node_of(asked.bitcoin_rpc, asked.bitcoin_cookie)
    try:
        return await anyio.to_thread.run_sync(lambda: work(NodeChain(node)))
    finally:
        with anyio.CancelScope(shield=True):
            await node.close()


async def run_verify(asked: Asked) -> int:
    """The whole command; its exit status. Raises NoncestrError for what was asked wrongly."""
    pool, urls, record = check_asked(asked)
    # What is overdue is judged by when the log was asked for: reading a long one may take longer than a block's grace.
    now_ms = time.time_ns() // 1_000_000 if asked.now_ms is None else asked.now_ms
    mints = await known_mints(asked.mints, asked.mint_keys)
    relays = RelayLog(urls, pool, timeout_s=asked.timeout_s) if urls else None
    if asked.watch and relays is not None:
        from noncestr.verify.watch import run_watch  # the bridge is for this alone

        return await run_watch(asked, pool, urls, relays, mints)
    for attempt in range(MAX_ATTEMPTS):
        with Shown() as shown, opened(asked, pool, record, shown, fresh=attempt > 0, mints=mints) as reading:
            try:
                await read_all(asked, reading, relays, now_ms // 1000)
                if not say_unread(reading):
                    return COULD_NOT_LOOK
                result = await with_chain(asked, partial(conclude, asked, reading, record, now_ms))
            except Reopened as reason:
                print(f"noncestr: {reason}: reading the log again from its beginning", file=sys.stderr)
                continue
            except EOFError:
                raise NoncestrError("a process that hashes shares has died") from None
        return say(asked, result)
    raise NoncestrError("the pool's terms change faster than its log can be read")


def say_unread(reading: Reading) -> bool:
    """Name the relays that gave no whole answer; whether every part of the log was had from some relay."""
    for url, error in reading.faults.items():
        print(f"noncestr: {url} did not give a whole answer: {error}", file=sys.stderr)
    if reading.unread:
        print("noncestr: no relay could be read, so nothing was checked", file=sys.stderr)
    return not reading.unread


def say(asked: Asked, result: Result) -> int:
    """Print the report, write its file; the exit status. Raises NoncestrError."""
    if asked.html is not None:
        text = render_html(result.report, result.chain, result.record, datetime.now(UTC))
        try:
            part = asked.html.with_name(f".{asked.html.name}.{os.getpid()}")
            part.write_text(text, "utf-8")
            part.replace(asked.html)
        except OSError as error:
            raise NoncestrError(f"--html {asked.html}: {error}") from None
    if asked.json:
        print(as_json(result.report, result.chain, result.record))
    elif sys.stdout.isatty():
        show_tables(result.report, result.chain, result.record, Console())
    else:
        print("\n".join(as_text(result.report, result.chain, result.record)))
    return result.exit_code
