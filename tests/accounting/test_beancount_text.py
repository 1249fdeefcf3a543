"""The books as beancount text: beancount itself loads them, and its sums are the ledger's to the msat."""

import string
from dataclasses import replace
from decimal import Decimal

import pytest
from beancount import loader
from beancount.core.data import Balance, Open
from beancount.core.data import Transaction as Booked
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.beancount_text import account_name, beancount_text, sat_text
from accounting.entries import Entry, Reference, RewardOf
from accounting.ledger import Ledger, Posting, Transaction
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.chain import Link
from nips.pool.statement import RewardStatus
from tests.accounting import bookings
from tests.accounting.bookings import MINERS, POOL

EVENT = SecretKey(bytes([9] * 32)).sign(UnsignedEvent(4215, 1, (), "{}"))
SECOND = 1_700_000_000


def gather(text):
    """All that an async iterator without anything to wait for gives."""
    pieces = []
    while True:
        try:
            text.__anext__().send(None)
        except StopIteration as piece:
            pieces.append(piece.value)
        except StopAsyncIteration:
            return "".join(pieces)


async def each(items):
    for item in items:
        yield item


def load(text):
    entries, errors, _ = loader.load_string(text)
    assert errors == [], [error.message for error in errors]
    return entries


def sums(entries):
    totals: dict[str, Decimal] = {}
    for entry in entries:
        if isinstance(entry, Booked):
            for posting in entry.postings:
                assert posting.units.currency == "SAT"
                totals[posting.account] = totals.get(posting.account, Decimal(0)) + posting.units.number
    return {name: int(total * 1000) for name, total in totals.items() if total}


def statement(number, rows, fee):
    return replace(bookings.statement(number, rows, fee), created_at=SECOND + number * 40_000)


def payout(name, miner, msat, fee, second):
    return replace(bookings.payout(name, miner, msat, fee), id=f"{second:064x}", created_at=second)


BLOCKS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 10**15), max_size=3),
        st.integers(0, 10**12),
        st.lists(st.sampled_from(["matured", "orphaned", "void"]), max_size=3),
    ),
    max_size=5,
)
PAYOUTS = st.lists(
    st.tuples(
        st.text(string.printable + "äß€\0", max_size=20),
        st.sampled_from(MINERS),
        st.integers(-1000, 10**9).filter(bool),
        st.integers(0, 100),
        st.booleans(),
    ),
    max_size=5,
    unique_by=lambda each: each[0],
)


@settings(max_examples=25, deadline=None)
@given(BLOCKS, PAYOUTS)
def test_beancount_loads_the_books_and_its_balances_are_the_ledgers(blocks, payouts):
    """Whatever a zapper calls its payouts: names are quoted."""
    ledger, entries = Ledger(), []

    def add(transaction, reference):
        if transaction is not None:
            entries.append((Entry(transaction, EVENT), reference))

    for number, (rows, fee, statuses) in enumerate(blocks, 1):
        split = statement(number, rows, fee)
        about = Reference(split.id, RewardOf(split.reward.block, split.reward.height, 1000))
        add(ledger.book_statement(split), about)
        for count, said in enumerate(statuses):
            name = f"{split.id[:60]}{count:04x}"
            add(ledger.book_status(RewardStatus(name, "", POOL, Link(1, ""), split.created_at, split.id, said)), about)
    for number, (name, miner, msat, fee, on_miner) in enumerate(payouts):
        paid = payout(name, miner, msat, fee, SECOND + 300_000 + number)
        add(ledger.book_payout(paid, miner_bears_fee=on_miner), Reference(payout=paid))
    found = load(gather(beancount_text(each(entries), 'Books of "a" pool')))
    assert sums(found) == {account_name(name): msat for name, msat in ledger.accounts.items() if msat}
    checked = {entry.account: int(entry.amount.number * 1000) for entry in found if isinstance(entry, Balance)}
    used = {account for entry, _ in entries for account, _ in entry.transaction.postings}
    assert checked == {account_name(name): ledger.accounts[name] for name in used}
    assert len([entry for entry in found if isinstance(entry, Open)]) == len(used)


def test_one_msat_that_is_off_is_seen_by_beancount():
    split = statement(1, [60_001, 39_000], 1000)
    transaction = Ledger().book_statement(split)
    good = gather(beancount_text(each([(Entry(transaction, EVENT), Reference(split.id))]), "books"))
    load(good)
    for right, wrong in (("-60.001 SAT", "-60.002 SAT"), ("100.001 SAT", "100.000 SAT")):
        assert right in good
        _, errors, _ = loader.load_string(good.replace(right, wrong, 1))
        assert errors
    _, errors, _ = loader.load_string(good[::-1].replace("TAS", "STA", 1)[::-1])
    assert errors


def test_empty_books_are_good_text():
    assert [entry for entry in load(gather(beancount_text(each([]), "none"))) if isinstance(entry, Booked)] == []


def test_every_account_of_the_ledger_has_a_name():
    with pytest.raises(KeyError):
        account_name("somewhere else")
    transaction = Transaction("aa", 1, "", (Posting("luck", 5), Posting("luck:pending", -5)))
    assert sums(load(gather(beancount_text(each([(Entry(transaction, EVENT), Reference())]), "")))) == {
        "Income:Luck": 5,
        "Income:LuckPending": -5,
    }


@pytest.mark.parametrize(("msat", "text"), [(0, "0.000"), (-1, "-0.001"), (1234, "1.234"), (-1_000_000, "-1000.000")])
def test_amounts_keep_every_msat(msat, text):
    assert sat_text(msat) == text
