"""The verify command's line: every option, and what it asks of noncestr.verify.run."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import anyio
import typer

from noncestr.commands.options import BACKEND_OPTIONS, JsonOption

MAX_JOBS = 64


def verify(
    pool: Annotated[str, typer.Option("--pool", help="The pool: its npub, nprofile or hex key.")],
    relay: Annotated[str, typer.Option("--relay", help="Relays to read, with commas: ws://... or wss://...")] = "",
    network: Annotated[str, typer.Option("--network", help="main, testnet4, signet or regtest.")] = "regtest",
    archive: Annotated[
        list[Path] | None,
        typer.Option("--archive", help="Read this file of events too, plain, .gz or .xz; more than once for more."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", help="Report findings on events since then (2026-01-31, 36h, 7d); all is checked anyway."
        ),
    ] = None,
    as_json: JsonOption = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report to this file, for people.")] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", help="Processes that hash shares; 0: one for each core.", min=0, max=MAX_JOBS)
    ] = 1,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", help="Go on from this file if it is there, and leave in it where this audit ends."
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the log and say what is found, until Ctrl-C.")] = False,
    npub: Annotated[str | None, typer.Option("--npub", help="Whose record: an npub or hex key.")] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", help="A miner's own submissions: is each one that was acknowledged credited?"),
    ] = None,
    headers: Annotated[
        Path | None, typer.Option("--headers", help="Block headers, 80 bytes each or hex lines, to check blocks by.")
    ] = None,
    headers_from: Annotated[int, typer.Option("--headers-from", help="The first header's height.", min=0)] = 0,
    bitcoin_rpc: Annotated[
        str | None, typer.Option("--bitcoin-rpc", help="A node to check blocks by: http://user:password@host:port")
    ] = None,
    bitcoin_cookie: Annotated[
        Path | None, typer.Option("--bitcoin-cookie", help="The node's cookie file, instead of user and password.")
    ] = None,
    mint: Annotated[
        list[str] | None,
        typer.Option("--mint", help="Ask this mint for its keys, which prove payouts in its ecash; more than once."),
    ] = None,
    mint_keys: Annotated[
        list[Path] | None,
        typer.Option("--mint-keys", help="Mints' keys from a file of `noncestr ecash keys`; more than once for more."),
    ] = None,
    timeout: Annotated[int, typer.Option("--timeout", help="Seconds a relay has to answer.", min=1)] = 30,
) -> None:
    """Replay a pool's log from its relays and check every claim in it. Needs nothing but the relays.

    Exit status: 0 all holds, 1 something is contradicted or missing, 2 it could not look.
    """
    from noncestr.verify.run import Asked, run_verify  # the heavy imports are for this command alone

    logging.basicConfig(level="ERROR", stream=sys.stderr)
    asked = Asked(
        relays=relay,
        pool=pool,
        network=network,
        since=since,
        json=as_json,
        timeout_s=timeout,
        jobs=jobs or min(os.cpu_count() or 1, MAX_JOBS),
        archives=tuple(archive or ()),
        checkpoint=checkpoint,
        npub=npub,
        record=record,
        headers=headers,
        headers_from=headers_from,
        bitcoin_rpc=bitcoin_rpc,
        bitcoin_cookie=bitcoin_cookie,
        html=html,
        mints=tuple(mint or ()),
        mint_keys=tuple(mint_keys or ()),
        watch=watch,
    )
    raise typer.Exit(anyio.run(run_verify, asked, backend_options=BACKEND_OPTIONS))
