"""Payouts by one transaction of a node's wallet, against a scripted node that keeps Bitcoin Core's forms."""

from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.settings import SettingsBody, build_settings
from zapper.errors import PaymentBlocked
from zapper.onchain_rail import NodeRefusal, OnchainRail, bitcoin, sats
from zapper.payout import Intent, State
from zapper.plan import PlanLimits
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Unclear
from zapper.rails import Order, Prepared

pytestmark = pytest.mark.anyio
EVENT = SecretKey(b"\x01" * 32).sign(UnsignedEvent(0, 1, (), "{}"))


class Node:
    """A wallet that funds, signs and remembers; blocks come when told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fee_sat = 600
        self.balance_sat = 10**9
        self.locked: set[tuple[str, int]] = set()
        self.made: dict[str, list[dict[str, Any]]] = {}
        self.known: dict[str, int] = {}
        self.dropped: set[str] = set()
        self.conflicts: dict[str, list[str]] = {}
        self.refuse: dict[str, NodeRefusal] = {}
        self.lies = False
        self.complete = True

    async def call(self, method: str, *params: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        self.calls.append(method)
        if method in self.refuse:
            raise self.refuse[method]
        return getattr(self, f"_{method}")(*params)

    def _validateaddress(self, address: str) -> Any:
        good = address.lower().startswith("bcrt1")
        return {"isvalid": True, "address": address.lower()} if good else {"isvalid": False, "error": "x"}

    def _walletcreatefundedpsbt(self, inputs: Any, outputs: Any, locktime: int, options: Any) -> Any:
        assert (inputs, locktime) == ([], 0)
        assert options["lockUnspents"] is True
        assert options["replaceable"] is False
        spent = sum(sats(value) for output in outputs for value in output.values())
        if spent + self.fee_sat > self.balance_sat:
            raise NodeRefusal(-4, "Insufficient funds")
        number = len(self.made) + 1
        vout = [
            {"n": n, "value": Decimal(value), "scriptPubKey": {"address": address}}
            for n, output in enumerate(outputs)
            for address, value in output.items()
        ]
        vout.append({"n": len(vout), "value": Decimal("1.5"), "scriptPubKey": {"address": "bcrt1change"}})
        assert options["changePosition"] == len(vout) - 1
        if self.lies:
            vout[0]["value"] += Decimal("0.00000001")
        self.made[f"{number:064x}"] = vout
        self.locked.add((f"{number + 1000:064x}", 7))
        return {"psbt": f"psbt{number}", "fee": Decimal(bitcoin(self.fee_sat)), "changepos": len(vout) - 1}

    def _decodepsbt(self, psbt: str) -> Any:
        return {"tx": {"vin": [{"txid": f"{int(psbt[4:]) + 1000:064x}", "vout": 7}]}}

    def _walletprocesspsbt(self, psbt: str, sign: bool) -> Any:
        assert sign
        return {"psbt": psbt, "complete": self.complete}

    def _finalizepsbt(self, psbt: str) -> Any:
        return {"hex": f"raw{psbt[4:]}", "complete": self.complete}

    def _decoderawtransaction(self, raw: str) -> Any:
        txid = f"{int(raw[3:]):064x}"
        return {"txid": txid, "vout": self.made[txid]}

    def _sendrawtransaction(self, raw: str) -> str:
        txid = f"{int(raw[3:]):064x}"
        self.known.setdefault(txid, 0)
        self.dropped.discard(txid)
        return txid

    def _getmempoolentry(self, txid: str) -> Any:
        if self.known.get(txid) != 0 or txid in self.dropped:
            raise NodeRefusal(-5, "Transaction not in mempool")
        return {"vsize": 141}

    def _gettransaction(self, txid: str, watch: bool, verbose: bool) -> Any:
        assert watch
        assert verbose
        if txid not in self.known:
            raise NodeRefusal(-5, "Invalid or non-wallet transaction id")
        return {
            "confirmations": self.known[txid],
            "walletconflicts": self.conflicts.get(txid, []),
            "decoded": {"txid": txid, "vout": self.made[txid]},
        }

    def _lockunspent(self, unlock: bool, coins: Any) -> bool:
        for coin in coins:
            pair = (coin["txid"], coin["vout"])
            if unlock:
                self.locked.discard(pair)
            else:
                self.locked.add(pair)
        return True

    def _listlockunspent(self) -> Any:
        return [{"txid": txid, "vout": vout} for txid, vout in self.locked]

    def _getbalances(self) -> Any:
        return {"mine": {"trusted": Decimal(bitcoin(self.balance_sat))}}


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def rail(node: Node) -> OnchainRail:
    return OnchainRail(node, one_at_a_time=anyio.Lock())


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
        ({"fee_sat": 2001}, "the limit is 2000000"),
        ({"balance_sat": 1000}, "Insufficient funds"),
        ({"complete": False}, "cannot sign alone"),
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
    node.made[bumped] = [node.made[txid][1], {**node.made[txid][0], "n": 1}]
    node.known |= {txid: -1, bumped: 1}
    node.conflicts[txid] = [bumped]
    assert await rail.lookup(intent(made)) == Pending()
    node.known[bumped] = 3
    assert await rail.lookup(intent(made)) == Paid("", 600_000, f"{bumped}:1")


async def test_coins_spent_past_the_payee_are_a_failure_once_it_is_deep(rail: OnchainRail, node: Node) -> None:
    made = await rail.prepare(order(1))
    txid, other = f"{1:064x}", f"{9:064x}"
    node.made[other] = [{"n": 0, "value": Decimal("0.00200000"), "scriptPubKey": {"address": "bcrt1qelse"}}]
    node.known |= {txid: -1, other: 2}
    node.conflicts[txid] = [other, f"{8:064x}"]
    assert await rail.lookup(intent(made)) == Pending()
    node.known |= {txid: -3, other: 3}
    assert isinstance(await rail.lookup(intent(made)), FailedPayment)
    await rail.release(intent(made, state=State.FAILED))
    assert node.locked == set()


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
    around.rails["onchain"] = OnchainRail(node, one_at_a_time=anyio.Lock())
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
