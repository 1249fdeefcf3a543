"""The treasury's ecash on SQLite. Whoever reads this file can spend what is in it: it is the owner's alone (0600).

Every change is one transaction, fsynced (WAL, synchronous=FULL). A proof is free, reserved for one operation, spent, or
lost; what went to payees stands in a table of its own until the mint says that it was claimed or it was taken back.
"""

import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite
import anyio
import msgspec

from nips.keys import SecretKey
from nips.nut00 import Proof, proof_y
from nips.nut03 import Output
from zapper.adapters.lock_file import take_lock
from zapper.adapters.transactions import transaction
from zapper.ecash import Kind, Operation, OpState
from zapper.ecash_ports import Handed, Totals
from zapper.errors import Conflict

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, secret TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS operations (
    reference TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    mint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('begun', 'done', 'void')),
    created_ms INTEGER NOT NULL,
    outputs TEXT NOT NULL,
    sent INTEGER NOT NULL,
    inputs TEXT NOT NULL,
    cancel TEXT NOT NULL,
    quote TEXT NOT NULL,
    amount INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    preimage TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS begun ON operations (mint, created_ms) WHERE state = 'begun';
CREATE TABLE IF NOT EXISTS proofs (
    y TEXT PRIMARY KEY,
    mint TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    proof TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('free', 'reserved', 'spent', 'lost')),
    operation TEXT REFERENCES operations (reference)
);
CREATE INDEX IF NOT EXISTS free ON proofs (mint) WHERE state = 'free';
CREATE INDEX IF NOT EXISTS reserved ON proofs (operation) WHERE state = 'reserved';
CREATE TABLE IF NOT EXISTS handed (
    reference TEXT PRIMARY KEY REFERENCES operations (reference),
    payout_id TEXT NOT NULL UNIQUE,
    miner TEXT NOT NULL,
    method TEXT NOT NULL,
    mint TEXT NOT NULL,
    locktime INTEGER NOT NULL,
    event TEXT NOT NULL,
    relays TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    delivered_ms INTEGER,
    settled_ms INTEGER
);
CREATE INDEX IF NOT EXISTS unsettled ON handed (mint, locktime) WHERE settled_ms IS NULL;
CREATE TABLE IF NOT EXISTS sent (
    y TEXT PRIMARY KEY,
    mint TEXT NOT NULL,
    reference TEXT NOT NULL REFERENCES operations (reference),
    amount INTEGER NOT NULL CHECK (amount > 0),
    proof TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('out', 'returning', 'claimed', 'returned')),
    operation TEXT REFERENCES operations (reference)
);
CREATE INDEX IF NOT EXISTS sent_by ON sent (reference);
"""
_OPERATION = (
    "SELECT reference, kind, mint, state, created_ms, outputs, sent, inputs, cancel, quote, amount, fee, preimage,"
    " reason FROM operations"
)
_HANDED = (
    "SELECT reference, payout_id, miner, method, mint, locktime, event, relays, created_ms, delivered_ms, settled_ms"
    " FROM handed"
)
_OUR_PROOFS = (Kind.SEND, Kind.SPLIT, Kind.MELT)


def _dump(values: Sequence[Output] | Sequence[Proof] | Proof) -> str:
    return msgspec.json.encode(values).decode()


def _operation(row: Sequence[Any]) -> Operation:
    return Operation(
        reference=row[0],
        kind=Kind(row[1]),
        mint=row[2],
        state=OpState(row[3]),
        created_ms=row[4],
        outputs=msgspec.json.decode(row[5], type=tuple[Output, ...]),
        sent=row[6],
        inputs=msgspec.json.decode(row[7], type=tuple[Proof, ...]),
        cancel=msgspec.json.decode(row[8], type=tuple[Output, ...]),
        quote=row[9],
        amount=row[10],
        fee=row[11],
        preimage=row[12],
        reason=row[13],
    )


def _handed(row: Sequence[Any]) -> Handed:
    values = list(row)
    values[7] = tuple(json.loads(values[7]))
    return Handed(*values)


class SqliteProofStore:
    """See `zapper.ecash_ports.ProofStore`. Made by `open_proof_store`. `key` signs refunds and mint quotes."""

    def __init__(self, connection: aiosqlite.Connection, key: SecretKey) -> None:
        self._db = connection
        self._lock = anyio.Lock()
        self.key = key

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
                    _dump(operation.outputs),
                    operation.sent,
                    _dump(operation.inputs),
                    _dump(operation.cancel),
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
                (_dump(outputs), reference),
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
        return _operation(await self._one(f"{_OPERATION} WHERE reference = ?", reference))

    async def _add(self, operation: Operation, proofs: Sequence[Proof]) -> None:
        for proof in proofs:
            try:
                await self._db.execute(
                    "INSERT INTO proofs VALUES (?, ?, ?, ?, 'free', NULL)",
                    (proof_y(proof), operation.mint, proof.amount, _dump(proof)),
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
                (proof_y(proof), operation.mint, operation.reference, proof.amount, _dump(proof)),
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

    async def refuse(self, operation: Operation) -> None:
        """Write down an operation as void that never began, so that it never begins. Raises Conflict."""
        async with transaction(self._db, self._lock):
            await self._insert(replace(operation, state=OpState.VOID))

    async def restored(self, operation: Operation, sent: Sequence[Proof]) -> None:
        """Write down an operation as done that a lost or older store did not know. Raises Conflict."""
        async with transaction(self._db, self._lock):
            await self._insert(replace(operation, state=OpState.DONE))
            await self._add_sent(operation, sent)

    async def operation(self, reference: str) -> Operation | None:
        """One operation."""
        rows = await self._rows(f"{_OPERATION} WHERE reference = ?", reference)
        return _operation(rows[0]) if rows else None

    async def open_operations(self, mint: str) -> list[Operation]:
        """Those begun and not ended, oldest first."""
        rows = await self._rows(f"{_OPERATION} WHERE state = 'begun' AND mint = ? ORDER BY created_ms, reference", mint)
        return [_operation(row) for row in rows]

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

    # What went to payees

    async def hand(self, handed: Handed) -> Handed:
        """The event that carries what was sent, kept before any relay gets it; the first one stands for good."""
        async with transaction(self._db, self._lock):
            row = await self._one(f"{_HANDED} WHERE reference = ?", handed.reference)
            if row is not None:
                return _handed(row)
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
        rows = await self._rows(f"{_HANDED} WHERE reference = ?", reference)
        return _handed(rows[0]) if rows else None

    async def set_delivered(self, reference: str, now_ms: int) -> None:
        """Relays have taken the event."""
        async with transaction(self._db, self._lock):
            await self._db.execute(
                "UPDATE handed SET delivered_ms = ? WHERE reference = ? AND delivered_ms IS NULL", (now_ms, reference)
            )

    async def all_handed(self, *, unsettled: bool = False) -> list[Handed]:
        """Everything handed over, newest first; `unsettled`: only what is neither claimed nor taken back."""
        where = " WHERE settled_ms IS NULL" if unsettled else ""
        return [_handed(row) for row in await self._rows(f"{_HANDED}{where} ORDER BY created_ms DESC")]

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
    """The store in this file, made when missing. Raises StoreInUse when another process has it."""
    with take_lock(path):
        # SQLite gives its own files beside it the same permissions.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        async with aiosqlite.connect(path, isolation_level=None) as connection:
            await connection.execute("PRAGMA journal_mode=WAL")
            await connection.execute("PRAGMA synchronous=FULL")
            await connection.execute("PRAGMA foreign_keys=ON")
            await connection.executescript(_SCHEMA)
            yield SqliteProofStore(connection, await _key(connection, random))


@asynccontextmanager
async def read_proof_store(path: Path) -> AsyncIterator[SqliteProofStore]:
    """The store of another process, for reading only: it may be at work meanwhile."""
    async with aiosqlite.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None) as connection:
        yield SqliteProofStore(connection, await _stored_key(connection))
