"""What gets into the store, and what is said to be held: over restarts, and when a new key makes all come again."""

from typing import Any

import pytest

import accounting.parked
from accounting.adapters.gate import Gate
from accounting.adapters.store import AccountingStore, open_store
from accounting.log import PoolLog
from accounting.ports import Held
from accounting.strangers import LetGo
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.kinds import JOB, TERMS

pytestmark = pytest.mark.anyio
MOST = 3
SIGNER = "cc" * 32
LATE = 2**40


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting.parked, "MAX_PARKED", MOST)


async def read(gate: Gate, store: AccountingStore, log: PoolLog, events: list[VerifiedEvent]) -> int:
    """A step; how many events were kept."""
    kept = await gate.sift(store, log, events)
    await store.add_events(kept)
    for event in kept:
        log.add(event)
    log.settle()
    return len(kept)


async def test_the_feed_is_told_of_what_was_let_go_too(store_place: Any, story: Any) -> None:
    key = SecretKey(b"\x05" * 32)
    flood = [key.sign(UnsignedEvent(JOB, LATE + n, (("a", str(story.pool)),), "{}")) for n in range(3 * MOST)]
    terms = next(event for event in story.all() if event.kind == TERMS)
    log, gate = PoolLog(story.pool), Gate()
    async with open_store(store_place, story.pool, SIGNER) as store:
        await gate.load(store)
        assert await gate.held(store) == Held(0, 0)
        assert await read(gate, store, log, [terms]) == 1
        assert await read(gate, store, log, flood) == MOST
        assert await store.count() == 1 + MOST
        held = Held(1 + 3 * MOST, LATE + 3 * MOST - 1)
        assert await gate.held(store) == held
        assert not await gate.asks_again(store, log)
        await gate.begun(store)
        assert await gate.held(store) == held
    async with open_store(store_place, story.pool, SIGNER) as store:
        # A restart, and one whose gate was never asked: terms came, and a kill before anything was done about it.
        gate = Gate()
        await gate.load(store)
        assert await gate.held(store) == held
        assert not await gate.asks_again(store, log)
        grown = PoolLog(story.pool)
        grown.terms.roles = {**log.terms.roles, "edge": {*log.terms.roles["edge"], "dd" * 32}}
        assert await gate.asks_again(store, grown)
        assert await gate.held(store) == Held(0, 0)
        assert not await gate.asks_again(store, grown)
    async with open_store(store_place, story.pool, SIGNER) as store:
        # Killed before the feed was told: it is told now, once.
        gate = Gate()
        await gate.load(store)
        assert await gate.held(store) == Held(0, 0)
        await gate.begun(store)
        assert (await gate.held(store)).events == 1 + MOST
        assert await store.let_go() == LetGo()
