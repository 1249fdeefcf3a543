"""The treasury's ecash on SQLite. Whoever reads this file can spend what is in it: it is the owner's alone (0600).

Every change is one transaction, fsynced (WAL, synchronous=FULL). A proof is free, reserved for one operation, spent, or
lost; what went to payees stands in a table of its own until the mint says that it was claimed or it was taken back.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import aiosqlite
import msgspec

from nips.keys import SecretKey
from nips.nut00 import Proof, proof_y
from nips.nut03 import Output
from zapper.adapters.handed_rows import HandedRows
from zapper.adapters.lock_file import take_lock
from zapper.adapters.proof_schema import OPERATION, SCHEMA, dump, operation_of
from zapper.adapters.sound_file import open_sound
from zapper.adapters.transactions import transaction
from zapper.ecash import Kind, Operation, OpState
from zapper.ecash_ports import Totals
from zapper.errors import Conflict

REMEDY = (
    "keep it and put its newest copy back: what a copy lacks is found at the mint (docs/payouts.md); "
    "without any the ecash in it is lost, and a start without the file begins another treasury"
)
_OUR_PROOFS = (Kind.SEND, Kind.SPLIT, Kind.MELT)


class SqliteProofStore(HandedRows):
    """See `zapper.ecash_ports.ProofStore`. Made by `open_proof_store`. `key` signs refunds and mint quotes."""

    def __init__(self, connection: aiosqlite.Connection, key: SecretKey) -> None:
        super().__init__(connection)
        self.key = key

    # Operations

    async def _insert(self, operation: Operation) -> None:
        try:
            await self._db.execute(
                "INSERT INTO operations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    operation.reference,
                    operation.kind.value,
                    operation.mint,
                    operation.state.value,
                    operation.created_ms,
                    dump(operation.outputs),
                    operation.sent,
                    dump(operation.inputs),
                    dump(operation.cancel),
                    operation.quote,
                    operation.amount,
                    operation.fee,
                    operation.preimage,
                    operation.reason,
                ),
            )
        except sqlite3.IntegrityError as error:
            raise Conflict(f"this operation cannot begin: {error}") from None

    async def begin(self, operation: Operation) -> None:
        """A new operation with its inputs reserved. Raises Conflict when one of them is not free."""
        async with transaction(self._db, self._lock):
            if await self._one("SELECT 1 FROM abandoned WHERE reference = ?", operation.reference) is not None:
                raise Conflict("this payout was given up")
            await self._insert(operation)
            for proof in operation.inputs:
                if operation.kind in _OUR_PROOFS:
                    sql = (
                        "UPDATE proofs SET state = 'reserved', operation = ?"
                        " WHERE y = ? AND mint = ? AND state = 'free'"
                    )
                else:
                    sql = (
                        "UPDATE sent SET state = 'returning', operation = ? WHERE y = ? AND mint = ? AND state = 'out'"
                    )
                cursor = await self._db.execute(sql, (operation.reference, proof_y(proof), operation.mint))
                if cursor.rowcount != 1:
                    raise Conflict("a proof of this operation serves another one")

    async def set_cancel(self, reference: str, outputs: Sequence[Output]) -> None:
        """The outputs that shall take the inputs back, before the mint is asked. Raises Conflict."""
        async with transaction(self._db, self._lock):
            cursor = await self._db.execute(
                "UPDATE operations SET cancel = ? WHERE reference = ? AND state = 'begun' AND cancel = '[]'",
                (dump(outputs), reference),
            )
            if cursor.rowcount != 1:
                raise Conflict(f"operation {reference} cannot be cancelled")

    async def _end(self, reference: str, state: OpState, *, fee: int, preimage: str, reason: str) -> Operation:
        cursor = await self._db.execute(
            "UPDATE operations SET state = ?, fee = ?, preimage = ?, reason = ?"
            " WHERE reference = ? AND state = 'begun'",
            (state.value, fee, preimage, reason, reference),
        )
        if cursor.rowcount != 1:
            raise Conflict(f"operation {reference} has ended or never began")
        return operation_of(await self._one(f"{OPERATION} WHERE reference = ?", reference))

    async def _add(self, operation: Operation, proofs: Sequence[Proof]) -> None:
        for proof in proofs:
            try:
                await self._db.execute(
                    "INSERT INTO proofs VALUES (?, ?, ?, ?, 'free', NULL)",
                    (proof_y(proof), operation.mint, proof.amount, dump(proof)),
                )
            except sqlite3.IntegrityError as error:
                raise Conflict(f"this proof is known: {error}") from None

    async def finish(
        self, reference: str, own: Sequence[Proof], sent: Sequence[Proof] = (), *, fee: int, preimage: str = ""
    ) -> Operation:
        """The operation is done: inputs spent, `own` free, `sent` out. Raises Conflict."""
        async with transaction(self._db, self._lock):
            operation = await self._end(reference, OpState.DONE, fee=fee, preimage=preimage, reason="")
            await self._db.execute(
                "UPDATE proofs SET state = 'spent' WHERE operation = ? AND state = 'reserved'", (reference,)
            )
            await self._add(operation, own)
            await self._add_sent(operation, sent)
            if operation.kind is Kind.RECLAIM:
                await self._db.execute("UPDATE sent SET state = 'returned' WHERE operation = ?", (reference,))
        return operation

    async def _add_sent(self, operation: Operation, sent: Sequence[Proof]) -> None:
        for proof in sent:
            await self._db.execute(
                "INSERT INTO sent VALUES (?, ?, ?, ?, ?, 'out', NULL)",
                (proof_y(proof), operation.mint, operation.reference, proof.amount, dump(proof)),
            )

    async def void(
        self, reference: str, reason: str, *, back: Sequence[Proof] = (), lost: Sequence[str] = ()
    ) -> Operation:
        """The operation comes to nothing. Raises Conflict. See `ProofStore`."""
        async with transaction(self._db, self._lock):
            operation = await self._end(reference, OpState.VOID, fee=0, preimage="", reason=reason)
            gone = "spent" if back else "free"
            for y in lost:
                await self._db.execute("UPDATE proofs SET state = 'lost' WHERE y = ? AND operation = ?", (y, reference))
                await self._db.execute(
                    "UPDATE sent SET state = 'claimed' WHERE y = ? AND operation = ?", (y, reference)
                )
            await self._db.execute(
                "UPDATE proofs SET state = ? WHERE operation = ? AND state = 'reserved'", (gone, reference)
            )
            await self._db.execute(
                "UPDATE sent SET state = 'out' WHERE operation = ? AND state = 'returning'", (reference,)
            )
            await self._add(operation, back)
        return operation

    async def restored(self, operation: Operation, sent: Sequence[Proof]) -> None:
        """Write down an operation as done that a lost or older store did not know. Raises Conflict."""
        async with transaction(self._db, self._lock):
            await self._insert(replace(operation, state=OpState.DONE))
            await self._add_sent(operation, sent)

    async def operation(self, reference: str) -> Operation | None:
        """One operation."""
        rows = await self._rows(f"{OPERATION} WHERE reference = ?", reference)
        return operation_of(rows[0]) if rows else None

    async def open_operations(self, mint: str) -> list[Operation]:
        """Those begun and not ended, oldest first."""
        rows = await self._rows(f"{OPERATION} WHERE state = 'begun' AND mint = ? ORDER BY created_ms, reference", mint)
        return [operation_of(row) for row in rows]

    # Proofs

    async def free(self, mint: str) -> list[Proof]:
        """What can be spent at that mint."""
        rows = await self._rows("SELECT proof FROM proofs WHERE mint = ? AND state = 'free'", mint)
        return [msgspec.json.decode(row[0], type=Proof) for row in rows]

    async def totals(self, mint: str) -> Totals:
        """The sums at that mint."""
        rows = await self._rows(
            "SELECT state, SUM(amount) FROM proofs WHERE mint = ? GROUP BY state"
            " UNION ALL SELECT state, SUM(amount) FROM sent WHERE mint = ? GROUP BY state",
            mint,
            mint,
        )
        sums = dict(rows)
        return Totals(
            free=sums.get("free", 0),
            reserved=sums.get("reserved", 0),
            out=sums.get("out", 0) + sums.get("returning", 0),
            claimed=sums.get("claimed", 0),
            returned=sums.get("returned", 0),
            lost=sums.get("lost", 0),
        )

    async def mints(self) -> list[str]:
        """Every mint the treasury holds or has handed out ecash of."""
        rows = await self._rows("SELECT mint FROM proofs UNION SELECT mint FROM sent ORDER BY 1")
        return [row[0] for row in rows]

    async def check(self) -> list[str]:
        """What is wrong with the file, "" lines none: SQLite's own check, and the sums that must hold.

        Proofs reserved without an operation at work, or operations at work whose inputs are not reserved.
        """
        found = [row[0] for row in await self._rows("PRAGMA integrity_check") if row[0] != "ok"]
        found += [
            f"proof {row[0]} is reserved for operation {row[1]}, which has ended"
            for row in await self._rows(
                "SELECT y, operation FROM proofs WHERE state = 'reserved' AND operation NOT IN"
                " (SELECT reference FROM operations WHERE state = 'begun')"
            )
        ]
        for row in await self._rows("SELECT y, amount, proof FROM proofs WHERE state IN ('free', 'reserved')"):
            proof = msgspec.json.decode(row[2], type=Proof)
            if proof_y(proof) != row[0] or proof.amount != row[1]:
                found.append(f"the row of proof {row[0]} is not its own")
        return found


async def _stored_key(connection: aiosqlite.Connection) -> SecretKey:
    async with connection.execute("SELECT secret FROM keys WHERE name = 'treasury'") as cursor:
        row = await cursor.fetchone()
    assert row is not None  # whoever made the file wrote it
    return SecretKey.from_hex(row[0])


async def _key(connection: aiosqlite.Connection, random: Callable[[int], bytes]) -> SecretKey:
    await connection.execute(
        "INSERT OR IGNORE INTO keys VALUES ('treasury', ?)", (SecretKey(random(32)).secret_bytes().hex(),)
    )
    return await _stored_key(connection)


@asynccontextmanager
async def open_proof_store(path: Path, random: Callable[[int], bytes] = os.urandom) -> AsyncIterator[SqliteProofStore]:
    """The store in this file, made when missing. Raises StoreInUse when another process has it, StoreDamaged."""
    with take_lock(path):
        # SQLite gives its own files beside it the same permissions.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        async with open_sound(path, REMEDY) as connection:
            await connection.execute("PRAGMA foreign_keys=ON")
            await connection.executescript(SCHEMA)
            yield SqliteProofStore(connection, await _key(connection, random))


@asynccontextmanager
async def read_proof_store(path: Path) -> AsyncIterator[SqliteProofStore]:
    """The store of another process, for reading only: it may be at work meanwhile."""
    async with aiosqlite.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None) as connection:
        yield SqliteProofStore(connection, await _stored_key(connection))
