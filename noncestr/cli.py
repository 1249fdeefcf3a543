"""The command line of the pool and of whoever checks it: each group of commands is a module of its own."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import anyio
import typer

from noncestr import __version__
from noncestr.accounting_cli import accounting_app, archive
from noncestr.alert_parts import alerts_app
from noncestr.config import Config
from noncestr.config_example import example_toml
from noncestr.ecash_cli import ecash_app
from noncestr.edge_cli import edge_app
from noncestr.errors import NoncestrError
from noncestr.journal_cli import journal_app
from noncestr.keys_cli import keys_app, signer_app
from noncestr.logs import set_up_logging
from noncestr.notice_cli import notices_app
from noncestr.options import BACKEND_OPTIONS, ConfigOption, read_config
from noncestr.parts_cli import accounting_run, pool_app, web_app, zapper_app
from noncestr.payouts_cli import payouts_app
from noncestr.terms_cli import terms_app
from noncestr.treasury_cli import treasury
from noncestr.verify_cli import verify

app = typer.Typer(
    name="noncestr",
    help="A Nostr-native Bitcoin mining pool: miners are npubs, every receipt is public, anyone recomputes every sat.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="The configuration file.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(edge_app, name="edge")
app.add_typer(journal_app, name="journal")
app.add_typer(accounting_app, name="accounting")
accounting_app.command("run")(accounting_run)
app.add_typer(pool_app, name="pool")
app.add_typer(zapper_app, name="zapper")
app.add_typer(payouts_app, name="payouts")
app.add_typer(ecash_app, name="ecash")
app.add_typer(web_app, name="web")
app.add_typer(terms_app, name="terms")
app.add_typer(alerts_app, name="alerts")
app.add_typer(notices_app, name="notices")
app.add_typer(keys_app, name="keys")
app.add_typer(signer_app, name="signer")
app.command("archive")(archive)
app.command("treasury")(treasury)
app.command()(verify)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(f"noncestr {__version__}")
        raise typer.Exit


@app.command()
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
    from noncestr.running import raise_file_limit

    def read() -> Config:
        loaded = read_config(config)
        return loaded if workers is None else replace(loaded, edge=replace(loaded.edge, workers=workers))

    loaded = read()
    set_up_logging(loaded.log)
    raise_file_limit()
    anyio.run(
        lambda: run_pool(loaded, data, lan=lan, demo=demo, say=lambda line: print(line, flush=True), reread=read),
        backend_options=BACKEND_OPTIONS,
    )


@app.command()
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
    from noncestr.mine import run_mine

    raise typer.Exit(
        anyio.run(
            lambda: run_mine(url, user, password=password, max_hps=max_hps, record=record, until_eof=until_eof),
            backend_options=BACKEND_OPTIONS,
        )
    )


@config_app.command("example")
def config_example() -> None:
    """Print a configuration with every key, its meaning and its default."""
    typer.echo(example_toml(), nl=False)


@config_app.command("check")
def config_check(config: ConfigOption = None) -> None:
    """Read the configuration and the environment, and say what is wrong."""
    read_config(config)
    typer.echo("the configuration is fine")


def main() -> None:
    """Run the command line; an error the operator can mend is one message and exit status 2, no traceback."""
    try:
        app()
    except NoncestrError as error:
        print(f"noncestr: {error}", file=sys.stderr)
        sys.exit(2)
