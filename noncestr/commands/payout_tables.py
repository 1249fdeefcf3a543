"""What `noncestr payouts` prints for people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from nips.nip19 import encode_npub
from noncestr.commands.edge_tables import PIPE_WIDTH

# Enough of an npub to tell people apart, and of a payout's id to name it.
NPUB, ID = 16, 12


def short(miner: str) -> str:
    """The beginning of a key's npub."""
    return encode_npub(miner)[:NPUB]


def sat(msat: int) -> str:
    """Msat as sat, with what is left over."""
    whole, rest = divmod(msat, 1000)
    return f"{whole:,}" if not rest else f"{whole:,}.{rest:03d}"


def when(ms: int) -> str:
    """A moment, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def plain(text: str) -> str:
    """Text of others (a profile's address, a server's reason) without what would steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def show_plan(found: Mapping[str, Any], *, paid: bool) -> None:
    """The round's payouts and whoever waits, with sums; `paid`: it was no dry run."""
    console = _console()
    if found["blocked"]:
        console.print(f"nothing is paid: {found['blocked']}", markup=False)
    table = Table("miner", "sat", "what happens", box=None)
    table.columns[1].justify = "right"
    for miner, msat in found["payouts"]:
        table.add_row(
            short(miner), sat(msat), plain(found["unpaid"].get(miner, "is paid")) if paid else "would be paid"
        )
    for miner, reason in found["waiting"].items():
        table.add_row(short(miner), "", f"waits: {plain(reason)}")
    if table.row_count:
        console.print(table, markup=False)
    total = sum(msat for _, msat in found["payouts"])
    console.print(f"{len(found['payouts'])} payouts over {sat(total)} sat, {len(found['waiting'])} miners wait")
    for payout_id in found["unknown"]:
        console.print(f"payout {payout_id} is unknown: see `noncestr payouts resolve --help`", markup=False)
    for npub in found["former_keys"]:
        said = f"payouts by the zapper key before, {npub}, count as paid"
        console.print(said, markup=False, soft_wrap=True)
    if found["unsigned"]:
        console.print(f"{found['unsigned']} payouts wait for your signature: see `noncestr payouts psbt list`")
    _show_rounds(console, found["rounds"])


def _show_rounds(console: Console, rounds: Mapping[str, Any]) -> None:
    said = [f"last round {when(rounds['last'])} UTC" if rounds["last"] is not None else "no round yet"]
    if rounds["undone"] is not None:
        how = f"not made yet ({plain(rounds['held'])})" if rounds["held"] else "being made"
        said.append(f"the one of {when(rounds['undone'])} is {how}")
    if rounds["next"] is not None:
        said.append(f"next {when(rounds['next'])}")
    console.print("; ".join(said), markup=False, soft_wrap=True)


def show_payouts(found: Mapping[str, Any]) -> None:
    """Payouts, newest first; then the payees that failed."""
    console = _console()
    rows = found["payouts"]
    if len(rows) == 1:
        _show_one(console, rows[0])
    elif rows:
        table = Table("payout", "UTC", "miner", "sat", "fee", "method", "state", "", box=None)
        for row in rows:
            table.add_row(
                row["payout_id"][:ID], when(row["created_ms"]), short(row["miner"]), sat(row["amount_msat"]),
                sat(row["fee_msat"]), row["method"], row["state"], plain(row["reason"]),
            )  # fmt: skip
        console.print(table, markup=False)
    else:
        console.print("no payouts")
    for payee in found["payees"]:
        dead = (
            f"given up since {when(payee['dead_ms'])}" if payee["dead_ms"] else f"next {when(payee['not_before_ms'])}"
        )
        console.print(
            f"{short(payee['miner'])} failed {payee['failures']} times ({dead}): {plain(payee['reason'])}", markup=False
        )
    if len(rows) != 1:
        _show_rounds(console, found["rounds"])


def _show_one(console: Console, row: Mapping[str, Any]) -> None:
    npub = encode_npub(row["miner"])
    lines = {
        "payout": row["payout_id"],
        "state": f"{row['state']} since {when(row['step_ms'])} UTC",
        "miner": npub,
        "amount": f"{sat(row['amount_msat'])} sat, fee {sat(row['fee_msat'])}, at most {sat(row['max_fee_msat'])}",
        "method": f"{row['method']} to {row['destination']}",
        "named by": row["to"],
        "reference": row["reference"] or "",
        "preimage": row["preimage"] or "",
        "reason": row["reason"],
    }
    for name, value in lines.items():
        if value:
            console.print(f"{name + ':':<11}{plain(value)}", markup=False, soft_wrap=True)
