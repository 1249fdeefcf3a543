"""A running accounting pays by the schemes its terms name, and spreads what is too much for one event."""

import sqlite3

import anyio
import pytest

import nips.pool.statement_rows
from accounting import service
from accounting.adapters.store import AccountingStore
from accounting.settings_book import SettingsBook
from accounting.verifier import audit
from nips.pool.kinds import STATEMENT, STATEMENT_PART
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.statement import parse_statement
from tests.accounting.running.conftest import GROSS_SAT, START_MS, key

pytestmark = pytest.mark.anyio


def findings(pool):
    report = audit(pool.relay.order, [], pool.log.pool, now_ms=pool.clock.ms)
    return {found.code.value for found in report.findings} - {"chain-facts", "harder-work"}


async def test_each_round_is_split_by_its_own_work(pool, eventually):
    log = pool.log
    log.terms(scheme="prop")
    log.batch([log.alice, log.bob, log.bob], block=True)
    log.batch([log.alice, log.alice])
    log.batch([log.alice, log.bob], block=True)
    log.batch([])
    pool.tell()
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: len(pool.relay.of_kind(STATEMENT)) == 2)
        tasks.cancel_scope.cancel()
    first, second = (
        {row.miner: row.work for row in parse_statement(event).rows} for event in pool.relay.of_kind(STATEMENT)
    )
    assert first == {log.alice: 2, log.bob: 4}
    assert second == {log.alice: 6, log.bob: 2}
    assert findings(pool) == set()


async def test_periods_are_settled_as_they_pass_and_owed_at_once(pool, eventually):
    """A hash is worth 1/32 of a block here; its 1 % stays the pool's, and so does the block."""
    log = pool.log
    log.terms(scheme="pps")
    log.batch([log.alice, log.alice, log.bob], seconds=50)
    log.batch([log.bob], block=True, seconds=50)
    log.batch([], seconds=30)
    pool.tell()
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: len(pool.relay.of_kind(STATEMENT)) == 3)
        await eventually(lambda: not accounting.condition().unpublished)
        owed = {miner: accounting.balance(miner).owed_msat for miner in (log.alice, log.bob)}
        assert accounting.condition().violations == ()
        tasks.cancel_scope.cancel()
    statements = [parse_statement(event) for event in pool.relay.of_kind(STATEMENT)]
    periods = [statement for statement in statements if not statement.reward.block]
    assert [{row.miner: row.work for row in period.rows} for period in periods] == [
        {log.alice: 4, log.bob: 2},
        {log.bob: 2},
    ]
    assert owed == {
        miner: sum(row.msat for period in periods for row in period.rows if row.miner == miner) for miner in owed
    }
    (block,) = (statement for statement in statements if statement.reward.block)
    assert (block.rows, block.fee_msat) == ((), GROSS_SAT * 1000)
    assert findings(pool) == set()
    # Begun again it settles nothing twice.
    async with anyio.create_task_group() as tasks:
        again = pool.accounting()
        await tasks.start(again.run)
        await again.balances()
        await anyio.sleep(0.1)
        tasks.cancel_scope.cancel()
    assert len(pool.relay.of_kind(STATEMENT)) == 3


async def test_a_stop_amid_the_parts_leaves_no_half_statement(pool, eventually, monkeypatch):
    """The disk fails when the statement is to follow its parts, which are on the relays by then."""
    monkeypatch.setattr(nips.pool.statement_rows, "MAX_ROWS", 2)
    failed, add_own = [], AccountingStore.add_own

    async def fail_once(self, event, **named):
        if event.kind == STATEMENT and not failed:
            failed.append(event)
            raise sqlite3.OperationalError("disk I/O error")
        await add_own(self, event, **named)

    monkeypatch.setattr(AccountingStore, "add_own", fail_once)
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    log = pool.log
    log.terms()
    log.batch([key(20 + number).pubkey for number in range(5)], block=True)
    log.batch([])
    pool.tell()
    async with anyio.create_task_group() as tasks:
        accounting = pool.accounting()
        await tasks.start(accounting.run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))
        await eventually(lambda: not accounting.condition().unpublished)
        tasks.cancel_scope.cancel()
    assert failed
    # The first three are void; those that count follow them, right before their statement.
    assert len(pool.relay.of_kind(STATEMENT_PART)) == 6
    (event,) = pool.relay.of_kind(STATEMENT)
    statement = parse_statement(event)
    assert (statement.parts, statement.rows, statement.link.seq) == (3, (), 6)
    (booked,) = accounting.fold.ledger.rewards.values()
    assert booked.rows == 5
    assert findings(pool) == set()


async def test_what_miners_give_away_goes_where_the_terms_say(pool, eventually):
    """Once: the settings stand in the log before the first statement that names them, whatever replaces them later."""
    log, chest = pool.log, key(30).pubkey
    body = SettingsBody(donation_ppm=100_000)
    event = key(11).sign(build_settings(log.pool.pubkey, body, START_MS // 1000))
    book = SettingsBook(log.pool.pubkey)
    book.take(event, START_MS)
    log.terms(donate_to=chest)
    for _ in range(2):
        log.batch([log.alice, log.bob], block=True)
    log.batch([])
    pool.relay.put(event)
    pool.tell()
    accounting = pool.accounting()
    accounting.settings = book
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: len(pool.relay.of_kind(STATEMENT)) == 2)
        await eventually(lambda: not accounting.condition().unpublished)
        pending = {miner: accounting.balance(miner).pending_msat for miner in (log.alice, log.bob, chest)}
        tasks.cancel_scope.cancel()
    half = GROSS_SAT * 1000 * 99 // 200
    assert pending == {log.alice: 2 * half * 9 // 10, log.bob: 2 * half, chest: 2 * half // 10}
    assert len(pool.relay.of_kind(STATEMENT_PART)) == 1
    pool.relay.order.remove(event)
    assert findings(pool) == set()
