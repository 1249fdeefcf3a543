"""The server goes away under a running accounting: it waits, goes on, and nothing is lost, doubled or forked."""

import signal

import anyio
import anyio.to_thread
import pytest

from accounting import service
from accounting.adapters import postgres_database
from accounting.adapters.database import StoreHeld
from accounting.fold import Fold
from nips.pool.chain import link_of
from nips.pool.kinds import LEDGER_KINDS, STATEMENT

pytestmark = pytest.mark.anyio


@pytest.fixture
def store_place(postgres_place):
    return postgres_place


@pytest.fixture
def crashing_server(postgres_server):
    """It runs again for whoever comes next, however the test ends."""
    yield postgres_server
    if postgres_server.process is None:
        postgres_server.start()


async def test_a_server_that_crashes_again_and_again_costs_nothing(pool, eventually, monkeypatch, crashing_server):
    monkeypatch.setattr(service, "RETRY_S", 0.05)
    pool.log.terms()
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        pool.tell()
        await tasks.start(accounting.run)
        await accounting.balances()
        for number in range(3):
            pool.log.batch([pool.log.alice, pool.log.bob])
            if number == 1:
                # Not at rest, but amid whatever it writes.
                pool.tell()
            await anyio.to_thread.run_sync(crashing_server.stop, signal.SIGQUIT)
            pool.log.batch([pool.log.bob], block=True)
            pool.log.batch([])
            pool.log.payout(f"payout {number}", pool.log.alice, 1000 + number)
            pool.tell()
            # Each trouble is said once; that they go on is told to whoever asks.
            await eventually(lambda: "nothing is booked" in str(accounting.condition().may_sign))
            # Who asks meanwhile is told what was known.
            assert accounting.fold.terms is not None
            await anyio.to_thread.run_sync(crashing_server.start)
            await eventually(lambda number=number: len(pool.relay.of_kind(STATEMENT)) == number + 1)
            await eventually(lambda: accounting.condition().may_sign is None)
        await eventually(lambda: all(one.id in accounting.fold for one in pool.relay.order if one.kind in LEDGER_KINDS))
        await eventually(lambda: accounting.condition().unpublished == 0)
        assert "the database" in " ".join(accounting.condition().troubles)
        assert [text for text in accounting.condition().violations if "more than matured" not in text] == []
        dump = list(accounting.fold.dump())
        tasks.cancel_scope.cancel()
    own = [one for one in pool.relay.order if one.pubkey == pool.log.accounting.pubkey and one.kind in LEDGER_KINDS]
    assert sorted(link_of(one).seq for one in own) == list(range(len(own)))
    fresh = Fold(pool.log.pool)
    for event in pool.relay.order:
        if event.kind in LEDGER_KINDS:
            fresh.add(event)
    fresh.settle()
    assert list(fresh.dump()) == dump


async def test_two_accountings_never_hold_one_database(pool, monkeypatch):
    monkeypatch.setattr(postgres_database, "START_S", 0.2)
    pool.log.terms()
    pool.tell()
    async with anyio.create_task_group() as tasks:
        await tasks.start(pool.accounting().run)
        with pytest.raises(StoreHeld, match="another accounting"):
            await pool.accounting().run()
        tasks.cancel_scope.cancel()
