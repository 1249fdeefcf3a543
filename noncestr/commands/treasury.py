"""`noncestr treasury`: what the pool owes beside what it has."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
import typer

from noncestr.commands.options import BACKEND_OPTIONS, DataOption, JsonOption
from noncestr.errors import NoncestrError

# Exit status: it has what it owes; it has less, or nobody can tell. (2, it could not look, is a NoncestrError's.)
SHORT: Final = 1
# Of a holder's npub: enough to tell it from others.
SHOWN_NPUB: Final = 16


def treasury(data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """Hold what the pool owes against what it has, as the running pool knows it.

    Exit status: 0 it has what it owes, 1 it has less or nobody can tell, 2 it could not be asked.
    """
    from noncestr.edge.control import ANSWER_S, ask

    told = anyio.run(lambda: ask(data, "treasury", timeout_s=ANSWER_S), backend_options=BACKEND_OPTIONS)
    if told is None:
        raise NoncestrError("the pool has not read all of its books yet: ask again in a moment")
    if as_json:
        typer.echo(msgspec.json.encode(told))
    else:
        for line in table(told):
            typer.echo(line)
    if told["alert"] is not None:
        raise typer.Exit(SHORT)


def _sat(msat: int | None) -> str:
    if msat is None:
        return "not known"
    whole, rest = divmod(abs(msat), 1000)
    return f"{'-' if msat < 0 else ''}{whole:,}.{rest:03d}"


def _note(holding: dict[str, Any]) -> str:
    """When it was told, by whom if not here, and what keeps it from being counted."""
    source = f" by {holding['source'][:SHOWN_NPUB]}..." if holding["source"] else ""
    error = f"; {holding['error']}" if holding["error"] else ""
    if not holding["told_ms"]:
        return f"NOT KNOWN: never told{source}{error}"
    when = datetime.fromtimestamp(holding["told_ms"] // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    silent = "" if holding["silence"] is None else "NOT COUNTED, too old: "
    return f"{silent}told{source} {_age(holding['age_ms'])} ago, {when}{error}"


def _age(ms: int) -> str:
    seconds = ms // 1000
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def table(told: dict[str, Any]) -> list[str]:
    """What the pool said, in lines."""
    rows = [("owed to miners", _sat(told["owed_msat"]), "matured and not paid yet")]
    rows += [(f"funds: {each['name']}", _sat(each["msat"]), _note(each)) for each in told["holdings"]]
    if told["holdings"]:
        rows.append(("funds in all", _sat(told["funds_msat"]), ""))
        note = "a place above is not counted" if told["spare_msat"] is None else told["alert"] or ""
        rows.append(("left if all were paid now", _sat(told["spare_msat"]), note))
    else:
        rows.append(("funds", _sat(None), "no place of the pool's money is configured ([treasury])"))
    rows.append(("pending", _sat(told["pending_msat"]), "in rewards that still mature, which cover it"))
    if told["advanced_msat"]:
        rows.append(("paid in advance", _sat(told["advanced_msat"]), "beyond what matured, after an orphan"))
    names, amounts = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{'':<{names}}  {'sat':>{amounts}}", *(f"{a:<{names}}  {b:>{amounts}}  {c}".rstrip() for a, b, c in rows)]
