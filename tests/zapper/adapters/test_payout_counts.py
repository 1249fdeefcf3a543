"""Counting payouts by state in the zapper's own file."""

from pathlib import Path

import pytest

from zapper.adapters.intent_store import open_intent_store
from zapper.adapters.payout_counts import payout_counts
from zapper.payout import Intent, State, Step

pytestmark = pytest.mark.anyio


def intent(payout_id: str, miner: str, created_ms: int) -> Intent:
    return Intent(payout_id, miner * 32, 1000, 10, State.INTENT, created_ms, created_ms, "bb" * 32, "a@b", "zap")


async def test_no_store_and_an_empty_one_count_nothing(tmp_path: Path) -> None:
    path = tmp_path / "payouts.sqlite"
    assert await payout_counts(path) == {}
    assert not path.exists()
    async with open_intent_store(path):
        assert await payout_counts(path) == {}


async def test_payouts_are_counted_by_state_beside_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "a #store?.sqlite"
    async with open_intent_store(path) as store:
        await store.create(intent("one", "a1", 5))
        await store.create(intent("two", "a2", 3))
        third = intent("three", "a3", 9)
        await store.create(third)
        third = await store.advance(third, Step.INVOICE, 10, payload="ln", reference="h", expires_at=99)
        await store.advance(third, Step.SEND, 11)
        assert await payout_counts(path) == {"intent": (2, 3), "sending": (1, 9)}
