"""The read API's questions to a running accounting, held against the API's own models."""

import json
from contextlib import asynccontextmanager
from fractions import Fraction

import anyio
import pytest

from accounting.adapters.database import StoreFailed
from accounting.adapters.reads import open_reads
from accounting.paging import Place
from accounting.reads import Reads
from client_web.api import book_models, miner_models, pool_models
from nips.pool.targets import work_from_bits

pytestmark = pytest.mark.anyio
SHARE = 2


@pytest.fixture
def told(pool):
    """Two blocks, of Bob and of Alice, the first matured; two payouts; rejects; then 90 minutes of shares."""
    log = pool.log
    log.terms()
    log.batch([log.alice, log.bob], rejects=3)
    first = log.batch([log.bob], block=True)
    log.batch([log.alice] * 3)
    second = log.batch([log.bob, log.alice], block=True)
    log.batch([])
    pool.chain.seen[log.block_hash(first)] = 6
    pool.chain.seen[log.block_hash(second)] = 3
    pool.chain.tip = 105
    pool.tell()
    return first, second


@asynccontextmanager
async def reading(pool, eventually, tmp_path):
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: len(accounting.fold.ledger.rewards) == 2)
        pool.log.payout("one", pool.log.bob, 1_000_000)
        pool.log.payout("two", pool.log.bob, 2_000_000)
        pool.tell()
        # Both folded, and written.
        await eventually(lambda: accounting.balance(pool.log.bob).paid_msat == 3_000_000 and not accounting._amid)
        async with open_reads(pool.place()) as history:
            yield accounting, Reads(accounting, history)
        tasks.cancel_scope.cancel()


def check(model, value) -> None:
    model.model_validate_json(json.dumps(value))


async def test_every_list_has_its_models_fields(pool, told, eventually, tmp_path) -> None:
    async with reading(pool, eventually, tmp_path) as (_accounting, reads):
        bob = pool.log.bob
        pages = reads.pages
        check(pool_models.Pool, await reads.pool())
        for model, page in (
            (book_models.Block, pages.blocks(None, 10)),
            (book_models.Statement, pages.statements(None, 10)),
            (book_models.Reward, pages.rewards(None, 10)),
            (book_models.MinerReward, await pages.rewards_of(bob, None, 10)),
            (book_models.Payout, pages.payouts(None, 10)),
            (book_models.Payout, pages.payouts_of(bob, None, 10)),
            (miner_models.Miner, await reads.miners(None, 10)),
        ):
            assert len(page.items) == 2, model
            assert page.next is None
            for item in page.items:
                check(model, item)
        miner = await reads.miner(bob)
        check(miner_models.MinerDetail, {**(miner or {}), "unpaid_because": "", "cannot_be_paid": ""})
        check(book_models.StatementDetail, pages.statement(pages.statements(None, 1).items[0]["statement"]))
        check(pool_models.Terms, reads.terms())
        for row in await reads.flat.balances():
            check(pool_models.Owed, row)
        for row in await reads.flat.totals():
            check(pool_models.Earned, row)
        for worker in reads.workers(bob) or ():
            check(miner_models.Worker, worker)
        assert reads.workers("ab" * 32) is None
        assert await reads.miner("ab" * 32) is None
        assert reads.knows(bob)
        assert not reads.knows("ab" * 32)


async def test_blocks_tell_effort_luck_and_maturity(pool, told, eventually, tmp_path) -> None:
    async with reading(pool, eventually, tmp_path) as (_accounting, reads):
        newest, oldest = reads.pages.blocks(None, 10).items
        block_work = work_from_bits(0x2007FFFF)
        # Rounds by batches: the first up to and with the batch in which block 1 was found ended after it.
        assert (oldest["height"], newest["height"]) == (100, 101)
        assert oldest["effort_ppm"] == 2 * SHARE * 1_000_000 // block_work
        assert newest["effort_ppm"] == (1 + 3) * SHARE * 1_000_000 // block_work
        assert newest["luck_ppm"] == int(1_000_000 * Fraction(1_000_000, newest["effort_ppm"]))
        assert [oldest["status"], newest["status"]] == ["matured", "pending"]
        assert (oldest["matures_at_height"], oldest["blocks_to_maturity"]) == (105, 0)
        assert (newest["matures_at_height"], newest["blocks_to_maturity"]) == (106, 1)
        odds = reads.odds.of_pool()
        assert odds["effort_ppm"] == 2 * SHARE * 1_000_000 // block_work
        total = oldest["effort_ppm"] + newest["effort_ppm"]
        assert odds["luck_ppm"]["10"] == 2 * 1_000_000 * 1_000_000 // total
        assert odds["block_work"] == str(block_work)


async def test_pages_of_the_whole_history_go_by_their_places(pool, told, eventually, tmp_path) -> None:
    async with reading(pool, eventually, tmp_path) as (_accounting, reads):
        pages, bob = reads.pages, pool.log.bob
        for ask in (pages.blocks, pages.statements, pages.rewards, pages.payouts):
            first = ask(None, 1)
            assert first.next is not None
            second = ask(first.next, 1)
            assert second.next is None
            assert [*first.items, *second.items] == ask(None, 2).items
        first = await pages.rewards_of(bob, None, 1)
        second = await pages.rewards_of(bob, first.next, 1)
        assert [item["height"] for item in (*first.items, *second.items)] == [101, 100]
        assert second.next is None
        assert (
            first.items[0]["miner_msat"]
            + (await pages.rewards_of(pool.log.alice, None, 1)).items[0]["miner_msat"]
            + first.items[0]["fee_msat"]
            == first.items[0]["gross_msat"]
        )
        first_payout = pages.payouts_of(bob, None, 1)
        assert pages.payouts_of(bob, first_payout.next, 1).items != first_payout.items
        first_miner = await reads.miners(None, 1)
        second_miner = await reads.miners(first_miner.next, 1)
        assert {*(item["pubkey"] for item in (*first_miner.items, *second_miner.items))} == {bob, pool.log.alice}
        assert second_miner.next is None
        assert (await pages.rewards_of("ab" * 32, None, 5)).items == []
        assert pages.blocks(Place(0, ""), 5).items == []


async def test_a_miner_sees_rejects_by_code_its_best_share_and_what_a_block_now_would_bring(
    pool, told, eventually, tmp_path
) -> None:
    async with reading(pool, eventually, tmp_path) as (accounting, reads):
        alice = await reads.miner(pool.log.alice)
        assert alice is not None
        assert alice["rejects"] == 3
        assert alice["rejects_by_code"] == {"23": 3}
        assert alice["rejects_by_reason"] == {"low difficulty": 3}
        # Alice found the second block: her best share is a block's at least.
        assert float(alice["best_share_difficulty"]) >= float(Fraction(0xFFFF << 208, 0x07FFFF << 232))
        (estimate,) = alice["estimates"]
        work = int(estimate["work"])
        assert (work, estimate["window_work"]) == (5 * SHARE, str(8 * SHARE))
        assert estimate["gross_msat"] == 100_000_000
        assert estimate["msat"] == 99_000_000 * 5 // 8
        bob = await reads.miner(pool.log.bob)
        assert bob is not None
        assert bob["rejects_by_code"] == bob["rejects_by_reason"] == {}
        assert bob["estimates"][0]["msat"] + estimate["msat"] == 99_000_000
        assert accounting.fold.statistics.rejects == 3


async def test_series_hold_all_the_work_there_is(pool, told, eventually, tmp_path) -> None:
    async with reading(pool, eventually, tmp_path) as (accounting, reads):
        pool.clock.ms = pool.log.now_ms
        total = accounting.fold.statistics.work
        for span in ("1h", "24h", "7d", "31d", "400d"):
            points = await reads.hashrates.series(None, span)
            assert sum(int(point["work"]) for point in points) == total, span
            for point in points:
                check(pool_models.Point, point)
        assert await reads.hashrates.series(pool.log.bob, "1h") == []
        bob, alice = [await reads.hashrates.series(name, "24h") for name in (pool.log.bob, pool.log.alice)]
        assert sum(int(point["work"]) for point in (*bob, *alice)) == total
        assert await reads.hashrates.series("ab" * 32, "24h") == []
        with pytest.raises(KeyError):
            await reads.hashrates.series(None, "9y")


async def test_hours_that_were_summed_up_and_those_that_were_not_make_one_series(
    pool, told, eventually, tmp_path
) -> None:
    log = pool.log
    for _ in range(40):
        log.batch([log.alice], seconds=300, rejects=1)
    pool.tell()
    async with reading(pool, eventually, tmp_path) as (accounting, reads):
        await eventually(lambda: accounting.fold.summaries.taken >= 3)
        pool.clock.ms = log.now_ms
        total = accounting.fold.statistics.work
        points = await reads.hashrates.series(None, "24h")
        assert len(points) >= 4
        assert sum(int(point["work"]) for point in points) == total
        assert [point["to_ms"] for point in points] == sorted(point["to_ms"] for point in points)
        alice = await reads.hashrates.series(log.alice, "24h")
        assert sum(int(point["work"]) for point in alice) == 45 * SHARE
        told = await reads.miner(log.alice)
        assert told is not None
        assert told["rejects_by_code"] == {"23": 43}
        assert told["rejects"] == 43
        hours = Fraction(log.now_ms - points[0]["from_ms"], 1000)
        assert abs(int(told["hashrate_hs"]["24h"]) - 45 * SHARE / hours) <= 1


async def test_while_the_database_is_away_what_is_known_is_told(pool, told, eventually, tmp_path, monkeypatch) -> None:
    async with reading(pool, eventually, tmp_path) as (_, reads):
        before = await reads.pool()

        async def away(_: int) -> None:
            raise StoreFailed("postgresql://db/noncestr", "no connection")

        monkeypatch.setattr(reads.hashrates._summaries, "summaries_after", away)
        assert (await reads.pool())["totals"] == before["totals"]
        alice = await reads.miner(pool.log.alice)
        assert alice is not None
        assert alice["shares"] > 0
        assert await reads.hashrates.series(None, "24h")
