"""Batches that somebody else signs, against real Bitcoin Core wallets (regtest): one watches, one has the keys.

`make real-wallet BITCOIND=...`, skipped without.
"""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from noncestr.payouts.chain import RpcWallet
from tests.noncestr.payouts import test_chain as test_payout_chain
from tests.noncestr.payouts.test_chain import BITCOIND, Core, locked, mine, order, payees, rail_of, settled
from zapper.adapters.intent_store import SqliteIntentStore, open_intent_store
from zapper.errors import PaymentBlocked
from zapper.funding import batch_of
from zapper.onchain_rail import OnchainRail
from zapper.payout import Intent, State, Step
from zapper.ports import Paid, Pending
from zapper.rails import Unsigned
from zapper.signing import Signing

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not BITCOIND, reason="NONCESTR_BITCOIND names no bitcoind: no real wallet signed for another"),
]

core = test_payout_chain.core
pool = test_payout_chain.pool


@pytest.fixture
async def watch(core: Core, pool: RpcWallet) -> RpcWallet:
    """A wallet that knows what `pool` owns, and cannot spend it."""
    await core.wallet().call("createwallet", "watch", True, True)
    wallet = core.wallet("watch")
    told = (await pool.call("listdescriptors"))["descriptors"]
    assert all(
        each["success"] for each in await wallet.call("importdescriptors", [{**d, "timestamp": 0} for d in told])
    )
    return wallet


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteIntentStore]:
    async with open_intent_store(tmp_path / "payouts.sqlite") as opened:
        yield opened


class Waiting:
    """A batch for two, as the zapper stores it."""

    def __init__(self, wallet: RpcWallet, store: SqliteIntentStore, **how: Any) -> None:
        self.store = store
        self.rail = OnchainRail(wallet, book=store.chain, one_at_a_time=anyio.Lock(), **how)
        self.signing = Signing(
            store, store.chain, clock=lambda: 5000, one_at_a_time=anyio.Lock(), wallet=wallet, release=self.rail.release
        )
        self.txid = ""

    async def propose(self, core: Core, first: int = 1) -> list[str]:
        addresses = await payees(core, 2)
        made = await self.rail.prepare_all([order(first + n, address) for n, address in enumerate(addresses)])
        for n, each in enumerate(made):
            assert isinstance(each, Unsigned)
            fresh = Intent(
                f"p{first + n}", f"{first + n:064x}", 200_000_000, 5_000_000, State.INTENT, 1, 1, "e", addresses[n],
                "onchain",
            )  # fmt: skip
            await self.store.create(fresh)
            await self.store.advance(fresh, Step.ASK, 2, reference=each.reference, payload=each.payload)
            self.txid = each.reference.partition(":")[0]
        return addresses

    async def open(self) -> list[Intent]:
        return await self.store.open_intents()


async def sign(wallet: RpcWallet, psbt: str) -> str:
    signed = await wallet.call("walletprocesspsbt", psbt, True)
    assert signed["complete"] is True
    return str(signed["psbt"])


@pytest.mark.parametrize("form", ["psbt", "final psbt", "raw"])
async def test_a_watching_wallet_proposes_another_signs_and_it_settles(
    core: Core, pool: RpcWallet, watch: RpcWallet, store: SqliteIntentStore, form: str
) -> None:
    batch = Waiting(watch, store)
    addresses = await batch.propose(core)
    assert await locked(watch) == 1
    shown = await batch.signing.show(batch.txid[:8])
    psbt = await pool.call("walletprocesspsbt", shown.psbt, True, "DEFAULT", True, form == "final psbt")
    handed = psbt["psbt"]
    if form == "raw":
        handed = (await pool.call("finalizepsbt", handed))["hex"]
    await batch.signing.hand_in(handed)
    [one, two] = await batch.open()
    assert {one.state, two.state} == {State.INVOICED}
    assert (await core.wallet().call("decoderawtransaction", batch_of(one).raw))["txid"] == batch.txid
    await batch.rail.send(one)
    await settled(core)
    assert await batch.rail.lookup(one) == Pending()
    await mine(watch, 3)
    found = await batch.rail.lookup(two)
    assert isinstance(found, Paid)
    assert found.evidence == f"{batch.txid}:1"
    received = [await core.wallet("miner").call("getreceivedbyaddress", each) for each in addresses]
    assert received == [Decimal("0.002")] * 2


async def test_a_wallet_with_keys_does_not_sign_for_an_operator_who_does(
    core: Core, pool: RpcWallet, store: SqliteIntentStore
) -> None:
    batch = Waiting(pool, store, by_operator=True)
    await batch.propose(core)
    shown = await batch.signing.show(batch.txid)
    assert (await pool.call("finalizepsbt", shown.psbt))["complete"] is False
    with pytest.raises(PaymentBlocked, match="signatures are missing"):
        await batch.signing.hand_in(shown.psbt)
    await batch.signing.hand_in(await sign(pool, shown.psbt))


async def test_the_node_sees_what_is_not_the_batch(
    core: Core, pool: RpcWallet, watch: RpcWallet, store: SqliteIntentStore
) -> None:
    batch = Waiting(watch, store)
    addresses = await batch.propose(core)
    shown = await batch.signing.show(batch.txid)
    [coin] = shown.batch.inputs
    spends = [{"txid": coin[0], "vout": coin[1]}]
    decoded = (await watch.call("decodepsbt", shown.psbt))["tx"]
    change = decoded["vout"][2]["scriptPubKey"]["address"]
    rest = decoded["vout"][2]["value"]
    fair: list[dict[str, Any]] = [{addresses[0]: "0.002"}, {addresses[1]: "0.002"}, {change: str(rest)}]
    dear: list[dict[str, Any]] = [*fair[:2], {change: str(rest - Decimal("0.00001"))}]
    other: list[dict[str, Any]] = [{addresses[0]: "0.004"}, {change: str(rest)}]
    for outputs, locktime, word in ((dear, 0, "another fee"), (other, 0, "other outputs"), (fair, 7, "locktime")):
        made = await pool.call("createpsbt", spends, outputs, locktime)
        with pytest.raises(PaymentBlocked, match=word):
            await batch.signing.hand_in(await sign(pool, made))
    with pytest.raises(PaymentBlocked, match="does not take it"):
        await batch.signing.hand_in("cHNidP8BAA==")
    # A signature that is none.
    good = (await pool.call("finalizepsbt", await sign(pool, shown.psbt)))["hex"]
    at = good.index("3044") + 20
    broken = good[:at] + ("00" if good[at : at + 2] != "00" else "11") + good[at + 2 :]
    with pytest.raises(PaymentBlocked, match="would not send it"):
        await batch.signing.hand_in(broken)
    assert {each.state for each in await batch.open()} == {State.AWAITING}
    await batch.signing.hand_in(good)


async def test_sent_elsewhere_it_is_found_and_not_cancelled(
    core: Core, pool: RpcWallet, watch: RpcWallet, store: SqliteIntentStore
) -> None:
    batch = Waiting(watch, store)
    await batch.propose(core)
    shown = await batch.signing.show(batch.txid)
    final = await pool.call("finalizepsbt", await sign(pool, shown.psbt))
    [one, _] = await batch.open()
    assert await batch.rail.signed(one) is None
    assert await core.wallet().call("sendrawtransaction", final["hex"]) == batch.txid
    await settled(core)
    with pytest.raises(PaymentBlocked, match="signed and sent"):
        await batch.signing.cancel(batch.txid, unsigned="nobody did")
    payload = await batch.rail.signed(one)
    assert payload is not None
    after = await store.advance(one, Step.SIGN, 9, payload=payload)
    await mine(watch, 3)
    assert isinstance(await batch.rail.lookup(after), Paid)


async def test_a_cancelled_one_is_dead_once_the_next_is_in_a_block(
    core: Core, pool: RpcWallet, watch: RpcWallet, store: SqliteIntentStore
) -> None:
    batch = Waiting(watch, store)
    await batch.propose(core)
    first = await batch.signing.show(batch.txid)
    kept = await sign(pool, first.psbt)
    await batch.signing.cancel(batch.txid, unsigned="so the operator believes")
    assert await locked(watch) == 0
    await batch.propose(core, first=3)
    second = await batch.signing.show(batch.txid)
    assert set(first.batch.inputs) <= set(second.batch.inputs)
    await batch.signing.hand_in(await sign(pool, second.psbt))
    await batch.rail.send((await batch.open())[0])
    await mine(watch, 1)
    stale = (await pool.call("finalizepsbt", kept))["hex"]
    [verdict] = await core.wallet().call("testmempoolaccept", [stale])
    assert verdict["allowed"] is False


async def test_evidence_that_its_coins_are_spent_cancels_a_shown_one(
    core: Core, pool: RpcWallet, watch: RpcWallet, store: SqliteIntentStore
) -> None:
    batch = Waiting(watch, store)
    await batch.propose(core)
    shown = await batch.signing.show(batch.txid)
    [coin] = shown.batch.inputs
    home = await pool.call("getnewaddress")
    raw = await pool.call("createrawtransaction", [{"txid": coin[0], "vout": coin[1]}], [{home: "49.999"}])
    signed = await pool.call("signrawtransactionwithwallet", raw)
    other = await core.wallet().call("sendrawtransaction", signed["hex"])
    await mine(watch, 2)
    with pytest.raises(PaymentBlocked, match="is spent: say by what"):
        await batch.signing.cancel(batch.txid)
    with pytest.raises(PaymentBlocked, match="2 confirmations"):
        await batch.signing.cancel(batch.txid, spent_by=other)
    await mine(watch, 1)
    await batch.signing.cancel(batch.txid, spent_by=other)
    assert await batch.open() == []
    assert await locked(watch) == 0


async def test_locks_outlast_the_node_and_a_kill_before_it_was_stored_frees_them(
    core: Core, watch: RpcWallet, store: SqliteIntentStore
) -> None:
    batch = Waiting(watch, store)
    await batch.propose(core)
    # Another one that no payout was stored for: killed in between.
    lost = OnchainRail(watch, book=store.chain, one_at_a_time=anyio.Lock())
    await lost.begin(await batch.open())
    await lost.prepare(order(7, (await payees(core, 1))[0]))
    assert await locked(watch) == 2
    await watch.call("gettxoutsetinfo")
    core.kill()
    core.start()
    await core.up()
    await core.wallet().call("loadwallet", "watch")
    assert await locked(watch) == 2
    await OnchainRail(watch, book=store.chain, one_at_a_time=anyio.Lock()).begin(await batch.open())
    assert await locked(watch) == 1


async def test_coins_whose_spending_has_no_txid_before_are_not_proposed(core: Core, watch: RpcWallet) -> None:
    """A wallet of P2SH addresses alone: their scripts go where the txid counts them."""
    await core.wallet().call("createwallet", "old")
    old = core.wallet("old")
    await mine(watch, 1, await old.call("getnewaddress", "", "p2sh-segwit"))
    await mine(watch, 100)
    [one] = await payees(core, 1)
    with pytest.raises(PaymentBlocked, match="no txid before it is signed"):
        await rail_of(old, by_operator=True).prepare(order(1, one))
    assert await locked(old) == 0


async def inner(wallet: RpcWallet, *, private: bool, internal: bool) -> str:
    """A wallet's own key, as a descriptor of several names it."""
    told = (await wallet.call("listdescriptors", private))["descriptors"]
    found = next(each["desc"] for each in told if each["desc"].startswith("wpkh(") and each["internal"] is internal)
    return str(found).removeprefix("wpkh(").partition(")")[0]


async def test_two_of_two_sign_one_after_the_other(core: Core, pool: RpcWallet, store: SqliteIntentStore) -> None:
    """The node's wallet watches what two wallets own together; each hands in its signature."""
    cosigners = []
    for name in ("one", "two"):
        await core.wallet().call("createwallet", name)
        cosigners.append(core.wallet(name))

    async def shared(name: str, secret: int | None) -> RpcWallet:
        await core.wallet().call("createwallet", name, secret is None, True)
        wallet = core.wallet(name)
        for internal in (False, True):
            keys = [await inner(each, private=n == secret, internal=internal) for n, each in enumerate(cosigners)]
            bare = f"wsh(multi(2,{','.join(keys)}))"
            checksum = (await wallet.call("getdescriptorinfo", bare))["checksum"]
            asked = {"desc": f"{bare}#{checksum}", "timestamp": 0, "active": True, "internal": internal}
            [answer] = await wallet.call("importdescriptors", [asked])
            assert answer["success"] is True, answer
        return wallet

    watch = await shared("both", None)
    signers = [await shared(f"both{number}", number) for number in (0, 1)]
    await mine(watch, 1, await watch.call("getnewaddress"))
    await mine(watch, 100)
    batch = Waiting(watch, store)
    addresses = await batch.propose(core)
    for number, signer in enumerate(signers):
        shown = await batch.signing.show(batch.txid)
        half = await signer.call("walletprocesspsbt", shown.psbt)
        _, complete = await batch.signing.hand_in(half["psbt"])
        assert complete is (number == 1)
    await batch.rail.send((await batch.open())[0])
    await mine(watch, 3)
    received = [await core.wallet("miner").call("getreceivedbyaddress", each) for each in addresses]
    assert received == [Decimal("0.002")] * 2
