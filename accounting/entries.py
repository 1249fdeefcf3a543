"""The books entry by entry, for exports: each transaction with the signed event that made it, by time.

An export goes through years without holding them: a page of entries at a time, in the order of (created_at, id).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from accounting.ledger import Transaction
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.pool.kinds import PAYOUT, STATEMENT, STATUS
from nips.pool.payout import Payout, parse_payout
from nips.pool.statement import parse_status


class Entry(NamedTuple):
    """A transaction and its event: a statement (4214), a status (4216) or a payout record (4215)."""

    transaction: Transaction
    event: VerifiedEvent


class RewardOf(NamedTuple):
    """The reward that a statement splits. `block` is "" for a reward that is none; `found_ms` in Unix ms."""

    block: str
    height: int
    found_ms: int


class Spot(NamedTuple):
    """Where a page ends: the next one begins behind it."""

    created_at: int
    id: str


# Before everything.
BEGINNING = Spot(-1, "")


class BookEntries(Protocol):
    """The stored books. Pages are short: whoever gets less than a page has come to the end."""

    async def entries_after(self, spot: Spot, miner: str | None, before_s: int | None) -> Sequence[Entry]:
        """The next entries, dated before `before_s` (Unix seconds); of a miner those that move what it is owed."""

    async def rewards(self, statements: Sequence[str]) -> Mapping[str, RewardOf]:
        """The rewards of statements, by the statements' ids."""


class Reference(NamedTuple):
    """What an entry is about: the statement's id and its reward, or the payout."""

    statement: str = ""
    reward: RewardOf | None = None
    payout: Payout | None = None


def statement_of(event: VerifiedEvent) -> str:
    """The statement that an event makes or judges; "" for a payout."""
    try:
        return event.id if event.kind == STATEMENT else parse_status(event).statement if event.kind == STATUS else ""
    except InvalidPoolEvent:
        return ""


async def read_entries(
    books: BookEntries, *, miner: str | None = None, from_s: int | None = None, before_s: int | None = None
) -> AsyncIterator[tuple[Entry, Reference]]:
    """All entries in order, with what they are about; of a miner (key in hex), or with `from_s` <= date < `before_s`
    (Unix seconds).
    """
    spot = BEGINNING if from_s is None else Spot(from_s, "")
    while page := await books.entries_after(spot, miner, before_s):
        named = {statement_of(entry.event) for entry in page} - {""}
        rewards = await books.rewards(sorted(named))
        for entry in page:
            if entry.event.kind == PAYOUT:
                yield entry, Reference(payout=parse_payout(entry.event))
            else:
                statement = statement_of(entry.event)
                yield entry, Reference(statement, rewards.get(statement))
        last = page[-1].transaction
        spot = Spot(last.created_at, last.id)
