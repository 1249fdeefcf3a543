"""`noncestr edge`: the edge's own commands."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
import typer

from noncestr.commands.bans import bans_app
from noncestr.commands.names import names_app
from noncestr.commands.options import BACKEND_OPTIONS, ConfigOption, DataOption, JsonOption, folder_there, read_config
from noncestr.commands.parts import find_pool, say
from noncestr.config.sections import Config, LogConfig

edge_app = typer.Typer(help="What serves miners: how it is, who is there, emptying it.", no_args_is_help=True)
edge_app.add_typer(bans_app, name="bans")
edge_app.add_typer(names_app, name="names")


def _ask(data: Path, name: str, *args: Any, timeout_s: float | None = None) -> Any:
    from noncestr.edge.control import ANSWER_S, ask  # the heavy imports are for the commands that need them

    return anyio.run(lambda: ask(data, name, *args, timeout_s=timeout_s or ANSWER_S), backend_options=BACKEND_OPTIONS)


@edge_app.command("status")
def status(data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """Show the lanes: miners, hashrate, shares refused by reason, current job, node, what is not published yet."""
    found = _ask(data, "status")
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    from noncestr.commands.edge_tables import show_status

    show_status(found)


@edge_app.command("sessions")
def sessions(data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """Show every connection; with --json npubs are whole."""
    from noncestr.commands.edge_tables import session_row, show_sessions

    rows = [session_row(row) for row in _ask(data, "sessions")]
    if as_json:
        typer.echo(msgspec.json.encode(rows))
        return
    show_sessions(rows)


@edge_app.command("drain")
def drain(
    data: DataOption = Path("data"),
    fin: Annotated[
        bool, typer.Option("--fin", help="End the lanes for good: for an edge that will not come back.")
    ] = False,
    timeout: Annotated[int, typer.Option("--timeout", help="Seconds the relays have to take everything.", min=1)] = 300,
    as_json: JsonOption = False,
) -> None:
    """Empty the edge for an upgrade: no share is lost, and the pool (or edge) process then stops.

    Miners are let go, what they brought is sealed, all of it is published. Exit status: 0 nothing is left, 1 something
    waits in the journal or the outbox for the next start, which sends it.
    """
    # Lanes have their own bounds for going down; the rest of the time is the relays'.
    drained = _ask(data, "drain", fin, timeout, timeout_s=timeout + 60)
    done = not drained["left"] and drained["published"]
    if as_json:
        typer.echo(msgspec.json.encode({**drained, "done": done}))
    else:
        typer.echo(f"{drained['sessions']} connections were let go, {drained['lanes']} lanes are sealed")
        if drained["left"]:
            typer.echo(f"{drained['left']} batches or blocks did not get out: they are in the journal")
        if not drained["published"]:
            typer.echo("some events have not reached their relays: they are in the outbox")
        typer.echo("everything is published" if done else "the next start sends what is left")
    raise typer.Exit(0 if done else 1)


@edge_app.command("close")
def close(
    lane: Annotated[str, typer.Argument(help="The lane, NPUB/NUMBER, as `noncestr edge status` shows it.")],
    data: DataOption = Path("data"),
    now: Annotated[
        bool, typer.Option("--now", help="Before its grace is over: its journal is lost, or its key is not trusted.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Close a silent lane of another edge by new terms, at its last batch: statements go on without it.

    What its edge has not published counts nowhere from then on, for good, blocks included; it opens a new lane.
    """
    closed = _ask(data, "close", lane, now)
    if as_json:
        typer.echo(msgspec.json.encode(closed))
        return
    typer.echo(f"lane {closed['lane']} is closed at batch {closed['batch']}, silent for {closed['quiet_ms'] // 1000} s")
    typer.echo(f"{len(closed['waited_for_it'])} statements waited for it")
    typer.echo("shares that its edge accepted later and has not published count nowhere; `noncestr edge lost` on its")
    typer.echo("host says which, once it is back; it goes on in a new lane")


@edge_app.command("lost")
def lost(
    data: Annotated[Path, typer.Option("--data", help="Data folder of the edge.")] = Path("edge"),
    as_json: JsonOption = False,
) -> None:
    """Show what of this edge's lanes counts nowhere, since the pool closed them before it was published."""
    from noncestr.commands.edge_tables import show_lost
    from noncestr.edge.lost_work import read_reports

    reports = read_reports(folder_there(data))
    if as_json:
        typer.echo(msgspec.json.encode(reports))
        return
    show_lost(reports)


@edge_app.command("run")
def run(
    pool: Annotated[str, typer.Option("--pool", help="The pool: its npub, nprofile or hex key.")],
    relay: Annotated[
        str, typer.Option("--relay", help="The pool's relays, with commas; those of [relay] relays when not given.")
    ] = "",
    data: Annotated[Path, typer.Option("--data", help="Folder of this edge's key, journal and outbox.")] = Path("edge"),
    config: ConfigOption = None,
    chain_of: Annotated[
        Path | None,
        typer.Option(
            "--chain-of", help="Regtest: mine on the embedded chain of the pool that runs on this data folder here."
        ),
    ] = None,
    lan: Annotated[bool, typer.Option("--lan", help="Let miners of your network in.")] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes that serve miners, instead of [edge] workers.", min=1, max=64),
    ] = None,
) -> None:
    """Run an edge of a pool on this host, with a key of its own; the pool's terms must name it. Ctrl-C stops it."""
    from noncestr.logs import set_up_logging
    from noncestr.parts.edge import run_edge
    from noncestr.running import raise_file_limit

    def read() -> Config:
        loaded = read_config(config)
        return loaded if workers is None else replace(loaded, edge=replace(loaded.edge, workers=workers))

    loaded = read()
    address, relays = find_pool(loaded, pool, relay)
    set_up_logging(loaded.log)
    raise_file_limit()
    anyio.run(
        lambda: run_edge(
            loaded,
            data,
            pool=address,
            relays=relays,
            chain_of=chain_of,
            lan=lan,
            say=say,
            reread=read,
        ),
        backend_options=BACKEND_OPTIONS,
    )


@edge_app.command("lane", hidden=True)
def lane(
    data: DataOption,
    process: Annotated[int, typer.Option("--process")],
    log_level: Annotated[str, typer.Option("--log-level")] = "info",
    log_format: Annotated[str, typer.Option("--log-format")] = "text",
    log_to: Annotated[str, typer.Option("--log-to")] = "stderr",
) -> None:
    """One of a pool's processes; the pool starts it, nobody else."""
    from noncestr.edge.lane_process import run_lane  # the heavy imports are for this command alone
    from noncestr.running import raise_file_limit

    raise_file_limit()
    raise typer.Exit(
        anyio.run(
            lambda: run_lane(data, process, LogConfig(log_level, log_format, log_to)), backend_options=BACKEND_OPTIONS
        )
    )
