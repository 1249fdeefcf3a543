"""Lanes, jobs and blocks in the live fold; the rules themselves show in test_verifier."""

from typing import Any

from accounting.log import PoolLog
from accounting.mining import FORGET_EVERY
from nips.nip01 import UnsignedEvent, VerifiedEvent


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


def test_a_second_announcement_of_a_block_is_no_second_block(story: Any) -> None:
    event = story.events["block 0"]
    again = story.keys.edge.sign(replace_date(event))
    log = PoolLog(story.pool)
    for each in [*story.all(), again]:
        log.add(each)
    log.settle()
    assert log.findings == []
    assert len(log.blocks) == 3


def replace_date(event: VerifiedEvent) -> UnsignedEvent:
    return UnsignedEvent(event.kind, event.created_at + 1, event.tags, event.content)


def test_blocks_by_anybody_else_wait_for_ever(story: Any) -> None:
    log = PoolLog(story.pool)
    forged = story.keys.stranger.sign(replace_date(story.events["block 0"]))
    for each in [*story.all("block 0"), forged]:
        log.add(each)
    log.settle()
    assert story.bodies["block 0"].block not in log.blocks
    assert list(log.parked.ids()) == [forged.id]
