"""What of the treasury's ecash went to payees, and what was given up instead of being handed over."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import aiosqlite
import anyio
import msgspec

from nips.nut00 import Proof
from zapper.adapters.proof_schema import HANDED, handed_of
from zapper.adapters.transactions import transaction
from zapper.ecash_ports import Handed
from zapper.errors import Conflict


class HandedRows:
    """The part of `zapper.ecash_ports.ProofStore` that is about payees."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._db = connection
        self._lock = anyio.Lock()

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        rows: list[Any] = []
        with anyio.CancelScope(shield=True):
            async with self._lock, self._db.execute(sql, values) as cursor:
                rows = list(await cursor.fetchall())
        return rows

    async def _one(self, sql: str, *values: Any) -> Any:
        """The first row within a transaction."""
        async with self._db.execute(sql, values) as cursor:
            return await cursor.fetchone()

    async def hand(self, handed: Handed) -> Handed:
        """The event that carries what was sent, kept before any relay gets it; the first one stands for good."""
        async with transaction(self._db, self._lock):
            if await self._one("SELECT 1 FROM abandoned WHERE reference = ?", handed.reference) is not None:
                raise Conflict(f"payout {handed.payout_id} was given up: nobody gets its ecash")
            row = await self._one(f"{HANDED} WHERE reference = ?", handed.reference)
            if row is not None:
                return handed_of(row)
            try:
                await self._db.execute(
                    "INSERT INTO handed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        handed.reference,
                        handed.payout_id,
                        handed.miner,
                        handed.method,
                        handed.mint,
                        handed.locktime,
                        handed.event,
                        json.dumps(handed.relays),
                        handed.created_ms,
                        handed.delivered_ms,
                        handed.settled_ms,
                    ),
                )
            except sqlite3.IntegrityError as error:
                raise Conflict(f"payout {handed.payout_id} was handed over otherwise: {error}") from None
        return handed

    async def handed(self, reference: str) -> Handed | None:
        """What was handed over under that reference."""
        rows = await self._rows(f"{HANDED} WHERE reference = ?", reference)
        return handed_of(rows[0]) if rows else None

    async def set_delivered(self, reference: str, now_ms: int) -> None:
        """Relays have taken the event."""
        async with transaction(self._db, self._lock):
            await self._db.execute(
                "UPDATE handed SET delivered_ms = ? WHERE reference = ? AND delivered_ms IS NULL", (now_ms, reference)
            )

    async def all_handed(self, *, unsettled: bool = False) -> list[Handed]:
        """Everything handed over, newest first; `unsettled`: only what is neither claimed nor taken back."""
        open_states = "SELECT 1 FROM sent WHERE sent.reference = handed.reference AND state IN ('out', 'returning')"
        where = f" WHERE EXISTS ({open_states})" if unsettled else ""
        return [handed_of(row) for row in await self._rows(f"{HANDED}{where} ORDER BY created_ms DESC")]

    async def sent_proofs(self, reference: str) -> list[tuple[Proof, str]]:
        """What was sent under that reference, each with its state: out, returning, claimed or returned."""
        rows = await self._rows("SELECT proof, state FROM sent WHERE reference = ? ORDER BY amount DESC, y", reference)
        return [(msgspec.json.decode(row[0], type=Proof), row[1]) for row in rows]

    async def set_claimed(self, reference: str, ys: Sequence[str], now_ms: int) -> None:
        """The mint says that these were spent; when nothing of the reference is out any more, it is settled."""
        async with transaction(self._db, self._lock):
            for y in ys:
                await self._db.execute(
                    "UPDATE sent SET state = 'claimed' WHERE y = ? AND reference = ? AND state = 'out'", (y, reference)
                )
            await self._db.execute(
                "UPDATE handed SET settled_ms = ? WHERE reference = ? AND settled_ms IS NULL AND NOT EXISTS"
                " (SELECT 1 FROM sent WHERE sent.reference = handed.reference AND state IN ('out', 'returning'))",
                (now_ms, reference),
            )

    # What was given up

    async def abandon(self, reference: str, mint: str, reason: str) -> None:
        """Nobody gets this payout's ecash any more: the first reason given stands. Raises Conflict when its event was
        kept to be handed over and not all of it has come back.
        """
        async with transaction(self._db, self._lock):
            if await self._one(f"{HANDED} WHERE reference = ?", reference) is not None:
                states = "SELECT COUNT(*), SUM(state = 'returned') FROM sent WHERE reference = ?"
                sent, returned = await self._one(states, reference)
                if not sent or sent != returned:
                    raise Conflict("its ecash was handed over")
            await self._db.execute("INSERT OR IGNORE INTO abandoned VALUES (?, ?, ?)", (reference, mint, reason))

    async def abandoned(self, reference: str) -> str | None:
        """Why this payout's ecash was given up; None when it was not."""
        rows = await self._rows("SELECT reason FROM abandoned WHERE reference = ?", reference)
        return str(rows[0][0]) if rows else None

    async def left_by_abandoned(self, mint: str) -> list[str]:
        """Payouts that were given up and whose ecash, signed all the same, is still out."""
        rows = await self._rows(
            "SELECT reference FROM abandoned WHERE mint = ? AND EXISTS"
            " (SELECT 1 FROM sent WHERE sent.reference = abandoned.reference AND state IN ('out', 'returning'))",
            mint,
        )
        return [row[0] for row in rows]
