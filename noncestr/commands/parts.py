"""`noncestr pool run`, `accounting run`, `zapper run`, `web run`: the parts of a pool as processes of their own.

`noncestr edge run` is the edge's. They share nothing but relays.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from nips.errors import InvalidKey
from nips.nip19 import parse_pubkey
from nips.pool.address import PoolAddress
from noncestr.commands.options import BACKEND_OPTIONS, ConfigOption, DataOption, read_config
from noncestr.errors import NoncestrError
from noncestr.moments import parse_pool, parse_relays

if TYPE_CHECKING:
    from noncestr.config.sections import Config

pool_app = typer.Typer(help="The pool's key and relay.", no_args_is_help=True)
zapper_app = typer.Typer(help="What pays.", no_args_is_help=True)
web_app = typer.Typer(help="The page and the read API.", no_args_is_help=True)

PoolOption = Annotated[str, typer.Option("--pool", help="The pool: its npub, nprofile or hex key.")]
RelayOption = Annotated[
    str, typer.Option("--relay", help="The pool's relays, with commas; those of [relay] relays when not given.")
]
ChainOption = Annotated[
    Path | None,
    typer.Option(
        "--chain-of", help="Regtest: go by the embedded chain of the pool that runs on this data folder here."
    ),
]


def find_pool(config: "Config", pool: str, relay: str) -> tuple[PoolAddress, tuple[str, ...]]:
    """The pool that a part works for, and its relays. Raises NoncestrError."""
    relays = tuple(parse_relays(relay)) if relay else config.relay.relays
    if not relays:
        raise NoncestrError("--relay is missing, and [relay] relays names none")
    return parse_pool(pool, config.pool.network), relays


def say(line: str) -> None:
    """To the terminal, at once."""
    print(line, flush=True)


def _run(config: "Config", part: Callable[[], Awaitable[None]]) -> None:
    from noncestr.logs import set_up_logging
    from noncestr.running import raise_file_limit

    set_up_logging(config.log)
    raise_file_limit()
    anyio.run(part, backend_options=BACKEND_OPTIONS)


@pool_app.callback()
def _pool() -> None:
    """Keeps `run` a command of its own while it is the only one."""


@zapper_app.callback()
def _zapper() -> None:
    """Keeps `run` a command of its own while it is the only one."""


@web_app.callback()
def _web() -> None:
    """Keeps `run` a command of its own while it is the only one."""


@pool_app.command("run")
def pool_run(
    data: Annotated[Path, typer.Option("--data", help="Folder of the pool's key, its terms and its relay.")] = Path(
        "pool"
    ),
    config: ConfigOption = None,
) -> None:
    """Run the process that holds the pool's key: relay, terms, on regtest the chain. The other parts run elsewhere.

    [pool] accounting, [pool] zapper and [edge] keys name them. Ctrl-C stops it.
    """
    from noncestr.parts.pool import run_lone_pool  # the heavy imports are for this command alone

    loaded = read_config(config)
    _run(loaded, lambda: run_lone_pool(loaded, data, say=say, reread=lambda: read_config(config)))


def accounting_run(
    pool: PoolOption,
    relay: RelayOption = "",
    data: Annotated[Path, typer.Option("--data", help="Folder of the accounting's key and ledger.")] = Path(
        "accounting-data"
    ),
    config: ConfigOption = None,
    chain_of: ChainOption = None,
) -> None:
    """Run a pool's accounting on this host, with a key of its own; the pool's terms must name it. Ctrl-C stops it."""
    from noncestr.parts.accounting import run_accounting  # the heavy imports are for this command alone

    loaded = read_config(config)
    address, relays = find_pool(loaded, pool, relay)
    _run(
        loaded,
        lambda: run_accounting(
            loaded, data, pool=address, relays=relays, chain_of=chain_of, say=say, reread=lambda: read_config(config)
        ),
    )


@zapper_app.command("run")
def zapper_run(
    pool: PoolOption,
    relay: RelayOption = "",
    data: Annotated[Path, typer.Option("--data", help="Folder of the zapper's key, intents and books.")] = Path(
        "zapper-data"
    ),
    config: ConfigOption = None,
    demo_user: Annotated[
        list[str] | None,
        typer.Option("--demo-user", help="Regtest: NAME=NPUB, who has an address at the demo wallet; several times."),
    ] = None,
) -> None:
    """Run a pool's zapper on this host, with a key of its own; the pool's terms must name it. Ctrl-C stops it."""
    from noncestr.parts.zapper import run_zapper  # the heavy imports are for this command alone

    loaded = read_config(config)
    address, relays = find_pool(loaded, pool, relay)
    users = {}
    for text in demo_user or ():
        name, _, key = text.partition("=")
        try:
            users[name] = parse_pubkey(key)
        except InvalidKey as error:
            raise NoncestrError(f"--demo-user {text!r}: {error}") from None
    _run(
        loaded,
        lambda: run_zapper(
            loaded, data, pool=address, relays=relays, users=users, say=say, reread=lambda: read_config(config)
        ),
    )


@web_app.command("run")
def web_run(
    pool: PoolOption,
    relay: RelayOption = "",
    data: DataOption = Path("web-data"),
    config: ConfigOption = None,
    stratum: Annotated[str, typer.Option("--stratum", help="Where miners connect, as the page shows it.")] = "",
    lan: Annotated[bool, typer.Option("--lan", help="Let browsers of your network in.")] = False,
) -> None:
    """Serve a pool's page and read API on this host, out of books folded here. It has no key. Ctrl-C stops it."""
    from noncestr.parts.web import run_web  # the heavy imports are for this command alone

    loaded = read_config(config)
    address, relays = find_pool(loaded, pool, relay)
    _run(
        loaded,
        lambda: run_web(
            loaded,
            data,
            pool=address,
            relays=relays,
            stratum=stratum,
            lan=lan,
            say=say,
            reread=lambda: read_config(config),
        ),
    )
