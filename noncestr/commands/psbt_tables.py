"""What `noncestr payouts psbt` prints for people."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from noncestr.commands.edge_tables import PIPE_WIDTH
from noncestr.commands.payout_tables import ID, plain, sat, short, when


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def show_batches(found: Mapping[str, Any]) -> None:
    """The batches that wait for a signature."""
    console = _console()
    table = Table("batch", "since (UTC)", "payees", "sat", "fee (sat)", "PSBT", box=None)
    for column in table.columns[2:5]:
        column.justify = "right"
    for row in found["batches"]:
        shown = "never shown" if row["shown_ms"] is None else f"shown {when(row['shown_ms'])}"
        table.add_row(
            row["txid"][:ID], when(row["since_ms"]), str(len(row["payees"])), sat(row["amount_msat"]),
            f"{row['fee_sat']:,}", shown,
        )  # fmt: skip
    if not table.row_count:
        console.print("no batch waits for a signature")
        return
    console.print(table, markup=False)
    console.print("`noncestr payouts psbt show ID --out FILE` writes one, `submit FILE` takes it back signed")


def show_batch(row: Mapping[str, Any], *, with_psbt: bool) -> None:
    """One batch: whom it pays, what it spends; `with_psbt`: and the PSBT in base64."""
    console = _console()
    console.print(f"batch:     {row['txid']}", soft_wrap=True)
    console.print(f"since:     {when(row['since_ms'])} UTC")
    console.print(
        f"pays:      {sat(row['amount_msat'])} sat to {len(row['payees'])} miners, fee {row['fee_sat']:,} sat"
    )
    for coin in row["inputs"]:
        console.print(f"spends:    {coin}", soft_wrap=True)
    table = Table("output", "miner", "sat", "to", box=None)
    table.columns[2].justify = "right"
    for number, payee in enumerate(row["payees"]):
        table.add_row(str(number), short(payee["miner"]), sat(payee["amount_msat"]), plain(payee["to"]))
    console.print(table, markup=False)
    if with_psbt:
        console.print(row["psbt"], markup=False, soft_wrap=True)
