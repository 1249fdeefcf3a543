"""Payouts by one transaction of a node's wallet, against a scripted node that keeps Bitcoin Core's forms."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.settings import SettingsBody, build_settings
from tests.zapper.scripted_node import Book, Node, raw_of
from zapper.errors import PaymentBlocked
from zapper.funding import batch_of
from zapper.node_wallet import NodeRefusal, bitcoin, sats
from zapper.onchain_rail import OnchainRail
from zapper.payout import Intent, State
from zapper.plan import OURS, PlanLimits
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Unclear
from zapper.rails import Order, Prepared, Unsigned

pytestmark = pytest.mark.anyio
EVENT = SecretKey(b"\x01" * 32).sign(UnsignedEvent(0, 1, (), "{}"))


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def book() -> Book:
    return Book()


def make_rail(node: Node, book: Book, *, by_operator: bool = False) -> OnchainRail:
    return OnchainRail(node, book=book, one_at_a_time=anyio.Lock(), by_operator=by_operator)


@pytest.fixture
def rail(node: Node, book: Book) -> OnchainRail:
    return make_rail(node, book)


def order(number: int, sat: int = 200_000, address: str = "", max_fee_msat: int = 2_000_000) -> Order:
    where = address or f"bcrt1q{number}"
    return Order(f"p{number}", f"{number:064x}", sat * 1000, max_fee_msat, where, EVENT, "line")


def intent(made: Prepared, number: int = 1, state: State = State.SENDING) -> Intent:
    return Intent(
        f"p{number}", f"{number:064x}", 200_000_000, 2_000_000, state, 1, 1, EVENT.id, "bcrt1q", "onchain",
        payload=made.payload, reference=made.reference,
    )  # fmt: skip


async def test_a_batch_is_one_transaction_whose_outputs_are_the_payees(rail: OnchainRail, node: Node) -> None:
    one, two, three = await rail.prepare_all([order(1), order(2, 300_000), order(3)])
    assert isinstance(one, Prepared)
    assert isinstance(two, Prepared)
    assert isinstance(three, Prepared)
    assert [made.reference for made in (one, two, three)] == [f"{1:064x}:{vout}" for vout in range(3)]
    assert one.payload == two.payload == three.payload
    assert (one.method, one.expires_at) == ("onchain", None)
    assert "sendrawtransaction" not in node.calls
    assert node.locked == {(f"{1001:064x}", 7)}
    assert [sats(out["value"]) for out in node.made[f"{1:064x}"]][:2] == [200_000, 300_000]


async def test_one_bad_address_or_a_double_stops_nobody_else(rail: OnchainRail) -> None:
    made = await rail.prepare_all([order(1), order(2, address="bc1qmain"), order(3, address="BCRT1Q1"), order(4)])
    assert [isinstance(each, Prepared) for each in made] == [True, False, False, True]
    assert "no address of this network" in str(made[1])
    assert "another batch" in str(made[2])
    assert [each.reference[-1] for each in made if isinstance(each, Prepared)] == ["0", "1"]
    with pytest.raises(PaymentBlocked, match="no address"):
        await rail.prepare(order(2, address="nonsense"))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"fee_sat": 2001}, "takes 2,001 sat a payee now, the limit is 2,000 sat"),
        ({"balance_sat": 1000}, "Insufficient funds"),
        ({"complete": False, "kind": "scripthash"}, "has no txid before it is signed"),
        ({"lies": True}, "another transaction"),
    ],
)
async def test_a_transaction_that_is_not_as_it_should_be_leaves_no_coins_locked(
    rail: OnchainRail, node: Node, change: dict[str, Any], word: str
) -> None:
    for name, value in change.items():
        setattr(node, name, value)
    with pytest.raises(PaymentBlocked, match=word):
        await rail.prepare(order(1))
    assert node.locked == set()


async def test_it_settles_with_its_confirmations(rail: OnchainRail, node: Node) -> None:
    one, two = await rail.prepare_all([order(1), order(2)])
    assert isinstance(one, Prepared)
    assert isinstance(two, Prepared)
    sent = intent(one)
    assert await rail.lookup(sent) == NotFound()
    for _ in range(2):
        assert isinstance(await rail.send(sent), Unclear)
    txid = f"{1:064x}"
    for confirmations in (0, 1, 2):
        node.known[txid] = confirmations
        assert await rail.lookup(sent) == Pending()
    node.known[txid] = 3
    assert await rail.lookup(intent(two)) == Paid("", 300_000, f"{txid}:1")


async def test_a_node_that_refuses_or_is_away_decides_nothing(rail: OnchainRail, node: Node) -> None:
    made = await rail.prepare(order(1))
    node.refuse["sendrawtransaction"] = NodeRefusal(-26, "mempool min fee not met")
    assert "mempool min fee" in str(await rail.send(intent(made)))
    node.refuse["gettransaction"] = NodeRefusal(-28, "Loading wallet")
    with pytest.raises(NodeRefusal):
        await rail.lookup(intent(made))


async def test_what_the_node_has_dropped_goes_to_it_again(rail: OnchainRail, node: Node) -> None:
    sent = intent(await rail.prepare(order(1)))
    await rail.send(sent)
    node.dropped.add(f"{1:064x}")
    assert await rail.lookup(sent) == NotFound()
    # Another one with its coins is known: to send it again would be refused, and which of them is mined decides.
    node.conflicts[f"{1:064x}"] = [f"{9:064x}"]
    assert await rail.lookup(sent) == Pending()
    node.conflicts.clear()
    await rail.send(sent)
    assert await rail.lookup(sent) == Pending()
    node.refuse["getmempoolentry"] = NodeRefusal(-28, "Loading")
    with pytest.raises(NodeRefusal):
        await rail.lookup(sent)


async def test_a_fee_bump_that_pays_the_payee_is_the_payment(rail: OnchainRail, node: Node) -> None:
    made = await rail.prepare(order(1))
    txid, bumped = f"{1:064x}", f"{9:064x}"
    node.add(9, [node.made[txid][1], {**node.made[txid][0], "n": 1}], [(f"{1001:064x}", 7)])
    node.known |= {txid: -1, bumped: 1}
    node.conflicts[txid] = [bumped]
    assert await rail.lookup(intent(made)) == Pending()
    node.known[bumped] = 3
    assert await rail.lookup(intent(made)) == Paid("", 600_000, f"{bumped}:1")


async def test_coins_spent_past_the_payee_are_a_failure_once_it_is_deep(rail: OnchainRail, node: Node) -> None:
    made = await rail.prepare(order(1))
    txid, other = f"{1:064x}", f"{9:064x}"
    elsewhere = {"n": 0, "value": Decimal("0.00200000"), "scriptPubKey": {"address": "bcrt1qelse"}}
    node.add(9, [elsewhere], [(f"{1001:064x}", 7)])
    node.known |= {txid: -1, other: 2}
    node.conflicts[txid] = [other, f"{8:064x}"]
    assert await rail.lookup(intent(made)) == Pending()
    node.known |= {txid: -3, other: 3}
    assert isinstance(await rail.lookup(intent(made)), FailedPayment)
    await rail.release(intent(made, state=State.FAILED))
    assert node.locked == set()


async def test_whose_fee_limit_is_too_low_is_left_out_and_the_others_go(rail: OnchainRail, node: Node) -> None:
    node.fee_sat = 800
    limits = (199_999, 266_665, 400_000, 10**6)
    one, two, three, four = await rail.prepare_all(
        [order(number, max_fee_msat=limit) for number, limit in enumerate(limits, 1)]
    )
    assert str(one) == f"{OURS}the chain takes 200 sat a payee now, the limit is 199.999 sat"
    assert str(two) == f"{OURS}the chain takes 266.666 sat a payee now, the limit is 266.665 sat"
    assert isinstance(three, Prepared)
    assert isinstance(four, Prepared)
    assert [three.reference[-2:], four.reference[-2:]] == [":0", ":1"]
    assert batch_of(intent(three)).share_msat == 400_000
    # Only the transaction that was made has coins.
    assert node.locked == {(f"{1003:064x}", 7)}


async def test_nobody_goes_when_the_fee_is_beyond_everybody(rail: OnchainRail, node: Node) -> None:
    node.fee_sat = 1000
    made = await rail.prepare_all([order(1, max_fee_msat=499_999), order(2, max_fee_msat=400_000)])
    assert [str(each) for each in made] == [
        f"{OURS}the chain takes 500 sat a payee now, the limit is {limit} sat" for limit in ("499.999", "400")
    ]
    assert node.locked == set()


async def test_of_what_the_wallet_holds_the_largest_that_fit_are_paid(rail: OnchainRail, node: Node) -> None:
    node.balance_sat = 500_000
    made = await rail.prepare_all([order(1, 100_000), order(2, 600_000), order(3, 300_000), order(4, 150_000)])
    assert [isinstance(each, Prepared) for each in made] == [False, False, True, True]
    assert {str(each) for each in made[:2]} == {f"{OURS}the node's wallet holds too little for it now"}
    # The fee is missing alone: the smallest waits.
    node.balance_sat = 450_599
    made = await rail.prepare_all([order(5, 150_000), order(6, 300_000)])
    assert [isinstance(each, Prepared) for each in made] == [False, True]
    node.balance_sat = 10
    made = await rail.prepare_all([order(7), order(8)])
    assert not any(isinstance(each, Prepared) for each in made)


async def test_coins_are_on_disk_before_they_are_locked_and_free_at_the_next_start(node: Node, book: Book) -> None:
    """Killed after the lock, before the payout was stored; and before the lock."""
    kept_at_lock: list[bool] = []
    lock = node._lockunspent

    def locking(unlock: bool, coins: Any, persistent: bool = False) -> bool:
        if not unlock:
            kept_at_lock.append({(each["txid"], each["vout"]) for each in coins} <= book.coins)
        return lock(unlock, coins, persistent)

    node._lockunspent = locking  # type: ignore[method-assign]  # looks at the order of the two
    await make_rail(node, book).prepare(order(1))
    assert kept_at_lock == [True]
    other = (f"{99:064x}", 1)
    node.locked.add(other)
    await book.keep([(f"{98:064x}", 0)])
    # The next start, with no payout to show for them; what the operator locked stays locked.
    await make_rail(node, book).begin([])
    assert node.locked == {other}
    assert book.coins == set()


async def test_a_node_that_is_away_at_the_start_lets_go_later(node: Node, book: Book) -> None:
    killed = make_rail(node, book)
    made = await killed.prepare(order(1))
    await killed.prepare(order(2))
    restarted = make_rail(node, book)
    node.away = True
    with pytest.raises(OSError, match="away"):
        await restarted.begin([intent(made)])
    node.away = False
    await restarted.prepare(order(3))
    assert node.locked == {(f"{1001:064x}", 7), (f"{1003:064x}", 7)}


async def test_a_wallet_that_is_loading_has_its_locks_still(node: Node, book: Book) -> None:
    await make_rail(node, book).prepare(order(1))
    node.refuse["lockunspent"] = NodeRefusal(-18, "Requested wallet does not exist or is not loaded")
    restarted = make_rail(node, book)
    with pytest.raises(NodeRefusal):
        await restarted.begin([])
    assert book.coins == {(f"{1001:064x}", 7)}
    with pytest.raises(PaymentBlocked, match="not loaded"):
        await restarted.prepare(order(2))
    # It says of a coin that is spent that it is no parameter: that one is let go of.
    node.refuse["lockunspent"] = NodeRefusal(-8, "Invalid parameter, expected unspent output")
    await make_rail(node, book).begin([])
    assert book.coins == set()


async def test_psbts_of_batches_that_are_over_are_forgotten_at_the_start(node: Node, book: Book) -> None:
    node.complete = False
    made = await make_rail(node, book).prepare(order(1))
    await make_rail(node, book).prepare(order(2))
    await make_rail(node, book).begin([intent(made, state=State.AWAITING)])
    assert book.psbts == {f"{1:064x}": "psbt1"}


async def test_a_batch_that_was_not_stored_lets_go_of_its_coins(rail: OnchainRail, node: Node) -> None:
    one, two = await rail.prepare_all([order(1), order(2)])
    assert isinstance(one, Prepared)
    assert isinstance(two, Prepared)
    unstored = replace(intent(one), payload=None, reference=None, state=State.FAILED)
    await rail.release(unstored)
    assert node.locked == {(f"{1001:064x}", 7)}
    await rail.release(replace(unstored, payout_id="p2"))
    assert node.locked == set()


async def test_what_somebody_else_signs_is_unsigned_and_its_txid_known(node: Node, book: Book) -> None:
    node.complete = False
    rail = make_rail(node, book)
    one, two = await rail.prepare_all([order(1), order(2)])
    assert isinstance(one, Unsigned)
    assert isinstance(two, Unsigned)
    assert [one.reference, two.reference] == [f"{1:064x}:0", f"{1:064x}:1"]
    assert (batch_of(intent(one)).raw, book.psbts) == ("", {f"{1:064x}": "psbt1"})
    assert node.locked == {(f"{1001:064x}", 7)}
    assert await rail.signed(intent(one)) is None
    # Signed and sent elsewhere: the wallet heard of it.
    node.known[f"{1:064x}"] = 0
    payload = await rail.signed(intent(one))
    assert payload is not None
    assert batch_of(replace(intent(one), payload=payload)).raw == raw_of(1)


async def test_an_operator_who_signs_is_not_signed_for(node: Node, book: Book) -> None:
    rail = make_rail(node, book, by_operator=True)
    assert isinstance(await rail.prepare(order(1)), Unsigned)
    assert "walletprocesspsbt" not in node.calls


async def test_the_next_batch_spends_a_coin_of_a_cancelled_one(node: Node, book: Book) -> None:
    coin = (f"{77:064x}", 3)
    await book.set_spend_first(coin)
    rail = make_rail(node, book)
    await rail.send(intent(await rail.prepare(order(1))))
    assert node.spends[f"{1:064x}"] == [coin]
    await rail.prepare(order(2))
    assert node.spends[f"{2:064x}"] == [(f"{1002:064x}", 7)]


async def test_a_restarted_node_locks_what_is_on_its_way(rail: OnchainRail, node: Node) -> None:
    made = await rail.prepare(order(1))
    node.locked.clear()
    await rail.begin([intent(made), intent(made, 2)])
    assert node.locked == {(f"{1001:064x}", 7)}
    assert await rail.balance_msat() == 10**12


def test_amounts_are_exact() -> None:
    for sat in (0, 1, 99_999_999, 100_000_000, 2_100_000_000_000_000):
        assert sats(bitcoin(sat)) == sat
    with pytest.raises(ValueError, match="whole"):
        sats(Decimal("0.000000001"))


async def test_from_earnings_to_confirmed_records(around: Any, node: Node) -> None:
    """Two miners in one transaction; the zapper is started anew while it waits for confirmations."""
    around.rails["onchain"] = OnchainRail(node, book=Book(), one_at_a_time=anyio.Lock())
    around.settings["limits"] = PlanLimits(minimum_msat=1000, onchain_msat=100_000_000)
    for name in ("alice", "bob"):
        around.miner(name, 250_000_000)
        body = SettingsBody(methods=("onchain",), onchain=f"bcrt1q{name}")
        around.feed.add(around.miners[name].sign(build_settings(around.address.pubkey, body, around.clock.seconds())))
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert {each.state for each in await store.open_intents()} == {State.SENDING}
        assert zapper.status.unknown == ()
    node.known[f"{1:064x}"] = 3
    async with around.open() as (zapper, store):
        await zapper.reconcile()
        assert await store.open_intents() == []
    records = around.records()
    assert {record.proof["vout"] for record in records} == {0, 1}
    assert {record.proof["txid"] for record in records} == {f"{1:064x}"}
    assert [record.network_fee_msat for record in records] == [300_000, 300_000]
    assert node.calls.count("walletcreatefundedpsbt") == 1
