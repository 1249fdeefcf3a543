"""An audit's report on a terminal, as text and as JSON, and the progress bar before it."""

import json
from collections.abc import Iterator

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from accounting.chainfacts import ChainReport
from accounting.findings import REGISTRY, Finding
from accounting.report import Report
from nips.nip19 import encode_npub
from noncestr.verify.record import RecordReport

_COLOURS = {"contradicted": "red", "missing": "yellow"}


class Shown:
    """Progress on a terminal's standard error; nothing elsewhere."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.completed:,}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._fetched = self._progress.add_task("events read", total=None)
        self._checked = self._progress.add_task("shares checked", total=None)

    def __enter__(self) -> "Shown":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def stop(self) -> None:
        """Take the bar away; what follows is plain lines."""
        self._progress.stop()

    def fetched(self, count: int) -> None:
        """So many more events are read."""
        self._progress.advance(self._fetched, count)

    def checked(self, shares: int) -> None:
        """So many more shares are hashed."""
        self._progress.advance(self._checked, shares)


def as_json(report: Report, chain: ChainReport | None, record: RecordReport | None) -> str:
    """The whole report as one JSON object."""
    fields = json.loads(report.to_json())
    fields["chain"] = None if chain is None else chain.fields()
    if record is not None:
        fields["record"] = record.to_json()
    return json.dumps(fields, indent=1)


def as_text(report: Report, chain: ChainReport | None, record: RecordReport | None) -> Iterator[str]:
    """The report as plain lines; the last one says whether all holds."""
    *lines, last = report.lines()
    yield from lines
    if chain is not None:
        yield chain.line()
    if record is not None:
        yield from record.lines()
    yield last


def sentence(found: Finding) -> str:
    """A finding in one line, with the ids it rests on."""
    events = f" [{' '.join(found.events)}]" if found.events else ""
    return f"{found.grade}: {found.code}: {found.text or REGISTRY[found.code][1]}{events}"


def sat(msat: int) -> str:
    """1,234.567 of 1234567 msat."""
    sign, amount = ("-", -msat) if msat < 0 else ("", msat)
    return f"{sign}{amount // 1000:,}.{amount % 1000:03d}"


def show_tables(report: Report, chain: ChainReport | None, record: RecordReport | None, console: Console) -> None:
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
            miners.add_row(f"{npub[:12]}...{npub[-6:]}", f"{miner.shares:,}", *(sat(msat) for msat in msats))
        console.print(miners)
    if report.grades:
        console.print("payouts: " + ", ".join(f"{count} {grade}" for grade, count in report.grades.items()))
    for method, counts in report.methods.items():
        console.print(f"  by {method}: " + ", ".join(f"{count} {grade}" for grade, count in counts.items()))
    for text in () if chain is None else (chain.line(),):
        console.print(text)
    for text in () if record is None else record.lines():
        console.print(text, markup=False)
    for found in report.findings:
        colour = _COLOURS.get(found.grade, "dim")
        console.print(f"[{colour}]{found.grade}[/{colour}] [bold]{found.code}[/bold]: {REGISTRY[found.code][1]}")
        if found.text:
            console.print(f"  {found.text}", markup=False)
        for event in found.events:
            console.print(f"  event {event}", markup=False, highlight=False)
    for note in report.notes:
        console.print(note, markup=False)
    if report.exit_code == 0:
        console.print("[green]All that was checked holds.[/green]")
    else:
        console.print("[red]Not all holds: see the findings.[/red]")
