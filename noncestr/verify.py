"""`noncestr verify`: fetch a pool's log from its relays, audit it, show the report."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from accounting.findings import REGISTRY, Finding
from accounting.report import Report
from accounting.verifier import Unverified, audit
from nips.errors import InvalidKey, InvalidPoolEvent
from nips.nip01 import Event, Filter, VerifiedEvent, make_filter
from nips.nip19 import encode_npub, parse_pubkey
from nips.pool.address import PoolAddress
from nips.pool.kinds import LEDGER_KINDS, NETWORKS, PAYOUT, RECEIPT
from nips.pool.payout import parse_payout
from noncestr.errors import NoncestrError
from relay_bridge.service import FetchResult, fetch_events

COULD_NOT_LOOK = 2
ZAP_RECEIPT = 9735
# Ids a filter: relays bound a filter's size, and 500 results are a usual cap.
IDS_A_FILTER = 400
_UNITS = {"m": 60, "h": 3600, "d": 86_400}


def parse_since(text: str, now_s: int) -> int:
    """Unix seconds of 2026-01-31, 2026-01-31T12:00, 90m, 36h or 7d. Raises NoncestrError."""
    if text[:-1].isdecimal() and text[-1] in _UNITS:
        return now_s - int(text[:-1]) * _UNITS[text[-1]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NoncestrError(
            f"--since {text!r}: write a date such as 2026-01-31, or a span such as 90m, 36h, 7d"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _address(pool: str, network: str) -> PoolAddress:
    try:
        pubkey = parse_pubkey(pool)
    except InvalidKey as error:
        raise NoncestrError(f"--pool: {error}") from None
    if network not in NETWORKS:
        raise NoncestrError(f"--network {network!r}: one of {', '.join(NETWORKS)}")
    return PoolAddress(pubkey, network)


def _urls(text: str) -> list[str]:
    urls = [url.strip() for url in text.split(",") if url.strip()]
    if not urls or not all(url.startswith(("ws://", "wss://")) for url in urls):
        raise NoncestrError(f"--relay {text!r}: addresses that begin with ws:// or wss://, with commas between them")
    return urls


def _receipt_filters(events: Sequence[VerifiedEvent]) -> list[Filter]:
    """Filters for the zap receipts that payouts name: they carry no `a` tag of the pool."""
    wanted = set()
    for event in events:
        if event.kind == PAYOUT:
            try:
                receipt = parse_payout(event).proof.get("receipt")
            except InvalidPoolEvent:
                continue
            if isinstance(receipt, str) and len(receipt) == 64 and set(receipt) <= set("0123456789abcdef"):
                wanted.add(receipt)
    ids = sorted(wanted)
    return [
        make_filter(ids=ids[at : at + IDS_A_FILTER], kinds=[ZAP_RECEIPT]) for at in range(0, len(ids), IDS_A_FILTER)
    ]


def _pretends(event: Event | None, pool: PoolAddress) -> bool:
    """Whether a bad event gives itself out as part of this pool's log."""
    return event is not None and event.kind in LEDGER_KINDS and str(pool) in event.tag_values("a")


class _Shown:
    """Progress on a terminal's standard error; nothing elsewhere."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._fetching = self._progress.add_task("reading the log", total=None)
        self._checking = self._progress.add_task("checking shares", total=None, visible=False)

    def __enter__(self) -> "_Shown":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def fetched(self, count: int) -> None:
        """So many events are read."""
        self._progress.update(self._fetching, completed=count)

    def begin_checking(self, shares: int) -> None:
        """All is read; so many shares are to be hashed."""
        self._progress.update(self._checking, total=shares, visible=True)

    def checked(self, shares: int) -> None:
        """So many more are hashed."""
        self._progress.advance(self._checking, shares)


def _count_shares(events: Sequence[VerifiedEvent]) -> int:
    counts = (event.tag_value("shares") for event in events if event.kind == RECEIPT)
    return sum(int(text) for text in counts if text is not None and text.isdecimal() and len(text) < 7)


async def _fetch(urls: list[str], pool: PoolAddress, timeout_s: int, shown: _Shown) -> FetchResult:
    """The pool's whole log, then the zap receipts its payouts name."""
    log = make_filter(kinds=LEDGER_KINDS, tags={"a": [str(pool)]})
    result = await fetch_events(urls, [log], timeout_s=timeout_s, on_progress=shown.fetched)
    receipts = _receipt_filters(result.events)
    if receipts:
        more = await fetch_events(urls, receipts, timeout_s=timeout_s)
        result.events += more.events
        result.unverified += more.unverified
    return result


async def run_verify(relay: str, pool: str, network: str, *, since: str | None, as_json: bool, timeout_s: int) -> int:
    """The whole command; its exit status. Raises NoncestrError for what was asked wrongly."""
    urls, address = _urls(relay), _address(pool, network)
    since_s = None if since is None else parse_since(since, int(time.time()))
    # What is overdue is judged by when the log was asked for: reading a long one may take longer than a block's grace.
    now_ms = time.time_ns() // 1_000_000
    with _Shown() as shown:
        result = await _fetch(urls, address, timeout_s, shown)
        for asked in result.relays:
            if not asked.complete:
                print(f"noncestr: {asked.url} did not give a whole answer: {asked.error}", file=sys.stderr)
        if not any(asked.complete for asked in result.relays):
            print("noncestr: no relay could be read, so nothing was checked", file=sys.stderr)
            return COULD_NOT_LOOK
        shown.begin_checking(_count_shares(result.events))
        unverified = [
            Unverified(url, event.id if event else None, reason, _pretends(event, address))
            for url, event, reason in result.unverified
        ]
        report = audit(result.events, unverified, address, now_ms=now_ms, progress=shown.checked)
    if since_s is not None:
        report = _only_since(report, result.events, since_s)
    if as_json:
        print(report.to_json())
    elif sys.stdout.isatty():
        _show(report, Console())
    else:
        print("\n".join(report.lines()))
    return report.exit_code


def _only_since(report: Report, events: Sequence[VerifiedEvent], since_s: int) -> Report:
    """The report with the findings that name an event since then, or none at all; every claim was checked whole."""
    dates = {event.id: event.created_at for event in events}

    def recent(found: Finding) -> bool:
        return not found.events or any(dates.get(event, since_s) >= since_s for event in found.events)

    return dataclasses.replace(report, findings=tuple(found for found in report.findings if recent(found)))


def _sat(msat: int) -> str:
    return f"{msat // 1000:,}.{msat % 1000:03d}"


def _show(report: Report, console: Console) -> None:
    """Tables for a terminal."""
    claims = Table(title="What was checked", title_justify="left")
    for name in ("claim", "checked", "hold", "contradicted", "missing", "not checked"):
        claims.add_column(name, justify="left" if name == "claim" else "right")
    for row in report.claims:
        style = "red" if row.contradicted or row.missing else None
        numbers = (row.checked, row.held, row.contradicted, row.missing, row.not_checked)
        claims.add_row(row.name, *(f"{number:,}" if number else "-" for number in numbers), style=style)
    console.print(claims)
    if report.miners:
        miners = Table(title="Miners (sat)", title_justify="left")
        for name in ("npub", "shares", "pending", "earned", "paid", "owed"):
            miners.add_column(name, justify="left" if name == "npub" else "right", no_wrap=name != "npub")
        for miner in report.miners:
            msats = (miner.pending_msat, miner.earned_msat, miner.paid_msat, miner.owed_msat)
            npub = encode_npub(miner.miner)
            miners.add_row(f"{npub[:12]}...{npub[-6:]}", f"{miner.shares:,}", *(_sat(msat) for msat in msats))
        console.print(miners)
    if report.grades:
        console.print("payouts: " + ", ".join(f"{count} {grade}" for grade, count in report.grades.items()))
    for found in report.findings:
        colour = {"contradicted": "red", "missing": "yellow"}.get(found.grade, "dim")
        console.print(f"[{colour}]{found.grade}[/{colour}] [bold]{found.code}[/bold]: {REGISTRY[found.code][1]}")
        if found.text:
            console.print(f"  {found.text}", markup=False)
        for event in found.events:
            console.print(f"  event {event}", markup=False, highlight=False)
    if report.exit_code == 0:
        console.print("[green]All that was checked holds.[/green]")
    else:
        console.print("[red]Not all holds: see the findings.[/red]")
