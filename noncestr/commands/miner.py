"""`noncestr miner`: a small CPU miner. It loads nothing of the pool, so that many of them fit on a small machine."""

from pathlib import Path
from typing import Annotated

import anyio
import typer

from noncestr.commands.options import BACKEND_OPTIONS


def miner(
    url: Annotated[str, typer.Option("--url", help="stratum+tcp://HOST:PORT")],
    user: Annotated[str, typer.Option("--user", help="npub1... or npub1....worker")],
    password: Annotated[str, typer.Option("--password", help="Free text; d=N asks for a difficulty.")] = "x",  # noqa: S107 - Stratum's password is no secret
    max_hps: Annotated[
        int | None,
        typer.Option("--max-hps", help="Hashes a second at most; as fast as one core can, when not given.", min=1),
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Write each submission and its answer to this file (JSON lines).")
    ] = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> None:
    """A small CPU miner: real shares, slowly. For trying a pool out, and for proving what it credited."""
    from noncestr.commands.mine import run_mine

    raise typer.Exit(
        anyio.run(
            lambda: run_mine(url, user, password=password, max_hps=max_hps, record=record, until_eof=until_eof),
            backend_options=BACKEND_OPTIONS,
        )
    )
