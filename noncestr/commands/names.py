"""`noncestr edge names`: the keys that NIP-05 addresses are pinned to, and forgetting one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from nips.nip05 import InvalidIdentifier, parse_identifier
from nips.nip19 import encode_npub
from noncestr.edge.files import NAMES
from noncestr.errors import NoncestrError
from stratum_edge.adapters.name_pins import NamePins, Pin
from stratum_edge.errors import EdgeError

names_app = typer.Typer(help="Names at domains (NIP-05) and the keys they are held to.", no_args_is_help=True)

DataOption = Annotated[Path, typer.Option("--data", help="Folder of keys, journal, log and ledger.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _open(data: Path) -> NamePins:
    path = data / NAMES
    if not path.exists():
        raise NoncestrError(f"no names are kept in {data}")
    try:
        return NamePins(path)
    except EdgeError as error:
        raise NoncestrError(str(error)) from None


def _row(pin: Pin) -> dict[str, str]:
    return {
        "address": pin.address,
        "npub": encode_npub(pin.pubkey),
        "first": _when(pin.first_ms),
        "last": _when(pin.seen_ms),
        "refused": encode_npub(pin.other) if pin.other else "",
        "refused_at": _when(pin.other_ms) if pin.other else "",
    }


@names_app.command("list")
def list_names(data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """Show the pinned names; those whose domain has said another key since, which was refused, come first."""
    with _open(data) as pins:
        rows = [_row(pin) for pin in pins.all()]
    if as_json:
        typer.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        typer.echo(f"{row['address']}  {row['npub']}  since {row['first']}, last {row['last']} UTC")
        if row["refused"]:
            typer.echo(f"    CHANGED: says {row['refused']} since {row['refused_at']} UTC, which is refused")
    if not rows:
        typer.echo("no name is pinned")


@names_app.command("forget")
def forget(
    address: Annotated[str, typer.Argument(help="name@domain")],
    data: DataOption = Path("data"),
) -> None:
    """Forget a name's key: what its domain says at the next login is pinned anew. A running pool heeds it in minutes.

    Do this when the miner itself told you that it changed its key.
    """
    try:
        known = str(parse_identifier(address))
        with _open(data) as pins:
            found = pins.forget(known)
    except (InvalidIdentifier, EdgeError) as error:
        raise NoncestrError(str(error)) from None
    if not found:
        raise NoncestrError(f"{known} is not pinned")
    typer.echo(f"{known} is forgotten")
