"""Batches that the operator signs: handed in, sent elsewhere, cancelled, and killed at every step."""

import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from nips.pool.settings import SettingsBody, build_settings
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal
from tests.zapper.scripted_node import Node, raw_of
from zapper.errors import Conflict, PaymentBlocked
from zapper.funding import batch_of
from zapper.node_wallet import NodeRefusal, sats
from zapper.onchain_rail import OnchainRail
from zapper.payout import State
from zapper.plan import PlanLimits
from zapper.signing import Signing

pytestmark = pytest.mark.anyio
TXID = f"{1:064x}"
COIN = (f"{1001:064x}", 7)
# As in test_crashes: from 1,000 kills on it is the long form.
STRIDE = 1 if int(os.environ.get("NONCESTR_KILLS", "0")) >= 1000 else 11
WORD = "the laptop never left the safe"


class Killed(BaseException):
    """The process is gone."""


class Fuse:
    """Dies at the place of this number, and at all later ones: the places are counted from 0."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.count = at, 0

    def burn(self) -> None:
        self.count += 1
        if self.at is not None and self.count > self.at:
            raise Killed


class Mortal:
    """Every call of what is inside with a fuse before and after it."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "chain":
            return Mortal(found, self._fuse)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn()
            result = await found(*args, **kwargs)
            self._fuse.burn()
            return result

        return call


class Desk:
    """A pool whose node's wallet has no keys, opened anew as often as wanted."""

    def __init__(self, around: Any) -> None:
        self.around = around
        self.node = Node()
        self.node.complete = False
        self.signing: Signing
        around.settings["limits"] = PlanLimits(minimum_msat=1000, onchain_msat=100_000_000)

    def open(self, fuse: Fuse | None = None) -> Any:
        burning = fuse or Fuse()

        def wrap(store: Any) -> Any:
            mortal, node = Mortal(store, burning), Mortal(self.node, burning)
            rail = OnchainRail(node, book=mortal.chain, one_at_a_time=anyio.Lock())
            self.around.rails["onchain"] = rail
            self.signing = Signing(
                mortal, mortal.chain, clock=self.around.clock, one_at_a_time=anyio.Lock(), wallet=node,
                release=rail.release,
            )  # fmt: skip
            return mortal

        return self.around.open(wrap)

    def miner(self, name: str, sat: int) -> str:
        miner = str(self.around.miner(name, sat * 1000))
        body = SettingsBody(methods=("onchain",), onchain=f"bcrt1q{name}")
        event = build_settings(self.around.address.pubkey, body, self.around.clock.seconds())
        self.around.feed.add(self.around.miners[name].sign(event))
        return miner

    def withdraw(self, name: str, sat: int) -> None:
        around = self.around
        now_s = around.clock.seconds()
        body = WithdrawalBody("onchain", sat * 1000, f"bcrt1q{name}", now_s + 86_400)
        around.feed.add(around.miners[name].sign(build_withdrawal(around.address, around.signer.pubkey, body, now_s)))

    def blocks(self, count: int) -> None:
        for txid in self.node.known:
            self.node.known[txid] += count

    def paid(self) -> Counter[str]:
        """What the chain gave to each name, in sat."""
        found: Counter[str] = Counter()
        for txid in self.node.known:
            for out in self.node.made[txid]:
                found[out["scriptPubKey"]["address"].removeprefix("bcrt1q")] += sats(out["value"])
        return found


@pytest.fixture
def desk(around: Any) -> Desk:
    made = Desk(around)
    made.miner("alice", 250_000)
    made.miner("bob", 300_000)
    return made


async def test_a_batch_waits_is_signed_sent_and_recorded(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        assert {each.state for each in await store.open_intents()} == {State.AWAITING}
        assert "sendrawtransaction" not in desk.node.calls
        [waiting] = await desk.signing.waiting()
        assert (waiting.batch.txid, waiting.amount_msat, waiting.shown_ms) == (TXID, 550_000_000, None)
        # It holds their balances, no other payout of theirs can begin, and the miners hear why.
        assert (await zapper.plan()).payouts == ()
        with pytest.raises(Conflict):
            await store.create(replace(waiting.intents[0], payout_id="other", state=State.INTENT, reference=None))
        for key in desk.around.miners.values():
            assert zapper.why_unpaid(key.pubkey) == "a payment waits for the operator's signature"
        await zapper.reconcile()
        assert [at for at, _ in zapper.status.unsigned] == [desk.around.clock.ms] * 2
    async with desk.open() as (zapper, store):
        await zapper.reconcile()
        shown = await desk.signing.show(TXID[:10] if TXID[:10] != "0" * 10 else TXID)
        assert (shown.psbt, shown.shown_ms) == ("psbt1", desk.around.clock.ms)
        handed, complete = await desk.signing.hand_in("psbt1+sig")
        assert (len(handed.intents), complete) == (2, True)
        assert {each.state for each in await store.open_intents()} == {State.INVOICED}
        assert "sendrawtransaction" not in desk.node.calls
        await zapper.reconcile()
        assert {each.state for each in await store.open_intents()} == {State.SENDING}
        assert zapper.status.unsigned == ()
        with pytest.raises(PaymentBlocked, match="handed in before"):
            await desk.signing.hand_in("psbt1+sig")
        desk.blocks(3)
        await zapper.reconcile()
        assert await store.open_intents() == []
    assert {record.proof["txid"] for record in desk.around.records()} == {TXID}
    assert desk.paid()["alice"] == 250_000


async def test_who_is_due_meanwhile_waits_for_the_next_batch_without_a_failure(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        carol = desk.miner("carol", 200_000)
        await zapper.pay_round()
        dave = desk.around.miner("dave", 400_000_000)
        desk.withdraw("dave", 150_000)
        await zapper.serve_requests()
        assert len(await desk.signing.waiting()) == 1
        for miner in (carol, dave):
            assert zapper.why_unpaid(miner) == "an earlier batch waits for the operator's signature"
            assert await store.payee(miner) is None
        await desk.signing.hand_in("psbt1+sig")
        await zapper.reconcile()
        await zapper.serve_requests()
        [second] = await desk.signing.waiting()
        assert [each.miner for each in second.intents] == [dave]


async def test_withdrawals_that_are_open_together_are_one_batch(desk: Desk) -> None:
    for name in ("alice", "bob"):
        desk.withdraw(name, 150_000)
    async with desk.open() as (zapper, _):
        await zapper.serve_requests()
        [waiting] = await desk.signing.waiting()
        assert len(waiting.intents) == 2


@pytest.mark.parametrize(
    ("handed", "why"),
    [
        ("psbt1", "signatures are missing"),
        ("psbt9+sig", "is no batch that waits"),
        ("psbt8+sig", "pays other outputs or another fee"),
        ("psbt7+sig", "spends other coins"),
        ("psbt6+sig", "has another locktime or sequence"),
        ("nonsense", "does not take it"),
        (raw_of(9), "is no batch that waits"),
        (raw_of(8), "pays other outputs or another fee"),
        (raw_of(99), "does not take it"),
    ],
)
async def test_what_is_not_the_batch_signed_whole_changes_nothing(desk: Desk, handed: str, why: str) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        outputs = desk.node.made[TXID]
        more = [{**outputs[0], "value": outputs[0]["value"] + Decimal("0.00000001")}, *outputs[1:]]
        desk.node.add(9, outputs, [(f"{5:064x}", 0)])
        desk.node.add(8, more, [COIN])
        desk.node.add(7, outputs, [COIN, (f"{5:064x}", 0)])
        desk.node.add(6, outputs, [COIN])
        before = await store.open_intents()
        with pytest.raises(PaymentBlocked, match=why):
            await desk.signing.hand_in(handed)
        assert await store.open_intents() == before
        assert desk.node.locked == {COIN}


async def test_signatures_come_together_one_by_one(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        _, complete = await desk.signing.hand_in("psbt1+half")
        assert complete is False
        assert {each.state for each in await store.open_intents()} == {State.AWAITING}
    async with desk.open() as (zapper, store):
        await zapper.reconcile()
        assert (await desk.signing.show(TXID)).psbt == "psbt1+half"
        with pytest.raises(PaymentBlocked, match="signatures are missing"):
            await desk.signing.hand_in("psbt1+half")
        _, complete = await desk.signing.hand_in("psbt1+sig")
        assert complete is True
        assert {each.state for each in await store.open_intents()} == {State.INVOICED}


async def test_a_bad_signature_is_refused_and_a_low_fee_is_not(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        desk.node.verdict = {
            "allowed": False,
            "reject-reason": "mandatory-script-verify-flag-failed (Invalid signature)",
        }
        with pytest.raises(PaymentBlocked, match="mandatory-script-verify-flag-failed"):
            await desk.signing.hand_in(raw_of(1))
        assert {each.state for each in await store.open_intents()} == {State.AWAITING}
        # Which it says before it looks at signatures: a PSBT's are checked by finalizing it.
        desk.node.verdict = {"allowed": False, "reject-reason": "mempool min fee not met"}
        with pytest.raises(PaymentBlocked, match="hand in the PSBT"):
            await desk.signing.hand_in(raw_of(1))
        assert {each.state for each in await store.open_intents()} == {State.AWAITING}
        await desk.signing.hand_in("psbt1+sig")
        assert {each.state for each in await store.open_intents()} == {State.INVOICED}


async def test_what_the_operator_sends_elsewhere_is_found_and_recorded(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        await desk.signing.show(TXID)
        desk.node.known[TXID] = 0
        with pytest.raises(PaymentBlocked, match="signed and sent"):
            await desk.signing.cancel(TXID, unsigned=WORD)
        await zapper.reconcile()
        assert {each.state for each in await store.open_intents()} == {State.SENDING}
        assert all(batch_of(each).raw == raw_of(1) for each in await store.open_intents())
        desk.blocks(3)
        await zapper.reconcile()
    assert len(desk.around.records()) == 2


async def test_a_batch_nobody_saw_is_cancelled_at_once(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        cancelled = await desk.signing.cancel(TXID)
        assert len(cancelled.intents) == 2
        assert desk.node.locked == set()
        assert await desk.signing.waiting() == []
        assert [each.reason for each in await store.newest(9)] == [
            "cancelled by the operator before anybody saw its PSBT"
        ] * 2
        await zapper.pay_round()
        [again] = await desk.signing.waiting()
        assert again.amount_msat == 550_000_000
        with pytest.raises(PaymentBlocked, match="no batch"):
            await desk.signing.cancel(TXID)
        with pytest.raises(PaymentBlocked, match="no batch"):
            await desk.signing.hand_in("psbt1+sig")


async def test_one_that_was_shown_takes_the_operators_word_and_the_next_spends_its_coin(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        await desk.signing.show(TXID)
    async with desk.open() as (zapper, store):
        await zapper.reconcile()
        with pytest.raises(PaymentBlocked, match="its PSBT was shown"):
            await desk.signing.cancel(TXID)
        await desk.signing.cancel(TXID, unsigned=WORD)
        assert {each.reason for each in await store.newest(9)} == {
            f"cancelled; the operator says nobody signed it: {WORD}"
        }
        await zapper.pay_round()
        [again] = await desk.signing.waiting()
        # Whichever of the two is mined, the other one is dead.
        assert again.batch.inputs == (COIN,)


@pytest.mark.parametrize(
    ("number", "spends", "confirmations", "why"),
    [
        (9, (f"{5:064x}", 0), 6, "spends none of its coins"),
        (9, COIN, 2, "has 2 confirmations, it takes 3"),
        (9, COIN, None, "knows no transaction"),
    ],
)
async def test_evidence_that_proves_nothing_cancels_nothing(
    desk: Desk, number: int, spends: tuple[str, int], confirmations: int | None, why: str
) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        await desk.signing.show(TXID)
        txid = desk.node.add(number, [], [spends])
        if confirmations is not None:
            desk.node.known[txid] = confirmations
            if spends == COIN:
                with pytest.raises(PaymentBlocked, match="is spent: say by what"):
                    await desk.signing.cancel(TXID, unsigned=WORD)
        with pytest.raises(PaymentBlocked, match=why):
            await desk.signing.cancel(TXID, spent_by=txid)
        assert {each.state for each in await store.open_intents()} == {State.AWAITING}


async def test_a_transaction_that_spent_its_coins_cancels_whom_it_does_not_pay(desk: Desk) -> None:
    """The operator sent another one that pays one of the two: this one has been paid, by it."""
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        await desk.signing.show(TXID)
        [waiting] = await desk.signing.waiting()
        bob = next(each for each in waiting.intents if each.destination == "bcrt1qbob")
        vout = int((bob.reference or "").rpartition(":")[2])
        other = desk.node.add(9, [{**desk.node.made[TXID][vout], "n": 0}], [COIN])
        desk.node.known[other] = 3
        cancelled = await desk.signing.cancel(TXID, spent_by=other)
        assert [each.destination for each in cancelled.intents] == ["bcrt1qalice"]
        for _look in range(2):
            await zapper.reconcile()
        [record] = desk.around.records()
        assert (record.miner, record.proof) == (bob.miner, {"txid": other, "vout": 0})
        alice = desk.around.miners["alice"].pubkey
        assert await store.holds(alice) == {}
        assert await store.open_intents() == []


async def test_without_the_pool_batches_are_shown_no_more(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        alone = Signing(store, store.chain, clock=desk.around.clock, one_at_a_time=anyio.Lock())
        assert (await alone.show(TXID)).psbt == "psbt1"
        for asked in (alone.hand_in("psbt1+sig"), alone.cancel(TXID, unsigned=WORD)):
            with pytest.raises(PaymentBlocked, match="does not run"):
                await asked
        with pytest.raises(PaymentBlocked, match="no batch"):
            await alone.show("")


async def test_a_node_that_is_away_decides_nothing(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        desk.node.refuse["gettransaction"] = NodeRefusal(-28, "Loading wallet")
        await zapper.reconcile()
        assert {each.state for each in await store.open_intents()} == {State.AWAITING}
        with pytest.raises(NodeRefusal):
            await desk.signing.cancel(TXID, unsigned=WORD)
        assert desk.node.locked == {COIN}


async def test_a_cancelled_batch_that_is_sent_all_the_same_is_counted_as_paid_and_told(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        await desk.signing.show(TXID)
        await desk.signing.cancel(TXID, unsigned=WORD)
        await zapper.reconcile()
        assert zapper.status.sent_all_the_same == ()
        assert [each.state for each in await store.newest(9)] == [State.FAILED] * 2
        desk.node.known[TXID] = 0
        # Before the round that would pay them again.
        await zapper.pay_round()
        assert await desk.signing.waiting() == []
        assert {each.state for each in await store.open_intents()} == {State.UNKNOWN}
        assert (await zapper.plan()).payouts == ()
    async with desk.open() as (zapper, store):
        await zapper.reconcile()
        assert zapper.status.sent_all_the_same == (TXID,)
        desk.blocks(3)
        await zapper.reconcile()
        assert await store.open_intents() == []
        await zapper.pay_round()
        assert await desk.signing.waiting() == []
    assert {record.proof["txid"] for record in desk.around.records()} == {TXID}
    assert (desk.paid()["alice"], desk.paid()["bob"]) == (250_000, 300_000)


async def test_one_that_is_sent_while_its_successor_waits_is_counted_once_that_is_cancelled(desk: Desk) -> None:
    second = f"{2:064x}"
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        await desk.signing.show(TXID)
        await desk.signing.cancel(TXID, unsigned=WORD)
        await zapper.pay_round()
        await desk.signing.show(second)
        desk.node.known[TXID] = 0
        await zapper.reconcile()
        assert zapper.status.sent_all_the_same == (TXID,)
        assert {each.reference.partition(":")[0] for each in await store.open_intents()} == {second}
        desk.blocks(3)
        left = await desk.signing.cancel(second, spent_by=TXID)
        # What TXID pays it pays for its own payouts.
        assert len(left.intents) == 2
        await zapper.pay_round()
        await zapper.reconcile()
        assert await store.open_intents() == []
        assert (await zapper.plan()).payouts == ()
    assert {(record.proof["txid"], record.amount_msat) for record in desk.around.records()} == {
        (TXID, 250_000_000), (TXID, 300_000_000),
    }  # fmt: skip
    assert len(desk.around.records()) == 2


async def test_whom_a_cancelled_batch_may_have_paid_waits_for_a_node_that_is_away(desk: Desk) -> None:
    async with desk.open() as (zapper, _):
        await zapper.pay_round()
        await desk.signing.show(TXID)
        await desk.signing.cancel(TXID, unsigned=WORD)
    desk.miner("carol", 400_000)
    async with desk.open() as (zapper, _):
        desk.node.refuse["gettransaction"] = NodeRefusal(-28, "Loading wallet")
        await zapper.pay_round()
        [waiting] = await desk.signing.waiting()
        assert [each.miner for each in waiting.intents] == [desk.around.miners["carol"].pubkey]
        for name in ("alice", "bob"):
            assert "can't be asked just now" in str(zapper.why_unpaid(desk.around.miners[name].pubkey))


async def test_what_another_payout_was_settled_by_is_counted_once(desk: Desk) -> None:
    async with desk.open() as (zapper, store):
        await zapper.pay_round()
        await desk.signing.show(TXID)
        await desk.signing.cancel(TXID, unsigned=WORD)
        await zapper.pay_round()
        await desk.signing.hand_in("psbt2+sig")
        await zapper.reconcile()
        # The node has both, of which the first is mined: for the second it is a payment of the same.
        desk.node.known |= {TXID: 3, f"{2:064x}": -3}
        desk.node.conflicts[f"{2:064x}"] = [TXID]
        for _ in range(3):
            await zapper.reconcile()
        assert await store.open_intents() == []
        assert (await zapper.plan()).payouts == ()
    assert sorted(record.amount_msat for record in desk.around.records()) == [250_000_000, 300_000_000]


async def cancelled_and_sent(desk: Desk, zapper: Any) -> None:
    """The first batch is cancelled, and sent all the same; one that was made meanwhile is cancelled because of that."""
    await zapper.reconcile()
    await zapper.pay_round()
    store: Any = desk.signing._store
    if not await store.cancelled() and not desk.node.known:
        for batch in await desk.signing.waiting():
            await desk.signing.show(batch.batch.txid)
            await desk.signing.cancel(batch.batch.txid, unsigned=WORD)
    cancelled = await store.cancelled()
    if cancelled and not desk.node.known:
        desk.node.known[batch_of(cancelled[0]).txid] = 0
    await zapper.pay_round()
    await zapper.reconcile()
    desk.blocks(3)
    for batch in await desk.signing.waiting():
        await desk.signing.cancel(batch.batch.txid, spent_by=next(iter(desk.node.known)))
    await zapper.reconcile()
    await zapper.reconcile()


async def signed_and_paid(desk: Desk, zapper: Any) -> None:
    """Two rounds: the first batch is cancelled, the second is signed."""
    await zapper.reconcile()
    await zapper.pay_round()
    for batch in await desk.signing.waiting():
        if batch.batch.txid == TXID and batch.shown_ms is None:
            await desk.signing.show(TXID)
        if batch.batch.txid == TXID:
            await desk.signing.cancel(TXID, unsigned=WORD)
    await zapper.pay_round()
    for batch in await desk.signing.waiting():
        shown = await desk.signing.show(batch.batch.txid)
        await desk.signing.hand_in(shown.psbt + "+sig")
    await zapper.reconcile()
    desk.blocks(3)
    await zapper.reconcile()


Way = Callable[[Desk, Any], Awaitable[None]]


async def lived(make_around: Callable[[Path], Any], folder: Path, at: int | None, way: Way) -> int:
    """The operator's whole way, killed at a place; how many there are."""
    desk = Desk(make_around(folder / f"intents {at}.sqlite"))
    desk.around.settings |= {"backoff_first_s": 0, "backoff_cap_s": 0}
    earned = {desk.miner("alice", 250_000): 250_000, desk.miner("bob", 300_000): 300_000}
    fuse = Fuse(at)
    try:
        async with desk.open(fuse) as (zapper, _):
            await way(desk, zapper)
    except* Killed:
        pass
    for _start in range(2):
        desk.around.clock.pass_s(60)
        async with desk.open() as (zapper, store):
            await way(desk, zapper)
            left = await store.open_intents()
            kept = await store.chain.kept()
    assert left == []
    # A batch that was sent has its coin from the cancelled one: never are both in the chain.
    assert (desk.paid()["alice"], desk.paid()["bob"]) == (250_000, 300_000)
    recorded = {record.miner: record.amount_msat // 1000 for record in desk.around.records()}
    assert recorded == earned
    assert len(desk.around.records()) == 2
    spent = {coin for txid in desk.node.known for coin in desk.node.spends[txid]}
    assert desk.node.locked <= spent
    assert kept <= spent
    return fuse.count


@pytest.mark.parametrize("way", [signed_and_paid, cancelled_and_sent])
async def test_killed_at_every_step_nobody_is_paid_twice_or_forgotten(
    make_around: Callable[[Path], Any], tmp_path: Path, way: Way
) -> None:
    """`make crash-payouts` dies everywhere, the tests at every STRIDE-th place."""
    places = await lived(make_around, tmp_path, None, way)
    assert places > 150
    for at in range(0, places, STRIDE):
        await lived(make_around, tmp_path, at, way)


async def test_a_shown_batch_is_the_same_after_a_restart(desk: Desk) -> None:
    async with desk.open() as (zapper, _):
        await zapper.pay_round()
        first = await desk.signing.show(TXID)
    desk.node.locked.clear()
    desk.around.clock.pass_s(10)
    async with desk.open() as (zapper, _):
        await zapper.reconcile()
        again = await desk.signing.show(TXID)
        assert again == replace(first, shown_ms=first.shown_ms)
        assert desk.node.locked == {COIN}
