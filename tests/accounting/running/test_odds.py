"""What a miner may expect of each offer, by a running accounting (effort and luck: test_reads.py)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from accounting.adapters.reads import open_reads
from accounting.odds import WINDOW_KEPT_MS
from accounting.reads import Reads
from accounting.schemes.estimates import daily_msat
from client_web.api.miner_models import Estimate
from nips.pool.kinds import STATEMENT
from nips.pool.targets import work_from_bits
from tests.accounting.running.conftest import BLOCK_BITS

pytestmark = pytest.mark.anyio
# A block's coinbase, and the subsidy that pps goes by; the work of a block by the terms' bits. A share's is 2.
GROSS, SUBSIDY, FEE_PPM = 100_000_000, 5_000_000_000_000, 10_000
POT = GROSS - GROSS * FEE_PPM // 1_000_000
# So many shares that a hashrate over minutes is no fraction.
MANY = 90
BLOCK_WORK = work_from_bits(BLOCK_BITS)
OFFERS = {"lonely": "solo", "main": "pplns", "round": "prop", "steady": "pps"}


@asynccontextmanager
async def reading(pool, eventually, statements: int) -> AsyncIterator[Reads]:
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: len(pool.relay.of_kind(STATEMENT)) >= statements and not accounting._amid)
        async with open_reads(pool.place()) as history:
            yield Reads(accounting, history)
        tasks.cancel_scope.cancel()


def worth(work: int) -> int:
    """What work brings by share."""
    return work * SUBSIDY * (1_000_000 - FEE_PPM) // (1_000_000 * BLOCK_WORK)


async def estimates(reads: Reads, miner: str) -> dict[str, Estimate]:
    found = await reads.miner(miner)
    assert found is not None
    return {each["offer"]: Estimate.model_validate(each) for each in found["estimates"]}


async def test_each_offer_says_what_its_own_scheme_would_bring(pool, eventually) -> None:
    log = pool.log
    log.terms(offers=OFFERS)
    log.batch([log.alice, log.bob] * MANY, offer="main")
    # A round that a block ends, and the one under way.
    log.batch([log.alice, log.bob] * MANY, offer="round", block=True)
    log.batch([log.alice, log.bob, log.bob, log.bob] * MANY, offer="round")
    log.batch([log.alice] * MANY, offer="lonely")
    # Past the end of a minute's period.
    log.batch([], seconds=5)
    log.batch([log.bob, log.bob] * MANY, offer="steady")
    log.batch([])
    pool.clock.ms = log.now_ms
    pool.tell()
    async with reading(pool, eventually, 1) as reads:
        alice, bob = await estimates(reads, log.alice), await estimates(reads, log.bob)
        rate = (await reads.miner(log.alice))["hashrate_hs"]["1h"]
    assert (sorted(alice), sorted(bob)) == (["lonely", "main", "round"], ["main", "round", "steady"])
    assert {name: each.scheme for name, each in (alice | bob).items()} == OFFERS
    assert [(alice[name].work, alice[name].window_work, alice[name].msat) for name in ("main", "round", "lonely")] == [
        (f"{2 * MANY}", f"{4 * MANY}", POT // 2), (f"{2 * MANY}", f"{8 * MANY}", POT // 4),
        (f"{2 * MANY}", f"{2 * MANY}", POT),
    ]  # fmt: skip
    # By share: each is worth its part of a block, less the fee, whether one is found or not.
    assert (bob["steady"].work, bob["steady"].msat) == (f"{4 * MANY}", worth(4 * MANY))
    # Alice's four shares of the hour: two of them in rounds, one each elsewhere.
    parts = {"lonely": 1, "main": 1, "round": 2}
    for name, part in parts.items():
        assert alice[name].daily_msat > 0
        assert alice[name].daily_msat == daily_msat(int(rate) * part // 4, BLOCK_BITS, GROSS, FEE_PPM)


@pytest.mark.parametrize("scheme", ["pplns", "prop", "solo", "pps"])
async def test_a_pool_of_one_offer_goes_by_all_of_a_miners_hashrate(pool, eventually, scheme) -> None:
    log = pool.log
    log.terms(scheme=scheme)
    log.batch([log.alice] * MANY)
    log.batch([])
    pool.clock.ms = log.now_ms
    pool.tell()
    async with reading(pool, eventually, 0) as reads:
        await eventually(lambda: reads.knows(log.alice))
        found = await reads.miner(log.alice)
        (estimate,) = found["estimates"]
        rate = int(found["hashrate_hs"]["1h"])
    assert rate > 0
    assert estimate["daily_msat"] == daily_msat(rate, BLOCK_BITS, SUBSIDY if scheme == "pps" else GROSS, FEE_PPM)
    assert estimate["msat"] == (worth(2 * MANY) if scheme == "pps" else POT)


async def test_what_a_statement_counted_is_not_expected_again(pool, eventually) -> None:
    """And who has no work in an offer, nor had in the last hour, is told nothing of it."""
    log = pool.log
    log.terms(offers={"round": "prop", "steady": "pps"})
    log.batch([log.alice] * MANY, offer="steady", seconds=70)
    log.batch([log.alice, log.bob] * MANY, offer="round", block=True)
    log.batch([], seconds=70)
    pool.clock.ms = log.now_ms
    pool.tell()
    async with reading(pool, eventually, 2) as reads:
        alice = await estimates(reads, log.alice)
        bob = await estimates(reads, log.bob)
        assert {name: (each.work, each.msat) for name, each in alice.items()} == {"round": ("0", 0), "steady": ("0", 0)}
        assert sorted(bob) == ["round"]
        assert bob["round"].daily_msat > 0
        # Counted anew once the count is old enough, from the hour that is over then.
        log.now_ms += 3_600_000 + WINDOW_KEPT_MS
        log.batch([])
        pool.clock.ms = log.now_ms
        pool.tell()
        await eventually(lambda: reads.odds.estimates(log.bob, 0) == [])


async def test_new_terms_with_other_offers_are_counted_at_once(pool, eventually) -> None:
    """Not only when the last count is old."""
    log = pool.log
    log.terms()
    log.batch([log.alice] * MANY)
    log.batch([])
    pool.clock.ms = log.now_ms
    pool.tell()
    async with reading(pool, eventually, 0) as reads:
        await eventually(lambda: reads.knows(log.alice))
        assert sorted(await estimates(reads, log.alice)) == ["main"]
        terms = log.terms(offers={"lonely": "solo", "main": "pplns"})
        pool.tell()
        await eventually(lambda: reads.odds._accounting.fold.terms.id == terms.id)
        assert sorted(await estimates(reads, log.alice)) == ["main"]
        log.terms(offers={"lonely": "solo"})
        pool.tell()
        await eventually(lambda: "main" not in reads.odds._accounting.fold.terms.body.offers)
        assert await estimates(reads, log.alice) == {}
