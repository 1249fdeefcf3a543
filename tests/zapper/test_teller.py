"""Handing over and asking."""

from collections import defaultdict
from typing import Any

import pytest

from tests.zapper.scripted_rails import ScriptedRail, settle_for
from zapper.payout import Intent, State, Step
from zapper.ports import Paid

pytestmark = pytest.mark.anyio


async def test_a_rail_that_brings_on_what_it_is_asked_about_has_the_time_for_it(around: Any) -> None:
    around.miner("alice", 5_000_000)
    settle_for(around, "alice", methods=("cashu",))
    rail = around.rails["cashu"] = ScriptedRail("cashu")
    rail.replayable, rail.unclear, rail.lookup_s = True, True, 0.3
    rail.answers = defaultdict(lambda: Paid("", 7, "shown"))
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
        await store.advance(intent, Step.INVOICE, 2, reference="r", payload="x")
    async with around.open() as (zapper, store):
        await zapper.reconcile()
        found = await store.get("p1")
        assert found is not None
        assert found.state is State.FAILED
