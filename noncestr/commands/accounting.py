"""`noncestr archive`, and `noncestr accounting` rebuild, prune, export."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import msgspec
import typer

from noncestr.commands.export import export_app
from noncestr.commands.options import BACKEND_OPTIONS, ConfigOption, DataOption, JsonOption, read_config
from noncestr.commands.parts import accounting_run
from noncestr.errors import NoncestrError

# Exit status: the books came out as they were; they did not. (2, it could not look, is a NoncestrError's.)
DIFFERENT = 1
# A running accounting signs within a step or two.
ANNOUNCE_S: Final = 10.0

accounting_app = typer.Typer(help="The books.", no_args_is_help=True)
accounting_app.add_typer(export_app, name="export")
accounting_app.command("run")(accounting_run)


def archive(
    out: Annotated[Path, typer.Option("--out", help="The file to write: JSON lines, gzip.", dir_okay=False)],
    data: DataOption = Path("data"),
    config: ConfigOption = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="First moment (2026-01-31, or 36h for so long ago); else the log's.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Up to, without it; else all there is.")] = None,
    url: Annotated[
        list[str] | None, typer.Option("--url", help="Where the file will be had; told in the announcement.")
    ] = None,
    announce: Annotated[
        bool, typer.Option("--announce/--no-announce", help="Have the accounting publish its hash (4220).")
    ] = True,
    relay: Annotated[
        str | None, typer.Option("--relay", help="Take the log from these relays (commas), not from --data.")
    ] = None,
    pool: Annotated[str | None, typer.Option("--pool", help="With --relay: the pool's npub or hex key.")] = None,
    network: Annotated[str, typer.Option("--network", help="With --relay: main, testnet4, signet, regtest.")] = (
        "regtest"
    ),
    timeout: Annotated[int, typer.Option("--timeout", help="Seconds a relay has to answer.", min=1)] = 30,
    as_json: JsonOption = False,
) -> None:
    """Write the log of a period to one file, and have its hash published, so that relays may let the events go.

    It may run beside the pool: the log is read from the accounting's books. The accounting itself signs the
    announcement, at once if it runs, else when it is started next.
    """
    import time  # for this command alone

    from noncestr.books.archive import archive_ledger, archive_relays
    from noncestr.moments import parse_moment

    now_s = int(time.time())
    from_s = None if begin is None else parse_moment("--from", begin, now_s)
    to_s = None if end is None else parse_moment("--to", end, now_s)
    if from_s is not None and to_s is not None and from_s >= to_s:
        raise NoncestrError("--from is not before --to")
    if relay is not None:
        from noncestr.moments import parse_pool, parse_relays

        if pool is None:
            raise NoncestrError("--relay needs --pool: whose log is it?")
        urls, address = parse_relays(relay), parse_pool(pool, network)
        made = anyio.run(
            lambda: archive_relays(urls, address, out, from_s, to_s, timeout), backend_options=BACKEND_OPTIONS
        )
        _tell(asdict(made.body(tuple(url or ()))), out, None, as_json)
        return
    from accounting.adapters.stored_log import StoredLog
    from accounting.errors import AccountingError
    from noncestr.books.place import ledger_place

    try:
        with StoredLog(ledger_place(read_config(config).accounting, data)) as log:
            made = archive_ledger(log, out, from_s, to_s)
            body = made.body(tuple(url or ()))
            event = None
            if announce:
                log.request_announcement(body)
                event = anyio.run(lambda: _announced(log, body.stream.sha256), backend_options=BACKEND_OPTIONS)
    except AccountingError as error:
        raise NoncestrError(str(error)) from None
    _tell(asdict(body), out, event or ("" if announce else None), as_json)


@accounting_app.command("prune")
def prune_command(
    archives: Annotated[
        list[Path], typer.Option("--archive", help="An announced archive; may be given several times.")
    ],
    data: DataOption = Path("data"),
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the books' store go of the receipts that archives have: the proof of the shares, by far the most of it.

    It may run beside the pool. What the shares came to stays, so that nothing is hashed again; to rebuild or audit that
    time takes the archives, so keep them, on more than one disk. The store's size stays: the room is used again.
    """
    from accounting.adapters.stored_log import StoredLog
    from accounting.errors import AccountingError
    from noncestr.books.place import ledger_place
    from noncestr.books.pruning import prune

    try:
        with StoredLog(ledger_place(read_config(config).accounting, data)) as log:
            for path in archives:
                done = prune(log, path)
                if as_json:
                    typer.echo(msgspec.json.encode({"path": str(path), **asdict(done)}))
                else:
                    typer.echo(f"{path}: {done.let_go} receipts let go, {done.size / 1e6:.1f} MB; {done.stay} stay")
    except AccountingError as error:
        raise NoncestrError(str(error)) from None


async def _announced(log: Any, stream: str) -> str | None:
    with anyio.move_on_after(ANNOUNCE_S):
        while True:
            event: str | None = log.announced(stream)
            if event is not None:
                return event
            await anyio.sleep(0.1)
    return None


def _tell(body: dict[str, Any], out: Path, event: str | None, as_json: bool) -> None:
    """`event`: the announcement's id, "" if it is not signed yet, None if none was asked for."""
    if as_json:
        typer.echo(msgspec.json.encode({**body, "path": str(out), "announced": event}))
        return
    typer.echo(f"{out}: {body['events']} events from {body['from_s']} to {body['to_s']}, {len(body['heads'])} chains")
    typer.echo(f"sha256 of its lines  {body['stream']['sha256']}  ({body['stream']['size']} bytes)")
    typer.echo(f"sha256 of the file   {body['file']['sha256']}  ({body['file']['size']} bytes)")
    if event:
        typer.echo(f"announced by event {event}")
    elif event is not None:
        typer.echo("the accounting announces it when the pool runs")


@accounting_app.command("rebuild")
def rebuild(
    data: DataOption = Path("data"),
    config: ConfigOption = None,
    archives: Annotated[
        list[Path] | None, typer.Option("--archive", help="An archive file; may be given several times.")
    ] = None,
    relay: Annotated[
        str | None, typer.Option("--relay", help="Relays to read, with commas, instead of [relay] relays.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take the rebuilt books even if they differ from those there are.")
    ] = False,
    timeout: Annotated[int, typer.Option("--timeout", help="Seconds a relay has to answer.", min=1)] = 30,
    as_json: JsonOption = False,
) -> None:
    """Build the books anew from the pool's own relay, other relays and archives, and say whether they are the same.

    The pool is stopped meanwhile. Keys, journal and the zapper's intents stay as they are. Exit status: 0 the books
    came out the same byte for byte (or there were none), 1 they differ and the old ones stand, 2 it could not be done.
    """
    from accounting.errors import AccountingError
    from nips.pool.address import PoolAddress
    from noncestr.books.place import find_database
    from noncestr.books.rebuild import Rebuild
    from noncestr.keys.files import pubkey_of
    from noncestr.moments import parse_relays
    from noncestr.running import only_one

    loaded = read_config(config)
    keys = data / "keys"
    pool = PoolAddress(pubkey_of(keys, "pool"), loaded.pool.network)
    urls = list(loaded.relay.relays) if relay is None else parse_relays(relay)
    say = (lambda _line: None) if as_json else typer.echo
    try:
        with only_one(data):
            database = find_database(loaded.accounting)
            work = Rebuild(data, pool, pubkey_of(keys, "accounting"), say, database)
            done = anyio.run(
                lambda: work.run(list(archives or ()), urls, timeout_s=timeout, force=force),
                backend_options=BACKEND_OPTIONS,
            )
    except AccountingError as error:
        raise NoncestrError(str(error)) from None
    if as_json:
        typer.echo(msgspec.json.encode({**asdict(done), "identical": done.identical}))
    else:
        typer.echo(f"{done.events} events; {done.carried} of our own chain were in the old books only")
        for text in done.violations:
            typer.echo(f"found: {text}")
        for line in done.differences:
            typer.echo(line)
        if done.lost:
            typer.echo(f"{done.lost} events of the old books are in none of the sources")
        typer.echo(f"the books: {done.lines} lines, sha256 {done.sha256}")
        typer.echo(_verdict(done.before, done.identical, force, done.late))
    if done.before is not None and not done.identical:
        raise typer.Exit(0 if force else DIFFERENT)


def _verdict(before: str | None, identical: bool, force: bool, late: int) -> str:
    late_text = f" ({late} events were new to the old books)" if late else ""
    if before is None:
        return "there were no books to compare with: these are in their place"
    if identical:
        return f"identical to those before, byte for byte{late_text}"
    if force:
        return "they differ from those before, and are in their place; the old ones are beside them (before-rebuild)"
    return "they differ from those before, which stand; the new ones are beside them (rebuilt; --force takes them)"
