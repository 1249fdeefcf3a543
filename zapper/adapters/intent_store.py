"""The intent store on SQLite: every call that changes something is one transaction, on disk when it returns.

WAL with synchronous=FULL fsyncs each commit. The rules of `IntentStore` are kept by unique indexes and compare-and-set
updates, so that they hold even against a mistaken caller. A lock file keeps a second process out.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

import aiosqlite
import anyio

from nips.nip01 import VerifiedEvent, decode_event, encode_event, verify
from nips.pool.chain import Head
from zapper.adapters.chain_book import SqliteChainBook
from zapper.adapters.intent_schema import migrate
from zapper.adapters.lock_file import take_lock
from zapper.adapters.sound_file import open_sound
from zapper.adapters.transactions import transaction
from zapper.errors import Conflict, DayFull
from zapper.payout import HOLDING, OPEN, Intent, State, Step
from zapper.plan import DAY_MS
from zapper.ports import ChainHead, Payee, RoundDone
from zapper.said import Move

# An old copy is of no use: it lacks records that the relays have, so that nothing is paid with its key.
REMEDY = (
    "keep it, see in the wallet what was under way, then move it and the zapper's key (keys/zapper.*) aside and start: "
    "a new key pays what is owed (docs/payouts.md, What happens when ...)"
)

_COLUMNS = tuple(field.name for field in fields(Intent))


def _states(chosen: frozenset[State]) -> str:
    return ",".join(f"'{state.value}'" for state in sorted(chosen, key=lambda state: state.value))


_LIST = ", ".join(f'"{name}"' for name in _COLUMNS)
_INSERT = f"INSERT INTO intents ({_LIST}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - constant names
_UPDATE = (
    "UPDATE intents SET "  # noqa: S608 - constant names
    + ", ".join(f'"{name}" = ?' for name in _COLUMNS)
    + " WHERE payout_id = ? AND state = ?"
)
_SELECT = f"SELECT {_LIST} FROM intents"  # noqa: S608 - constant names

# What settled has one record, what came back a second one.
_UNRECORDED = (
    f"{_SELECT} WHERE (state = 'settled' OR state = 'returned') AND (state = 'returned') + 1 >"  # noqa: S608 - constants
    " (SELECT count(*) FROM records WHERE records.payout_id = intents.payout_id) ORDER BY created_ms"
)
_SENT_SINCE = (
    "SELECT COALESCE(SUM(amount_msat), 0) FROM intents"  # noqa: S608 - constants
    f" WHERE created_ms >= ? AND state IN ({_states(HOLDING)})"
)
_MOVE = ", ".join(field.name for field in fields(Move))
_PAYEE = ", ".join(field.name for field in fields(Payee))


def _row(intent: Intent) -> tuple[Any, ...]:
    values = asdict(intent)
    values["state"] = intent.state.value
    return tuple(values[name] for name in _COLUMNS)


def _intent(row: Sequence[Any]) -> Intent:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["state"] = State(values["state"])
    values["fee_borne"] = bool(values["fee_borne"])
    return Intent(**values)


class SqliteIntentStore:
    """See `zapper.ports.IntentStore`. Made by `open_intent_store`. `chain`: the on-chain rail's part of the file."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._db = connection
        # One connection, one transaction at a time.
        self._lock = anyio.Lock()
        self.chain = SqliteChainBook(connection, self._lock)

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        rows: list[Any] = []
        with anyio.CancelScope(shield=True):
            async with self._lock, self._db.execute(sql, values) as cursor:
                rows = list(await cursor.fetchall())
        return rows

    async def create(self, intent: Intent, *, per_day_msat: int | None = None) -> None:
        """A new payout in state INTENT. Raises Conflict, DayFull."""
        if intent.state is not State.INTENT:
            raise Conflict(f"a payout begins as an intent, not {intent.state.value}")
        async with transaction(self._db, self._lock):
            try:
                await self._db.execute(_INSERT, _row(intent))
            except sqlite3.IntegrityError as error:
                raise Conflict(f"this payout cannot begin: {error}") from None
            if per_day_msat is not None:
                async with self._db.execute(_SENT_SINCE, (intent.created_ms - DAY_MS,)) as cursor:
                    row = await cursor.fetchone()
                if row is None or row[0] > per_day_msat:
                    raise DayFull

    async def advance(self, seen: Intent, step: Step, now_ms: int, **changes: object) -> Intent:
        """The payout one step on, if it is still as seen. Raises IllegalStep, Conflict."""
        after = seen.after(step, now_ms, **changes)
        async with transaction(self._db, self._lock):
            await self._write(seen, after)
        return after

    async def advance_all(self, seen: Sequence[tuple[Intent, Mapping[str, object]]], step: Step, now_ms: int) -> None:
        """These payouts one step on with their changes, all or none. Raises IllegalStep, Conflict."""
        pairs = [(intent, intent.after(step, now_ms, **changes)) for intent, changes in seen]
        async with transaction(self._db, self._lock):
            for before, after in pairs:
                await self._write(before, after)

    async def _write(self, seen: Intent, after: Intent) -> None:
        try:
            cursor = await self._db.execute(_UPDATE, (*_row(after), seen.payout_id, seen.state.value))
        except sqlite3.IntegrityError as error:
            raise Conflict(f"this step contradicts another payout: {error}") from None
        if cursor.rowcount != 1:
            raise Conflict(f"payout {seen.payout_id} is no longer {seen.state.value}")

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

    async def newest(self, limit: int, *, miner: str | None = None, payout: str = "") -> list[Intent]:
        """Payouts, newest first: of one miner, or whose id begins so."""
        rows = await self._rows(
            f"{_SELECT} WHERE (? IS NULL OR miner = ?) AND substr(payout_id, 1, ?) = ?"
            " ORDER BY created_ms DESC, payout_id LIMIT ?",
            miner,
            miner,
            len(payout),
            payout,
            limit,
        )
        return [_intent(row) for row in rows]

    async def cancelled(self) -> list[Intent]:
        """Payouts whose batch was cancelled, oldest first."""
        rows = await self._rows(
            f"{_SELECT} WHERE state = 'failed' AND method = 'onchain' AND reason >= 'cancelled'"
            " AND reason < 'cancellee' AND payload IS NOT NULL ORDER BY created_ms, payout_id"
        )
        return [_intent(row) for row in rows]

    async def note_sent(self, txid: str, now_ms: int) -> None:
        """A cancelled batch was found sent. The first time counts."""
        async with transaction(self._db, self._lock):
            await self._db.execute(
                "INSERT OR IGNORE INTO sent_all_the_same (txid, found_ms) VALUES (?, ?)", (txid, now_ms)
            )

    async def sent_all_the_same(self) -> list[str]:
        """The txids that `note_sent` was given, oldest first."""
        return [row[0] for row in await self._rows("SELECT txid FROM sent_all_the_same ORDER BY found_ms, txid")]

    async def revive(self, seen: Intent, payload: str, reason: str, now_ms: int) -> bool:
        """A cancelled payout that was sent is under way again; False if another payout was settled by the same output.
        Raises Conflict: its miner has another one open.
        """
        after = seen.after(Step.FOUND, now_ms, payload=payload, reason=reason)
        async with transaction(self._db, self._lock):
            async with self._db.execute(
                "SELECT 1 FROM intents WHERE evidence = ? AND payout_id != ? AND miner = ? AND state = 'settled'",
                (seen.reference, seen.payout_id, seen.miner),
            ) as cursor:
                if await cursor.fetchone() is not None:
                    return False
            await self._write(seen, after)
        return True

    async def holds(self, miner: str) -> dict[str, int]:
        """What this miner's payouts hold, by payout_id, in msat."""
        rows = await self._rows(f"{_SELECT} WHERE miner = ? AND state IN ({_states(HOLDING)})", miner)
        return {found.payout_id: found.held_msat for found in map(_intent, rows)}

    async def payee(self, miner: str) -> Payee | None:
        """How the miner's payouts went lately."""
        rows = await self._rows(f"SELECT {_PAYEE} FROM payees WHERE miner = ?", miner)  # noqa: S608 - constant names
        return Payee(*rows[0]) if rows else None

    async def payees(self) -> list[Payee]:
        """Every payee whose last payouts failed, longest first."""
        rows = await self._rows(f"SELECT {_PAYEE} FROM payees WHERE failures > 0 ORDER BY since_ms, miner")  # noqa: S608 - constant names
        return [Payee(*row) for row in rows]

    async def set_payee(self, payee: Payee) -> None:
        """Remember it."""
        async with transaction(self._db, self._lock):
            await self._db.execute(
                f"INSERT OR REPLACE INTO payees ({_PAYEE}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant names
                astuple(payee),
            )

    async def unrecorded(self) -> list[Intent]:
        """Settled payouts without a payout record, and returned ones without their reversal's, oldest first."""
        rows = await self._rows(_UNRECORDED)
        return [_intent(row) for row in rows]

    async def served(self) -> dict[str, str]:
        """The withdrawal requests that have been acted on for good, and why one failed ("" where it did not)."""
        rows = await self._rows(
            "SELECT once, CASE WHEN state = 'failed' THEN reason ELSE '' END FROM intents"
            " WHERE once IS NOT NULL AND (state != 'failed' OR reference IS NOT NULL)"
        )
        return dict(rows)

    async def sent_since(self, since_ms: int) -> int:
        """What payouts created since then (Unix ms) hold, in msat: all miners' together."""
        rows = await self._rows(_SENT_SINCE, since_ms)
        return int(rows[0][0])

    async def returnable(self, methods: Collection[str]) -> list[Intent]:
        """Settled and recorded payouts by these methods that are not known to be kept, oldest first."""
        marks = ", ".join("?" * len(methods))
        rows = await self._rows(
            f"{_SELECT} WHERE method IN ({marks}) AND state = 'settled' AND kept_ms IS NULL"  # noqa: S608 - question marks
            " AND payout_id IN (SELECT payout_id FROM records) ORDER BY created_ms",
            *methods,
        )
        return [_intent(row) for row in rows]

    async def set_kept(self, payout_id: str, now_ms: int) -> None:
        """The payee has it for good."""
        async with transaction(self._db, self._lock):
            await self._db.execute("UPDATE intents SET kept_ms = ? WHERE payout_id = ?", (now_ms, payout_id))

    async def said(self, miner: str) -> list[VerifiedEvent]:
        """What `keep_said` was given last of this miner, one event a kind."""
        rows = await self._rows("SELECT event FROM said WHERE miner = ? ORDER BY kind", miner)
        return [verify(decode_event(row[0])) for row in rows]

    async def keep_said(self, events: Sequence[VerifiedEvent], moves: Sequence[Move] = ()) -> None:
        """Remember these in place of those before, of the same kinds, and with them what they changed."""
        async with transaction(self._db, self._lock):
            await self._db.executemany(
                "INSERT OR REPLACE INTO said VALUES (?, ?, ?)",
                [(event.pubkey, event.kind, encode_event(event)) for event in events],
            )
            # A clock that went back may have shown one before.
            await self._db.executemany(
                f"INSERT OR IGNORE INTO moves ({_MOVE}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - constant names
                [astuple(move) for move in moves],
            )

    async def moves(self, since_ms: int) -> list[Move]:
        """What was changed since then, oldest first."""
        rows = await self._rows(f"SELECT {_MOVE} FROM moves WHERE seen_ms >= ? ORDER BY seen_ms, event", since_ms)  # noqa: S608 - constant names
        return [Move(*row) for row in rows]

    async def last_round(self) -> RoundDone | None:
        """What `set_last_round` was given last."""
        rows = await self._rows("SELECT schedule, moment_ms, ended_ms FROM last_round")
        return RoundDone(*rows[0]) if rows else None

    async def set_last_round(self, done: RoundDone) -> None:
        """Remember it."""
        async with transaction(self._db, self._lock):
            await self._db.execute("INSERT OR REPLACE INTO last_round VALUES (1, ?, ?, ?)", astuple(done))

    async def signers(self) -> list[str]:
        """The keys (hex) that have signed payout records, in the order of their first."""
        return [row[0] for row in await self._rows("SELECT signer FROM records GROUP BY signer ORDER BY min(rowid)")]

    async def chain_head(self, signer: str) -> ChainHead | None:
        """The newest payout record of that key (hex)."""
        rows = await self._rows(
            "SELECT seq, event_id, created_at FROM records WHERE signer = ? ORDER BY seq DESC LIMIT 1", signer
        )
        return ChainHead(Head(rows[0][0], rows[0][1]), rows[0][2]) if rows else None

    async def append_record(self, payout_id: str, seq: int, event: VerifiedEvent) -> None:
        """The signed record of a settled payout, or of its return, as the next of its signer's. Raises Conflict."""
        async with transaction(self._db, self._lock):
            async with self._db.execute(
                "SELECT state, (SELECT count(*) FROM records WHERE records.payout_id = intents.payout_id)"
                " FROM intents WHERE payout_id = ?",
                (payout_id,),
            ) as cursor:
                found = await cursor.fetchone()
            if found is None or found[0] not in (State.SETTLED.value, State.RETURNED.value):
                raise Conflict(f"payout {payout_id} is not settled: it gets no record")
            if found[1] > (found[0] == State.RETURNED.value):
                raise Conflict(f"payout {payout_id} has its record")
            async with self._db.execute(
                "SELECT COALESCE(MAX(seq), -1) + 1 FROM records WHERE signer = ?", (event.pubkey,)
            ) as cursor:
                following = await cursor.fetchone()
            if following is None or following[0] != seq:
                raise Conflict(f"record {seq} does not follow the chain")
            try:
                await self._db.execute(
                    "INSERT INTO records (signer, seq, payout_id, reversal, event_id, created_at, event)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (event.pubkey, seq, payout_id, found[1], event.id, event.created_at, encode_event(event)),
                )
            except sqlite3.IntegrityError as error:
                raise Conflict(f"payout {payout_id} has its record: {error}") from None

    async def unpublished(self) -> list[VerifiedEvent]:
        """Payout records not yet handed to the relays, oldest first."""
        rows = await self._rows("SELECT event FROM records WHERE published = 0 ORDER BY rowid")
        return [verify(decode_event(row[0])) for row in rows]

    async def mark_published(self, event_id: str) -> None:
        """The relay bridge has taken this record over."""
        async with transaction(self._db, self._lock):
            await self._db.execute("UPDATE records SET published = 1 WHERE event_id = ?", (event_id,))


@asynccontextmanager
async def open_intent_store(path: Path) -> AsyncIterator[SqliteIntentStore]:
    """The store in this file, made when missing. Raises StoreInUse when another process has it, StoreDamaged."""
    with take_lock(path):
        # A mint restores tokens from what is in it (NUT-09). SQLite gives its own files beside it the same permissions.
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
        async with open_sound(path, REMEDY) as connection:
            await migrate(connection)
            await connection.execute("PRAGMA foreign_keys=ON")
            yield SqliteIntentStore(connection)
