"""Who waits, who is given up, who is owed again."""

import json
from dataclasses import replace
from typing import Any

import anyio.lowlevel
import pytest

from nips.nip01 import UnsignedEvent
from tests.zapper.scripted_rails import CashLikeRail, ScriptedRail, ask, invoice, settle_for
from zapper.errors import PaymentBlocked, PoolFault
from zapper.payout import State
from zapper.plan import OURS, PlanLimits
from zapper.ports import NotFound, Refused
from zapper.rails import Kept, Returned, Waiting

pytestmark = pytest.mark.anyio
LIMITS = PlanLimits(minimum_msat=1000)


async def test_who_cannot_be_paid_for_long_is_a_dead_letter_until_it_says_something_new(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    around.provider.lies["alice"] = "down"
    around.settings["limits"] = replace(LIMITS, give_up_days=2)
    async with around.open() as (zapper, store):
        for _ in range(12):
            await zapper.pay_round()
            await zapper.reconcile()
            around.clock.pass_s(6 * 3600)
        payee = await store.payee(miner)
        assert payee.dead_ms
        assert zapper.status.dead == {miner: payee.reason}
        around.provider.lies.clear()
        before = dict(around.provider.asked)
        await zapper.pay_round()
        assert around.provider.asked == before
        assert "connection refused" in (zapper.why_unpaid(miner) or "")
        assert "not tried any more" in (zapper.why_unpaid(miner) or "")
        around.clock.pass_s(6 * 3600)
        content = json.dumps({"lud16": "back@pay.example"})
        around.feed.add(around.miners["alice"].sign(UnsignedEvent(0, around.clock.seconds(), (), content)))
        await zapper.pay_round()
        await zapper.reconcile()
        assert zapper.status.dead == {}
    assert around.paid_msat() == 5_000_000


async def test_a_request_that_cannot_be_prepared_waits_longer_each_time(around: Any) -> None:
    around.miner("alice", 5_000_000, profile="")
    cashu = around.rails["cashu"] = ScriptedRail("cashu")
    cashu.broken = "the mint is away"
    event = ask(around, "alice", "cashu", 3_000_000)
    async with around.open() as (zapper, store):
        for _ in range(3):
            await zapper.serve_requests()
        assert len(cashu.released) == 1
        assert await store.served() == {}
        around.clock.pass_s(61)
        cashu.broken = ""
        await zapper.serve_requests()
        assert await store.served() == {event.id: ""}
    assert around.records()[0].to == event.id


async def test_a_broken_wallet_provider_does_not_hold_up_a_withdrawal(around: Any, make_invoice: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    around.provider.lies["alice"] = "down"
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert (await store.payee(miner)).not_before_ms > around.clock.ms
        ask(around, "alice", "bolt11", 3_000_000, invoice(around, make_invoice, 3_000_000))
        await zapper.serve_requests()
    assert [record.method for record in around.records()] == ["bolt11"]


@pytest.mark.parametrize("outcome", [Kept(), Waiting(), Returned("swapped back")])
async def test_money_that_nobody_took_comes_back_and_is_owed_again(around: Any, outcome: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    settle_for(around, "alice", methods=("cashu",))
    cashu = around.rails["cashu"] = CashLikeRail("cashu")
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        cashu.outcome_of = outcome
        for _ in range(3):
            await zapper.reconcile()
        records = around.records()
        if isinstance(outcome, Returned):
            paid, back = records
            assert (back.amount_msat, back.reverses) == (-5_000_000, paid.payout_id)
            assert back.proof["evidence"] == "swapped back"
            assert (await store.get(paid.payout_id)).state is State.RETURNED
            around.ledger.catch_up()
            await zapper.pay_round()
            assert [record.amount_msat for record in around.records()] == [5_000_000, -5_000_000, 5_000_000]
        else:
            assert len(records) == 1
            assert await store.holds(miner) == {records[0].payout_id: 5_000_000}


class Broke(ScriptedRail):
    """A wallet that says no at once."""

    def __init__(self, answer: Refused) -> None:
        super().__init__("zap")
        self.answer = answer

    async def send(self, intent: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return self.answer

    async def lookup(self, intent: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return NotFound()


def away(_around: Any) -> Any:
    rail = ScriptedRail("zap")
    rail.fault = PoolFault(f"{OURS}its mint is away")
    return rail


def broken(_around: Any) -> Any:
    rail = ScriptedRail("zap")
    rail.fault = RuntimeError("a bug")
    return rail


@pytest.mark.parametrize(
    ("make", "reason", "is_given_up"),
    [
        (lambda _: Broke(Refused("no route")), "no route", True),
        (lambda _: Broke(Refused("insufficient balance", ours=True)), f"{OURS}insufficient balance", False),
        (away, f"{OURS}its mint is away", False),
        (broken, f"{OURS}an error of the pool's own; its log tells more", False),
    ],
)
async def test_nobody_is_given_up_for_the_pools_own_faults(
    around: Any, make: Any, reason: str, is_given_up: bool
) -> None:
    miner = around.miner("alice", 5_000_000)
    around.settings["limits"] = replace(LIMITS, give_up_days=2)
    around.rails["zap"] = make(around)
    async with around.open() as (zapper, store):
        for _ in range(12):
            await zapper.pay_round()
            around.clock.pass_s(6 * 3600)
        assert reason in (zapper.why_unpaid(miner) or "")
        assert bool((await store.payee(miner)).dead_ms) is is_given_up
        # Mended, it is paid within a quarter of an hour.
        around.rails["zap"] = ScriptedRail("zap")
        around.clock.pass_s(900 - 6 * 3600)
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert bool(around.records()) is not is_given_up


async def test_a_fault_of_the_pools_ends_the_time_in_which_a_payee_failed(around: Any) -> None:
    """Who failed once a month ago, and could not be paid by the pool since, has not failed for a month."""
    miner = around.miner("alice", 5_000_000)
    around.settings["limits"] = replace(LIMITS, give_up_days=2)
    rail = around.rails["zap"] = ScriptedRail("zap")
    async with around.open() as (zapper, store):
        for fault in (PaymentBlocked("their server"), *[PoolFault(f"{OURS}ours")] * 9, PaymentBlocked("their server")):
            rail.fault = fault
            await zapper.pay_round()
            around.clock.pass_s(6 * 3600)
        payee = await store.payee(miner)
        assert (payee.dead_ms, payee.failures, payee.reason) == (0, 11, "their server")


async def test_without_a_relay_nobody_is_given_up(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    around.settings["limits"] = replace(LIMITS, give_up_days=1)
    async with around.open() as (zapper, store):
        await zapper.reconcile()
        around.feed.down = True
        for _ in range(8):
            await zapper.pay_round()
            around.clock.pass_s(6 * 3600)
        payee = await store.payee(miner)
        assert payee.reason.startswith(f"{OURS}no relay could be asked for the profile")
        assert payee.dead_ms == 0
