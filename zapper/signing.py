"""Batches that the operator signs: shown as PSBT (BIP 174), taken back with their signatures, or cancelled.

A batch's txid stands in the store before anybody sees its PSBT, since its coins are spent by witness alone: whoever
signs and sends it elsewhere sends what the zapper asks its wallet about all the while (`OnchainRail.signed`). Who has
seen a PSBT may have signed it; so one that was shown is cancelled only by evidence that it can't be sent any more, or
by the operator's word, which is kept, and then the next batch spends one of its coins.
"""

import string
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from zapper.errors import PaymentBlocked, StoreError
from zapper.funding import Batch, batch_of, payload_of
from zapper.node_wallet import (
    ChainBook,
    NodeRefusal,
    NodeWallet,
    coins_of,
    in_mempool,
    is_unspent,
    pays,
    sats,
    transaction,
)
from zapper.onchain_rail import CONFIRMATIONS
from zapper.payout import Intent, State, Step

# What a mempool answers to this very transaction when it has it already, or the chain has it.
KNOWN = ("txn-already-in-mempool", "txn-already-known")
# What it answers to one that pays too little just now: the batch is sent again and again until it is in a block. It
# says so before it looks at signatures.
TOO_CHEAP = ("min relay fee not met", "mempool min fee not met", "mempool full")


class Intents(Protocol):
    """The intent store, as far as this goes."""

    async def open_intents(self) -> list[Intent]: ...
    async def cancelled(self) -> list[Intent]: ...
    async def advance_all(
        self, seen: Sequence[tuple[Intent, Mapping[str, object]]], step: Step, now_ms: int
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """A batch that waits for its signature. `psbt`: base64; `intents`: in the order of its outputs; `since_ms`: when it
    was made; `shown_ms`: since when somebody may have a copy; None when nobody has. Unix ms.
    """

    batch: Batch
    psbt: str
    intents: tuple[Intent, ...]
    since_ms: int
    shown_ms: int | None

    @property
    def amount_msat(self) -> int:
        """What it pays, without the fee."""
        return sum(intent.amount_msat for intent in self.intents)


class Signing:
    """`wallet` is None where no pool runs: then batches are shown, no more. `release`: of the rail, for payouts that
    failed; `one_at_a_time`: an async lock; `clock` gives Unix ms.
    """

    def __init__(
        self,
        store: Intents,
        book: ChainBook,
        *,
        clock: Callable[[], int],
        one_at_a_time: AbstractAsyncContextManager[object],
        wallet: NodeWallet | None = None,
        release: Callable[[Intent], Awaitable[None]] | None = None,
        confirmations: int = CONFIRMATIONS,
    ) -> None:
        self._store = store
        self._book = book
        self._clock = clock
        self._lock = one_at_a_time
        self._asked = wallet
        self._release = release
        self._confirmations = confirmations

    async def waiting(self) -> list[Proposal]:
        """The batches that wait, oldest first."""
        by_txid: dict[str, list[Intent]] = {}
        for intent in await self._store.open_intents():
            if intent.state is State.AWAITING:
                by_txid.setdefault((intent.reference or "").partition(":")[0], []).append(intent)
        shown = await self._book.shown()
        found = []
        for txid, intents in by_txid.items():
            intents.sort(key=_output)
            since_ms = min(intent.step_ms for intent in intents)
            psbt = await self._book.psbt(txid)
            found.append(Proposal(batch_of(intents[0]), psbt, tuple(intents), since_ms, shown.get(txid)))
        return sorted(found, key=lambda proposal: (proposal.since_ms, proposal.batch.txid))

    async def show(self, which: str) -> Proposal:
        """The batch whose txid begins so, from now on known to somebody. Raises PaymentBlocked."""
        async with self._lock:
            proposal = await self._one(which)
            await self._book.set_shown(proposal.batch.txid, self._clock())
            return await self._one(proposal.batch.txid)

    async def _one(self, which: str) -> Proposal:
        found = [each for each in await self.waiting() if which and each.batch.txid.startswith(which.lower())]
        if len(found) != 1:
            what = "more than one batch begins" if found else "no batch that waits for its signature begins"
            raise PaymentBlocked(f"{what} with {which!r}")
        return found[0]

    def _wallet(self) -> NodeWallet:
        if self._asked is None:
            raise PaymentBlocked("the pool does not run, or pays nobody on chain: only it asks the node")
        return self._asked

    # Taken back

    async def hand_in(self, signed: str) -> tuple[Proposal, bool]:
        """A batch with signatures, as PSBT in base64 or as transaction in hex. True: all are there, it is stored, to be
        sent by the zapper. False: the signatures are kept, and `show` has them for the next signer.

        Raises PaymentBlocked, with nothing changed: not one of ours, nothing new in it, not good; NodeRefusal.
        """
        async with self._lock:
            wallet = self._wallet()
            harmless: tuple[str, ...] = KNOWN
            try:
                if set(signed) <= set(string.hexdigits):
                    raw = signed
                    proposal = await self._same(await wallet.call("decoderawtransaction", raw))
                else:
                    proposal = await self._same((await wallet.call("decodepsbt", signed))["tx"])
                    # Some signers leave out what they do not need, or what others have signed; ours has it.
                    both = str(await wallet.call("combinepsbt", [proposal.psbt, signed]))
                    raw = await self._whole(both) or await self._whole(signed)
                    if not raw:
                        return await self._kept(proposal, both), False
                    # Finalizing has checked the signatures, which of a bare transaction only the mempool does.
                    harmless += TOO_CHEAP
                await self._good(raw, harmless)
            except NodeRefusal as error:
                raise PaymentBlocked(f"the node does not take it ({error.message}): nothing was changed") from None
            payload = payload_of(replace(proposal.batch, raw=raw))
            await self._advance([(each, {"payload": payload}) for each in proposal.intents], Step.SIGN)
            return proposal, True

    async def _whole(self, psbt: str) -> str:
        """The transaction of a PSBT with all its signatures; "" when some are missing."""
        final = await self._wallet().call("finalizepsbt", psbt)
        return str(final["hex"]) if final.get("complete") is True else ""

    async def _kept(self, proposal: Proposal, psbt: str) -> Proposal:
        if psbt == proposal.psbt:
            raise PaymentBlocked("signatures are missing: nothing was changed")
        await self._book.set_psbt(proposal.batch.txid, psbt)
        return replace(proposal, psbt=psbt)

    async def _good(self, raw: str, harmless: Collection[str]) -> None:
        """Whether the node would send it, or would not for one of these reasons. Raises PaymentBlocked."""
        await self._same(await self._wallet().call("decoderawtransaction", raw))
        [verdict] = await self._wallet().call("testmempoolaccept", [raw])
        why = str(verdict.get("reject-reason", ""))
        if verdict.get("allowed") is not True and why not in harmless:
            instead = "; hand in the PSBT, whose signatures can be checked" if why in TOO_CHEAP else ""
            raise PaymentBlocked(f"the node would not send it ({why}): nothing was changed{instead}")

    async def _same(self, made: Mapping[str, Any]) -> Proposal:
        """The batch whose very transaction this is: its id holds for its coins, outputs, fee and locktime. Raises
        PaymentBlocked.
        """
        waiting = await self.waiting()
        for proposal in waiting:
            if proposal.batch.txid == made["txid"]:
                return proposal
        for proposal in waiting:
            if set(coins_of(made)) & set(proposal.batch.inputs):
                raise PaymentBlocked(await self._difference(proposal, made))
        sent = [each for each in await self._store.open_intents() if (each.reference or "").startswith(made["txid"])]
        if sent:
            raise PaymentBlocked("this batch was handed in before: it is being sent")
        raise PaymentBlocked("this is no batch that waits for its signature: nothing was changed")

    async def _difference(self, proposal: Proposal, made: Mapping[str, Any]) -> str:
        ours = (await self._wallet().call("decodepsbt", proposal.psbt))["tx"]
        what = "has another locktime or sequence"
        if set(coins_of(made)) != set(proposal.batch.inputs):
            what = "spends other coins"
        elif [(out["value"], out["scriptPubKey"]) for out in made["vout"]] != [
            (out["value"], out["scriptPubKey"]) for out in ours["vout"]
        ]:
            what = "pays other outputs or another fee"
        return f"it is not batch {proposal.batch.txid[:12]} but {what}: nothing was changed"

    # Cancelled

    async def cancel(self, which: str, *, spent_by: str = "", unsigned: str = "") -> Proposal:
        """Give a batch up: its amounts are due again, its coins free. One that was shown needs evidence: `spent_by`,
        the txid of another transaction, deep enough, that spends one of its coins; or `unsigned`, the operator's word
        and reason that no signed copy exists. Raises PaymentBlocked, with nothing changed; NodeRefusal.
        """
        async with self._lock:
            proposal = await self._one(which)
            txid = proposal.batch.txid
            wallet = self._wallet()
            if await transaction(wallet, txid) is not None or await in_mempool(wallet, txid):
                raise PaymentBlocked("it was signed and sent: the payouts settle with its confirmations")
            spent = [coin for coin in proposal.batch.inputs if not await is_unspent(wallet, coin)]
            if spent and not spent_by:
                raise PaymentBlocked(
                    f"its coin {spent[0][0]}:{spent[0][1]} is spent: say by what, with --spent-by TXID"
                )
            if spent_by:
                left = await self._without_paid(proposal, spent_by.lower())
                reason = f"cancelled: {spent_by.lower()} spent its coins"
            elif unsigned:
                left = list(proposal.intents)
                reason = f"cancelled; the operator says nobody signed it: {unsigned}"
                await self._book.set_spend_first(proposal.batch.inputs[0])
            elif proposal.shown_ms is None:
                left = list(proposal.intents)
                reason = "cancelled by the operator before anybody saw its PSBT"
            else:
                raise PaymentBlocked(
                    "its PSBT was shown, and a signed copy could be sent at any time: give --spent-by TXID once "
                    f"another transaction that spends one of its coins has {self._confirmations} confirmations, "
                    "or --unsigned WHY if nobody signed it"
                )
            await self._advance([(each, {"reason": reason}) for each in left], Step.CANCEL)
            for intent in left:
                if self._release is not None:
                    await self._release(intent)
            return replace(proposal, intents=tuple(left))

    async def _without_paid(self, proposal: Proposal, txid: str) -> list[Intent]:
        """Who is not paid by the transaction that spent the batch's coins. Whom it pays (a fee bump, say) has been paid
        by it: these payouts go on with its id. Raises PaymentBlocked: it is no evidence.
        """
        wallet = self._wallet()
        found = await transaction(wallet, txid)
        if found is None:
            raise PaymentBlocked(f"the node's wallet knows no transaction {txid}")
        if not set(coins_of(found["decoded"])) & set(proposal.batch.inputs):
            raise PaymentBlocked(f"{txid} spends none of its coins")
        if int(found["confirmations"]) < self._confirmations:
            raise PaymentBlocked(f"{txid} has {found['confirmations']} confirmations, it takes {self._confirmations}")
        ours = (await wallet.call("decodepsbt", proposal.psbt))["tx"]["vout"]
        payload = payload_of(replace(proposal.batch, raw=str(found["hex"]), txid=txid))
        # An earlier batch of ours that was cancelled, and sent all the same, pays for its own payouts.
        earlier = {intent.reference for intent in await self._store.cancelled()}
        left, paid = list[Intent](), list[tuple[Intent, Mapping[str, object]]]()
        for intent in proposal.intents:
            wanted = ours[_output(intent)]
            address, sat = wanted["scriptPubKey"].get("address", ""), sats(wanted["value"])
            vouts = [out["n"] for out in found["decoded"]["vout"] if pays(out, address, sat)]
            vouts = [vout for vout in vouts if f"{txid}:{vout}" not in earlier]
            if vouts:
                paid.append((intent, {"payload": payload, "reference": f"{txid}:{vouts[0]}"}))
            else:
                left.append(intent)
        await self._advance(paid, Step.SIGN)
        return left

    async def _advance(self, seen: Sequence[tuple[Intent, Mapping[str, object]]], step: Step) -> None:
        try:
            await self._store.advance_all(seen, step, self._clock())
        except StoreError as error:
            raise PaymentBlocked(f"it does not wait any more: {error}") from None


def _output(intent: Intent) -> int:
    return int((intent.reference or "").rpartition(":")[2])
