"""The books' tables entry by entry, in both databases: by time, a page at a time, of one miner what moves its money."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from accounting.adapters import stored_entries
from accounting.adapters.database import Database
from accounting.adapters.postgres_database import PostgresPlace, open_postgres
from accounting.adapters.schema import migrate
from accounting.adapters.sqlite_database import open_sqlite
from accounting.adapters.stored_entries import StoredEntries
from accounting.entries import BEGINNING, Entry, RewardOf, Spot
from accounting.ledger import miner_account
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event
from nips.pool.kinds import STATEMENT

pytestmark = pytest.mark.anyio
KEY = SecretKey(b"\x06" * 32)
# One is the beginning of the other but for its last letter.
ALICE, BOB = "aa" * 32, "aa" * 31 + "ab"
# Seconds: two of one, since a page may end between them.
EVENTS = [KEY.sign(UnsignedEvent(STATEMENT, second, (), str(number))) for number, second in enumerate((1, 5, 5, 9))]


def in_order(events: list[VerifiedEvent]) -> list[str]:
    return [each.id for each in sorted(events, key=lambda each: (each.created_at, each.id))]


@pytest.fixture
async def entries(store_place: Path | PostgresPlace) -> AsyncIterator[StoredEntries]:
    opened = open_sqlite(store_place) if isinstance(store_place, Path) else open_postgres(store_place)
    async with opened as database:
        await migrate(database)
        await fill(database)
        yield StoredEntries(database)


async def fill(database: Database) -> None:
    async with database.transaction() as db:
        for event in EVENTS:
            await db.execute(
                "INSERT INTO events (id, kind, created_at, raw) VALUES (?, ?, ?, ?)",
                event.id, event.kind, event.created_at, encode_event(event),
            )  # fmt: skip
            await db.execute("INSERT INTO transactions VALUES (?, ?, ?)", event.id, event.created_at, "a split")
        rows = [
            (EVENTS[0].id, miner_account(ALICE, "owed"), 7), (EVENTS[0].id, miner_account(BOB, "owed"), 5),
            (EVENTS[0].id, "fee", -12), (EVENTS[1].id, miner_account(BOB, "paid"), 1),
            (EVENTS[2].id, miner_account(ALICE, "paid"), 2), (EVENTS[2].id, miner_account(ALICE, "owed"), -2),
            # What only matures moves nothing that is owed.
            (EVENTS[3].id, miner_account(ALICE, "pending"), 3),
        ]  # fmt: skip
        await db.executemany("INSERT INTO postings VALUES (?, ?, ?)", rows)
        await db.execute(
            "INSERT INTO rewards VALUES (?, ?, ?, ?, ?, ?, ?)", EVENTS[0].id, "b1", 7, 1000, 12, 1, "matured"
        )


def ids(found: list[Entry]) -> list[str]:
    return [entry.event.id for entry in found]


async def test_all_come_in_order_with_their_events_and_postings(entries: StoredEntries) -> None:
    found = await entries.entries_after(BEGINNING, None, None)
    assert ids(found) == in_order(EVENTS)
    assert {entry.event.id: entry.event for entry in found} == {event.id: event for event in EVENTS}
    first = found[0].transaction
    assert (first.id, first.created_at, first.text) == (EVENTS[0].id, 1, "a split")
    assert [(posting.account, posting.msat) for posting in first.postings] == [
        ("fee", -12), (miner_account(ALICE, "owed"), 7), (miner_account(BOB, "owed"), 5),
    ]  # fmt: skip


async def test_a_miner_sees_what_moves_its_money_and_nobody_elses_postings(entries: StoredEntries) -> None:
    found = await entries.entries_after(BEGINNING, ALICE, None)
    assert ids(found) == in_order([EVENTS[0], EVENTS[2]])
    assert [posting.account for entry in found for posting in entry.transaction.postings] == [
        miner_account(ALICE, part) for part in ("owed", "owed", "paid")
    ]
    assert ids(await entries.entries_after(BEGINNING, BOB, None)) == in_order(EVENTS[:2])
    assert await entries.entries_after(BEGINNING, "cc" * 32, None) == []


@pytest.mark.parametrize("miner", [None, ALICE])
async def test_pages_end_anywhere_and_lose_nothing(
    entries: StoredEntries, monkeypatch: pytest.MonkeyPatch, miner: str | None
) -> None:
    whole = ids(await entries.entries_after(BEGINNING, miner, None))
    monkeypatch.setattr(stored_entries, "PAGE", 1)
    spot, found = BEGINNING, []
    while page := await entries.entries_after(spot, miner, None):
        assert len(page) == 1
        found += ids(page)
        spot = Spot(page[-1].transaction.created_at, page[-1].transaction.id)
    assert found == whole


async def test_a_span_ends_before_its_last_second(entries: StoredEntries) -> None:
    assert ids(await entries.entries_after(BEGINNING, None, 5)) == [EVENTS[0].id]
    assert ids(await entries.entries_after(Spot(4, "ff" * 32), None, 9)) == in_order(EVENTS[1:3])


async def test_rewards_by_their_statements(entries: StoredEntries) -> None:
    assert await entries.rewards([]) == {}
    assert await entries.rewards([EVENTS[1].id, EVENTS[0].id]) == {EVENTS[0].id: RewardOf("b1", 7, 1000)}
