"""The command line of the pool and of whoever checks it: each group of commands is a module of its own.

Only the module of the command that was typed is loaded: a miner or a verifier starts without the pool's parts.
"""

import sys
from importlib import import_module
from typing import Annotated, Final

import typer

from noncestr import __version__
from noncestr.errors import NoncestrError

# Command -> "module:attribute" of its typer group or function, in the order that --help shows.
COMMANDS: Final = {
    "up": "noncestr.commands.up:up",
    "miner": "noncestr.commands.miner:miner",
    "verify": "noncestr.commands.verify:verify",
    "archive": "noncestr.commands.accounting:archive",
    "treasury": "noncestr.commands.treasury:treasury",
    "config": "noncestr.commands.config:config_app",
    "edge": "noncestr.commands.edge:edge_app",
    "journal": "noncestr.commands.journal:journal_app",
    "accounting": "noncestr.commands.accounting:accounting_app",
    "pool": "noncestr.commands.parts:pool_app",
    "zapper": "noncestr.commands.parts:zapper_app",
    "payouts": "noncestr.commands.payouts:payouts_app",
    "ecash": "noncestr.commands.ecash:ecash_app",
    "web": "noncestr.commands.parts:web_app",
    "terms": "noncestr.commands.terms:terms_app",
    "alerts": "noncestr.commands.alerts:alerts_app",
    "notices": "noncestr.commands.notices:notices_app",
    "keys": "noncestr.commands.keys:keys_app",
    "signer": "noncestr.commands.keys:signer_app",
}


_WHAT: Final = (
    "A Nostr-native Bitcoin mining pool: miners are npubs, every receipt is public, anyone recomputes every sat."
)


def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(f"noncestr {__version__}")
        raise typer.Exit


def command_line(wanted: str | None = None) -> typer.Typer:
    """The command line with one command, or with all when `wanted` is none of them (--help then lists all)."""
    app = typer.Typer(
        name="noncestr",
        help=_WHAT,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    # A callback makes it a group even when it has one command alone.
    app.callback(invoke_without_command=True)(_root)
    for name in (wanted,) if wanted in COMMANDS else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main() -> None:
    """Run the command line; an error the operator can mend is one message and exit status 2, no traceback."""
    wanted = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    try:
        command_line(wanted)()
    except NoncestrError as error:
        print(f"noncestr: {error}", file=sys.stderr)
        sys.exit(2)
