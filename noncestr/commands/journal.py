"""`noncestr journal check|salvage`: what an edge's journal holds, and what to do with a damaged one.

The edge is stopped meanwhile.
"""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from noncestr.edge.lanes import journals_in
from noncestr.errors import NoncestrError
from stratum_edge.adapters.journal_salvage import SegmentView, newest_used, salvage_journal, view_journal
from stratum_edge.errors import JournalInUse
from stratum_edge.journal import Recovered

# Exit status: all is well; something is damaged. (2, it could not look, is a NoncestrError's.)
DAMAGED = 1

journal_app = typer.Typer(help="What an edge's journal holds, and saving a damaged one.", no_args_is_help=True)

FolderArgument = Annotated[Path, typer.Argument(help="The journal's folder; those of further processes are in it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _held(recovered: Recovered | None) -> dict[str, Any]:
    if recovered is None:
        return {}
    head = recovered.head
    return {
        "pool": recovered.checkpoint.pool,
        "edge": recovered.checkpoint.pubkey,
        "lane": recovered.checkpoint.lane,
        "batch": None if head is None else head.seq,
        "receipt": None if head is None else head.id,
        "until_ms": recovered.from_ms,
        "shares_to_seal": len(recovered.shares),
        "batches_to_send": len(recovered.pending),
        "blocks_to_ask_about": len(recovered.blocks),
    }


def _row(view: SegmentView, counts: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "file": str(view.path),
        "bytes": view.size,
        "state": view.state,
        "reads_to": view.end,
        "counts": counts,
        "error": view.error,
        "holds": _held(view.recovered),
    }
    saved = view.salvage
    if saved is not None:
        row["damage"] = {
            "gaps": saved.gaps,
            "lane_can_go_on": not saved.why_not,
            "why_not": saved.why_not,
            "shares_that_can_be_sealed": 0 if saved.why_not else saved.kept,
            "shares_left_out": saved.left,
            "records_lost": saved.lost_records,
            "signed_events_perhaps_unsent": len(saved.unsent()),
        }
    return row


def _folders(folder: Path) -> list[Path]:
    found = list(journals_in(folder).values()) if folder.is_dir() else []
    if not found:
        raise NoncestrError(f"{folder}: there is no journal")
    return found


def _views(folder: Path) -> list[SegmentView]:
    try:
        return view_journal(folder)
    except JournalInUse as error:
        raise NoncestrError(f"{error}: stop the edge first") from None
    except OSError as error:
        raise NoncestrError(str(error)) from None


@journal_app.command("check")
def check(folder: FolderArgument = Path("data/journal"), as_json: JsonOption = False) -> None:
    """Show each segment, what it adds up to and whether it is whole; changes nothing. Status 1 when one is damaged."""
    rows = []
    for place in _folders(folder):
        views = _views(place)
        newest = newest_used(views)
        rows += [_row(view, view is newest) for view in views]
    if as_json:
        typer.echo(msgspec.json.encode(rows))
    else:
        _show(rows)
    if any(row["state"] == "damaged" for row in rows):
        raise typer.Exit(DAMAGED)


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for name in ("segment", "bytes", "state", "lane", "batch", "to seal", "to send", "blocks"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        held = row["holds"]
        keys = ("lane", "batch", "shares_to_seal", "batches_to_send", "blocks_to_ask_about")
        values = ["-" if held.get(key) is None else str(held[key]) for key in keys]
        table.add_row(Path(row["file"]).name, str(row["bytes"]), row["state"], *values)
    console = Console(soft_wrap=True)
    console.print(table)
    for row in rows:
        if row["state"] == "torn":
            rest = row["bytes"] - row["reads_to"]
            console.print(f"{row['file']}: the next start cuts off {rest} bytes of a write cut short", markup=False)
        elif row["state"] == "damaged":
            console.print(_told(row), markup=False)


def _told(row: dict[str, Any]) -> str:
    damage = row["damage"]
    lines = [f"{row['file']}: damaged from byte {row['reads_to']}{': ' + row['error'] if row['error'] else ''}"]
    for gap in damage["gaps"]:
        held = "an unknown number of records" if gap.records is None else f"{gap.records} records"
        closed = "" if gap.batches is None else f", {gap.batches} batches closed among them"
        lines.append(f"  bytes {gap.start} to {gap.end} are lost ({held}{closed})")
    lost = damage["records_lost"]
    lines.append(
        f"  records lost for good: {'unknown' if lost is None else lost}; shares without their session: "
        f"{damage['shares_left_out']}"
    )
    if damage["lane_can_go_on"]:
        lines.append(
            f"  the lane can go on, {damage['shares_that_can_be_sealed']} shares of its open batch can be sealed:"
            f" noncestr journal salvage {Path(row['file']).parent}"
        )
    else:
        lines.append(f"  the lane can't go on: {damage['why_not']}")
    return "\n".join(lines)


@journal_app.command("salvage")
def salvage(folder: FolderArgument = Path("data/journal"), as_json: JsonOption = False) -> None:
    """Make a damaged journal one to go on from, if that forks nothing; the damaged segment is kept beside it."""
    done = []
    for place in _folders(folder):
        try:
            view, written = salvage_journal(place)
        except JournalInUse as error:
            raise NoncestrError(f"{error}: stop the edge first") from None
        except OSError as error:
            raise NoncestrError(str(error)) from None
        if view is not None:
            done.append((place, view, written))
    if as_json:
        typer.echo(
            msgspec.json.encode(
                [{**_row(view, True), "written": written and str(written)} for _, view, written in done]
            )
        )
    else:
        for place, view, written in done:
            typer.echo(_advice(place, view, written))
    if any(view.salvage is not None and view.salvage.why_not for _, view, _ in done):
        raise typer.Exit(DAMAGED)


def _advice(place: Path, view: SegmentView, written: Path | None) -> str:
    saved = view.salvage
    if saved is None:
        return f"{place}: nothing to do, {view.path.name} is {view.state}"
    told = _told(_row(view, True))
    if not saved.why_not:
        return f"{told}\n  written: {written}; kept: {view.path.with_suffix('.damaged')}. Start the edge."
    lines = [told, "  nothing was changed: going on might publish a second batch of one number."]
    if written is not None:
        lines.append(
            f"  {written}: {len(saved.unsent())} signed events that may not have been sent; publish them first"
        )
    lines.append(f"  then move {place} away, keep it, and start: the edge opens a new lane, new terms close this one")
    return "\n".join(lines)
