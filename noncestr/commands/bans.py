"""`noncestr edge bans`: who is kept out, and letting them in again; works whether the pool runs or not."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from noncestr.clock import WallClock
from noncestr.commands.options import DataOption, JsonOption, folder_there
from noncestr.edge.files import BANS
from noncestr.errors import NoncestrError
from stratum_edge.adapters.ban_files import bans_in, clear_bans
from stratum_edge.households import parse_household

bans_app = typer.Typer(help="Addresses that are not let in for a while.", no_args_is_help=True)


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@bans_app.command("list")
def list_bans(data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """Show who is banned, until when and why; the first to be let in again comes first."""
    from rich.console import Console
    from rich.table import Table

    bans = bans_in(folder_there(data) / BANS, WallClock().now_ms())
    if as_json:
        typer.echo(msgspec.json.encode(bans))
        return
    if not bans:
        typer.echo("nobody is banned")
        return
    table = Table("address", "until", "reason", "strikes", "in a row", box=None)
    for ban in bans:
        table.add_row(ban.address, _when(ban.until), ban.reason, str(ban.strikes), str(ban.times))
    Console().print(table)


@bans_app.command("clear")
def clear(
    address: Annotated[str, typer.Argument(help="An IPv4 or IPv6 address, a /64 network, or all.")] = "all",
    data: DataOption = Path("data"),
    as_json: JsonOption = False,
) -> None:
    """Lift bans; a pool that runs lets the address in within seconds."""
    try:
        household = None if address == "all" else parse_household(address)
        lifted = clear_bans(folder_there(data) / BANS, household, WallClock().now_ms())
    except (ValueError, OSError) as error:
        raise NoncestrError(str(error)) from None
    if as_json:
        typer.echo(msgspec.json.encode(lifted))
    elif lifted:
        typer.echo("lifted: " + ", ".join(ban.address for ban in lifted))
    else:
        typer.echo("there was no such ban" if household else "nobody was banned")
