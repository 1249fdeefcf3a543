"""`noncestr edge`: the edge's own commands."""

from pathlib import Path
from typing import Annotated

import anyio
import typer

from noncestr.bans_cli import bans_app
from noncestr.config import LogConfig
from noncestr.names_cli import names_app

edge_app = typer.Typer(help="What serves miners: how it is, who is there, emptying it.", no_args_is_help=True)
edge_app.add_typer(bans_app, name="bans")
edge_app.add_typer(names_app, name="names")

BACKEND_OPTIONS = {"use_uvloop": True}
DataOption = Annotated[Path, typer.Option("--data", help="Folder of keys, journal, log and ledger.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@edge_app.command("lane", hidden=True)
def lane(
    data: DataOption,
    process: Annotated[int, typer.Option("--process")],
    log_level: Annotated[str, typer.Option("--log-level")] = "info",
    log_format: Annotated[str, typer.Option("--log-format")] = "text",
    log_to: Annotated[str, typer.Option("--log-to")] = "stderr",
) -> None:
    """One of a pool's processes; the pool starts it, nobody else."""
    from noncestr.lane_process import run_lane  # the heavy imports are for this command alone
    from noncestr.running import raise_file_limit

    raise_file_limit()
    anyio.run(
        lambda: run_lane(data, process, LogConfig(log_level, log_format, log_to)), backend_options=BACKEND_OPTIONS
    )
