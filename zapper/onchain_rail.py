"""Payouts on the chain: one transaction of the operator's node wallet for many payees, as a PSBT (BIP 174).

The node funds and signs it, and its txid is stored before it is sent; a transaction spends its coins once, so that
sending it again is harmless. It settles with its confirmations. It has failed only once another one that pays none of
its payees has spent its coins, as deep: an operator's fee bump keeps the outputs, and counts as the payment.
"""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from zapper.errors import PaymentBlocked
from zapper.payout import Intent
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear
from zapper.rails import Order, Prepared

SAT = 100_000_000
# Blocks replaced by longer branches are one or two deep; a payment that comes undone would be paid by the pool twice.
CONFIRMATIONS = 3
# Hurry costs the payees or the pool; a payout may take half a day.
CONF_TARGET = 72
# A standard transaction has 400,000 weight units: some 3,000 outputs; the node's answers stay small with fewer.
MAX_PAYEES = 500
# RPC_INVALID_ADDRESS_OR_KEY: the wallet knows no such transaction.
UNKNOWN_TRANSACTION = -5


class NodeRefusal(Exception):
    """The node or its wallet said no: code and words of its RPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})"


class NodeWallet(Protocol):
    """Bitcoin Core's RPC of one wallet."""

    async def call(self, method: str, *params: Any) -> Any:
        """The decoded result, amounts as Decimal. Raises NodeRefusal, and any Exception when the node is away."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A signed transaction: raw and its id in hex, its fee in sat, how many it pays, the coins it spends."""

    raw: str
    txid: str
    fee_sat: int
    payees: int
    inputs: tuple[tuple[str, int], ...]

    @property
    def share_msat(self) -> int:
        """What a payee's part of the fee is: equal parts, rounded down."""
        return self.fee_sat * 1000 // self.payees


def sats(value: Any) -> int:
    """An RPC amount (Decimal bitcoin) in sat. Raises ValueError."""
    amount = Decimal(value) * SAT
    if amount != int(amount):
        raise ValueError(f"{value} bitcoin are no whole satoshis")
    return int(amount)


def bitcoin(sat: int) -> str:
    """Satoshis as an RPC amount."""
    return f"{sat // SAT}.{sat % SAT:08d}"


def _batch(intent: Intent) -> Batch:
    return msgspec.json.decode(intent.payload or "", type=Batch)


def _vout(reference: str) -> int:
    return int(reference.rpartition(":")[2])


class OnchainRail:
    """`one_at_a_time`: an async lock, so that two batches never choose the same coins."""

    replayable = True
    slow = True

    def __init__(
        self,
        wallet: NodeWallet,
        *,
        one_at_a_time: AbstractAsyncContextManager[object],
        name: str = "the node's wallet",
        confirmations: int = CONFIRMATIONS,
    ) -> None:
        self._wallet = wallet
        self._lock = one_at_a_time
        self._name = name
        self._confirmations = confirmations

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
        """One signed transaction for all of these that can be in it. Raises PaymentBlocked when there is none."""
        try:
            async with self._lock:
                return await self._prepare(orders)
        except NodeRefusal as error:
            raise PaymentBlocked(f"the pool's node wallet: {error.message}") from None

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
        if not chosen:
            return [refused[order.payout_id] for order in orders]
        batch = await self._fund(chosen)
        payload = msgspec.json.encode(batch).decode()
        made: dict[str, Prepared] = {
            order.payout_id: Prepared("onchain", f"{batch.txid}:{vout}", payload)
            for vout, order in enumerate(chosen.values())
        }
        return [made.get(order.payout_id) or refused[order.payout_id] for order in orders]

    async def _fund(self, chosen: Mapping[str, Order]) -> Batch:
        """The transaction, signed, checked, and within everybody's fee limit. Its coins are locked."""
        outputs = [{address: bitcoin(order.amount_msat // 1000)} for address, order in chosen.items()]
        options = {
            # The payees' outputs keep their numbers, and no other batch takes the same coins.
            "changePosition": len(outputs),
            "lockUnspents": True,
            "replaceable": False,
            "conf_target": CONF_TARGET,
        }
        funded = await self._wallet.call("walletcreatefundedpsbt", [], outputs, 0, options)
        inputs: tuple[tuple[str, int], ...] = ()
        try:
            inputs = await self._inputs(funded["psbt"])
            fee_sat = sats(funded["fee"])
            share_msat = fee_sat * 1000 // len(chosen)
            limit_msat = min(order.max_fee_msat for order in chosen.values())
            if share_msat > limit_msat:
                raise PaymentBlocked(f"the chain takes {share_msat} msat a payee now, the limit is {limit_msat}")
            signed = await self._wallet.call("walletprocesspsbt", funded["psbt"], True)
            final = await self._wallet.call("finalizepsbt", signed["psbt"])
            if final.get("complete") is not True:
                raise PaymentBlocked("the pool's node wallet cannot sign alone")
            decoded = await self._wallet.call("decoderawtransaction", final["hex"])
            self._check(decoded, chosen)
        except BaseException:
            await self._unlock(inputs)
            raise
        return Batch(final["hex"], decoded["txid"], fee_sat, len(chosen), inputs)

    async def _inputs(self, psbt: str) -> tuple[tuple[str, int], ...]:
        decoded = await self._wallet.call("decodepsbt", psbt)
        return tuple((spent["txid"], int(spent["vout"])) for spent in decoded["tx"]["vin"])

    def _check(self, decoded: Mapping[str, Any], chosen: Mapping[str, Order]) -> None:
        """Output n pays payee n exactly. Raises PaymentBlocked: the wallet made something else."""
        for vout, (address, order) in enumerate(chosen.items()):
            if not _pays(decoded["vout"][vout], address, order.amount_msat // 1000):
                raise PaymentBlocked("the pool's node wallet made another transaction than it was asked for")

    async def _unlock(self, inputs: Sequence[tuple[str, int]]) -> None:
        if inputs:
            await self._wallet.call("lockunspent", True, [{"txid": txid, "vout": vout} for txid, vout in inputs])

    # Sending, and what became of it

    async def send(self, intent: Intent) -> Paid | Refused | Unclear:
        """Send the whole batch; once it is on its way only confirmations tell."""
        try:
            await self._wallet.call("sendrawtransaction", _batch(intent).raw)
        except NodeRefusal as error:
            # What a node refuses today another may take, or this one tomorrow: it may still come about.
            return Unclear(f"the node does not take the transaction: {error}")
        return Unclear("waits for its confirmations")

    async def lookup(self, intent: Intent) -> Paid | Pending | NotFound | FailedPayment:
        """By the wallet's own record of the transaction."""
        batch = _batch(intent)
        found = await self._transaction(batch.txid)
        if found is None:
            return NotFound()
        if int(found["confirmations"]) >= self._confirmations:
            return Paid("", batch.share_msat, intent.reference or "")
        if int(found["confirmations"]) < 0:
            return await self._replaced(intent, batch, found)
        if int(found["confirmations"]) == 0 and not found.get("walletconflicts") and not await self._waits(batch.txid):
            # The wallet knows it, but the node has dropped it (full, restarted, abandoned): nobody will mine it.
            return NotFound()
        return Pending()

    async def _waits(self, txid: str) -> bool:
        """Whether it is in the node's mempool."""
        try:
            await self._wallet.call("getmempoolentry", txid)
        except NodeRefusal as error:
            if error.code == UNKNOWN_TRANSACTION:
                return False
            raise
        return True

    async def _replaced(self, intent: Intent, batch: Batch, found: Mapping[str, Any]) -> Paid | Pending | FailedPayment:
        """The coins went elsewhere: by a fee bump that still pays, or past the payee."""
        answer = await self._wallet.call("decoderawtransaction", batch.raw)
        wanted = answer["vout"][_vout(intent.reference or "")]
        address, sat = wanted["scriptPubKey"].get("address", ""), sats(wanted["value"])
        failed = False
        for txid in found.get("walletconflicts", ()):
            other = await self._transaction(txid)
            if other is None or int(other["confirmations"]) < 0:
                continue
            paying = [out["n"] for out in other["decoded"]["vout"] if _pays(out, address, sat)]
            deep = int(other["confirmations"]) >= self._confirmations
            if paying:
                return Paid("", batch.share_msat, f"{txid}:{paying[0]}") if deep else Pending()
            failed = failed or deep
        return FailedPayment("another transaction spent its coins") if failed else Pending()

    async def _transaction(self, txid: str) -> dict[str, Any] | None:
        try:
            return dict(await self._wallet.call("gettransaction", txid, True, True))
        except NodeRefusal as error:
            if error.code == UNKNOWN_TRANSACTION:
                return None
            raise

    def proof(self, intent: Intent) -> Mapping[str, Any]:
        """4215's proof: {"txid", "vout"}."""
        txid, _, vout = intent.evidence.rpartition(":")
        return {"txid": txid, "vout": int(vout)}

    async def balance_msat(self) -> int | None:
        """What the wallet has confirmed, or as change of its own."""
        return sats((await self._wallet.call("getbalances"))["mine"]["trusted"]) * 1000

    async def begin(self, unfinished: Sequence[Intent]) -> None:
        """Lock the coins of batches on their way again: a node forgets its locks when it restarts."""
        locked = {(each["txid"], each["vout"]) for each in await self._wallet.call("listlockunspent")}
        for intent in unfinished:
            if intent.method != "onchain" or intent.payload is None:
                continue
            missing = [coin for coin in _batch(intent).inputs if coin not in locked]
            for txid, vout in missing:
                try:
                    await self._wallet.call("lockunspent", False, [{"txid": txid, "vout": vout}])
                except NodeRefusal:
                    continue  # spent already: by the batch itself, as a rule
                locked.add((txid, vout))

    async def release(self, intent: Intent) -> None:
        """The batch failed: what it spent is spent, the rest is free again."""
        if intent.payload is not None:
            for coin in _batch(intent).inputs:
                try:
                    await self._unlock([coin])
                except NodeRefusal:
                    continue  # spent, or not locked any more


def _pays(output: Mapping[str, Any], address: str, sat: int) -> bool:
    return output["scriptPubKey"].get("address") == address and sats(output["value"]) == sat
