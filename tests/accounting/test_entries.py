"""The books entry by entry: whole and in order whatever the pages, each entry with what it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.entries import BEGINNING, Entry, Reference, RewardOf, Spot, read_entries, statement_of
from accounting.ledger import Posting, Transaction
from nips.errors import InvalidPoolEvent
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head
from nips.pool.kinds import PAYOUT, STATEMENT, STATUS
from nips.pool.payout import PayoutBody, build_payout
from nips.pool.statement import build_status

KEY = SecretKey(bytes([9]) * 32)
POOL = PoolAddress(KEY.pubkey, "regtest")
MINER = "ab" * 32
REWARD = RewardOf("bb" * 32, 7, 1000)


def signed_statement(second: int) -> VerifiedEvent:
    """Nothing of it is read but its id."""
    return KEY.sign(UnsignedEvent(STATEMENT, second, (), "{}"))


def signed_status(statement: str, second: int) -> VerifiedEvent:
    link = Head(0, "00" * 32).next()
    return KEY.sign(build_status(POOL, link, statement, "matured", second))


def signed_payout(name: str, second: int) -> VerifiedEvent:
    body = PayoutBody(name, MINER, 5, 0, "ff" * 32, "cashu", {"token": "00" * 32, "ys": ["02" + "11" * 32]})
    return KEY.sign(build_payout(POOL, FIRST, body, second))


def entry(event: VerifiedEvent) -> Entry:
    return Entry(Transaction(event.id, event.created_at, "", (Posting("fee", 0),)), event)


@dataclass
class Books:
    """Stored books with pages of `page` entries."""

    entries: Sequence[Entry]
    page: int
    known: Mapping[str, RewardOf] = field(default_factory=dict)
    asked: list[tuple[Spot, str | None, int | None]] = field(default_factory=list)
    named: list[Sequence[str]] = field(default_factory=list)

    async def entries_after(self, spot: Spot, miner: str | None, before_s: int | None) -> Sequence[Entry]:
        self.asked.append((spot, miner, before_s))
        found = sorted(self.entries, key=lambda each: (each.transaction.created_at, each.transaction.id))
        past = [each for each in found if (each.transaction.created_at, each.transaction.id) > spot]
        return [each for each in past if before_s is None or each.transaction.created_at < before_s][: self.page]

    async def rewards(self, statements: Sequence[str]) -> Mapping[str, RewardOf]:
        self.named.append(statements)
        return {name: self.known[name] for name in statements if name in self.known}


def read(books: Books, **how: object) -> list[tuple[Entry, Reference]]:
    async def all_of_them() -> list[tuple[Entry, Reference]]:
        return [each async for each in read_entries(books, **how)]  # type: ignore[arg-type] - as the caller says

    return anyio.run(all_of_them)


# Signing takes time: made once. Several of one second, since pages may end amid them.
EVENTS = [signed_statement(second) for second in (1, 5, 9)]
EVENTS += [signed_status(EVENTS[number].id, second) for number, second in ((0, 5), (1, 9), (0, 9))]
EVENTS += [signed_payout(f"p{second}", second) for second in (1, 5, 9)]
ENTRIES = [entry(event) for event in EVENTS]


@given(st.sets(st.sampled_from(range(len(ENTRIES)))), st.integers(1, 10))
def test_every_entry_comes_once_and_in_order_whatever_the_pages(chosen: set[int], page: int) -> None:
    entries = [ENTRIES[number] for number in chosen]
    found = [each for each, _ in read(Books(entries, page))]
    assert found == sorted(entries, key=lambda each: (each.transaction.created_at, each.transaction.id))


@given(st.integers(0, 11), st.integers(0, 11), st.integers(1, 4))
def test_a_span_has_its_first_second_and_not_its_last(from_s: int, before_s: int, page: int) -> None:
    found = {each.event.id for each, _ in read(Books(ENTRIES, page), from_s=from_s, before_s=before_s)}
    assert found == {event.id for event in EVENTS if from_s <= event.created_at < before_s}


def test_each_entry_says_what_it_is_about() -> None:
    statement, status, payout = EVENTS[0], EVENTS[3], EVENTS[6]
    books = Books([entry(each) for each in (statement, status, payout)], 10, {statement.id: REWARD})
    about = {each.event.id: reference for each, reference in read(books)}
    assert about[statement.id] == Reference(statement.id, REWARD)
    assert about[status.id] == Reference(statement.id, REWARD)
    paid = about[payout.id].payout
    assert paid is not None
    assert (paid.payout_id, paid.amount_msat, about[payout.id].statement) == ("p1", 5, "")
    assert books.named == [[statement.id]], "each page asks for its statements at once"


def test_a_reward_that_is_not_known_is_none() -> None:
    ((_, reference),) = read(Books([ENTRIES[0]], 1))
    assert reference == Reference(EVENTS[0].id, None)


def test_what_is_asked_for_is_the_miners_from_the_beginning_on() -> None:
    books = Books([], 1)
    assert read(books, miner=MINER, before_s=5) == []
    assert books.asked == [(BEGINNING, MINER, 5)]
    assert BEGINNING < (0, "")


def test_which_statement_an_event_is_about() -> None:
    assert statement_of(EVENTS[0]) == EVENTS[0].id
    assert statement_of(EVENTS[3]) == EVENTS[0].id
    assert statement_of(EVENTS[6]) == ""
    broken = KEY.sign(UnsignedEvent(STATUS, 5, (), "{}"))
    assert statement_of(broken) == "", "it judges nothing"


def test_a_payout_record_that_does_not_read_is_said() -> None:
    """None is ever booked: an export that left it out would not add up."""
    with pytest.raises(InvalidPoolEvent):
        read(Books([entry(KEY.sign(UnsignedEvent(PAYOUT, 5, (), "{}")))], 1))
