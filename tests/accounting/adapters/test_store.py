"""The file: whole or not at all, never two statements of one reward, refused when it is damaged or another's."""

import os
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace

import anyio
import pytest

from accounting.adapters.database import StoreError
from accounting.adapters.schema import MIGRATIONS
from accounting.adapters.store import StoredView, open_store
from accounting.ledger import Ledger
from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from nips.pool.chain import Head, next_link
from nips.pool.payout import PayoutBody, build_payout, parse_payout
from nips.pool.statement import build_status
from tests.accounting.bookings import MINERS, statement, status

pytestmark = pytest.mark.anyio
KEY = SecretKey(b"\x01" * 32)
POOL = PoolAddress("aa" * 32, "regtest")


def event(head=None, mark="00", said="matured"):
    return KEY.sign(build_status(POOL, next_link(head), mark * 32, said, 1000))


async def test_events_and_checks_survive_in_order(store_place):
    path = store_place
    events = [event(mark=f"{number:02x}") for number in range(20)]
    async with open_store(path, POOL, KEY.pubkey) as store:
        await store.add_events(events[:15])
        await store.add_events(events[10:])
        await store.add_checked({events[3].id: b"three", events[4].id: b"four"})
        await store.add_checked({events[4].id: None})
    async with open_store(path, POOL, KEY.pubkey) as store:
        stored = [one async for one in store.replay()]
        assert [one.event for one in stored] == events
        assert {one.event.id: one.checked for one in stored if one.checked} == {events[3].id: b"three"}
        assert await store.newest_second() == 1000
        await store.forget_checked()
        assert [one async for one in store.replay() if one.checked] == []


async def test_our_chain_is_kept_until_it_is_published(store_place):
    path = store_place
    first = event()
    second = event(Head(0, first.id), "01")
    async with open_store(path, POOL, KEY.pubkey) as store:
        assert await store.head() is None
        await store.add_own(first, block="b1")
        await store.add_own(second)
        await store.mark_published(first)
    async with open_store(path, POOL, KEY.pubkey) as store:
        assert await store.head() == (Head(1, second.id), 1000)
        assert await store.unpublished() == [second]
        assert await store.chain() == {0: first.id, 1: second.id}
        assert await store.stated() == {"b1"}


async def test_neither_a_second_statement_of_a_reward_nor_a_fork_gets_in(store_place):
    async with open_store(store_place, POOL, KEY.pubkey) as store:
        first = event()
        await store.add_own(first, block="b1")
        with pytest.raises(StoreError):
            await store.add_own(event(mark="02"))
        twice = event(Head(0, first.id), "03")
        with pytest.raises(StoreError):
            await store.add_own(twice, block="b1")
        assert await store.chain() == {0: first.id}
        assert await store.unpublished() == [first]
        void = event(Head(0, first.id), "04", "void")
        await store.add_own(void, voids=first.id)
        await store.add_own(event(Head(1, void.id), "05"), block="b1")
        assert await store.stated() == {"b1"}


async def test_views_and_books(store_place):
    ledger = Ledger()
    body = PayoutBody("one", "bb" * 32, 50, 3, "cc" * 32, "cashu", {})
    payout = parse_payout(KEY.sign(build_payout(POOL, next_link(None), body, 1000)))
    transaction = ledger.book_payout(payout, miner_bears_fee=False)
    async with open_store(store_place, POOL, KEY.pubkey) as store:
        await store.add_views({"34214:x": StoredView(5, "a")})
        await store.add_views({"34214:x": StoredView(6, "b")})
        assert await store.views() == {"34214:x": StoredView(6, "b")}
        for _ in range(2):
            await store.add_books([transaction], ledger)
        sums = {account: msat for account, msat in ledger.accounts.items() if msat}
        assert await store.account_sums() == sums
        await store.rebuild_books([], ledger)
        assert await store.account_sums() == {}


async def test_sums_of_bonuses_are_stored_as_they_stand(store_place):
    ledger, split = Ledger(), statement(1, [60, 10**16], 1, bonuses=[5, 10**15])
    async with open_store(store_place, POOL, KEY.pubkey) as store:
        await store.add_books([ledger.book_statement(split)], ledger)
        assert await store.bonus_sums() == {MINERS[0]: (5, 0), MINERS[1]: (10**15, 0)} == ledger.bonuses.sums
        matured = ledger.book_status(status(split, "matured"))
        await store.add_books([matured], ledger)
        # A start that does not know whether it was written writes it again.
        ledger.bonuses.move(split.rows, pending=0, matured=1)
        ledger.bonuses.move(split.rows, pending=0, matured=-1)
        await store.add_books([matured], ledger)
        assert await store.bonus_sums() == {MINERS[0]: (0, 5), MINERS[1]: (0, 10**15)}
        await store.add_books([ledger.book_status(status(split, "orphaned"))], ledger)
        assert await store.bonus_sums() == {} == ledger.bonuses.sums
        matured = ledger.book_status(replace(status(split, "matured"), id="ab" * 32))
        await store.rebuild_books([matured], ledger)
        assert await store.bonus_sums() == ledger.bonuses.sums != {}


async def test_another_pools_a_newer_and_a_damaged_file_are_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    async with open_store(path, POOL, KEY.pubkey) as store:
        await store.add_events([event(mark=f"{number:02x}") for number in range(200)])
    for pool, signer in ((PoolAddress("bb" * 32, "regtest"), KEY.pubkey), (POOL, "cc" * 32)):
        with pytest.raises(StoreError, match="holds the books of"):
            async with open_store(path, pool, signer):
                pass
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StoreError, match="version"):
        async with open_store(path, POOL, KEY.pubkey):
            pass
    garbage = tmp_path / "garbage.sqlite"
    garbage.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreError):
        async with open_store(garbage, POOL, KEY.pubkey):
            pass
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with pytest.raises(StoreError):
        async with open_store(path, POOL, KEY.pubkey):
            pass


async def test_a_cancelled_write_leaves_nothing_and_the_next_one_stands(store_place):
    async with open_store(store_place, POOL, KEY.pubkey) as store:
        with anyio.move_on_after(0):
            await store.add_own(event(), block="b1")
        assert await store.chain() == {}
        await store.add_own(event(mark="01"), block="b1")
        assert len(await store.chain()) == 1


async def test_what_was_committed_outlives_kill_9(tmp_path):
    path = tmp_path / "ledger.sqlite"
    program = textwrap.dedent(
        """
        import sys, anyio
        from pathlib import Path
        from accounting.adapters.store import open_store
        from nips.keys import SecretKey
        from nips.pool.address import PoolAddress
        from nips.pool.chain import Head, next_link
        from nips.pool.statement import build_status

        async def main():
            key, pool, head = SecretKey(b"\\x01" * 32), PoolAddress("aa" * 32, "regtest"), None
            async with open_store(Path(sys.argv[1]), pool, key.pubkey) as store:
                while True:
                    link = next_link(head)
                    event = key.sign(build_status(pool, link, "00" * 32, "matured", 1000))
                    await store.add_own(event, block=str(link.seq))
                    head = Head(link.seq, event.id)
                    print(event.id, flush=True)

        anyio.run(main)
        """
    )
    with subprocess.Popen(  # noqa: ASYNC220  the test has nothing else to do meanwhile
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline().strip() for _ in range(30)]
        child.kill()
        said += [line.strip() for line in child.stdout.readlines() if line.endswith("\n")]
    async with open_store(path, POOL, KEY.pubkey) as store:
        kept = list((await store.chain()).values())
        assert kept[: len(said)] == said
        assert [one.id for one in await store.unpublished()] == kept
