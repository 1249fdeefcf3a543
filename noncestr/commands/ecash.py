"""`noncestr ecash`: what the treasury holds at its mints, what became of ecash handed out, and filling it."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
import typer

from accounting.mint_keys import ShownKeyset, write_mint_keys
from nips.errors import NipError
from nips.nip19 import encode_npub
from nips.nut00 import normal_mint_url
from noncestr.commands.options import DataOption, JsonOption, folder_there
from noncestr.errors import NoncestrError
from noncestr.payouts.ecash import FILE
from noncestr.verify.mints import ask_mint_keys
from zapper.adapters.cashu_mint import open_mint
from zapper.adapters.proof_store import SqliteProofStore, open_proof_store, read_proof_store
from zapper.errors import ZapperError
from zapper.treasury import Treasury

ecash_app = typer.Typer(
    help="The treasury's ecash: what it holds, what miners claimed, and filling it.", no_args_is_help=True
)


async def _read(store: SqliteProofStore) -> dict[str, Any]:
    mints = {url: msgspec.to_builtins(await store.totals(url)) for url in await store.mints()}
    handed = [
        {
            "payout": row.payout_id,
            "miner": encode_npub(row.miner),
            "method": row.method,
            "mint": row.mint,
            "at": datetime.fromtimestamp(row.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
            "delivered": row.delivered_ms is not None,
            "open_sat": sum(proof.amount for proof, state in await store.sent_proofs(row.reference) if state == "out"),
            "back_after": datetime.fromtimestamp(row.locktime, UTC).strftime("%Y-%m-%d") if row.locktime else "",
        }
        for row in await store.all_handed(unsettled=True)
    ]
    return {"mints": mints, "unclaimed": handed, "problems": await store.check()}


@ecash_app.command("show")
def show(data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """What the treasury holds at each mint, and what nobody has claimed yet; the pool may run meanwhile."""

    async def read() -> dict[str, Any]:
        async with read_proof_store(data / FILE) as store:
            return await _read(store)

    if not (data / FILE).exists():
        raise NoncestrError(f"there is no treasury of ecash in {data}")
    found = anyio.run(read)
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    for url, sums in found["mints"].items():
        print(f"{url}: " + ", ".join(f"{name} {amount} sat" for name, amount in sums.items() if amount))
    for row in found["unclaimed"]:
        state = "" if row["delivered"] else ", not at its relays yet"
        back = f", back after {row['back_after']}" if row["back_after"] else ""
        print(f"{row['at']} {row['method']} {row['miner']}: {row['open_sat']} sat not claimed{state}{back}")
    for problem in found["problems"]:
        print(f"WRONG: {problem}")


@ecash_app.command("fund")
def fund(
    amount: Annotated[int, typer.Argument(help="How much, in sat.", min=1)],
    mint: Annotated[str, typer.Option("--mint", help="The mint's URL, one of [mint] urls.")],
    data: DataOption = Path("data"),
) -> None:
    """Print an invoice that fills the treasury. The pool must be stopped; once it runs it takes the paid ecash in."""

    folder_there(data)

    async def ask() -> str:
        async with open_mint(normal_mint_url(mint)) as opened, open_proof_store(data / FILE) as store:
            treasury = Treasury(
                opened,
                store,
                key=store.key,
                clock=lambda: time.time_ns() // 1_000_000,
                random=os.urandom,
                one_at_a_time=anyio.Lock(),
            )
            _, invoice = await treasury.fund(amount)
            return invoice

    try:
        print(anyio.run(ask))
    except (ZapperError, NipError) as error:
        raise NoncestrError(str(error)) from None


@ecash_app.command("keys")
def keys(mint: Annotated[list[str], typer.Option("--mint", help="The mint's URL; more than once for more.")]) -> None:
    """Print the keys of mints as a file for `noncestr verify --mint-keys`: audits by it can be repeated offline."""

    async def ask() -> list[ShownKeyset]:
        return [keyset for url in mint for keyset in await ask_mint_keys(url)]

    print(write_mint_keys(anyio.run(ask)))
