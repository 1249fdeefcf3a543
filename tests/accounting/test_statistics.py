"""Hashrates and counts: exact for steady work, bounded in memory, the same in any order."""

import json
import random
from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from accounting.shares import CheckedShares, JobRef, Session
from accounting.statistics import (
    ACTIVE_MS,
    BUCKET_MS,
    IDLE_MS,
    MAX_WORKERS,
    RATES_MS,
    REST_EVERY,
    Statistics,
    WorkRing,
)
from accounting.sums import sum_up

A, B = "aa" * 32, "bb" * 32
START = 1_700_000_000_000 // BUCKET_MS * BUCKET_MS


class Share(NamedTuple):
    """Credited work: when (Unix ms), whose, on which worker, how many hashes expected."""

    ms: int
    miner: str
    worker: str
    work: int


def batch(shares: Sequence[Share]) -> CheckedShares:
    """The shares as a checked batch has them."""
    sessions = sorted({Session(share.miner, share.worker, share.work) for share in shares})
    places = {session: number for number, session in enumerate(sessions)}
    return CheckedShares(
        t=array("q", [share.ms for share in shares]),
        index=array("I", range(len(shares))),
        session=array("H", [places[Session(share.miner, share.worker, share.work)] for share in shares]),
        job=array("B", [0] * len(shares)),
        sessions=tuple(sessions),
        jobs=(JobRef("00" * 32, 1, "main"),),
    )


def count(stats: Statistics, to_ms: int, shares: CheckedShares, *rejects: tuple[str, int]) -> None:
    """Count a batch as the fold does."""
    stats.add(replace(sum_up(to_ms, shares), rejects=rejects))
    stats.add_rates(shares)


def steady(seconds: int, work: int, miner: str = A, worker: str = "rig") -> list[Share]:
    return [Share(START + second * 1000, miner, worker, work) for second in range(seconds)]


def test_steady_work_gives_its_rate_over_both_spans():
    stats = Statistics()
    now = START + 3_600_000
    count(stats, now, batch(steady(3600, 500)))
    pool = stats.pool_statistics(now, blocks=2, height=7)
    assert abs(pool.hashrate["5m"] - 500) <= 1
    assert abs(pool.hashrate["1h"] - 500) <= 1
    assert (pool.shares, pool.miners, pool.workers, pool.blocks, pool.height) == (3600, 1, 1, 2, 7)


def test_a_newcomer_is_measured_since_its_first_share():
    stats = Statistics()
    now = START + 120_000
    count(stats, now, batch(steady(120, 500)))
    miner = stats.miner_statistics(A, now)
    assert miner is not None
    assert miner.hashrate == {"5m": 500, "1h": 500}
    assert miner.workers == {"rig": 500}
    one = Statistics()
    count(one, START, batch([Share(START, A, "rig", 60_000)]))
    assert one.pool_statistics(START, blocks=0, height=0).hashrate["5m"] == 1000, "one share is spread over a minute"


def test_rates_follow_the_log_while_it_is_fresh_and_fall_when_it_stops():
    stats = Statistics()
    end = START + 600_000
    count(stats, end, batch(steady(600, 500)))
    assert stats.pool_statistics(end + 30_000, blocks=0, height=0).hashrate["5m"] >= 499
    assert stats.pool_statistics(end + 200_000, blocks=0, height=0).hashrate["5m"] < 250
    assert stats.pool_statistics(end + 400_000, blocks=0, height=0).hashrate["5m"] == 0
    assert stats.pool_statistics(end + ACTIVE_MS, blocks=0, height=0).miners == 0


def test_counts_and_rejects_by_miner():
    stats = Statistics()
    count(stats, START + 1000, batch([Share(START, A, "x", 10), Share(START, B, "y", 20)]), (A, 3), (B, 1))
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
        for shares in batches:
            count(stats, shares[0].ms + 1000, batch(shares))
        told.append(
            (stats.pool_statistics(now, blocks=0, height=0), stats.miner_statistics(A, now), stats.workers(B, now))
        )
    assert told.count(told[0]) == len(told)


def test_rates_made_up_for_later_are_the_same():
    """As a replay does: all batches counted, then the newest of them in the rates."""
    rng = random.Random(7)
    batches = []
    for number in range(300):
        begun = START + number * 60_000
        shares = [Share(begun + 997 * n, rng.choice((A, B)), rng.choice("xy"), rng.randrange(1, 9)) for n in range(60)]
        batches.append((begun + 60_000, batch(shares)))
    live, replayed = Statistics(), Statistics()
    for to_ms, shares in batches:
        count(live, to_ms, shares, (A, 1))
        replayed.add(replace(sum_up(to_ms, shares), rejects=((A, 1),)))
    for to_ms, shares in reversed(batches):
        if to_ms >= replayed.log_ms - RATES_MS:
            replayed.add_rates(shares)
    assert list(replayed.dump()) == list(live.dump())
    now = live.log_ms
    assert replayed.pool_statistics(now, blocks=0, height=0) == live.pool_statistics(now, blocks=0, height=0)
    assert replayed.miner_statistics(A, now) == live.miner_statistics(A, now)
    assert live.shares == 300 * 60


def test_memory_is_bounded():
    ring = WorkRing(300_000)
    for number in range(10_000):
        ring.note(START + number * BUCKET_MS, START + number * BUCKET_MS)
        ring.add(START // BUCKET_MS + number, 1)
    assert len(ring._buckets) <= 300_000 // BUCKET_MS + 1
    stats = Statistics()
    count(stats, START, batch([Share(START, A, f"w{number}", 1) for number in range(3 * MAX_WORKERS)]))
    assert len(stats.workers(A, START)) == MAX_WORKERS
    assert stats.shares == 3 * MAX_WORKERS
    later = START + ACTIVE_MS + 1
    count(stats, later, batch([Share(later, A, "new", 1)]))
    assert list(stats.workers(A, later)) == ["new"]


def test_whoever_is_away_costs_little():
    stats = Statistics()
    count(stats, START, batch([Share(START, A, "rig", 1)]))
    before = list(stats.dump())
    later = START + IDLE_MS + 60_000
    for number in range(REST_EVERY):
        count(stats, later + number, batch([Share(later + number, B, "rig", 1)]))
    away = stats._miners[A]
    assert not away.workers
    assert not away.ring._buckets
    assert (away.shares, away.work, stats.last_share_ms(A)) == (1, 1, START)
    assert stats.miner_statistics(A, later).hashrate == {"5m": 0, "1h": 0}
    assert any(A in line for line in before)
    assert any(A in line and json.loads(line)[2:5] == [1, 0, "1"] for line in stats.dump())
