"""`noncestr notices`: what miners are told, from the operator's side."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from nips.errors import InvalidKey
from nips.nip19 import parse_pubkey
from noncestr.clock import WallClock
from noncestr.commands.options import DataOption, folder_there
from noncestr.errors import NoncestrError
from noncestr.notices.memory import FILE, ask_for_test, queue_of

notices_app = typer.Typer(help="What miners are told.", no_args_is_help=True)

# The newest, for people.
SHOWN: Final = 50

NpubOption = Annotated[str, typer.Option("--npub", help="The miner: an npub or public key in hex.")]


def _miner(npub: str) -> str:
    try:
        return parse_pubkey(npub)
    except InvalidKey as error:
        raise NoncestrError(f"--npub: {error}") from None


@notices_app.command("test")
def send_test(npub: NpubOption, data: DataOption = Path("data")) -> None:
    """Have the running pool send a test message to a miner, by every way its settings name."""
    ask_for_test(data / FILE, _miner(npub), WallClock().now_ms())
    typer.echo("the running pool sends it within seconds; `noncestr notices show` tells what became of it")


@notices_app.command("show")
def show(npub: NpubOption, data: DataOption = Path("data")) -> None:
    """What was sent to a miner in the last days, or waits to be sent. Of what it said only the title is kept."""
    found = queue_of(folder_there(data) / FILE, _miner(npub))
    for at_ms, way, title, attempts, done in found[:SHOWN]:
        at = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        state = "sent" if done else f"waits, tried {attempts} times" if attempts else "waits"
        typer.echo(f"{at} UTC  {way:8} {state}: {title}")
    if not found:
        typer.echo("nothing was sent to it")
