"""The books of a running accounting, exported beside it."""

import csv
import io

import anyio
import pytest
from beancount import loader
from beancount.core.data import Transaction

from accounting.adapters import stored_entries
from accounting.adapters.reads import open_reads
from accounting.beancount_text import account_name, beancount_text
from accounting.entries import read_entries
from accounting.tax_csv import tax_csv, year_bounds

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("page", [1, 2, 200])
async def test_the_exports_are_the_ledger_to_the_msat_whatever_the_pages(pool, eventually, monkeypatch, page):
    monkeypatch.setattr(stored_entries, "PAGE", page)
    log = pool.log
    log.terms()
    log.batch([log.alice, log.bob])
    first = log.batch([log.bob], block=True)
    log.batch([log.alice] * 3)
    second = log.batch([log.bob, log.alice], block=True)
    log.batch([])
    pool.chain.seen |= {log.block_hash(first): 6, log.block_hash(second): -1}
    pool.chain.tip = 107
    pool.tell()
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        ledger = accounting.fold.ledger
        await eventually(lambda: sorted(each.state for each in ledger.rewards.values()) == ["matured", "orphaned"])
        log.payout("one", log.bob, 1_234_567)
        log.payout("one back", log.bob, -1_000, reverses="one")
        pool.tell()
        # Folded, and written.
        await eventually(lambda: accounting.balance(log.bob).paid_msat == 1_233_567 and not accounting._amid)
        async with open_reads(pool.place()) as reads:
            assert reads.pool == str(log.pool)
            text = "".join([piece async for piece in beancount_text(read_entries(reads.entries), "books")])
            years = [year_bounds(year) for year in (2023, 2024)]
            tables = [
                "".join([piece async for piece in tax_csv(entries, log.bob)])
                for entries in (
                    read_entries(reads.entries, miner=log.bob, from_s=begin, before_s=end) for begin, end in years
                )
            ]
        tasks.cancel_scope.cancel()
    entries, errors, _ = loader.load_string(text)
    assert errors == []
    sums: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, Transaction):
            for posting in entry.postings:
                sums[posting.account] = sums.get(posting.account, 0) + int(posting.units.number * 1000)
    assert {name: msat for name, msat in sums.items() if msat} == {
        account_name(name): msat for name, msat in ledger.accounts.items() if msat
    }
    booked = [entry for entry in entries if isinstance(entry, Transaction)]
    assert len(booked) == 6, "two statements, two statuses, two payouts"
    assert {entry.meta.get("height") for entry in booked} == {"100", "101", None}
    rows = list(csv.DictReader(io.StringIO(tables[0])))
    kinds = sorted(row["type"] for row in rows)
    assert kinds == ["earned", "paid back", "payout"], "what was orphaned before it matured never came"
    assert sum(int(row["msat"]) for row in rows) == accounting.balance(log.bob).owed_msat
    assert {row["block"] for row in rows} == {log.block_hash(first)[::-1].hex(), ""}
    assert len(tables[1].splitlines()) == 1, "nothing but the heading in another year"
