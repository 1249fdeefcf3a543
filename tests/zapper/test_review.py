"""Each finding of the cold review as a test."""

import stat
from dataclasses import replace
from typing import Any

import anyio
import pytest

from nips.pool.settings import SettingsBody, build_settings
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal
from zapper.payout import Intent, State
from zapper.plan import PlanLimits
from zapper.ports import Paid, Unclear
from zapper.rails import Order, Prepared

pytestmark = pytest.mark.anyio
LIMITS = PlanLimits(minimum_msat=1000)


class Rail:
    replayable = True
    slow = False
    name = "scripted rail"
    purse = "scripted"

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.slow_lookup_s = 0.0

    async def prepare(self, order: Order) -> Prepared:
        await anyio.sleep(0.01)
        return Prepared("cashu", f"ref-{order.payout_id}", "payload")

    async def send(self, intent: Intent) -> Any:
        self.sent.append(intent.payout_id)
        return Unclear("who knows") if self.slow_lookup_s else Paid("", 7, "shown")

    async def lookup(self, intent: Intent) -> Any:
        await anyio.sleep(self.slow_lookup_s)
        return Paid("", 7, "shown")

    def proof(self, intent: Intent) -> dict[str, Any]:
        return {"reference": intent.reference}

    async def balance_msat(self) -> int:
        return 10**12

    async def begin(self, unfinished: Any) -> None: ...

    async def release(self, intent: Intent) -> None: ...


def wants_cashu(around: Any, name: str) -> None:
    event = build_settings(around.address.pubkey, SettingsBody(methods=("cashu",)), around.clock.seconds() - 60)
    around.feed.add(around.miners[name].sign(event))


async def test_withdrawals_side_by_side_keep_to_the_days_cap(around: Any) -> None:
    around.rails["cashu"] = Rail()
    around.settings["limits"] = replace(LIMITS, per_day_msat=5_000_000)
    now_s = around.clock.seconds()
    for number in range(6):
        around.miner(f"m{number}", 2_000_000, profile="")
        body = WithdrawalBody("cashu", 2_000_000, "", now_s + 3600)
        around.feed.add(
            around.miners[f"m{number}"].sign(build_withdrawal(around.address, around.signer.pubkey, body, now_s))
        )
    async with around.open() as (zapper, store):
        await zapper.serve_requests()
        assert await store.sent_since(0) == 4_000_000
        assert await store.payees() == []


async def test_rounds_side_by_side_keep_to_the_days_cap(around: Any) -> None:
    around.rails["cashu"] = Rail()
    around.settings["limits"] = replace(LIMITS, per_day_msat=5_000_000)
    for number in range(4):
        around.miner(f"m{number}", 2_000_000)
        wants_cashu(around, f"m{number}")
    async with around.open() as (zapper, store):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(zapper.pay_round)
            around.miner("m9", 4_000_000)
            wants_cashu(around, "m9")
            tasks.start_soon(zapper.pay_round)
        assert await store.sent_since(0) <= 5_000_000


async def test_a_rail_that_brings_on_what_it_is_asked_about_has_the_time_for_it(around: Any) -> None:
    around.miner("alice", 5_000_000)
    wants_cashu(around, "alice")
    rail = around.rails["cashu"] = Rail()
    rail.slow_lookup_s = 0.3
    around.settings["fetch_timeout_s"] = 0.1
    around.settings["pay_timeout_s"] = 20
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        await zapper.reconcile()
        assert await store.open_intents() == []


async def test_what_was_never_sent_is_due_again_when_its_rail_is_gone(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    async with around.open() as (_, store):
        intent = Intent("p1", miner, 1000, 0, State.INTENT, 1, 1, "aa" * 32, "", "nutzap")
        await store.create(intent)
        from zapper.payout import Step

        await store.advance(intent, Step.INVOICE, 2, reference="r", payload="x")
    async with around.open() as (zapper, store):
        await zapper.reconcile()
        found = await store.get("p1")
        assert found is not None
        assert found.state is State.FAILED


async def test_the_intent_store_is_its_owners_alone(around: Any, tmp_path: Any) -> None:
    from zapper.adapters.intent_store import open_intent_store

    async with open_intent_store(tmp_path / "x.sqlite"):
        assert stat.S_IMODE((tmp_path / "x.sqlite").stat().st_mode) == 0o600
