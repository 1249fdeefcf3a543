"""Making a batch: a transaction of the node's wallet for many payees, as a PSBT (BIP 174), whose coins stay locked.

The coins are written down before they are locked, and the locks outlast the node: what a kill leaves locked is let go
of at the next start (`OnchainRail.begin`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from zapper.errors import PaymentBlocked, PoolFault
from zapper.node_wallet import (
    INVALID_PARAMETER,
    ChainBook,
    Coin,
    NodeRefusal,
    NodeWallet,
    bitcoin,
    coins_of,
    is_unspent,
    outpoints,
    pays,
    sats,
)
from zapper.payout import Intent
from zapper.plan import OURS, sat_text
from zapper.rails import Order

# Hurry costs the payees or the pool; a payout may take half a day.
CONF_TARGET = 72
# Each time somebody whose fee limit is too low is left out, the rest bear a little more: that ends soon, or never well.
MAX_TRIES = 8
# What Bitcoin Core's wallet says when its free coins do not suffice.
TOO_LITTLE = "Insufficient funds"
# Of confirmations, as listunspent has it.
MAX_DEPTH = 9_999_999
# Spent by witness alone (BIP 141, BIP 341): the unsigned transaction's id is the signed one's.
NATIVE = frozenset({"witness_v0_keyhash", "witness_v0_scripthash", "witness_v1_taproot"})


@dataclass(frozen=True, slots=True)
class Batch:
    """A transaction: its id in hex, its fee in sat, how many it pays, the coins it spends. `raw` in hex, "" as long as
    somebody else has to sign it.
    """

    raw: str
    txid: str
    fee_sat: int
    payees: int
    inputs: tuple[Coin, ...]

    @property
    def share_msat(self) -> int:
        """What a payee's part of the fee is: equal parts, rounded down."""
        return self.fee_sat * 1000 // self.payees


def batch_of(intent: Intent) -> Batch:
    """The batch of a payout that was prepared."""
    return msgspec.json.decode(intent.payload or "", type=Batch)


def payload_of(batch: Batch) -> str:
    """As the intents keep it."""
    return msgspec.json.encode(batch).decode()


class Funding:
    """`by_operator`: the wallet is not asked to sign, even if it could."""

    def __init__(self, wallet: NodeWallet, book: ChainBook, *, by_operator: bool) -> None:
        self._wallet = wallet
        self._book = book
        self._by_operator = by_operator

    async def fund(self, chosen: Mapping[str, Order]) -> tuple[Batch | None, list[Order], dict[str, PaymentBlocked]]:
        """A batch for those of the payees (address -> order) whose fee limit allows it, of them the largest that the
        wallet can pay; these payees in the order of its outputs, and why the others (by payout id) are not in it. Its
        coins are locked. None when nobody is in it.

        Raises PaymentBlocked, NodeRefusal.
        """
        left, out = dict(chosen), dict[str, PaymentBlocked]()
        for _ in range(MAX_TRIES):
            why = dear = ""
            try:
                funded = await self._propose(left)
            except NodeRefusal as error:
                if len(left) == 1 or TOO_LITTLE not in error.message:
                    raise
                beyond, why = await self._too_large(left), "the node's wallet holds too little for it now"
            else:
                share_msat = sats(funded["fee"]) * 1000 // len(left)
                beyond = [address for address, order in left.items() if order.max_fee_msat < share_msat]
                dear = f"the chain takes {sat_text(share_msat)} a payee now"
                if not beyond:
                    return await self._locked(funded, left), list(left.values()), out
            for address in beyond:
                order = left.pop(address)
                out[order.payout_id] = PoolFault(OURS + (why or f"{dear}, the limit is {sat_text(order.max_fee_msat)}"))
            if not left:
                return None, [], out
        raise PoolFault(f"{OURS}the chain takes more than most payees' limits allow")

    async def _too_large(self, left: Mapping[str, Order]) -> list[str]:
        """Who does not fit, the largest first; the smallest when the fee alone is missing."""
        coins = await self._wallet.call("listunspent", 0, MAX_DEPTH, [], False)
        held = sum(sats(coin["amount"]) for coin in coins)
        beyond: list[str] = []
        by_size = sorted(left, key=lambda address: -left[address].amount_msat)
        for address in by_size:
            sat = left[address].amount_msat // 1000
            if sat > held:
                beyond.append(address)
            else:
                held -= sat
        return beyond or by_size[-1:]

    async def _propose(self, chosen: Mapping[str, Order]) -> Mapping[str, Any]:
        """What the wallet would make: nothing of it is locked."""
        outputs = [{address: bitcoin(order.amount_msat // 1000)} for address, order in chosen.items()]
        first = [coin for coin in await self._book.spend_first() if await is_unspent(self._wallet, coin)]
        options = {
            # The payees' outputs keep their numbers.
            "changePosition": len(outputs),
            "replaceable": False,
            "conf_target": CONF_TARGET,
            "add_inputs": True,
        }
        return dict(await self._wallet.call("walletcreatefundedpsbt", outpoints(first), outputs, 0, options))

    async def _locked(self, funded: Mapping[str, Any], chosen: Mapping[str, Order]) -> Batch:
        decoded = await self._wallet.call("decodepsbt", funded["psbt"])
        coins = coins_of(decoded["tx"])
        await self._book.keep(coins)
        try:
            # Persistent: a batch may wait for days, through restarts of the node.
            await self._wallet.call("lockunspent", False, outpoints(coins), True)
            _check(decoded["tx"], chosen)
            return await self._signed(funded, decoded, chosen)
        except BaseException:
            await self.let_go(coins)
            raise

    async def _signed(
        self, funded: Mapping[str, Any], decoded: Mapping[str, Any], chosen: Mapping[str, Order]
    ) -> Batch:
        coins, fee_sat, psbt = coins_of(decoded["tx"]), sats(funded["fee"]), funded["psbt"]
        if not self._by_operator:
            psbt = (await self._wallet.call("walletprocesspsbt", psbt, True))["psbt"]
            final = await self._wallet.call("finalizepsbt", psbt)
            if final.get("complete") is True:
                made = await self._wallet.call("decoderawtransaction", final["hex"])
                _check(made, chosen)
                return Batch(final["hex"], made["txid"], fee_sat, len(chosen), coins)
        if not all(_is_native(spent) for spent in decoded["inputs"]):
            raise PoolFault(f"{OURS}the pool's node wallet holds coins whose spending has no txid before it is signed")
        await self._book.set_psbt(decoded["tx"]["txid"], psbt)
        return Batch("", decoded["tx"]["txid"], fee_sat, len(chosen), coins)

    async def let_go(self, coins: Sequence[Coin]) -> None:
        """They are free for the next batch. Raises NodeRefusal: later, then."""
        for coin in coins:
            try:
                await self._wallet.call("lockunspent", True, outpoints([coin]))
            except NodeRefusal as error:
                if error.code != INVALID_PARAMETER:
                    raise  # a wallet that is loading, say: it has the lock still
        await self._book.forget(coins)


def _check(decoded: Mapping[str, Any], chosen: Mapping[str, Order]) -> None:
    """Output n pays payee n exactly. Raises PaymentBlocked: the wallet made something else."""
    for vout, (address, order) in enumerate(chosen.items()):
        if not pays(decoded["vout"][vout], address, order.amount_msat // 1000):
            raise PoolFault(f"{OURS}the pool's node wallet made another transaction than it was asked for")


def _is_native(spent: Mapping[str, Any]) -> bool:
    """Of a decoded PSBT's input."""
    return spent.get("witness_utxo", {}).get("scriptPubKey", {}).get("type") in NATIVE
