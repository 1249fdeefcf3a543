"""The places of one ledger while it is made anew: the one in use, the draft, and what is left beside it."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

from accounting.adapters.postgres_database import PostgresDatabase, PostgresPlace
from accounting.adapters.store import StorePlace

DRAFT = "rebuilding"
REBUILT = "rebuilt"
BEFORE = "before-rebuild"


class Slots(Protocol):
    """Nobody has any of the places open when they change. Everything raises StoreError or OSError."""

    @property
    def ledger(self) -> StorePlace:
        """The books in use."""

    @property
    def draft(self) -> StorePlace:
        """The ones that are being made."""

    @property
    def rebuilt(self) -> StorePlace:
        """Where the draft goes if it is not taken."""

    @property
    def before(self) -> StorePlace:
        """Where the ledger goes when the draft takes its place."""

    async def is_there(self) -> bool:
        """Whether there is a ledger."""

    async def discard(self) -> None:
        """Remove the draft."""

    async def take(self) -> None:
        """Put the draft in the ledger's place, at once or not at all."""

    async def lay_aside(self) -> None:
        """Keep the draft for people to look at."""


def remove_file(path: Path) -> None:
    """Remove an SQLite file and what belongs to it."""
    for rest in ("", "-wal", "-shm"):
        path.with_name(path.name + rest).unlink(missing_ok=True)


def _fold_in(path: Path) -> None:
    """Bring into the file what stands beside it. A write-ahead log left there by a kill would be taken for that of
    whatever file comes in its place, and written over it.
    """
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as database:
        # A file so damaged that it can't be opened keeps nothing back: it is laid aside as it is.
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for rest in ("-wal", "-shm"):
        path.with_name(path.name + rest).unlink(missing_ok=True)


class FileSlots:
    """Files beside each other."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.draft, self.rebuilt, self.before = (
            ledger.with_name(f"{ledger.stem}.{name}{ledger.suffix}") for name in (DRAFT, REBUILT, BEFORE)
        )

    async def is_there(self) -> bool:
        return self.ledger.exists()

    async def discard(self) -> None:
        remove_file(self.draft)

    async def take(self) -> None:
        if self.ledger.exists():
            _fold_in(self.ledger)
            remove_file(self.before)
            os.link(self.ledger, self.before)
        # In one step: at no moment is there no ledger, which a start would take for a lost one.
        os.replace(self.draft, self.ledger)

    async def lay_aside(self) -> None:
        remove_file(self.rebuilt)
        self.draft.rename(self.rebuilt)


class PostgresSlots:
    """Schemas of one database."""

    def __init__(self, ledger: PostgresPlace) -> None:
        self.ledger = ledger
        self.draft, self.rebuilt, self.before = (
            ledger.beside(name.replace("-", "_")) for name in (DRAFT, REBUILT, BEFORE)
        )

    async def is_there(self) -> bool:
        database = PostgresDatabase(self.ledger, alone=False)
        try:
            await database.start()
            query = "SELECT 1 FROM pg_namespace WHERE nspname = ?"
            return bool(await database.fetch(query, self.ledger.schema))
        finally:
            await database.close()

    async def discard(self) -> None:
        await self._change(f'DROP SCHEMA IF EXISTS "{self.draft.schema}" CASCADE')

    async def take(self) -> None:
        await self._change(
            f'DROP SCHEMA IF EXISTS "{self.before.schema}" CASCADE',
            f'CREATE SCHEMA IF NOT EXISTS "{self.ledger.schema}"',
            f'ALTER SCHEMA "{self.ledger.schema}" RENAME TO "{self.before.schema}"',
            f'ALTER SCHEMA "{self.draft.schema}" RENAME TO "{self.ledger.schema}"',
        )

    async def lay_aside(self) -> None:
        await self._change(
            f'DROP SCHEMA IF EXISTS "{self.rebuilt.schema}" CASCADE',
            f'ALTER SCHEMA "{self.draft.schema}" RENAME TO "{self.rebuilt.schema}"',
        )

    async def _change(self, *statements: str) -> None:
        # Holding the ledger's lock: no accounting anywhere has it open.
        database = PostgresDatabase(self.ledger, alone=True)
        try:
            await database.start()
            async with database.transaction() as writer:
                for statement in statements:
                    await writer.execute(statement)
        finally:
            await database.close()


def slots_of(place: StorePlace) -> Slots:
    """The places around a ledger."""
    return FileSlots(place) if isinstance(place, Path) else PostgresSlots(place)
