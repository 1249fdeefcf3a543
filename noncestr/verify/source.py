"""Where an audit gets the log from: relays, asked by slices of time, or files of events, one a line."""

import gzip
import lzma
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from accounting.ahead import outline
from accounting.archive import read_lines
from nips.errors import InvalidPoolEvent
from nips.nip01 import Event, Filter, VerifiedEvent, encode_event, make_filter
from nips.pool.address import PoolAddress
from nips.pool.kinds import BLOCK, LEDGER_KINDS, PAYOUT, SETTINGS, TERMS, WITHDRAWAL
from nips.pool.payout import parse_payout
from noncestr.errors import NoncestrError
from relay_bridge.adapters.fetch import FetchResult, RelayReport, fetch_events

ZAP_RECEIPT = 9735
# Methods whose payouts are proven by the event that ordered them, a withdrawal request or settings.
ORDERED = frozenset({"bolt11", "onchain"})
# Ids a filter: relays bound a filter's size, and 500 results are a usual cap.
IDS_A_FILTER = 400
# A slice is to hold about so much: it lies in memory whole, and the next one beside it.
SLICE_BYTES = 16 * 1024 * 1024
FIRST_SLICE_S = 600
# How much longer or shorter than the last one a slice may be.
STRETCH = 8
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ"


@dataclass(slots=True)
class Slice:
    """A span of the log, by date and then by kind, so that jobs stand before their receipts. `reports`: how each relay
    answered for it; `newest_s`: the span's end, None if it is open.
    """

    events: list[VerifiedEvent]
    unverified: list[tuple[str, Event | None, str]] = field(default_factory=list)
    reports: list[RelayReport] = field(default_factory=list)
    end_s: int | None = None

    @property
    def complete(self) -> bool:
        """Whether some relay gave all it has."""
        return any(report.complete for report in self.reports)


def in_log_order(events: Sequence[VerifiedEvent]) -> list[VerifiedEvent]:
    """By date, then kind: terms before jobs, jobs before receipts, those before what rests on them."""
    return sorted(events, key=lambda event: (event.created_at, event.kind, event.id))


def receipt_filters(events: Sequence[VerifiedEvent]) -> list[Filter]:
    """Filters for what payouts rest on and no `a` tag of the pool finds: zap receipts, the miners' own orders."""
    wanted = set()
    for event in events:
        if event.kind == PAYOUT:
            try:
                payout = parse_payout(event)
            except InvalidPoolEvent:
                continue
            if payout.method in ORDERED:
                wanted.add(payout.to)
            receipt = payout.proof.get("receipt")
            if isinstance(receipt, str) and len(receipt) == 64 and set(receipt) <= set("0123456789abcdef"):
                wanted.add(receipt)
    ids = sorted(wanted)
    asked = [ZAP_RECEIPT, WITHDRAWAL, SETTINGS]
    return [make_filter(ids=ids[at : at + IDS_A_FILTER], kinds=asked) for at in range(0, len(ids), IDS_A_FILTER)]


class RelayLog:
    """A pool's log on relays."""

    def __init__(self, urls: Sequence[str], pool: PoolAddress, *, timeout_s: float) -> None:
        self._urls = urls
        self._pool = pool
        self._timeout_s = timeout_s

    def filter(self, since_s: int | None = None, until_s: int | None = None) -> Filter:
        """The log, or a span of it."""
        return make_filter(kinds=LEDGER_KINDS, tags={"a": [str(self._pool)]}, since=since_s, until=until_s)

    async def terms(self) -> Slice:
        """All terms: an audit that knows them from the start is never begun again."""
        wanted = make_filter(kinds=[TERMS], authors=[self._pool.pubkey], tags={"a": [str(self._pool)]})
        return _slice(await self._fetch([wanted]))

    async def blocks(self) -> Slice:
        """All announced blocks: they stand in no chain, so that no date says which of them are new."""
        wanted = make_filter(kinds=[BLOCK], tags={"a": [str(self._pool)]})
        return _slice(await self._fetch([wanted]))

    async def by_id(self, ids: Sequence[str]) -> Slice:
        """Events by name, whatever their date."""
        parts = range(0, len(ids), IDS_A_FILTER)
        return _slice(await self._fetch([make_filter(ids=list(ids[at : at + IDS_A_FILTER])) for at in parts]))

    async def slices(self, first_s: int, now_s: int) -> AsyncIterator[Slice]:
        """The log from `first_s` on, span by span; the last one is open. What is dated before is the first of them,
        unless `first_s` is 0.
        """
        start, span = first_s, FIRST_SLICE_S
        while start <= now_s - span:
            found = await self._span(start, start + span - 1)
            yield found
            start += span
            size = sum(len(event.content) for event in found.events)
            grown = span * SLICE_BYTES // max(size, SLICE_BYTES // STRETCH)
            span = max(1, min(grown, span * STRETCH))
        yield await self._span(start, None)

    async def before(self, first_s: int) -> Slice:
        """What is dated before a time."""
        return await self._span(None, first_s - 1)

    async def receipts_of(self, events: Sequence[VerifiedEvent]) -> list[VerifiedEvent]:
        """The zap receipts that payouts among the events name."""
        named = receipt_filters(events)
        return (await self._fetch(named)).events if named else []

    async def _span(self, since_s: int | None, until_s: int | None) -> Slice:
        result = await self._fetch([self.filter(since_s, until_s)])
        named = receipt_filters(result.events)
        if named:
            more = await self._fetch(named)
            result.events += more.events
            result.unverified += more.unverified
        return _slice(result, until_s)

    async def _fetch(self, filters: list[Filter]) -> FetchResult:
        return await fetch_events(self._urls, filters, timeout_s=self._timeout_s)


def _slice(result: FetchResult, end_s: int | None = None) -> Slice:
    return Slice(in_log_order(result.events), result.unverified, result.relays, end_s)


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(_GZIP):
        return cast(BinaryIO, gzip.open(path))
    if start.startswith(_XZ):
        return cast(BinaryIO, lzma.open(path))
    return path.open("rb")


def file_lines(path: Path) -> Iterator[bytes]:
    """The events of a file as JSON lines: an archive (4220), whose hash is checked on the way, or events alone; plain,
    gzip or xz. Raises NoncestrError for a file that can't be read, ArchiveError for an archive that is not whole.
    """
    try:
        with _opened(path) as file:
            first = file.readline()
            file.seek(0)
            if first.startswith(b'{"archive"'):
                yield from (encode_event(event) for event in read_lines(file))
            else:
                yield from (line for line in file if line.strip())
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise NoncestrError(f"the log {path}: {error}") from None


def terms_lines(paths: Sequence[Path]) -> Iterator[bytes]:
    """The terms in files of events."""
    for path in paths:
        for line in file_lines(path):
            # Cheap first: the number must stand in it somewhere.
            if b"4210" in line and (told := outline(line)) is not None and told.kind == TERMS:
                yield line
