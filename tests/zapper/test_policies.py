"""The published terms at work: orders, minimums, withdrawals, caps, fees, idle balances, dead letters, batches."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.nip65 import Use, build_relay_list
from nips.pool.address import PoolAddress
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal
from zapper.errors import PaymentBlocked
from zapper.payout import Intent, State
from zapper.plan import DAY_MS, PlanLimits
from zapper.ports import NotFound, Owed, Paid, Pending, Unclear
from zapper.rails import Kept, Order, Prepared, Returned, Waiting
from zapper.schedule import next_round_ms

pytestmark = pytest.mark.anyio
LIMITS = PlanLimits(minimum_msat=1000)


class ScriptedRail:
    """A rail in memory: what it was handed, by reference."""

    replayable = False
    slow = False
    name = "scripted rail"

    def __init__(self, method: str) -> None:
        self.method = method
        self.purse = method
        self.orders: list[Order] = []
        self.sent: list[Intent] = []
        self.released: list[str] = []
        self.began: list[str] | None = None
        self.broken = ""
        self.answers: dict[str, Any] = {}
        self.unclear = False

    async def prepare(self, order: Order) -> Prepared:
        await anyio.lowlevel.checkpoint()
        if self.broken:
            raise PaymentBlocked(self.broken)
        self.orders.append(order)
        return Prepared(self.method, f"{self.method}-{order.payout_id}", "payload")

    async def send(self, intent: Intent) -> Any:
        await anyio.lowlevel.checkpoint()
        self.sent.append(intent)
        return Unclear("who knows") if self.unclear else Paid("", 7, "shown")

    async def lookup(self, intent: Intent) -> Any:
        await anyio.lowlevel.checkpoint()
        return self.answers[intent.reference or ""]

    def proof(self, intent: Intent) -> dict[str, Any]:
        return {"evidence": intent.evidence, "reference": intent.reference}

    async def balance_msat(self) -> int:
        await anyio.lowlevel.checkpoint()
        return 10**12

    async def begin(self, unfinished: Sequence[Intent]) -> None:
        await anyio.lowlevel.checkpoint()
        self.began = [intent.payout_id for intent in unfinished]

    async def release(self, intent: Intent) -> None:
        await anyio.lowlevel.checkpoint()
        self.released.append(intent.payout_id)


class BatchedRail(ScriptedRail):
    """Pays all in one: a payload for everybody."""

    async def prepare_all(self, orders: Sequence[Order]) -> list[Prepared]:
        await anyio.lowlevel.checkpoint()
        if self.broken:
            raise PaymentBlocked(self.broken)
        self.orders.extend(orders)
        return [Prepared(self.method, f"txid:{number}", "one transaction") for number, _ in enumerate(orders)]


class CashLikeRail(ScriptedRail):
    """Its money waits to be taken."""

    outcome_of: Any = Waiting()

    async def outcome(self, intent: Intent) -> Any:
        await anyio.lowlevel.checkpoint()
        return self.outcome_of


def settle_for(around: Any, name: str, **fields: Any) -> None:
    event = build_settings(around.address.pubkey, SettingsBody(**fields), around.clock.seconds() - 60)
    around.feed.add(around.miners[name].sign(event))


def ask(around: Any, name: str, method: str, msat: int, to: str = "", **changes: Any) -> VerifiedEvent:
    now_s = around.clock.seconds()
    body = WithdrawalBody(method, msat, to, now_s + 3600)
    unsigned = build_withdrawal(around.address, changes.get("zapper", around.signer.pubkey), body, now_s)
    event = around.miners[name].sign(unsigned)
    around.feed.add(event)
    return event


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
        assert "settings is 6000000" in (zapper.why_unpaid(miner) or "")
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


class MinersRelays:
    def __init__(self, events: list[VerifiedEvent]) -> None:
        self.events = events
        self.asked: list[tuple[str, ...]] = []

    async def ask(self, urls: Sequence[str], filters: Any, *, timeout_s: float) -> list[VerifiedEvent]:
        await anyio.lowlevel.checkpoint()
        self.asked.append(tuple(urls))
        return [event for event in self.events if any(wanted.matches(event) for wanted in filters)]


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


def invoice(around: Any, make_invoice: Any, msat: int, number: int = 0, **fields: Any) -> str:
    preimage = hashlib.sha256(f"withdrawn {number}".encode()).digest()
    around.provider.preimages[hashlib.sha256(preimage).hexdigest()] = preimage.hex()
    return str(
        make_invoice(
            preimage=preimage,
            amount_msat=msat,
            description_hash="ab" * 32,
            created_at=around.clock.seconds(),
            **fields,
        )
    )


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
        (4_000_000, 3_000_000, {}, "asks for 4000000"),
        (None, 3_000_000, {}, "asks for None"),
        (3_000_000, 3_000_000, {"expiry_s": 20}, "expired"),
        (3_000_000, 3_000_000, {"expiry_s": 30 * 86_400}, "14 days"),
        (6_000_000, 6_000_000, {}, "due are 5000000"),
        (500, 500, {}, "the least is 1000"),
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
        assert "the minimum is" in (zapper.why_unpaid(miner) or "")
        around.clock.pass_s(30 * 86_400)
        await zapper.pay_round()
    assert around.paid_msat() == 3_000


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


async def test_a_broken_wallet_provider_does_not_hold_up_a_withdrawal(around: Any, make_invoice: Any) -> None:
    miner = around.miner("alice", 5_000_000)
    around.provider.lies["alice"] = "down"
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert (await store.payee(miner)).not_before_ms > around.clock.ms
        ask(around, "alice", "bolt11", 3_000_000, invoice(around, make_invoice, 3_000_000))
        await zapper.serve_requests()
    assert [record.method for record in around.records()] == ["bolt11"]


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
