"""The published terms at work: orders, minimums, withdrawals, caps, fees, idle balances, dead letters, batches."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from nips.pool.address import PoolAddress
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal
from tests.zapper.scripted_rails import BatchedRail, ScriptedRail, ask, invoice, settle_for
from zapper.payout import Intent, State
from zapper.plan import DAY_MS, PlanLimits
from zapper.ports import NotFound, Owed, Paid, Pending
from zapper.schedule import next_round_ms

pytestmark = pytest.mark.anyio
LIMITS = PlanLimits(minimum_msat=1000)


async def test_a_withdrawal_by_invoice_is_paid_once(around: Any, make_invoice: Any) -> None:
    miner = around.miner("alice", 5_000_123, profile="")
    event = ask(around, "alice", "bolt11", 3_000_123, invoice(around, make_invoice, 3_000_123))
    async with around.open() as (zapper, store):
        for _ in range(3):
            await zapper.serve_requests()
        assert await store.served() == {event.id: ""}
        assert await store.holds(miner) == {around.records()[0].payout_id: 3_000_123}
    [record] = around.records()
    assert (record.method, record.amount_msat, record.to) == ("bolt11", 3_000_123, event.id)
    assert record.proof["bolt11"] == json.loads(event.content)["bolt11"]
    assert len(around.wallet.pay_calls) == 1


async def test_a_withdrawal_of_a_failed_invoice_is_not_tried_again(around: Any, make_invoice: Any) -> None:
    miner = around.miner("alice", 5_000_000, profile="")
    event = ask(around, "alice", "bolt11", 3_000_000, invoice(around, make_invoice, 3_000_000))
    around.wallet.script.append("refuse")
    async with around.open() as (zapper, store):
        for _ in range(3):
            await zapper.serve_requests()
            around.clock.pass_s(120)
        assert await store.served() == {event.id: "no route"}
        assert zapper.why_unpaid(miner) == "no route"
        assert await store.holds(miner) == {}
    assert len(around.wallet.pay_calls) == 1


@pytest.mark.parametrize(
    ("msat", "asked", "fields", "word"),
    [
        (3_000_000, 3_000_000, {"currency": "bc"}, "is for main"),
        (4_000_000, 3_000_000, {}, "asks for 4,000 sat, the request for 3,000 sat"),
        (None, 3_000_000, {}, "asks for no amount, the request"),
        (3_000_000, 3_000_000, {"expiry_s": 20}, "expired"),
        (3_000_000, 3_000_000, {"expiry_s": 30 * 86_400}, "14 days"),
        (6_000_000, 6_000_000, {}, "due are 5,000 sat"),
        (500, 500, {}, "the least is 1 sat"),
    ],
)
async def test_a_withdrawal_that_cannot_be_met_pays_nothing(
    around: Any, make_invoice: Any, msat: int, asked: int, fields: Any, word: str
) -> None:
    miner = around.miner("alice", 5_000_000, profile="")
    ask(around, "alice", "bolt11", asked, invoice(around, make_invoice, msat, **fields))
    async with around.open() as (zapper, store):
        await zapper.serve_requests()
        assert word in (zapper.why_unpaid(miner) or "")
        assert await store.holds(miner) == {}
    assert around.wallet.pay_calls == []


async def test_a_request_of_another_npub_or_for_another_zapper_takes_nothing(around: Any, make_invoice: Any) -> None:
    around.miner("alice", 5_000_000, profile="")
    around.miner("mallory", 0, profile="")
    text = invoice(around, make_invoice, 3_000_000)
    ask(around, "mallory", "bolt11", 3_000_000, text)
    ask(around, "alice", "bolt11", 3_000_000, text, zapper="cc" * 32)
    async with around.open() as (zapper, _):
        await zapper.serve_requests()
    assert around.wallet.pay_calls == []


async def test_one_invoice_in_two_requests_is_paid_once(around: Any, make_invoice: Any) -> None:
    miner = around.miner("alice", 9_000_000, profile="")
    text = invoice(around, make_invoice, 3_000_000)
    ask(around, "alice", "bolt11", 3_000_000, text)
    around.clock.pass_s(1)
    ask(around, "alice", "bolt11", 3_000_000, text)
    async with around.open() as (zapper, _):
        for _ in range(3):
            await zapper.serve_requests()
            around.clock.pass_s(1)
        assert "contradicts another payout" in (zapper.why_unpaid(miner) or "")
    assert len(around.wallet.pay_calls) == 1


async def test_no_more_than_the_days_cap_leaves_in_a_day(around: Any) -> None:
    for number in range(4):
        around.miner(f"m{number}", 2_000_000)
    around.settings["limits"] = replace(LIMITS, per_day_msat=5_000_000)
    async with around.open() as (zapper, _):
        for _ in range(3):
            await zapper.pay_round()
        assert around.paid_msat() == 4_000_000
        assert any("a day's" in reason for reason in zapper.status.why_unpaid.values())
        around.clock.pass_s(DAY_MS // 1000 + 1)
        await zapper.pay_round()
    assert around.paid_msat() == 8_000_000


async def test_a_miner_that_bears_the_fee_is_never_charged_more_than_it_is_owed(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    around.settings["limits"] = replace(LIMITS, fee_borne=True, max_fee_ppm=10_000, max_fee_floor_msat=2_000)
    around.wallet.fee = 70_000_000
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        [record] = around.records()
        assert record.amount_msat == 4_950_000
        assert record.network_fee_msat == 49_500
        assert await store.holds(miner) == {record.payout_id: 4_999_500}
        await zapper.pay_round()
    assert len(around.records()) == 1


async def test_an_idle_miners_rest_is_paid_under_the_minimum(around: Any) -> None:
    miner = around.miner("alice", 3_500)
    around.settings["limits"] = PlanLimits(minimum_msat=1_000_000, idle_days=30)
    active_ms = around.clock.ms

    async def owed() -> list[Owed]:
        await anyio.lowlevel.checkpoint()
        return [Owed(miner, 3_500, active_ms=active_ms)]

    around.ledger.owed = owed
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        assert zapper.why_unpaid(miner) == "at the last round 3.5 sat were due, the minimum is 1,000 sat"
        around.clock.pass_s(30 * 86_400)
        await zapper.pay_round()
    assert around.paid_msat() == 3_000


async def test_large_payouts_go_on_chain_together_and_small_ones_do_not(around: Any) -> None:
    for name, msat in (("alice", 9_000_000), ("bob", 8_000_000), ("carol", 2_000_000)):
        around.miner(name, msat)
        settle_for(around, name, methods=("onchain", "zap"), onchain=f"bcrt1q{name}")
    chain = around.rails["onchain"] = BatchedRail("onchain")
    around.settings["limits"] = replace(LIMITS, onchain_msat=5_000_000)
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    assert sorted(order.destination for order in chain.orders) == ["bcrt1qalice", "bcrt1qbob"]
    assert {intent.payload for intent in chain.sent} == {"one transaction"}
    assert sorted((record.method, record.amount_msat) for record in around.records()) == [
        ("onchain", 8_000_000),
        ("onchain", 9_000_000),
        ("zap", 2_000_000),
    ]


async def test_a_batch_that_cannot_be_prepared_leaves_everybody_owed(around: Any) -> None:
    miners = [around.miner(name, 9_000_000) for name in ("alice", "bob")]
    for name in ("alice", "bob"):
        settle_for(around, name, methods=("onchain",), onchain="bcrt1q")
    around.rails["onchain"] = BatchedRail("onchain")
    around.rails["onchain"].broken = "the wallet has too little"
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        for miner in miners:
            assert zapper.why_unpaid(miner) == "the wallet has too little"
            assert await store.holds(miner) == {}
        around.rails["onchain"].broken = ""
        around.clock.pass_s(61)
        await zapper.pay_round()
    assert len(around.records()) == 2


async def test_a_slow_rail_waits_without_alarm(around: Any) -> None:
    """Pending for hours is its nature: the payout stays sending until the answer."""
    around.miner("alice", 5_000_000)
    settle_for(around, "alice", methods=("onchain",), onchain="bcrt1q")
    chain = around.rails["onchain"] = ScriptedRail("onchain")
    chain.slow = chain.unclear = True
    chain.answers = {}

    class Always(dict[str, Any]):
        def __missing__(self, key: str) -> Any:
            return Pending()

    chain.answers = Always()
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        for _ in range(3):
            around.clock.pass_s(3600)
            await zapper.reconcile()
        [intent] = await store.open_intents()
        assert (intent.state, zapper.status.unknown, zapper.status.alerts) == (State.SENDING, (), ())
        chain.answers = {intent.reference or "": Paid("", 99)}
        await zapper.reconcile()
    [record] = around.records()
    assert (record.network_fee_msat, len(chain.sent)) == (99, 1)


async def test_what_can_be_spent_once_only_is_handed_over_again(around: Any) -> None:
    around.miner("alice", 5_000_000)
    settle_for(around, "alice", methods=("cashu",))
    cashu = around.rails["cashu"] = ScriptedRail("cashu")
    cashu.replayable = cashu.unclear = True
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        [intent] = await store.open_intents()
        assert intent.state is State.UNKNOWN
        cashu.answers = {intent.reference or "": NotFound()}
        cashu.unclear = False
        await zapper.reconcile()
        assert await store.open_intents() == []
    assert [sent.reference for sent in cashu.sent] == [intent.reference] * 2
    assert len(around.records()) == 1


async def test_a_restart_tells_rails_what_is_unfinished(around: Any) -> None:
    around.miner("alice", 5_000_000)
    settle_for(around, "alice", methods=("cashu",))
    cashu = around.rails["cashu"] = ScriptedRail("cashu")
    cashu.unclear = True
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        [intent] = await store.open_intents()
    async with around.open() as (zapper, _):
        cashu.answers = {intent.reference or "": Paid("", 1)}
        await zapper.reconcile()
    assert cashu.began == [intent.payout_id]
    assert around.records()[0].amount_msat == 5_000_000


async def test_another_pools_requests_are_not_ours(around: Any, make_invoice: Any) -> None:
    around.miner("alice", 5_000_000, profile="")
    ours, around.address = around.address, PoolAddress("cc" * 32, "regtest")
    ask(around, "alice", "bolt11", 3_000_000, invoice(around, make_invoice, 3_000_000))
    around.address = ours
    async with around.open() as (zapper, _):
        await zapper.serve_requests()
    assert around.wallet.pay_calls == []


async def test_a_rail_that_is_away_at_the_start_stops_no_other(around: Any) -> None:
    around.miner("alice", 5_000_000)
    chain = around.rails["onchain"] = ScriptedRail("onchain")

    async def away(unfinished: Sequence[Intent]) -> None:
        await anyio.lowlevel.checkpoint()
        raise ConnectionError

    chain.begin = away  # type: ignore[method-assign]  # a rail whose node does not answer
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    assert around.paid_msat() == 5_000_000


async def test_rounds_are_made_by_the_schedule(around: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock decides, whatever else passes; a moment is one round."""
    monkeypatch.setattr("zapper.timetable.CLOCK_CHECK_S", 0.01)
    around.miner("alice", 5_000_000)
    around.settings["schedule"] = "0 12 * * *"
    async with around.open() as (zapper, _), anyio.create_task_group() as tasks:
        tasks.start_soon(zapper.run)
        await anyio.sleep(0.1)
        assert zapper.status.rounds == 0
        around.clock.pass_s(next_round_ms("0 12 * * *", around.clock.ms) // 1000 - around.clock.seconds())
        with anyio.fail_after(30):
            await around.feed.until(lambda: len(around.records()) == 1)
        await anyio.sleep(0.1)
        assert zapper.status.rounds == 1
        tasks.cancel_scope.cancel()


async def test_withdrawals_side_by_side_keep_to_the_days_cap(around: Any) -> None:
    around.rails["cashu"] = ScriptedRail("cashu")
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
    around.rails["cashu"] = ScriptedRail("cashu")
    around.settings["limits"] = replace(LIMITS, per_day_msat=5_000_000)
    for number in range(4):
        around.miner(f"m{number}", 2_000_000)
        settle_for(around, f"m{number}", methods=("cashu",))
    async with around.open() as (zapper, store):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(zapper.pay_round)
            around.miner("m9", 4_000_000)
            settle_for(around, "m9", methods=("cashu",))
            tasks.start_soon(zapper.pay_round)
        assert await store.sent_since(0) <= 5_000_000
