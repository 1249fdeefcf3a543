"""Cancelled batches that are looked for by txid, one question a batch (the operator's whole way: test_signing.py)."""

from dataclasses import dataclass, field

import pytest

from zapper.cancelled import NOT_ASKED, SENT, CancelledBatches, Fate
from zapper.errors import Conflict
from zapper.funding import Batch, batch_of, payload_of
from zapper.payout import Intent, State

pytestmark = pytest.mark.anyio
NOW_MS = 1_700_000_000_000
FIRST, SECOND = "01" * 32, "02" * 32
LEFT_ALONE, DEAD = Fate("", dead=False), Fate("", dead=True)


def cancelled(name: str, txid: str, method: str = "onchain") -> Intent:
    payload = payload_of(Batch("", txid, 300, 2, ()))
    return Intent(
        name, f"miner of {name}", 1000, 5, State.FAILED, 1, 1, "bb" * 32, "bcrt1q", method,
        payload=payload, reference=f"{txid}:0",
    )  # fmt: skip


@dataclass
class Store:
    """Intents that were cancelled, and in `said` what was written, in order."""

    intents: list[Intent]
    busy: frozenset[str] = frozenset()
    said: list[tuple[str, str]] = field(default_factory=list)

    async def cancelled(self) -> list[Intent]:
        return list(self.intents)

    async def note_sent(self, txid: str, now_ms: int) -> None:
        assert now_ms == NOW_MS
        self.said.append(("sent", txid))

    async def revive(self, seen: Intent, payload: str, reason: str, now_ms: int) -> bool:
        assert (reason, now_ms) == (SENT, NOW_MS)
        if seen.payout_id in self.busy:
            raise Conflict("another one is open")
        self.intents.remove(seen)
        self.said.append((seen.payout_id, batch_of(Intent(**{**_fields(seen), "payload": payload})).raw))
        return True


def _fields(intent: Intent) -> dict[str, object]:
    return {name: getattr(intent, name) for name in Intent.__dataclass_fields__}


@dataclass
class Rail:
    """A rail that answers by txid; what it has no answer for it can't ask."""

    fates: dict[str, Fate]
    asked: list[str] = field(default_factory=list)

    async def fate(self, batch: Batch) -> Fate:
        self.asked.append(batch.txid)
        if batch.txid not in self.fates:
            raise OSError("the node is away")
        return self.fates[batch.txid]


def looking(store: Store, rail: object) -> CancelledBatches:
    return CancelledBatches(store, {"onchain": rail}, lambda: NOW_MS)


async def test_what_was_sent_is_written_down_before_its_payouts_are_taken_up() -> None:
    store = Store([cancelled("a", FIRST), cancelled("b", SECOND), cancelled("c", FIRST)])
    rail = Rail({FIRST: Fate("beef", dead=False), SECOND: LEFT_ALONE})
    assert await looking(store, rail).look() == {}
    assert rail.asked == [FIRST, SECOND]
    assert store.said == [("sent", FIRST), ("a", "beef"), ("c", "beef")]
    assert [intent.payout_id for intent in store.intents] == ["b"]


async def test_a_payout_whose_miner_is_being_paid_waits_alone() -> None:
    store = Store([cancelled("a", FIRST), cancelled("b", FIRST)], busy=frozenset({"a"}))
    rail = Rail({FIRST: Fate("beef", dead=False)})
    looks = looking(store, rail)
    await looks.look()
    assert store.said == [("sent", FIRST), ("b", "beef")]
    store.busy = frozenset()
    await looks.look()
    assert store.said[2:] == [("sent", FIRST), ("a", "beef")]


async def test_those_it_may_have_paid_wait_for_a_node_that_is_away() -> None:
    store = Store([cancelled("a", FIRST), cancelled("b", SECOND)])
    rail = Rail({SECOND: LEFT_ALONE})
    looks = looking(store, rail)
    assert await looks.look() == {"miner of a": NOT_ASKED}
    rail.fates[FIRST] = LEFT_ALONE
    assert await looks.look() == {}
    assert store.said == []


async def test_a_batch_whose_coin_is_spent_holds_nobody_back_until_the_chain_turns() -> None:
    store = Store([cancelled("a", FIRST)])
    rail = Rail({FIRST: DEAD})
    looks = looking(store, rail)
    assert await looks.look() == {}
    del rail.fates[FIRST]
    assert await looks.look() == {}
    rail.fates[FIRST] = LEFT_ALONE
    assert await looks.look() == {}
    del rail.fates[FIRST]
    assert await looks.look() == {"miner of a": NOT_ASKED}
    rail.fates[FIRST] = Fate("beef", dead=False)
    assert await looks.look() == {}
    assert store.said == [("sent", FIRST), ("a", "beef")]


async def test_without_a_rail_to_ask_nobody_waits() -> None:
    """A pool that pays on chain no more, or by a method whose payments do not outlive their cancelling."""
    store = Store([cancelled("a", FIRST), cancelled("b", SECOND, "zap")])
    assert await looking(store, object()).look() == {}
    assert await CancelledBatches(store, {}, lambda: NOW_MS).look() == {}
    assert store.said == []
