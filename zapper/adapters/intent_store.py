"""The intent store on SQLite: every call that changes something is one transaction, on disk when it returns.

WAL with synchronous=FULL fsyncs each commit. The rules of `IntentStore` are kept by unique indexes and compare-and-set
updates, so that they hold even against a mistaken caller. A lock file keeps a second process out.
"""

import fcntl
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO

import aiosqlite
import anyio

from nips.nip01 import VerifiedEvent, decode_event, encode_event, verify
from nips.pool.chain import Head
from zapper.adapters.transactions import transaction
from zapper.errors import Conflict, StoreInUse
from zapper.payout import HOLDING, OPEN, Intent, State, Step
from zapper.ports import ChainHead, Payee

_COLUMNS = tuple(field.name for field in fields(Intent))


def _states(states: frozenset[State]) -> str:
    return ",".join(f"'{state.value}'" for state in sorted(states, key=lambda state: state.value))


_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS intents (
    payout_id TEXT PRIMARY KEY,
    miner TEXT NOT NULL,
    amount_msat INTEGER NOT NULL CHECK (amount_msat > 0),
    max_fee_msat INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    step_ms INTEGER NOT NULL,
    "to" TEXT NOT NULL,
    destination TEXT NOT NULL,
    provider TEXT,
    zap_request TEXT,
    invoice TEXT UNIQUE,
    payment_hash TEXT UNIQUE,
    expires_at INTEGER,
    preimage TEXT,
    fee_msat INTEGER NOT NULL,
    receipt TEXT,
    reason TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_open ON intents (miner) WHERE state IN ({_states(OPEN)});
CREATE INDEX IF NOT EXISTS by_miner ON intents (miner) WHERE state IN ({_states(HOLDING)});
CREATE TABLE IF NOT EXISTS payees (
    miner TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    not_before_ms INTEGER NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY,
    payout_id TEXT NOT NULL UNIQUE REFERENCES intents (payout_id),
    event_id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    event BLOB NOT NULL,
    published INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS unsent ON records (seq) WHERE published = 0;
CREATE INDEX IF NOT EXISTS settled ON intents (created_ms) WHERE state = '{State.SETTLED.value}';
"""
_LIST = ", ".join(f'"{name}"' for name in _COLUMNS)
_INSERT = f"INSERT INTO intents ({_LIST}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - constant names
_SELECT = f"SELECT {_LIST} FROM intents"  # noqa: S608 - constant names

_UNRECORDED = (
    f"{_SELECT} WHERE state = 'settled' AND payout_id NOT IN (SELECT payout_id FROM records) ORDER BY created_ms"  # noqa: S608 - constants
)


def _row(intent: Intent) -> tuple[Any, ...]:
    values = asdict(intent)
    values["state"] = intent.state.value
    return tuple(values[name] for name in _COLUMNS)


def _intent(row: Sequence[Any]) -> Intent:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["state"] = State(values["state"])
    return Intent(**values)


class SqliteIntentStore:
    """See `zapper.ports.IntentStore`. Made by `open_intent_store`."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._db = connection
        # One connection, one transaction at a time.
        self._lock = anyio.Lock()

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        rows: list[Any] = []
        with anyio.CancelScope(shield=True):
            async with self._lock, self._db.execute(sql, values) as cursor:
                rows = list(await cursor.fetchall())
        return rows

    async def create(self, intent: Intent) -> None:
        """A new payout in state INTENT. Raises Conflict."""
        if intent.state is not State.INTENT:
            raise Conflict(f"a payout begins as an intent, not {intent.state.value}")
        async with transaction(self._db, self._lock):
            try:
                await self._db.execute(_INSERT, _row(intent))
            except sqlite3.IntegrityError as error:
                raise Conflict(f"this payout cannot begin: {error}") from None

    async def advance(self, seen: Intent, step: Step, now_ms: int, **changes: object) -> Intent:
        """The payout one step on, if it is still as seen. Raises IllegalStep, Conflict."""
        after = seen.after(step, now_ms, **changes)
        update = ", ".join(f'"{name}" = ?' for name in _COLUMNS)
        async with transaction(self._db, self._lock):
            try:
                cursor = await self._db.execute(
                    f"UPDATE intents SET {update} WHERE payout_id = ? AND state = ?",  # noqa: S608 - constant names
                    (*_row(after), seen.payout_id, seen.state.value),
                )
            except sqlite3.IntegrityError as error:
                raise Conflict(f"this step contradicts another payout: {error}") from None
            if cursor.rowcount != 1:
                raise Conflict(f"payout {seen.payout_id} is no longer {seen.state.value}")
        return after

    async def set_receipt(self, payout_id: str, receipt: str) -> None:
        """Remember the id of the zap receipt."""
        async with transaction(self._db, self._lock):
            await self._db.execute("UPDATE intents SET receipt = ? WHERE payout_id = ?", (receipt, payout_id))

    async def get(self, payout_id: str) -> Intent | None:
        """One payout."""
        rows = await self._rows(f"{_SELECT} WHERE payout_id = ?", payout_id)
        return _intent(rows[0]) if rows else None

    async def open_intents(self) -> list[Intent]:
        """Every payout that is not final, oldest first."""
        rows = await self._rows(f"{_SELECT} WHERE state IN ({_states(OPEN)}) ORDER BY created_ms, payout_id")
        return [_intent(row) for row in rows]

    async def holds(self, miner: str) -> dict[str, int]:
        """What this miner's payouts hold, by payout_id, in msat."""
        rows = await self._rows(
            f"SELECT payout_id, amount_msat FROM intents WHERE miner = ? AND state IN ({_states(HOLDING)})",  # noqa: S608 - constants
            miner,
        )
        return dict(rows)

    async def payee(self, miner: str) -> Payee | None:
        """How the miner's payouts went lately."""
        rows = await self._rows("SELECT miner, failures, not_before_ms, reason FROM payees WHERE miner = ?", miner)
        return Payee(*rows[0]) if rows else None

    async def set_payee(self, payee: Payee) -> None:
        """Remember it."""
        async with transaction(self._db, self._lock):
            await self._db.execute(
                "INSERT OR REPLACE INTO payees VALUES (?, ?, ?, ?)",
                (payee.miner, payee.failures, payee.not_before_ms, payee.reason),
            )

    async def unrecorded(self) -> list[Intent]:
        """Settled payouts without a payout record, oldest first."""
        rows = await self._rows(_UNRECORDED)
        return [_intent(row) for row in rows]

    async def chain_head(self) -> ChainHead | None:
        """The newest payout record."""
        rows = await self._rows("SELECT seq, event_id, created_at FROM records ORDER BY seq DESC LIMIT 1")
        return ChainHead(Head(rows[0][0], rows[0][1]), rows[0][2]) if rows else None

    async def append_record(self, payout_id: str, seq: int, event: VerifiedEvent) -> None:
        """The signed payout record of a settled payout, as the next of the chain. Raises Conflict."""
        async with transaction(self._db, self._lock):
            async with self._db.execute("SELECT state FROM intents WHERE payout_id = ?", (payout_id,)) as cursor:
                found = await cursor.fetchone()
            if found is None or found[0] != State.SETTLED.value:
                raise Conflict(f"payout {payout_id} is not settled: it gets no record")
            async with self._db.execute("SELECT COALESCE(MAX(seq), -1) + 1 FROM records") as cursor:
                following = await cursor.fetchone()
            if following is None or following[0] != seq:
                raise Conflict(f"record {seq} does not follow the chain")
            try:
                await self._db.execute(
                    "INSERT INTO records (seq, payout_id, event_id, created_at, event) VALUES (?, ?, ?, ?, ?)",
                    (seq, payout_id, event.id, event.created_at, encode_event(event)),
                )
            except sqlite3.IntegrityError as error:
                raise Conflict(f"payout {payout_id} has its record: {error}") from None

    async def unpublished(self) -> list[VerifiedEvent]:
        """Payout records not yet handed to the relays, by seq."""
        rows = await self._rows("SELECT event FROM records WHERE published = 0 ORDER BY seq")
        return [verify(decode_event(row[0])) for row in rows]

    async def mark_published(self, event_id: str) -> None:
        """The relay bridge has taken this record over."""
        async with transaction(self._db, self._lock):
            await self._db.execute("UPDATE records SET published = 1 WHERE event_id = ?", (event_id,))


def _take_lock(path: Path) -> TextIO:
    # Held as long as the file is open, released by the kernel when the process dies.
    lock = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StoreInUse(str(path)) from None
    return lock


@asynccontextmanager
async def open_intent_store(path: Path) -> AsyncIterator[SqliteIntentStore]:
    """The store in this file, made when missing. Raises StoreInUse when another process has it."""
    with _take_lock(path):
        async with aiosqlite.connect(path, isolation_level=None) as connection:
            await connection.execute("PRAGMA journal_mode=WAL")
            await connection.execute("PRAGMA synchronous=FULL")
            await connection.execute("PRAGMA foreign_keys=ON")
            await connection.executescript(_SCHEMA)
            yield SqliteIntentStore(connection)
