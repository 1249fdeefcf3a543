"""The intent store upholds its rules against a caller that does not."""

import sqlite3
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.chain import Head
from zapper.adapters.intent_store import open_intent_store
from zapper.errors import Conflict, IllegalStep, StoreInUse
from zapper.payout import Intent, State, Step
from zapper.ports import ChainHead, Payee

pytestmark = pytest.mark.anyio
KEY = SecretKey(b"\x01" * 32)


def intent(payout_id: str, miner: str = "aa" * 32, amount_msat: int = 5000) -> Intent:
    return Intent(payout_id, miner, amount_msat, 10, State.INTENT, 1, 1, "bb" * 32, "a@b", "zap")


def event(number: int) -> VerifiedEvent:
    return KEY.sign(UnsignedEvent(4215, 100 + number, (("seq", str(number)),), "{}"))


async def settle(store: Any, payout_id: str, miner: str = "aa" * 32) -> Intent:
    made = intent(payout_id, miner)
    await store.create(made)
    made = await store.advance(made, Step.INVOICE, 2, payload=f"ln{payout_id}", reference=f"h{payout_id}", expires_at=9)
    made = await store.advance(made, Step.SEND, 3)
    return await store.advance(made, Step.PAID, 4, preimage="ee" * 32, fee_msat=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "intents.sqlite"


async def test_what_was_stored_is_there_after_reopening(path: Path) -> None:
    async with open_intent_store(path) as store:
        settled = await settle(store, "p1")
        await store.set_receipt("p1", "99" * 32)
        await store.set_payee(Payee("aa" * 32, 2, 77, "no route"))
        await store.append_record("p1", 0, event(0))
    async with open_intent_store(path) as store:
        assert await store.get("p1") == replace(settled, receipt="99" * 32)
        assert await store.get("p2") is None
        assert await store.holds("aa" * 32) == {"p1": 5000}
        assert await store.payee("aa" * 32) == Payee("aa" * 32, 2, 77, "no route")
        assert await store.payee("bb" * 32) is None
        assert await store.chain_head(KEY.pubkey) == ChainHead(Head(0, event(0).id), 100)
        assert await store.unpublished() == [event(0)]
        await store.mark_published(event(0).id)
        assert await store.unpublished() == []


async def test_commits_are_durable(path: Path) -> None:
    async with open_intent_store(path) as store:
        pragmas = [await store._rows(f"PRAGMA {name}") for name in ("journal_mode", "synchronous")]
    assert pragmas == [[("wal",)], [(2,)]]


async def test_one_miner_has_one_open_payout(path: Path) -> None:
    async with open_intent_store(path) as store:
        await store.create(intent("p1"))
        with pytest.raises(Conflict):
            await store.create(intent("p2"))
        await store.create(intent("p3", "bb" * 32))
        await store.advance(intent("p1"), Step.REJECT, 2, reason="x")
        await store.create(intent("p2"))
        assert [found.payout_id for found in await store.open_intents()] == ["p2", "p3"]
        assert await store.holds("aa" * 32) == {"p2": 5000}


async def test_a_payout_id_serves_once_and_begins_as_an_intent(path: Path) -> None:
    async with open_intent_store(path) as store:
        await settle(store, "p1")
        with pytest.raises(Conflict):
            await store.create(intent("p1"))
        with pytest.raises(Conflict):
            await store.create(replace(intent("p2"), state=State.SENDING))
        with pytest.raises(Conflict):
            await store.create(intent("p2", amount_msat=0))


async def test_a_reference_serves_once_and_a_payload_a_whole_batch(path: Path) -> None:
    async with open_intent_store(path) as store:
        await settle(store, "p1")
        await store.create(intent("p2"))
        with pytest.raises(Conflict):
            await store.advance(intent("p2"), Step.INVOICE, 2, payload="other", reference="hp1", expires_at=9)
        assert (await store.get("p2")).state is State.INTENT
        await store.advance(intent("p2"), Step.INVOICE, 2, payload="lnp1", reference="other", expires_at=9)


async def test_a_withdrawal_request_serves_once_but_for_payouts_that_failed(path: Path) -> None:
    async with open_intent_store(path) as store:
        await store.create(replace(intent("p1"), once="dd" * 32))
        await store.advance(replace(intent("p1"), once="dd" * 32), Step.REJECT, 2, reason="the mint is away")
        served = replace(intent("p2"), once="dd" * 32)
        await store.create(served)
        with pytest.raises(Conflict):
            await store.create(replace(intent("p3", "bb" * 32), once="dd" * 32))
        served = await store.advance(served, Step.INVOICE, 2, payload="ln", reference="h")
        served = await store.advance(await store.advance(served, Step.SEND, 3), Step.PAID, 4)
        with pytest.raises(Conflict):
            await store.create(replace(intent("p3"), once="dd" * 32))


async def test_money_that_came_back_is_due_again_and_gets_a_second_record(path: Path) -> None:
    async with open_intent_store(path) as store:
        settled = await settle(store, "p1")
        assert await store.returnable(["zap", "x"]) == []
        await store.append_record("p1", 0, event(0))
        assert await store.returnable(["zap", "x"]) == [settled]
        returned = await store.advance(settled, Step.RETURN, 5, evidence="taken back")
        assert await store.holds("aa" * 32) == {}
        assert (await store.unrecorded(), await store.returnable(["zap", "x"])) == ([returned], [])
        await store.append_record("p1", 1, event(1))
        assert await store.unrecorded() == []
        with pytest.raises(Conflict):
            await store.append_record("p1", 2, event(2))
        kept = await settle(store, "p2")
        await store.append_record("p2", 2, event(2))
        await store.set_kept("p2", 9)
        assert await store.returnable(["zap", "x"]) == []
        assert await store.get("p2") == kept


async def test_a_fee_that_the_miner_bears_is_held_with_the_amount(path: Path) -> None:
    async with open_intent_store(path) as store:
        made = replace(intent("p1"), fee_borne=True)
        await store.create(made)
        assert await store.holds("aa" * 32) == {"p1": 5010}
        made = await store.advance(made, Step.INVOICE, 2, payload="ln", reference="h")
        made = await store.advance(await store.advance(made, Step.SEND, 3), Step.PAID, 4, fee_msat=4)
        assert await store.holds("aa" * 32) == {"p1": 5004}
        assert await store.get("p1") == made


async def test_a_step_is_taken_once_from_the_state_that_was_seen(path: Path) -> None:
    """Two callers that saw the same payout: one of them sends."""
    async with open_intent_store(path) as store:
        await store.create(intent("p1"))
        invoiced = await store.advance(intent("p1"), Step.INVOICE, 2, payload="ln", reference="h", expires_at=9)
        outcomes: list[str] = []

        async def send() -> None:
            try:
                await store.advance(invoiced, Step.SEND, 3)
                outcomes.append("sent")
            except Conflict:
                outcomes.append("conflict")

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(send)
        assert sorted(outcomes) == ["conflict"] * 4 + ["sent"]
        with pytest.raises(IllegalStep):
            await store.advance(invoiced, Step.PAID, 3)


async def test_a_cancelled_step_is_whole(path: Path) -> None:
    """Cancelled in the middle, a transaction is finished and the store goes on."""
    async with open_intent_store(path) as store:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.create(intent("p1"))
        await store.create(intent("p2", "bb" * 32))
        found = {made.payout_id for made in await store.open_intents()}
        assert "p2" in found
        assert found <= {"p1", "p2"}


async def test_records_follow_each_other_and_settled_payouts(path: Path) -> None:
    async with open_intent_store(path) as store:
        await settle(store, "p1")
        await settle(store, "p2")
        await store.create(intent("p3"))
        assert [found.payout_id for found in await store.unrecorded()] == ["p1", "p2"]
        for payout_id, seq in (("p3", 0), ("p1", 1), ("nobody", 0)):
            with pytest.raises(Conflict):
                await store.append_record(payout_id, seq, event(seq))
        await store.append_record("p1", 0, event(0))
        with pytest.raises(Conflict):
            await store.append_record("p1", 1, event(1))
        with pytest.raises(Conflict):
            await store.append_record("p2", 0, event(1))
        await store.append_record("p2", 1, event(1))
        assert await store.unpublished() == [event(0), event(1)]
        assert await store.unrecorded() == []


async def test_a_second_process_is_kept_out(path: Path) -> None:
    async with open_intent_store(path):
        with pytest.raises(StoreInUse, match="two would pay twice"):
            async with open_intent_store(path):
                pass
    async with open_intent_store(path):
        pass


async def test_a_tampered_record_is_not_handed_out(path: Path) -> None:
    async with open_intent_store(path) as store:
        await settle(store, "p1")
        await store.append_record("p1", 0, event(0))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE records SET event = replace(event, '4215', '4216')")
    connection.close()
    async with open_intent_store(path) as store:
        with pytest.raises(Exception, match="hash"):
            await store.unpublished()


async def test_the_intent_store_is_its_owners_alone(tmp_path: Path) -> None:
    async with open_intent_store(tmp_path / "x.sqlite"):
        assert stat.S_IMODE((tmp_path / "x.sqlite").stat().st_mode) == 0o600
