"""Announcements of blocks in the live fold: in any order, twice, false, and by anybody else."""

from dataclasses import replace
from typing import Any

import pytest

from accounting.facts import BlockSeen, Fact
from accounting.findings import Code
from accounting.log import PoolLog
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.block import build_block, parse_block
from nips.pool.kinds import BLOCK


def fold(pool: Any, *groups: list[VerifiedEvent]) -> tuple[PoolLog, list[Fact]]:
    log, facts = PoolLog(pool), list[Fact]()
    for events in groups:
        for event in events:
            log.add(event)
        facts += log.settle()
    return log, facts


def dated_later(event: VerifiedEvent) -> UnsignedEvent:
    return UnsignedEvent(event.kind, event.created_at + 1, event.tags, event.content)


def test_a_block_is_seen_once_whichever_comes_first_it_or_its_batch(story: Any) -> None:
    blocks = [event for event in story.all() if event.kind == BLOCK]
    rest = [event for event in story.all() if event.kind != BLOCK]
    seen = []
    for groups in ([blocks, rest], [rest, blocks], [[*rest, *blocks]], [blocks, rest, blocks]):
        log, facts = fold(story.pool, *groups)
        assert log.mining.announced.waiting == {}
        seen.append(sorted((f for f in facts if isinstance(f, BlockSeen)), key=lambda f: f.block.block))
        assert {name for name, _ in log.blocks.scan()} == {fact.block.block for fact in seen[-1]}
    assert len(seen[0]) == 3
    assert all(each == seen[0] for each in seen)


def test_a_second_announcement_of_a_block_is_no_second_block(story: Any) -> None:
    again = story.keys.edge.sign(dated_later(story.events["block 0"]))
    log, facts = fold(story.pool, [*story.all(), again])
    assert log.findings == []
    assert len(log.blocks) == len([fact for fact in facts if isinstance(fact, BlockSeen)]) == 3
    # A statement may rest on either.
    announced = log.mining.announced.announcements
    assert announced[again.id] == announced[story.events["block 0"].id]


def test_blocks_by_anybody_else_wait_for_ever(story: Any) -> None:
    forged = story.keys.stranger.sign(dated_later(story.events["block 0"]))
    log, _ = fold(story.pool, [*story.all("block 0"), forged])
    assert story.bodies["block 0"].block not in log.blocks
    assert list(log.parked.ids()) == [forged.id]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"index": 0}, Code.BLOCK_NOT_SOLVED),
        ({"index": 200}, Code.BLOCK_NOT_SOLVED),
        ({"height": 7}, Code.BLOCK_MISMATCH),
        ({"merkle": (b"\x01" * 32,)}, Code.BLOCK_MISMATCH),
        ({"coinbase": b"\x02" * 90}, Code.BLOCK_MISMATCH),
        ({"finder": "ab" * 32}, Code.BLOCK_MISMATCH),
    ],
)
def test_what_the_share_and_its_job_do_not_say_is_refused(story: Any, changes: dict[str, Any], code: Code) -> None:
    body = replace(story.bodies["block 0"], **changes)
    false = story.keys.edge.sign(build_block(story.pool, body, story.events["block 0"].created_at))
    log, facts = fold(story.pool, story.all("block 0"), [false])
    announced = log.mining.announced
    assert announced.refused == {parse_block(false).block}
    assert [found.code for found in log.findings if false.id in found.events] == [code]
    assert not [fact for fact in facts if isinstance(fact, BlockSeen) and fact.block.id == false.id]
    assert false.id not in announced.announcements
    # The true one is none the worse for it.
    log.add(story.events["block 0"])
    assert [fact.block.id for fact in log.settle() if isinstance(fact, BlockSeen)] == [story.events["block 0"].id]


def test_where_a_job_is_missing_nothing_is_said_of_its_blocks(story: Any) -> None:
    """The batch itself waits for its job: so does the announcement, and no finding convicts anybody of it."""
    missing = next(event.id for event in story.all() if event.id == story.jobs["B"].id)
    log, _ = fold(story.pool, [event for event in story.all() if event.id != missing])
    assert story.events["block 0"].id in log.mining.announced.waiting
    assert not [found for found in log.findings if found.code in (Code.BLOCK_NOT_SOLVED, Code.BLOCK_MISMATCH)]
