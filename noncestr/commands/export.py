"""`noncestr accounting export`: the books for accountants and tax offices."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from noncestr.commands.options import BACKEND_OPTIONS, ConfigOption, DataOption, read_config
from noncestr.errors import NoncestrError

if TYPE_CHECKING:
    from accounting.adapters.store import StorePlace

OutOption = Annotated[
    Path | None, typer.Option("--out", help="The file to write, else standard output.", dir_okay=False)
]

export_app = typer.Typer(help="The books as files that other programs read.", no_args_is_help=True)


@export_app.command("beancount")
def beancount(out: OutOption = None, data: DataOption = Path("data"), config: ConfigOption = None) -> None:
    """All books as text for beancount: `bean-check` accepts it and compares every account's balance.

    The pool may run meanwhile.
    """
    from accounting.adapters.reads import StoredReads
    from accounting.beancount_text import beancount_text
    from accounting.entries import read_entries

    def text(reads: StoredReads) -> AsyncIterator[str]:
        return beancount_text(read_entries(reads.entries), f"Books of the pool {reads.pool}")

    _write(_ledger(config, data), out, text)


@export_app.command("csv")
def tax_csv(
    npub: Annotated[str, typer.Option("--npub", help="The miner: npub, nprofile or hex.")],
    year: Annotated[int, typer.Option("--year", help="The year, by UTC.")],
    out: OutOption = None,
    data: DataOption = Path("data"),
    config: ConfigOption = None,
) -> None:
    """A miner's year for its taxes: what it earned, what was taken back, what it was paid, with what proves each."""
    from accounting.adapters.reads import StoredReads
    from accounting.entries import read_entries
    from accounting.tax_csv import tax_csv as csv_text
    from accounting.tax_csv import year_bounds
    from nips.errors import InvalidKey
    from nips.nip19 import parse_pubkey

    try:
        miner = parse_pubkey(npub)
        from_s, before_s = year_bounds(year)
    except (InvalidKey, ValueError) as error:
        raise NoncestrError(str(error)) from None

    def text(reads: StoredReads) -> AsyncIterator[str]:
        return csv_text(read_entries(reads.entries, miner=miner, from_s=from_s, before_s=before_s), miner)

    _write(_ledger(config, data), out, text)


def _ledger(config: Path | None, data: Path) -> "StorePlace":
    from noncestr.books.place import ledger_place

    return ledger_place(read_config(config).accounting, data)


def _write(ledger: "StorePlace", out: Path | None, text: "Callable[..., AsyncIterator[str]]") -> None:
    from accounting.adapters.database import StoreError
    from accounting.adapters.reads import open_reads

    if isinstance(ledger, Path) and not ledger.is_file():
        raise NoncestrError(f"there are no books in {ledger.parent}: {ledger.name} is missing")

    async def write() -> None:
        async with open_reads(ledger) as reads:
            if out is None:
                async for piece in text(reads):
                    sys.stdout.write(piece)
                return
            # Whoever finds the file finds all of it.
            draft = out.with_name(f"{out.name}.part")
            with draft.open("w", encoding="utf-8", newline="") as file:
                async for piece in text(reads):
                    file.write(piece)
            os.replace(draft, out)

    try:
        anyio.run(write, backend_options=BACKEND_OPTIONS)
    except (OSError, StoreError) as error:
        raise NoncestrError(f"the books could not be exported: {error}") from None
