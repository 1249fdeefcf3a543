"""Lanes and jobs in the live fold; the rules themselves show in test_verifier."""

from typing import Any

from accounting.log import PoolLog
from accounting.mining import FORGET_EVERY


def test_hashes_are_let_go_once_a_job_can_bring_no_more(builder: Any, story: Any) -> None:
    """A pool that runs for years must not remember every share."""
    builder.terms(0, story.bodies["terms 0"])
    alice = builder.keys.alice
    old = builder.job("A", 0, (0,))
    builder.batch(0, 0, 1000, [builder.mine(old, alice, 500)])
    # Batches of 20 s, so that the job's ten minutes are over when the last one is looked at.
    for number in range(1, FORGET_EVERY - 1):
        builder.batch(0, 20_000 * number - 19_000, 20_000 * number + 1000)
    start = 20_000 * (FORGET_EVERY - 2) + 1000
    live = builder.job("B", start, (0,))
    builder.batch(0, start, start + 20_000, [builder.mine(live, alice, start + 1000)])
    log = PoolLog(builder.pool)
    for event in builder.all():
        log.add(event)
    log.settle()
    assert log.findings == []
    assert set(log.mining.live_jobs()) == {live.id}


def test_progress_is_told_by_the_batch(story: Any) -> None:
    told: list[int] = []
    log = PoolLog(story.pool, told.append)
    for event in story.all():
        log.add(event)
    log.settle()
    assert len(told) == 12
    assert sum(told) == 26
