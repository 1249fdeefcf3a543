"""`noncestr payouts psbt`: batches of payouts on chain that the operator signs."""

import base64
import binascii
import string
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from noncestr.commands.answers import answer
from noncestr.commands.options import DataOption, JsonOption
from noncestr.errors import NoncestrError

psbt_app = typer.Typer(
    help="Batches on chain that you sign: list, show, hand back signed, cancel.", no_args_is_help=True
)

# BIP 174: a PSBT's first bytes.
MAGIC = b"psbt\xff"
# A standard transaction has 400,000 weight units; a PSBT of one carries its inputs' transactions too.
MAX_FILE = 8 * 1024 * 1024

BatchArgument = Annotated[str, typer.Argument(help="The batch's id or its beginning: `psbt list` names it.")]


@psbt_app.command("list")
def list_(data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """Show the batches that wait for a signature."""
    found = answer(data, "psbt_list")
    if as_json:
        _json(found)
        return
    from noncestr.commands.psbt_tables import show_batches

    show_batches(found)


@psbt_app.command("show")
def show(
    batch: BatchArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the PSBT (binary, BIP 174) to this file.", dir_okay=False)
    ] = None,
    data: DataOption = Path("data"),
    as_json: JsonOption = False,
) -> None:
    """Show one batch with its PSBT, for signing. From then on it can be cancelled with evidence only."""
    row = answer(data, "psbt_show", batch)
    if out is not None:
        try:
            out.write_bytes(base64.b64decode(row["psbt"]))
        except OSError as error:
            raise NoncestrError(f"--out {out}: {error.strerror}") from None
    if as_json:
        _json(row)
        return
    from noncestr.commands.psbt_tables import show_batch

    show_batch(row, with_psbt=out is None)
    if out is not None:
        typer.echo(f"its PSBT is in {out}")


@psbt_app.command("submit")
@psbt_app.command("sign", hidden=True)
def submit(
    file: Annotated[
        Path, typer.Argument(help="The signed PSBT, binary or base64, or the transaction in hex.", dir_okay=False)
    ],
    data: DataOption = Path("data"),
    as_json: JsonOption = False,
) -> None:
    """Hand a signed batch back: the very transaction that was shown. With all signatures the pool sends it."""
    row = answer(data, "psbt_submit", read_signed(file))
    if as_json:
        _json(row)
        return
    if not row["complete"]:
        typer.echo(f"batch {row['txid']} lacks signatures still: `show` has those that are there, for the next signer")
        return
    typer.echo(f"batch {row['txid']} is signed: the pool sends it, {len(row['payees'])} payouts settle with it")


@psbt_app.command("cancel")
def cancel(
    batch: BatchArgument,
    spent_by: Annotated[
        str, typer.Option("--spent-by", help="The txid of another transaction that has spent one of its coins.")
    ] = "",
    unsigned: Annotated[
        str, typer.Option("--unsigned", help="Nobody signed it, and nobody will: how you know. It is kept.")
    ] = "",
    data: DataOption = Path("data"),
    as_json: JsonOption = False,
) -> None:
    """Give a batch up: what it would pay is due again. One whose PSBT was shown needs --spent-by or --unsigned."""
    if spent_by and unsigned:
        raise NoncestrError("give one of --spent-by and --unsigned")
    row = answer(data, "psbt_cancel", batch, spent_by, unsigned)
    if as_json:
        _json(row)
        return
    typer.echo(f"batch {row['txid']} is cancelled: {len(row['payees'])} payouts are due again")


def read_signed(path: Path) -> str:
    """A PSBT in base64, or a transaction in hex. Raises NoncestrError."""
    try:
        with path.open("rb") as file:
            found = file.read(MAX_FILE + 1)
    except OSError as error:
        raise NoncestrError(f"{path}: {error.strerror}") from None
    if len(found) > MAX_FILE:
        raise NoncestrError(f"{path} is larger than a PSBT can be")
    if found.startswith(MAGIC):
        return base64.b64encode(found).decode()
    text = "".join(found.decode("ascii", "replace").split())
    if text and set(text) <= set(string.hexdigits):
        return text
    try:
        if base64.b64decode(text, validate=True).startswith(MAGIC):
            return text
    except (binascii.Error, ValueError):
        pass
    raise NoncestrError(f"{path} holds no PSBT and no transaction")


def _json(found: Any) -> None:
    typer.echo(msgspec.json.encode(found))
