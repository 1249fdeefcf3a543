"""`noncestr payouts`: what would be paid, what was, and what an operator can do about the rest."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from noncestr.commands.answers import answer
from noncestr.commands.options import DataOption, JsonOption
from noncestr.commands.psbt import psbt_app
from noncestr.errors import NoncestrError

payouts_app = typer.Typer(help="Payouts: dry run, a round now, history, retries, unknown ones.", no_args_is_help=True)
payouts_app.add_typer(psbt_app, name="psbt")

# A round waits for slow payees and their receipts.
ROUND_S = 600.0


@payouts_app.command("plan")
def plan(data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """A dry run: who would be paid how much now, and why others would not. Pays nothing."""
    _show_plan(answer(data, "payouts_plan"), as_json, paid=False)


@payouts_app.command("run")
def run(data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """Pay a round now, besides the schedule's."""
    _show_plan(answer(data, "payouts_run", timeout_s=ROUND_S), as_json, paid=True)


@payouts_app.command("show")
def show(
    which: Annotated[str, typer.Argument(help="A payout's id, its beginning, or an npub; all without.")] = "",
    data: DataOption = Path("data"),
    limit: Annotated[int, typer.Option("--limit", help="So many payouts, the newest first.", min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show payouts, and who can't be paid and why (dead letters too)."""
    found = answer(data, "payouts_show", which, limit)
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    from noncestr.commands.payout_tables import show_payouts

    show_payouts(found)


@payouts_app.command("retry")
def retry(
    npub: Annotated[str, typer.Argument(help="Whom to try again; everybody without.")] = "",
    data: DataOption = Path("data"),
) -> None:
    """Try payees that failed, dead letters too, again in the next round."""
    from noncestr.commands.payout_tables import short

    retried = answer(data, "payouts_retry", npub)["retried"]
    typer.echo(
        "\n".join(f"{short(miner)} is tried again in the next round" for miner in retried) or "nobody has failed"
    )


@payouts_app.command("resolve")
def resolve(
    payout: Annotated[str, typer.Argument(help="The payout's whole id.")],
    data: DataOption = Path("data"),
    preimage: Annotated[
        str, typer.Option("--preimage", help="It was paid: the preimage, in hex, that proves it.")
    ] = "",
    never_paid: Annotated[
        str,
        typer.Option(
            "--never-paid",
            help="It was not: how you know. Only once its invoice can't be paid, or its ecash not be had, any more.",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """End a payout whose outcome is unknown, by evidence that is checked. Ecash: neither option asks its mint."""
    if preimage and never_paid:
        raise NoncestrError("give one of --preimage and --never-paid")
    # A mint is asked, and what it has signed is brought to relays.
    row = answer(data, "payouts_resolve", payout, preimage, never_paid, timeout_s=ROUND_S)
    if as_json:
        typer.echo(msgspec.json.encode(row))
        return
    from noncestr.commands.payout_tables import plain

    for line in row.get("said", ()):
        typer.echo(plain(line))
    still = f": {plain(row['reason'])}" if row["state"] in ("unknown", "failed") and row["reason"] else ""
    typer.echo(f"payout {row['payout_id']} is {row['state']}{still}")


def _show_plan(found: Any, as_json: bool, *, paid: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    from noncestr.commands.payout_tables import show_plan

    show_plan(found, paid=paid)
