"""Payouts on the chain: one transaction of the operator's node wallet for many payees, as a PSBT (BIP 174).

The node funds and signs it, or the operator does where the keys are elsewhere (`zapper.signing`). Its txid is stored
before it is sent; a transaction spends its coins once, so that sending it again is harmless. It settles with its
confirmations. It has failed only once another one that pays none of its payees has spent its coins, as deep: an
operator's fee bump keeps the outputs, and counts as the payment.
"""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from zapper.cancelled import Fate
from zapper.errors import PaymentBlocked, PoolFault
from zapper.funding import Batch, Funding, batch_of, payload_of
from zapper.node_wallet import (
    INVALID_PARAMETER,
    ChainBook,
    Coin,
    NodeRefusal,
    NodeWallet,
    in_mempool,
    is_unspent,
    outpoints,
    pays,
    sats,
    transaction,
)
from zapper.payout import Intent
from zapper.plan import OURS
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear
from zapper.rails import Order, Prepared, Unsigned

# Blocks replaced by longer branches are one or two deep; a payment that comes undone would be paid by the pool twice.
CONFIRMATIONS = 3
# A standard transaction has 400,000 weight units: some 3,000 outputs; the node's answers stay small with fewer.
MAX_PAYEES = 500


def _vout(reference: str) -> int:
    return int(reference.rpartition(":")[2])


class OnchainRail:
    """`one_at_a_time`: an async lock, so that two batches never choose the same coins. `by_operator`: the node's wallet
    is not asked to sign.
    """

    replayable = True
    slow = True

    def __init__(
        self,
        wallet: NodeWallet,
        *,
        book: ChainBook,
        one_at_a_time: AbstractAsyncContextManager[object],
        name: str = "the node's wallet",
        confirmations: int = CONFIRMATIONS,
        by_operator: bool = False,
    ) -> None:
        self._wallet = wallet
        self._book = book
        self._funding = Funding(wallet, book, by_operator=by_operator)
        self._lock = one_at_a_time
        self._name = name
        self._confirmations = confirmations
        # The coins of batches on their way, by payout id.
        self._live: dict[str, tuple[Coin, ...]] = {}

    @property
    def name(self) -> str:
        """For people and logs."""
        return self._name

    @property
    def purse(self) -> Hashable:
        """The wallet itself."""
        return id(self._wallet)

    # Preparing

    async def prepare(self, order: Order) -> Prepared:
        """A batch of one. Raises PaymentBlocked."""
        [prepared] = await self.prepare_all([order])
        if isinstance(prepared, PaymentBlocked):
            raise prepared
        return prepared

    async def prepare_all(self, orders: Sequence[Order]) -> Sequence[Prepared | PaymentBlocked]:
        """One transaction for all of these that can be in it: signed, or Unsigned. Raises PaymentBlocked when there is
        none.
        """
        try:
            async with self._lock:
                await self._let_go()
                return await self._prepare(orders)
        except NodeRefusal as error:
            raise PoolFault(f"{OURS}the pool's node wallet: {error.message}") from None

    async def _prepare(self, orders: Sequence[Order]) -> Sequence[Prepared | PaymentBlocked]:
        chosen: dict[str, Order] = {}
        refused: dict[str, PaymentBlocked] = {}
        for order in orders:
            answer = await self._wallet.call("validateaddress", order.destination)
            address = str(answer.get("address", ""))
            if answer.get("isvalid") is not True:
                refused[order.payout_id] = PaymentBlocked(f"{order.destination[:100]} is no address of this network")
            elif address in chosen or len(chosen) >= MAX_PAYEES:
                refused[order.payout_id] = PaymentBlocked("this address is paid in another batch than the first")
            else:
                chosen[address] = order
        made: dict[str, Prepared] = {}
        if chosen:
            batch, paid, dear = await self._funding.fund(chosen)
            refused |= dear
            if batch is not None:
                made = self._made(batch, paid)
        return [made.get(order.payout_id) or refused[order.payout_id] for order in orders]

    def _made(self, batch: Batch, paid: Sequence[Order]) -> dict[str, Prepared]:
        payload = payload_of(batch)
        form = Prepared if batch.raw else Unsigned
        self._live |= {order.payout_id: batch.inputs for order in paid}
        return {order.payout_id: form("onchain", f"{batch.txid}:{vout}", payload) for vout, order in enumerate(paid)}

    async def _let_go(self) -> None:
        """Unlock what no batch needs: a kill, or a node that was away, left it locked."""
        needed = {coin for coins in self._live.values() for coin in coins}
        await self._funding.let_go(sorted(await self._book.kept() - needed))

    # Sending, and what became of it

    async def send(self, intent: Intent) -> Paid | Refused | Unclear:
        """Send the whole batch; once it is on its way only confirmations tell."""
        try:
            await self._wallet.call("sendrawtransaction", batch_of(intent).raw)
        except NodeRefusal as error:
            # What a node refuses today another may take, or this one tomorrow: it may still come about.
            return Unclear(f"the node does not take the transaction: {error}")
        return Unclear("waits for its confirmations")

    async def lookup(self, intent: Intent) -> Paid | Pending | NotFound | FailedPayment:
        """By the wallet's own record of the transaction."""
        batch = batch_of(intent)
        found = await transaction(self._wallet, batch.txid)
        if found is None:
            return NotFound()
        if int(found["confirmations"]) >= self._confirmations:
            return Paid("", batch.share_msat, intent.reference or "")
        if int(found["confirmations"]) < 0:
            return await self._replaced(intent, batch, found)
        if (
            int(found["confirmations"]) == 0
            and not found.get("walletconflicts")
            and not await in_mempool(self._wallet, batch.txid)
        ):
            # The wallet knows it, but the node has dropped it (full, restarted, abandoned): nobody will mine it.
            return NotFound()
        return Pending()

    async def _replaced(self, intent: Intent, batch: Batch, found: Mapping[str, Any]) -> Paid | Pending | FailedPayment:
        """The coins went elsewhere: by a fee bump that still pays, or past the payee."""
        answer = await self._wallet.call("decoderawtransaction", batch.raw)
        wanted = answer["vout"][_vout(intent.reference or "")]
        address, sat = wanted["scriptPubKey"].get("address", ""), sats(wanted["value"])
        failed = False
        for txid in found.get("walletconflicts", ()):
            other = await transaction(self._wallet, txid)
            if other is None or int(other["confirmations"]) < 0:
                continue
            paying = [out["n"] for out in other["decoded"]["vout"] if pays(out, address, sat)]
            deep = int(other["confirmations"]) >= self._confirmations
            if paying:
                return Paid("", batch.share_msat, f"{txid}:{paying[0]}") if deep else Pending()
            failed = failed or deep
        return FailedPayment("another transaction spent its coins") if failed else Pending()

    async def signed(self, intent: Intent) -> str | None:
        """The payload of an Unsigned batch with its signatures, which the wallet knows once somebody has sent it."""
        batch = batch_of(intent)
        found = await transaction(self._wallet, batch.txid)
        return None if found is None else payload_of(replace(batch, raw=str(found["hex"])))

    async def fate(self, batch: Batch) -> Fate:
        """What became of a batch that was cancelled: sent and in the chain or the mempool, dead, or neither."""
        found = await transaction(self._wallet, batch.txid)
        if found is not None and (
            int(found["confirmations"]) > 0
            or (int(found["confirmations"]) == 0 and await in_mempool(self._wallet, batch.txid))
        ):
            return Fate(str(found["hex"]), dead=False)
        spent = [coin for coin in batch.inputs if not await is_unspent(self._wallet, coin)]
        return Fate("", dead=bool(spent))

    def proof(self, intent: Intent) -> Mapping[str, Any]:
        """4215's proof: {"txid", "vout"}."""
        txid, _, vout = intent.evidence.rpartition(":")
        return {"txid": txid, "vout": int(vout)}

    async def balance_msat(self) -> int | None:
        """What the wallet has confirmed, or as change of its own."""
        return sats((await self._wallet.call("getbalances"))["mine"]["trusted"]) * 1000

    async def begin(self, unfinished: Sequence[Intent]) -> None:
        """Lock the coins of batches on their way, if the node has forgotten; let go of what a kill left locked."""
        self._live = {
            intent.payout_id: batch_of(intent).inputs
            for intent in unfinished
            if intent.method == "onchain" and intent.payload is not None
        }
        await self._book.forget_psbts({batch_of(each).txid for each in unfinished if each.payout_id in self._live})
        locked = {(each["txid"], each["vout"]) for each in await self._wallet.call("listlockunspent")}
        for coin in sorted({coin for coins in self._live.values() for coin in coins} - locked):
            await self._book.keep([coin])
            try:
                await self._wallet.call("lockunspent", False, outpoints([coin]), True)
            except NodeRefusal as error:
                if error.code != INVALID_PARAMETER:
                    raise
                # Spent already: by the batch itself, as a rule.
        async with self._lock:
            await self._let_go()

    async def release(self, intent: Intent) -> None:
        """The batch failed: what it spent is spent, the rest is free again."""
        if self._live.pop(intent.payout_id, None) is not None:
            async with self._lock:
                await self._let_go()
