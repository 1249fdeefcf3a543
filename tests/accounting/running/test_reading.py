"""Books that are only read: the same as the accounting's, whatever the order of arrival, and nothing signed."""

import random
from pathlib import Path

import anyio
import pytest

from accounting.adapters.store import open_store
from accounting.reading import reading
from accounting.readmodel import AccountingReadModel
from nips.nip01 import UnsignedEvent
from nips.pool.kinds import LEDGER_KINDS, STATEMENT, STATUS

pytestmark = pytest.mark.anyio


@pytest.fixture
async def told(pool, eventually):
    """A pool with two statements and a status on its relay; what its accounting's books come to, line by line."""
    pool.log.terms()
    pool.log.batch([pool.log.alice, pool.log.bob, pool.log.alice])
    block = pool.log.batch([pool.log.bob], block=True)
    pool.log.batch([pool.log.alice], block=True)
    pool.log.batch([])
    pool.tell()
    pool.chain.seen[pool.log.block_hash(block)] = 6
    pool.chain.tip = 108
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: len(pool.relay.of_kind(STATEMENT)) == 2 and pool.relay.of_kind(STATUS))
        await eventually(lambda: accounting.balance(pool.log.bob).owed_msat)
        tasks.cancel_scope.cancel()
    return list(accounting.fold.dump())


def reader(pool, path: Path):
    return reading(
        pool=pool.log.pool, accounting=pool.log.accounting.pubkey, feed=pool.relay, chain=pool.chain,
        store_path=path, clock=pool.clock,
    )  # fmt: skip


async def own_chain(pool, path: Path) -> dict[int, str]:
    async with open_store(path, pool.log.pool, pool.log.accounting.pubkey) as store:
        assert await store.unpublished() == []
        return await store.chain()


@pytest.mark.parametrize("seed", range(3))
async def test_a_reader_has_the_same_books_and_signs_nothing(pool, told, eventually, tmp_path: Path, seed: int) -> None:
    path = tmp_path / "read.sqlite"
    random.Random(seed).shuffle(pool.relay.order)
    published = len(pool.relay.published)
    books = reader(pool, path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(books.run)
        await eventually(lambda: books.balance(pool.log.bob).owed_msat)
        assert books.balance(pool.log.bob) == (await books.balances())[pool.log.bob]
        await eventually(lambda: list(books.fold.dump()) == told)
        assert (await AccountingReadModel(books).health())["ok"]
        assert books.condition().may_sign == "these books are read, the accounting signs elsewhere"
        tasks.cancel_scope.cancel()
    assert len(pool.relay.published) == published
    signed = [event for event in pool.relay.published if event.kind in LEDGER_KINDS]
    assert await own_chain(pool, path) == {seq: event.id for seq, event in enumerate(signed)}


async def test_a_reader_goes_on_after_a_stop_amid_a_chain_out_of_order(pool, told, eventually, tmp_path: Path) -> None:
    """The second event of the chain was stored when the first had not come."""
    path = tmp_path / "read.sqlite"
    log = [event for event in pool.relay.order if event.kind in LEDGER_KINDS]
    chain = [event for event in log if event.pubkey == pool.log.accounting.pubkey]
    pool.relay.order[:] = [event for event in log if event != chain[0]]
    pool.relay.stored.clear()
    books = reader(pool, path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(books.run)
        await eventually(lambda: set(pool.relay.stored) >= {event.id for event in pool.relay.order})
        tasks.cancel_scope.cancel()
    assert await own_chain(pool, path) == {}
    pool.relay.order[:] = [chain[0]]
    books = reader(pool, path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(books.run)
        await eventually(lambda: list(books.fold.dump()) == told)
        tasks.cancel_scope.cancel()
    books = reader(pool, path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(books.run)
        tasks.cancel_scope.cancel()
    assert await own_chain(pool, path) == {seq: event.id for seq, event in enumerate(chain)}


async def test_a_reader_has_no_key_to_sign_with(pool, tmp_path: Path) -> None:
    books = reader(pool, tmp_path / "read.sqlite")
    with pytest.raises(PermissionError, match="signs elsewhere"):
        await books.own.signer.sign(UnsignedEvent(1, 1, (), ""))
