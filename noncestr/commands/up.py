"""`noncestr up`: the whole pool in one terminal."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from noncestr.commands.options import BACKEND_OPTIONS, ConfigOption, read_config

if TYPE_CHECKING:
    from noncestr.config.sections import Config


def up(
    data: Annotated[Path, typer.Option("--data", help="Folder of keys, journal, log and ledger.")] = Path("data"),
    config: ConfigOption = None,
    lan: Annotated[bool, typer.Option("--lan", help="Let miners and browsers of your network in.")] = False,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Start the demo miners.")] = True,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes that serve miners, instead of [edge] workers.", min=1, max=64),
    ] = None,
) -> None:
    """Run the whole pool in this terminal: chain, relay, Stratum, accounting, payouts, web page. Ctrl-C stops it."""
    from noncestr.compose import run_pool  # the heavy imports are for this command alone
    from noncestr.logs import set_up_logging
    from noncestr.running import raise_file_limit

    def read() -> "Config":
        loaded = read_config(config)
        return loaded if workers is None else replace(loaded, edge=replace(loaded.edge, workers=workers))

    loaded = read()
    set_up_logging(loaded.log)
    raise_file_limit()
    anyio.run(
        lambda: run_pool(loaded, data, lan=lan, demo=demo, say=lambda line: print(line, flush=True), reread=read),
        backend_options=BACKEND_OPTIONS,
    )
