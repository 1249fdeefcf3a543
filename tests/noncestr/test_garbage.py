"""The collector's settings, and the full collection that still comes."""

import gc

import anyio
import pytest

from noncestr import garbage


@pytest.fixture
def collector():
    """The collector as it was, afterwards."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_no_full_collection_comes_by_itself(collector):
    garbage.calm()
    full = gc.get_stats()[2]["collections"]
    kept = [[] for _ in range(300_000)]
    assert gc.get_stats()[2]["collections"] == full
    assert gc.get_stats()[0]["collections"] > 0
    assert len(kept) == 300_000


@pytest.mark.anyio
async def test_a_full_collection_finds_old_cycles(collector, monkeypatch):
    monkeypatch.setattr(garbage, "FULL_EVERY_S", 0.001)
    freed = anyio.Event()

    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            freed.set()

    garbage.calm()
    Cycle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(garbage.collect_calmly)
        with anyio.fail_after(5):
            await freed.wait()
        tasks.cancel_scope.cancel()
