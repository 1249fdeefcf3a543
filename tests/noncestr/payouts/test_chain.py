"""The on-chain rail against a real Bitcoin Core wallet (regtest): `make real-wallet BITCOIND=...`, skipped without."""

import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from noncestr.payouts.chain import RpcWallet
from stratum_edge.adapters.bitcoin_rpc import BitcoinRpc, NodeAuth, NodeAway
from tests.zapper.scripted_node import Book
from zapper.errors import PaymentBlocked
from zapper.node_wallet import NodeRefusal
from zapper.onchain_rail import OnchainRail
from zapper.payout import Intent, State
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Unclear
from zapper.rails import Order, Prepared

BITCOIND = os.environ.get("NONCESTR_BITCOIND", "")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not BITCOIND, reason="NONCESTR_BITCOIND names no bitcoind: the on-chain rail met no real wallet"
    ),
]
EVENT = SecretKey(b"\x01" * 32).sign(UnsignedEvent(0, 1, (), "{}"))
CONTEXT = httpx.create_ssl_context()
START_S = 60
WARMING_UP = -28


class Core:
    """A bitcoind of its own, and its wallets by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None
        self.opened: list[BitcoinRpc] = []

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                BITCOIND, "-regtest", f"-datadir={self.folder}", f"-rpcport={self.port}", "-listen=0", "-connect=0",
                "-fallbackfee=0.0001", "-printtoconsole=0", "-persistmempool=0", "-walletbroadcast=0",
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(START_S)
        self.process = None

    def wallet(self, name: str = "") -> RpcWallet:
        auth = NodeAuth(cookie_file=self.folder / "regtest" / ".cookie")
        rpc = BitcoinRpc(f"http://127.0.0.1:{self.port}" + (f"/wallet/{name}" if name else ""), auth, CONTEXT)
        self.opened.append(rpc)
        return RpcWallet(rpc)

    async def up(self) -> None:
        with anyio.fail_after(START_S):
            while True:
                try:
                    await self.wallet().call("getblockcount")
                    return
                except NodeAway:
                    await anyio.sleep(0.1)
                except NodeRefusal as error:
                    if error.code != WARMING_UP:
                        raise
                    await anyio.sleep(0.1)


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    made = Core(tmp_path)
    made.start()
    yield made
    if made.process is not None:
        made.kill()


@pytest.fixture
async def pool(core: Core) -> AsyncIterator[RpcWallet]:
    """The pool's wallet, with two coins of 50 bitcoin."""
    await core.up()
    await core.wallet().call("createwallet", "pool")
    await core.wallet().call("createwallet", "miner")
    wallet = core.wallet("pool")
    await mine(wallet, 2, await wallet.call("getnewaddress"))
    await mine(wallet, 100)
    yield wallet
    for rpc in core.opened:
        await rpc.close()


async def mine(
    wallet: RpcWallet, blocks: int, address: str = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"
) -> list[str]:
    found = list(await wallet.call("generatetoaddress", blocks, address))
    await wallet.call("syncwithvalidationinterfacequeue")
    return found


def rail_of(wallet: RpcWallet, book: Book | None = None, *, by_operator: bool = False) -> OnchainRail:
    return OnchainRail(wallet, book=book or Book(), one_at_a_time=anyio.Lock(), by_operator=by_operator)


def order(number: int, address: str, sat: int = 200_000, max_fee_msat: int = 5_000_000) -> Order:
    return Order(f"p{number}", f"{number:064x}", sat * 1000, max_fee_msat, address, EVENT, "line")


def intent(made: Prepared | PaymentBlocked, number: int = 1) -> Intent:
    assert isinstance(made, Prepared)
    return Intent(
        f"p{number}", f"{number:064x}", 200_000_000, 5_000_000, State.SENDING, 1, 1, EVENT.id, "bcrt1q", "onchain",
        payload=made.payload, reference=made.reference,
    )  # fmt: skip


async def payees(core: Core, count: int) -> list[str]:
    return [await core.wallet("miner").call("getnewaddress") for _ in range(count)]


async def settled(core: Core) -> None:
    """The wallets have heard what the node knows."""
    await core.wallet().call("syncwithvalidationinterfacequeue")


async def locked(wallet: RpcWallet) -> int:
    return len(await wallet.call("listlockunspent"))


async def test_a_batch_pays_each_its_amount_and_settles(core: Core, pool: RpcWallet) -> None:
    rail = rail_of(pool)
    one, two, three = await payees(core, 3)
    orders = [
        order(1, one),
        order(2, two, 300_000),
        order(3, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
        order(4, three),
    ]
    made = await rail.prepare_all(orders)
    assert [isinstance(each, Prepared) for each in made] == [True, True, False, True]
    assert await locked(pool) == 1
    sent = intent(made[0])
    assert await rail.lookup(sent) == NotFound()
    for _ in range(2):
        assert isinstance(await rail.send(sent), Unclear)
    assert await rail.lookup(sent) == Pending()
    await mine(pool, 2)
    assert await rail.lookup(sent) == Pending()
    await mine(pool, 1)
    found = await rail.lookup(intent(made[1], 2))
    assert isinstance(found, Paid)
    assert found.evidence.endswith(":1")
    received = [await core.wallet("miner").call("getreceivedbyaddress", each) for each in (one, two, three)]
    assert received == [Decimal("0.002"), Decimal("0.003"), Decimal("0.002")]
    fee = -(await pool.call("gettransaction", found.evidence[:64]))["fee"]
    assert found.fee_msat == int(fee * 10**11) // 3


async def test_what_stands_in_the_way_leaves_no_coin_locked(core: Core, pool: RpcWallet) -> None:
    rail = rail_of(pool)
    [one] = await payees(core, 1)
    for asked, word in (
        (order(1, one, max_fee_msat=1000), "the limit is 1000"),
        (order(1, one, 200 * 10**8), "nsufficient funds"),
        (order(1, one, 100), "too small"),
    ):
        with pytest.raises(PaymentBlocked, match=word):
            await rail.prepare(asked)
        assert await locked(pool) == 0
    await pool.call("encryptwallet", "words")
    with pytest.raises(PaymentBlocked, match="passphrase"):
        await rail.prepare(order(1, one))
    assert await locked(pool) == 0
    await pool.call("walletpassphrase", "words", 600)
    assert isinstance(await rail.prepare(order(1, one)), Prepared)


async def test_who_does_not_fit_is_left_out(core: Core, pool: RpcWallet) -> None:
    """By a fee limit too low; by what the wallet holds, some 100 bitcoin: 60, 29 and 2 of them fit."""
    rail = rail_of(pool)
    addresses = await payees(core, 4)
    made = await rail.prepare_all(
        [order(n, address, max_fee_msat=1000 if n == 2 else 5_000_000) for n, address in enumerate(addresses)]
    )
    assert [isinstance(each, Prepared) for each in made] == [True, True, False, True]
    assert await rail.send(intent(made[0])) is not None
    await settled(core)
    amounts = (20 * 10**8, 60 * 10**8, 29 * 10**8, 2 * 10**8)
    made = await rail.prepare_all([order(9 + n, addresses[n], sat) for n, sat in enumerate(amounts)])
    assert [isinstance(each, Prepared) for each in made] == [False, True, True, True]


async def test_a_node_killed_before_or_after_the_broadcast(core: Core, pool: RpcWallet) -> None:
    rail = rail_of(pool)
    [one] = await payees(core, 1)
    sent = intent(await rail.prepare(order(1, one)))
    # A node writes its chain down now and then; this makes it do so, or the kill would take the coins back.
    await pool.call("gettxoutsetinfo")
    core.kill()
    with pytest.raises(NodeAway):
        await rail.send(sent)
    with pytest.raises(NodeAway):
        await rail.lookup(sent)
    core.start()
    await core.up()
    await core.wallet().call("loadwallet", "pool")
    # The lock outlasts the node.
    assert await locked(pool) == 1
    await rail_of(pool).begin([sent])
    assert await locked(pool) == 1
    assert await rail.lookup(sent) == NotFound()
    assert "waits" in str(await rail.send(sent))
    await settled(core)
    assert await rail.lookup(sent) == Pending()
    # The node has lost its mempool: the batch is in the wallet alone, and is handed over again.
    core.kill()
    core.start()
    await core.up()
    await core.wallet().call("loadwallet", "pool")
    assert await rail.lookup(sent) == NotFound()
    assert "waits" in str(await rail.send(sent))
    assert await rail.lookup(sent) == Pending()
    await mine(pool, 3)
    assert isinstance(await rail.lookup(sent), Paid)


async def test_a_block_that_is_replaced_takes_the_confirmations_back(core: Core, pool: RpcWallet) -> None:
    rail = rail_of(pool)
    [one] = await payees(core, 1)
    sent = intent(await rail.prepare(order(1, one)))
    await rail.send(sent)
    first, *_ = await mine(pool, 2)
    await pool.call("invalidateblock", first)
    await settled(core)
    assert await rail.lookup(sent) == Pending()
    await mine(pool, 3, one)
    assert isinstance(await rail.lookup(sent), Paid)


@pytest.mark.parametrize("bumped", [True, False])
async def test_a_transaction_that_takes_its_place(core: Core, pool: RpcWallet, bumped: bool) -> None:
    rail = rail_of(pool)
    [one] = await payees(core, 1)
    sent = intent(await rail.prepare(order(1, one)))
    await rail.send(sent)
    raw = await pool.call("gettransaction", (sent.reference or "")[:64], True, True)
    coin: dict[str, Any] = raw["decoded"]["vin"][0]
    outputs = [{one: "0.002"}] if bumped else []
    outputs.append({await pool.call("getnewaddress"): "40"})
    # The coins' rest is its fee: more than any earlier one.
    fields = await pool.call("createrawtransaction", [{"txid": coin["txid"], "vout": coin["vout"]}], outputs)
    other = await pool.call("signrawtransactionwithwallet", fields)
    txid = await pool.call("sendrawtransaction", other["hex"], 0)
    await settled(core)
    assert await rail.lookup(sent) == Pending()
    await mine(pool, 3)
    await settled(core)
    found = await rail.lookup(sent)
    if bumped:
        assert isinstance(found, Paid)
        assert found.evidence == f"{txid}:0"
    else:
        assert isinstance(found, FailedPayment)
        await rail.release(sent)
        assert await locked(pool) == 0


async def test_an_abandoned_batch_is_sent_again_and_pays_once(core: Core, pool: RpcWallet) -> None:
    rail = rail_of(pool)
    one, two = await payees(core, 2)
    sent = intent(await rail.prepare(order(1, one)))
    await rail.send(sent)
    await pool.call("gettxoutsetinfo")
    core.kill()
    core.start()
    await core.up()
    await core.wallet().call("loadwallet", "pool")
    await core.wallet().call("loadwallet", "miner")
    await pool.call("abandontransaction", (sent.reference or "")[:64])
    assert await rail.lookup(sent) == NotFound()
    await rail.begin([sent])
    # Its coins are not another batch's.
    other = intent(await rail.prepare(order(2, two)), 2)
    for each in (sent, other):
        assert "waits" in str(await rail.send(each))
    await mine(pool, 3)
    for each in (sent, other):
        assert isinstance(await rail.lookup(each), Paid)
    received = [await core.wallet("miner").call("getreceivedbyaddress", each) for each in (one, two)]
    assert received == [Decimal("0.002"), Decimal("0.002")]
