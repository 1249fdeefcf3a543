"""The ways to pay one payee, one after the other."""

import json
from typing import Any

import pytest

from nips.nip01 import UnsignedEvent
from nips.nip65 import Use, build_relay_list
from tests.zapper.scripted_rails import MinersRelays, ScriptedRail, settle_for
from zapper.errors import PaymentBlocked, PoolFault
from zapper.plan import OURS, PlanLimits

pytestmark = pytest.mark.anyio
LIMITS = PlanLimits(minimum_msat=1_000_000)


async def test_the_miners_order_is_tried_until_one_way_can_be_prepared(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    settle_for(around, "alice", methods=("cashu", "zap"), mint="https://m.example")
    cashu = around.rails["cashu"] = ScriptedRail("cashu")
    cashu.broken = "the mint is away"
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        assert zapper.why_unpaid(miner) is None
        cashu.broken = ""
        around.ledger.earned[miner] += 2_000_000
        await zapper.pay_round()
    assert [(record.method, record.amount_msat) for record in around.records()] == [
        ("zap", 5_000_000),
        ("cashu", 2_000_000),
    ]
    assert len(cashu.released) == 1
    [order] = cashu.orders
    assert (order.destination, order.named_by.kind, order.miner) == ("https://m.example", 34216, miner)
    assert around.records()[1].proof == {"evidence": "shown", "reference": cashu.sent[0].reference}
    assert around.records()[1].to == order.named_by.id


async def test_when_no_way_is_left_all_reasons_are_told(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    settle_for(around, "alice", methods=("cashu", "zap"))
    around.rails["cashu"] = ScriptedRail("cashu")
    around.rails["cashu"].broken = "the mint is away"
    around.provider.lies["alice"] = "down"
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        told = zapper.why_unpaid(miner) or ""
        assert "cashu: the mint is away" in told
        assert "zap: " in told
        assert await store.holds(miner) == {}
    assert around.records() == []


async def test_a_minimum_of_the_miners_own_is_no_failure(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    settle_for(around, "alice", minimum_msat=6_000_000)
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert "settings is 6,000 sat" in (zapper.why_unpaid(miner) or "")
        assert await store.payee(miner) is None
        around.ledger.earned[miner] = 6_000_000
        await zapper.pay_round()
    assert around.paid_msat() == 6_000_000


async def test_a_lightning_address_in_the_settings_replaces_the_profiles(around: Any) -> None:
    around.miner("alice", 5_000_000)
    settle_for(around, "alice", lightning="other@pay.example")
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    assert around.provider.asked == {"other": 1}
    assert around.feed.events[around.records()[0].to].kind == 34216


async def test_the_newest_profile_is_looked_for_where_the_miner_writes(around: Any) -> None:
    around.miner("alice", 5_000_000)
    key, now_s = around.miners["alice"], around.clock.seconds()
    relays = [("wss://home.example", Use.WRITE), ("wss://inbox.example", Use.READ)]
    around.feed.add(key.sign(build_relay_list(relays, created_at=now_s - 50)))
    newer = key.sign(UnsignedEvent(0, now_s - 10, (), json.dumps({"lud16": "moved@pay.example"})))
    around.miners_relays = MinersRelays([newer])
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    assert around.miners_relays.asked == [("wss://home.example",)]
    assert around.provider.asked == {"moved": 1}
    assert around.records()[0].to == newer.id


async def test_who_takes_less_at_once_is_paid_in_parts(around: Any) -> None:
    miner = around.miner("alice", 5_000_123)
    around.provider.most["alice"] = 2_000_900
    around.settings["limits"] = LIMITS
    async with around.open() as (zapper, store):
        for round_number in range(1, 5):
            await zapper.pay_round()
            assert zapper.why_unpaid(miner) is None or round_number == 4
            # One payout a round: the rest is due, and waits for the next.
            assert len(around.records()) == min(round_number, 3)
        assert sum((await store.holds(miner)).values()) == 5_000_000
        [first, *_] = await store.newest(9)
        assert first.max_fee_msat == LIMITS.max_fee_msat(first.amount_msat)
    assert [record.amount_msat for record in around.records()] == [2_000_000, 2_000_000, 1_000_000]
    lines = [record.proof["zap_request"]["content"] for record in around.records()]
    assert lines[0].startswith("Test: 5000 sat for your mining")
    assert lines[0].endswith("(2000 sat of it now)")
    assert lines[2].startswith("Test: 1000 sat for your mining")
    assert "of it now" not in lines[2]


async def test_who_takes_less_than_the_least_that_is_paid_is_told(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    around.provider.most["alice"] = 999_999
    around.settings["limits"] = LIMITS
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        reason = zapper.why_unpaid(miner)
        assert reason == "alice@pay.example takes 1000 to 999999 msat, the least that is paid is 1000000"
        assert await store.holds(miner) == {}


async def test_a_reason_of_the_pools_among_others_makes_it_the_pools(around: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    settle_for(around, "alice", methods=("cashu", "zap"))
    rail = around.rails["cashu"] = ScriptedRail("cashu")
    around.provider.lies["alice"] = "down"
    for fault, start in ((PaymentBlocked("no such mint"), "cashu: no such"), (PoolFault(f"{OURS}it is away"), OURS)):
        rail.fault = fault
        async with around.open() as (zapper, _):
            around.clock.pass_s(3600)
            await zapper.pay_round()
            assert (zapper.why_unpaid(miner) or "").startswith(start)
    assert zapper.why_unpaid(miner) == f"{OURS}cashu: it is away; zap: pay.example: connection refused"
