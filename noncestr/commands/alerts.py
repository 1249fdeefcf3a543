"""`noncestr alerts`: whether alerts reach the operator, and what lasts."""

from datetime import UTC, datetime
from pathlib import Path

import anyio
import typer

from noncestr.alerts.operator_line import read_services
from noncestr.alerts.watch import MEMORY, load_memory
from noncestr.commands.options import ConfigOption, DataOption, folder_there, read_config
from noncestr.errors import NoncestrError

alerts_app = typer.Typer(help="What wakes the operator.", no_args_is_help=True)


@alerts_app.command("test")
def send_test(config: ConfigOption = None) -> None:
    """Send a test message to every service of [alerts] services. Exit status 1 if one did not take it."""
    loaded = read_config(config)
    if not loaded.alerts.services:
        raise NoncestrError("[alerts] services names no file: nobody is told of anything")
    line = read_services(Path(loaded.alerts.services))
    failed = anyio.run(line.send, f"{loaded.pool.name}: test", "A test message of your mining pool: alerts reach you.")
    for scheme in failed:
        typer.echo(f"{scheme}:// did not take it")
    if failed:
        raise typer.Exit(1)
    typer.echo("every service took it")


@alerts_app.command("show")
def show(data: DataOption = Path("data")) -> None:
    """The troubles that last, since when."""
    lasting = load_memory(folder_there(data) / MEMORY)
    for _, trouble in sorted(lasting.items(), key=lambda item: item[1].since_ms):
        since = datetime.fromtimestamp(trouble.since_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        typer.echo(f"since {since} UTC: {trouble.text}")
    if not lasting:
        typer.echo("no trouble is known")
