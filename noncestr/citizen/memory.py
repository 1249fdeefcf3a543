"""What the citizen must not forget: notes it wrote, blocks it saw, questions it answered. SQLite, synced at once.

Losing the file costs little: notes are looked for on the relays before one is written, and what was asked before the
start is not answered.
"""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiosqlite

from nips.nip01 import VerifiedEvent, decode_event, encode_event, verify
from noncestr.citizen.limits import DAY_MS, Answered
from noncestr.errors import NoncestrError

# Longer than any block waits for its note, any limit looks back, and any message can be said again.
KEEP_MS: Final = 7 * DAY_MS

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS note(
    subject TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    json TEXT NOT NULL,
    sent INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sighting(
    block TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    total TEXT NOT NULL,
    effort TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS answered(
    question TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    asker TEXT NOT NULL,
    command TEXT NOT NULL,
    answer TEXT NOT NULL
) STRICT;
"""


class Memory:
    """Made by `open_memory`, which reads all of it: a week is little."""

    def __init__(self, database: aiosqlite.Connection) -> None:
        self._db = database
        self._forget()

    def _forget(self) -> None:
        # What was written about, or is not going to be; and when notes were written.
        self.subjects: set[str] = set()
        self.noted_ms: list[int] = []
        # The work done for each block, None where nobody knows.
        self.efforts: dict[str, int | None] = {}
        # All work there was when the newest block was seen; None when it was seen too late to say.
        self.total: int | None = None
        # Answers given; the ids of their questions, and of those given in public.
        self.answered: list[Answered] = []
        self.questions: set[str] = set()
        self.answers: set[str] = set()

    async def load(self, now_ms: int) -> None:
        """Read what is kept, and forget what is old."""
        await self._db.executescript(_SCHEMA)
        before = now_ms - KEEP_MS
        await self._db.execute("DELETE FROM note WHERE at_ms < ? AND sent", (before,))
        await self._db.execute("DELETE FROM answered WHERE at_ms < ?", (before,))
        # The newest block's work is where the next one's begins, however long ago it was.
        await self._db.execute(
            "DELETE FROM sighting WHERE at_ms < ? AND rowid < (SELECT max(rowid) FROM sighting)", (before,)
        )
        await self._db.commit()
        self._forget()
        async with self._db.execute("SELECT subject, at_ms, json <> '' FROM note") as rows:
            async for subject, at_ms, is_note in rows:
                self._keep_subject(subject, at_ms if is_note else None)
        async with self._db.execute("SELECT block, total, effort FROM sighting ORDER BY rowid") as rows:
            async for block, total, effort in rows:
                self.efforts[block] = int(effort) if effort else None
                self.total = int(total) if total else None
        async with self._db.execute(
            "SELECT question, at_ms, asker, command, answer FROM answered ORDER BY at_ms"
        ) as rows:
            async for question, at_ms, asker, command, answer in rows:
                self._keep_answer(question, Answered(at_ms, asker, command), answer)

    # Notes

    async def unsent(self) -> list[tuple[str, VerifiedEvent]]:
        """Notes that were written and perhaps not handed over, with their subjects."""
        async with self._db.execute("SELECT subject, json FROM note WHERE NOT sent ORDER BY at_ms") as rows:
            return [(subject, verify(decode_event(text))) async for subject, text in rows]

    async def add_note(self, subject: str, note: VerifiedEvent, at_ms: int) -> None:
        """Keep a note before it is handed over."""
        await self._add_note(subject, at_ms, encode_event(note).decode())
        self._keep_subject(subject, at_ms)

    async def add_silence(self, subject: str, at_ms: int) -> None:
        """Nothing is to be written about this: it was before, or there was too much."""
        await self._add_note(subject, at_ms, "")
        self._keep_subject(subject, None)

    async def mark_sent(self, subject: str) -> None:
        """The outbox has it."""
        await self._db.execute("UPDATE note SET sent = 1 WHERE subject = ?", (subject,))
        await self._db.commit()

    async def _add_note(self, subject: str, at_ms: int, text: str) -> None:
        await self._db.execute("INSERT OR IGNORE INTO note VALUES (?, ?, ?, ?)", (subject, at_ms, text, not text))
        await self._db.commit()

    def _keep_subject(self, subject: str, at_ms: int | None) -> None:
        self.subjects.add(subject)
        if at_ms is not None:
            self.noted_ms.append(at_ms)

    # Blocks

    async def add_sighting(self, block: str, at_ms: int, total: int | None) -> None:
        """A block is seen for the first time; `total`: all work by then, None when it was found too long ago to say."""
        effort = total - self.total if total is not None and self.total is not None and total > self.total else None
        texts = ("" if number is None else str(number) for number in (total, effort))
        await self._db.execute("INSERT OR IGNORE INTO sighting VALUES (?, ?, ?, ?)", (block, at_ms, *texts))
        await self._db.commit()
        self.efforts[block], self.total = effort, total

    # Questions

    async def add_answer(self, question: str, answered: Answered, answer: str = "") -> None:
        """A question is about to be answered; `answer`: the id of an answer in public."""
        await self._db.execute("INSERT OR IGNORE INTO answered VALUES (?, ?, ?, ?, ?)", (question, *answered, answer))
        await self._db.commit()
        self._keep_answer(question, answered, answer)

    def _keep_answer(self, question: str, answered: Answered, answer: str) -> None:
        self.questions.add(question)
        self.answered.append(answered)
        if answer:
            self.answers.add(answer)


@asynccontextmanager
async def open_memory(path: Path, now_ms: int) -> AsyncIterator[Memory]:
    """The memory in a file, made if there is none. Raises NoncestrError for a file that can't be used."""
    try:
        database = await aiosqlite.connect(path)
    except sqlite3.Error as error:
        raise NoncestrError(f"{path}: {error}") from error
    try:
        memory = Memory(database)
        try:
            await database.execute("PRAGMA journal_mode=WAL")
            await database.execute("PRAGMA synchronous=FULL")
            await memory.load(now_ms)
        except sqlite3.Error as error:
            raise NoncestrError(f"{path}: {error}; without the file, notes are looked for on the relays") from error
        yield memory
    finally:
        await database.close()
