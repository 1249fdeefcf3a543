"""Hashrates and counts: exact for steady work, bounded in memory, the same in any order."""

import json
import random

from accounting.statistics import (
    ACTIVE_MS,
    BUCKET_MS,
    IDLE_MS,
    MAX_WORKERS,
    REST_EVERY,
    Share,
    Statistics,
    WorkRing,
)

A, B = "aa" * 32, "bb" * 32
START = 1_700_000_000_000 // BUCKET_MS * BUCKET_MS


def steady(seconds: int, work: int, miner: str = A, worker: str = "rig") -> list[Share]:
    return [Share(START + second * 1000, miner, worker, work) for second in range(seconds)]


def test_steady_work_gives_its_rate_over_both_spans():
    stats = Statistics()
    now = START + 3_600_000
    stats.add_batch(now, steady(3600, 500), [])
    pool = stats.pool_statistics(now, blocks=2, height=7)
    assert abs(pool.hashrate["5m"] - 500) <= 1
    assert abs(pool.hashrate["1h"] - 500) <= 1
    assert (pool.shares, pool.miners, pool.workers, pool.blocks, pool.height) == (3600, 1, 1, 2, 7)


def test_a_newcomer_is_measured_since_its_first_share():
    stats = Statistics()
    now = START + 120_000
    stats.add_batch(now, steady(120, 500), [])
    miner = stats.miner_statistics(A, now)
    assert miner is not None
    assert miner.hashrate == {"5m": 500, "1h": 500}
    assert miner.workers == {"rig": 500}
    one = Statistics()
    one.add_batch(START, [Share(START, A, "rig", 60_000)], [])
    assert one.pool_statistics(START, blocks=0, height=0).hashrate["5m"] == 1000, "one share is spread over a minute"


def test_rates_follow_the_log_while_it_is_fresh_and_fall_when_it_stops():
    stats = Statistics()
    end = START + 600_000
    stats.add_batch(end, steady(600, 500), [])
    assert stats.pool_statistics(end + 30_000, blocks=0, height=0).hashrate["5m"] >= 499
    assert stats.pool_statistics(end + 200_000, blocks=0, height=0).hashrate["5m"] < 250
    assert stats.pool_statistics(end + 400_000, blocks=0, height=0).hashrate["5m"] == 0
    assert stats.pool_statistics(end + ACTIVE_MS, blocks=0, height=0).miners == 0


def test_counts_and_rejects_by_miner():
    stats = Statistics()
    stats.add_batch(START + 1000, [Share(START, A, "x", 10), Share(START, B, "y", 20)], [(A, 3), (B, 1)])
    assert (stats.shares, stats.rejects, stats.work) == (2, 4, 30)
    miner = stats.miner_statistics(A, START)
    assert miner is not None
    assert (miner.shares, miner.rejects, miner.work, miner.last_share_ms) == (1, 3, 10, START)
    assert stats.miner_statistics("cc" * 32, START) is None
    assert stats.workers("cc" * 32, START) == {}


def test_any_order_of_batches_gives_the_same():
    batches = [[share] for share in steady(600, 7)] + [[share] for share in steady(400, 9, B)]
    now = START + 600_000
    told = []
    for seed in range(4):
        random.Random(seed).shuffle(batches)
        stats = Statistics()
        for batch in batches:
            stats.add_batch(batch[0].ms + 1000, batch, [])
        told.append(
            (stats.pool_statistics(now, blocks=0, height=0), stats.miner_statistics(A, now), stats.workers(B, now))
        )
    assert told.count(told[0]) == len(told)


def test_memory_is_bounded():
    ring = WorkRing(300_000)
    for number in range(10_000):
        ring.add(START + number * BUCKET_MS, 1)
    assert len(ring._buckets) <= 300_000 // BUCKET_MS + 1
    stats = Statistics()
    stats.add_batch(START, [Share(START, A, f"w{number}", 1) for number in range(3 * MAX_WORKERS)], [])
    assert len(stats.workers(A, START)) == MAX_WORKERS
    assert stats.shares == 3 * MAX_WORKERS
    later = START + ACTIVE_MS + 1
    stats.add_batch(later, [Share(later, A, "new", 1)], [])
    assert list(stats.workers(A, later)) == ["new"]


def test_whoever_is_away_costs_little():
    stats = Statistics()
    stats.add_batch(START, [Share(START, A, "rig", 1)], [])
    before = list(stats.dump())
    later = START + IDLE_MS + 60_000
    for number in range(REST_EVERY):
        stats.add_batch(later + number, [Share(later + number, B, "rig", 1)], [])
    away = stats._miners[A]
    assert not away.workers
    assert not away.ring._buckets
    assert (away.shares, away.work, stats.last_share_ms(A)) == (1, 1, START)
    assert stats.miner_statistics(A, later).hashrate == {"5m": 0, "1h": 0}
    assert any(A in line for line in before)
    assert any(A in line and json.loads(line)[2:5] == [1, 0, "1"] for line in stats.dump())
