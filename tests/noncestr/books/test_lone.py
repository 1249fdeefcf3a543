"""What books know of the chain that have no node: what the log says."""

from types import SimpleNamespace
from typing import Any

import pytest

from nips.pool.hashing import from_display
from noncestr.books.lone import LogBlocks, LogHeight

pytestmark = pytest.mark.anyio
BLOCK = "ab" * 31 + "01"


def books(heights: dict[str, dict[int, str]]) -> Any:
    """Of a log whose jobs build on these blocks."""
    mining = SimpleNamespace(heights=heights, newest_job={}, read_jobs={})
    return SimpleNamespace(fold=SimpleNamespace(log=SimpleNamespace(mining=mining)))


async def test_a_block_is_in_the_chain_once_a_job_builds_on_it() -> None:
    heights: dict[str, dict[int, str]] = {}
    blocks = LogBlocks(books(heights))
    assert await blocks.confirmations(from_display(BLOCK)) == 0
    heights["cd" * 32] = {7: "other job"}
    assert await blocks.confirmations(from_display(BLOCK)) == 0
    heights[BLOCK] = {8: "a job"}
    assert await blocks.confirmations(from_display(BLOCK)) == 1


async def test_the_accounting_hears_no_word_of_any_block() -> None:
    """Its statements and statuses stand in the log: nobody here matures or orphans a reward."""
    view = LogHeight()
    view.books = books({BLOCK: {8: "a job"}})
    assert await view.confirmations(from_display(BLOCK)) == 0
    assert view.height() == 0
