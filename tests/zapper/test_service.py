"""The zapper's rounds against lying providers, moody wallets, lagging ledgers and restarts."""

import hashlib
import json
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from nips.bolt11 import decode_invoice
from nips.nip01 import UnsignedEvent, encode_event, parse_event, verify
from nips.nip57 import check_zap_request, proves_payment
from nips.pool.address import PoolAddress
from nips.pool.payout import parse_payout
from zapper.payout import State

pytestmark = pytest.mark.anyio


async def test_a_miner_is_zapped_and_the_record_proves_it(around: Any) -> None:
    """One round from earnings to a payout record whose every claim can be checked by a stranger."""
    miner = around.miner("alice", 5_000_999)
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert zapper.why_unpaid(miner) is None
        assert await store.open_intents() == []
    [record] = around.records()
    assert (record.miner, record.amount_msat, record.network_fee_msat, record.method) == (miner, 5_000_000, 21, "zap")
    assert record.link == (0, None)
    assert record.signer == around.signer.pubkey
    assert record.pool == around.address
    assert around.feed.events[record.to].kind == 0
    request = verify(parse_event(record.proof["zap_request"]))
    invoice = decode_invoice(record.proof["bolt11"])
    assert invoice.amount_msat == 5_000_000
    assert proves_payment(record.proof["preimage"], invoice.payment_hash)
    assert invoice.description_hash == hashlib.sha256(encode_event(request)).hexdigest()
    checked = check_zap_request(encode_event(request).decode(), amount_msat=5_000_000)
    assert (checked.recipient, checked.event.pubkey) == (miner, around.signer.pubkey)
    assert request.tag("e") is None
    assert "Test" in request.content
    receipt = around.feed.events[record.proof["receipt"]]
    assert record.proof["provider"] == receipt.pubkey == around.provider.key.pubkey
    assert (receipt.kind, receipt.pubkey) == (9735, around.provider.key.pubkey)
    assert around.feed.published == [("payouts", record.id)]


async def test_a_lagging_ledger_makes_nothing_due_twice(around: Any) -> None:
    """Accounting that sees no payout record, then all, then new earnings: each satoshi leaves once."""
    miner = around.miner("alice", 5_000_999)
    async with around.open() as (zapper, _):
        for _round in range(3):
            await zapper.pay_round()
        assert around.paid_msat() == 5_000_000
        around.ledger.earned[miner] = 7_000_500
        await zapper.pay_round()
        assert around.paid_msat() == 7_000_000
        around.ledger.catch_up()
        await zapper.pay_round()
        assert around.paid_msat() == 7_000_000
        around.ledger.earned[miner] = 8_000_000
        await zapper.pay_round()
    assert around.paid_msat() == 8_000_000
    records = around.records()
    assert [record.link.seq for record in records] == [0, 1, 2]
    assert [record.link.prev for record in records] == [None, records[0].id, records[1].id]


async def test_payouts_of_another_store_count(around: Any) -> None:
    """What the ledger has applied from elsewhere (a reversal too) is subtracted from what is due."""
    miner = around.miner("alice", 10_000_000)
    around.ledger.applied[miner] = {"elsewhere": 4_000_000, "reversed": -1_000_000}
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    assert around.paid_msat() == 7_000_000


@pytest.mark.parametrize(
    ("lie", "word"),
    [
        ("amount", "msat, not for"),
        ("hash", "description hash"),
        ("expired", "expired"),
        ("network", "is for main"),
        ("garbage", "invoice"),
        ("error", "out of service"),
        ("tag", "payRequest"),
        ("minimum", "takes"),
        ("down", "connection refused"),
    ],
)
async def test_a_lying_provider_costs_nothing_and_delays_nobody(around: Any, lie: str, word: str) -> None:
    """The liar's miner stays owed with the reason shown and a wait before the next try; the other is paid."""
    liar, honest = around.miner("mallory", 3_000_000), around.miner("alice", 2_000_000)
    around.provider.lies["mallory"] = lie
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert word in (zapper.why_unpaid(liar) or "")
        assert zapper.why_unpaid(honest) is None
        assert await store.holds(liar) == {}
        assert around.paid_msat() == 2_000_000
        asked = around.provider.asked.get("mallory", 0)
        await zapper.pay_round()
        assert around.provider.asked.get("mallory", 0) == asked
        assert word in (zapper.why_unpaid(liar) or "")
        around.provider.lies.clear()
        around.clock.pass_s(61)
        await zapper.pay_round()
        assert zapper.why_unpaid(liar) is None
    assert around.paid_msat() == 5_000_000


async def test_an_invoice_served_twice_is_paid_once(around: Any) -> None:
    """A provider that hands out one payment hash again gets no second payment."""
    around.miner("mallory", 3_000_000)
    around.provider.lies["mallory"] = "same"
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        [miner] = around.ledger.earned
        around.ledger.earned[miner] = 6_000_000
        around.clock.pass_s(1)
        await zapper.pay_round()
        assert "contradicts another payout" in (zapper.why_unpaid(miner) or "")
    assert around.paid_msat() == 3_000_000
    assert len(around.wallet.pay_calls) == 1


async def test_a_slow_provider_does_not_hold_up_the_others(around: Any) -> None:
    """While one provider never answers, the others' payouts of this and the next rounds are made."""
    slow, alice = around.miner("slow", 9_000_000), around.miner("alice", 1_000_000)
    around.provider.lies["slow"] = "slow"
    async with around.open() as (zapper, _), anyio.create_task_group() as tasks:
        tasks.start_soon(zapper.pay_round)
        with anyio.fail_after(60):
            await around.feed.until(lambda: len(around.records()) == 1)
            around.ledger.earned[alice] = 2_000_000
            while alice in (await zapper.pay_round()).waiting:  # her first payout is just being put away
                await anyio.lowlevel.checkpoint()
        assert len(around.records()) == 2
        assert zapper.why_unpaid(slow) == "a payout is under way"
        tasks.cancel_scope.cancel()


async def test_no_zaps_means_a_plain_payment(around: Any) -> None:
    """Without allowsNostr the invoice commits to the metadata, and the record says lnurl."""
    around.miner("alice", 2_000_000)
    around.provider.lies["alice"] = "plain"
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    [record] = around.records()
    assert record.method == "lnurl"
    assert set(record.proof) == {"bolt11", "preimage"}


async def test_an_invoice_in_upper_case_is_fine(around: Any) -> None:
    around.miner("alice", 2_000_000)
    around.provider.lies["alice"] = "upper"
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    [record] = around.records()
    assert record.proof["bolt11"].islower()


async def test_the_record_does_not_wait_for_a_receipt_that_never_comes(around: Any) -> None:
    around.miner("alice", 2_000_000)
    around.provider.receipts = False
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    [record] = around.records()
    assert "receipt" not in record.proof
    assert record.method == "zap"


@pytest.mark.parametrize(
    ("profile", "word"),
    [
        ("", "no profile"),
        ("{}", "names no lightning address"),
        ("not json", "not readable"),
        ('{"lud16":"http://x"}', "name@domain"),
        ('{"lud06":"lnurl1nonsense"}', "lnurl1"),
    ],
)
async def test_a_miner_that_cannot_be_paid_is_told_why(around: Any, profile: str, word: str) -> None:
    miner = around.miner("alice", 2_000_000, profile=profile)
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        assert word in (zapper.why_unpaid(miner) or "")
    assert around.wallet.pay_calls == []


async def test_the_newest_profile_counts(around: Any) -> None:
    """An older profile, one of another key, and one dated far ahead do not divert the money."""
    around.miner("alice", 2_000_000)
    key = around.miners["alice"]
    now = around.clock.seconds()
    for created_at, name in ((now - 7200, "old"), (now + 3600, "future")):
        around.feed.add(key.sign(UnsignedEvent(0, created_at, (), json.dumps({"lud16": f"{name}@pay.example"}))))
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    assert set(around.provider.asked) == {"alice"}


@pytest.mark.parametrize("behaviour", ["late", "wrong", "lie"])
async def test_a_payment_that_left_unseen_is_found_by_asking(around: Any, behaviour: str) -> None:
    """Timeouts, wrong preimages and refusals of a payment that was made end as one settled payout."""
    around.miner("alice", 2_000_000)
    around.wallet.script.append(behaviour)
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        await zapper.pay_round()
        await zapper.reconcile()
        await zapper.pay_round()
        assert await store.open_intents() == []
    assert len(around.wallet.pay_calls) == 1
    [record] = around.records()
    assert record.amount_msat == 2_000_000


async def test_a_refused_payment_is_due_again(around: Any) -> None:
    """Known not paid: after the wait the amount is paid with a new invoice."""
    miner = around.miner("alice", 2_000_000)
    around.wallet.script.append("refuse")
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert zapper.why_unpaid(miner) == "no route"
        assert await store.holds(miner) == {}
        around.clock.pass_s(61)
        await zapper.pay_round()
        assert (await store.payee(miner)).failures == 0
    assert len(set(around.wallet.pay_calls)) == 2
    assert around.paid_msat() == 2_000_000


async def test_an_unknown_payment_blocks_alerts_and_is_given_up_only_after_its_invoice(around: Any) -> None:
    """The wallet never heard of it: no second payment until no one could pay the first invoice any more."""
    miner = around.miner("alice", 2_000_000)
    around.wallet.script.append("lost")
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        [intent] = await store.open_intents()
        assert intent.state is State.UNKNOWN
        assert "not known" in zapper.why_unpaid(miner)
        around.clock.pass_s(1000)
        await zapper.reconcile()
        await zapper.pay_round()
        assert zapper.status.unknown == zapper.status.alerts == (intent.payout_id,)
        assert len(around.wallet.pay_calls) == 1
        around.clock.pass_s(201)
        await zapper.reconcile()
        assert zapper.status.unknown == ()
        assert (await store.get(intent.payout_id)).state is State.FAILED
        around.clock.pass_s(61)
        await zapper.pay_round()
    assert around.paid_msat() == 2_000_000
    assert len(around.wallet.paid) == 1


async def test_a_pending_payment_is_waited_for_however_long(around: Any) -> None:
    around.miner("alice", 2_000_000)
    around.wallet.script.append("pending")
    around.wallet.lookup_script.extend(["raise", "wrong"])
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        for _hour in range(5):
            around.clock.pass_s(86400)
            await zapper.reconcile()
            await zapper.pay_round()
        [intent] = await store.open_intents()
        assert intent.state is State.UNKNOWN
        around.wallet.finish()
        await zapper.reconcile()
        assert await store.open_intents() == []
    assert len(around.wallet.pay_calls) == 1
    assert len(around.records()) == 1


async def test_a_payment_that_failed_late_is_due_again(around: Any) -> None:
    miner = around.miner("alice", 2_000_000)
    around.wallet.script.append("pending")
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        around.wallet.give_up()
        await zapper.reconcile()
        assert zapper.why_unpaid(miner) == "no route"
        around.clock.pass_s(61)
        await zapper.pay_round()
    assert around.paid_msat() == 2_000_000


async def test_a_hanging_wallet_is_left_after_a_time(around: Any) -> None:
    around.miner("alice", 2_000_000)
    around.wallet.script.append("hang")
    around.settings["pay_timeout_s"] = 0.02
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        [intent] = await store.open_intents()
        assert intent.state is State.UNKNOWN


async def test_records_wait_for_the_relay_and_keep_their_order(around: Any) -> None:
    """With the relay gone after payment, records are kept and handed over in order after a restart."""
    around.miner("alice", 2_000_000)
    around.miner("bob", 3_000_000)
    original = around.feed.publish

    async def refuse(event: Any, *, chain: str = "") -> None:
        raise OSError("the relay is down")

    around.feed.publish = refuse
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert len(await store.unpublished()) == 2
    around.feed.publish = original
    async with around.open() as (zapper, store):
        await zapper.reconcile()
        assert await store.unpublished() == []
    assert [record.link.seq for record in around.records()] == [0, 1]
    assert around.paid_msat() == 5_000_000


async def test_a_lost_intent_store_pays_nothing(around: Any) -> None:
    """Our own records on the relays tell that the store is not the newest: nothing is paid, and it is said why."""
    miner = around.miner("alice", 2_000_000)
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    around.path.unlink()
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        await zapper.reconcile()
        assert "restore the newest intent store" in (zapper.why_unpaid(miner) or "")
    assert len(around.wallet.pay_calls) == 1


async def test_records_of_another_network_do_not_stand_against_ours(around: Any) -> None:
    """One key may zap for a pool on two networks: each has its chain, and its store."""
    around.miner("alice", 2_000_000)
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    around.path.unlink()
    around.address = PoolAddress(around.address.pubkey, "signet")
    async with around.open() as (zapper, _):
        await zapper.reconcile()
        assert zapper.status.blocked == ""


@pytest.mark.parametrize(("told", "recorded"), [(-1000, 1000), (1 << 70, (1 << 53) - 1)])
async def test_a_fee_that_no_record_can_hold_does_not_break_the_chain(around: Any, told: int, recorded: int) -> None:
    """Some wallets write fees as negative; a record that nobody can read would be a hole for good."""
    around.miner("alice", 2_000_000)
    around.wallet.fee = told
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    assert [record.network_fee_msat for record in around.records()] == [recorded]


async def test_with_no_relay_nothing_is_paid(around: Any) -> None:
    miner = around.miner("alice", 2_000_000)
    around.feed.down = True
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        assert "no relay" in (zapper.why_unpaid(miner) or "")
        around.feed.down = False
        await zapper.pay_round()
    assert around.paid_msat() == 2_000_000


async def test_created_at_never_falls_along_the_chain(around: Any) -> None:
    miner = around.miner("alice", 2_000_000)
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        around.clock.pass_s(-100)
        around.ledger.earned[miner] = 4_000_000
        await zapper.pay_round()
    first, second = around.records()
    assert first.created_at == second.created_at


async def test_the_treasury_bounds_the_round(around: Any) -> None:
    """What does not fit is left whole; what fits is paid."""
    big, small = around.miner("big", 9_000_000), around.miner("small", 1_000_000)
    around.wallet.balance = 5_000_000
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        assert "treasury" in (zapper.why_unpaid(big) or "")
        assert zapper.why_unpaid(small) is None
    assert around.paid_msat() == 1_000_000


async def test_running_pays_by_itself_and_stops_when_told(around: Any) -> None:
    """`run` reconciles and pays at once, keeps on through errors of its own parts, and ends with its cancellation."""
    miner = around.miner("alice", 2_000_000)
    around.settings |= {"payout_interval_s": 0.01, "reconcile_interval_s": 0.01}
    failures = iter([RuntimeError("the accounting is not ready")])
    original = around.ledger.owed

    async def owed() -> Any:
        for error in failures:
            raise error
        return await original()

    around.ledger.owed = owed
    async with around.open() as (zapper, _), anyio.create_task_group() as tasks:
        await tasks.start(zapper.run)
        with anyio.fail_after(60):
            await around.feed.until(lambda: len(around.records()) == 1)
            around.ledger.earned[miner] = 3_000_000
            await around.feed.until(lambda: len(around.records()) == 2)
        tasks.cancel_scope.cancel()
    assert around.paid_msat() == 3_000_000
    assert [parse_payout(event).amount_msat for event in around.feed.events.values() if event.kind == 4215] == [
        2_000_000,
        1_000_000,
    ]
