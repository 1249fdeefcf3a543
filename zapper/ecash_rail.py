"""What nutzaps and cashu tokens have in common as rails.

`prepare` makes the payee's outputs and asks the mint for nothing but its keys; the intent store has them before `send`
asks the mint to sign. Whoever is killed in between finds them there: the same outputs, signed once, are one payment.
"""

import json
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import msgspec

from nips.keys import Signer
from nips.nip01 import VerifiedEvent, decode_event, encode_event
from nips.nut00 import Proof, hash_to_curve, proof_y
from nips.nut02 import split
from nips.nut03 import make_output
from nips.nut11 import Lock, build_secret
from zapper.ecash import (
    RETURN_MARGIN_S,
    SECRET_BYTES,
    UNIT,
    Locked,
    Operation,
    OpState,
    decode_locked,
    encode_locked,
    reference_of,
)
from zapper.ecash import ProofState as Spent
from zapper.ecash_ports import Courier, Handed
from zapper.errors import MintError, MintFailed, PaymentBlocked, PoolFault
from zapper.payout import Intent
from zapper.plan import OURS
from zapper.ports import EventFeed, FailedPayment, NotFound, Paid, Pending, Refused, Unclear
from zapper.rails import Kept, Prepared, Returned, Waiting
from zapper.treasury import Treasury

log = logging.getLogger("zapper")

# How often a mint is asked whether ecash was claimed: at once at first, less and less often.
ASK_EVERY_MS = 20_000
ASK_LATE_MS = 3_600_000
# Ecash without a lock is offered to the wallet that asked for it for a day: its miner gets nothing else meanwhile.
DELIVER_FOR_MS = 86_400_000


def _words(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()


class EcashRail:
    """What both have in common: a treasury, outputs for the payee, and NUT-07 to see what became of them."""

    replayable = True
    slow = False

    def __init__(
        self,
        treasuries: Sequence[Treasury],
        *,
        signer: Signer,
        feed: EventFeed,
        courier: Courier,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        return_after_s: int,
        is_counted: bool = True,
    ) -> None:
        """`treasuries`: the pool's, first choice first. `return_after_s`: when unclaimed ecash is taken back.
        `is_counted`: whether what they hold is told here; of rails that share treasuries, one tells.
        """
        self._treasuries = {treasury.url: treasury for treasury in treasuries}
        self._signer = signer
        self._feed = feed
        self._courier = courier
        self._clock = clock
        self._random = random
        self._return_after_s = return_after_s
        self._is_counted = is_counted
        # When the mint is asked next, by reference.
        self._ask_at: dict[str, int] = {}

    @property
    def purse(self) -> Hashable:
        """The treasuries: tokens and nutzaps come out of the same."""
        return tuple(self._treasuries)

    # Preparing

    async def _treasury(self, urls: Sequence[str] | None, amount: int) -> Treasury:
        """One with enough at one of these mints (in their normal form), any of ours for None. Raises PaymentBlocked."""
        ours = [treasury for url, treasury in self._treasuries.items() if urls is None or url in urls]
        if not ours:
            raise PaymentBlocked(
                f"of the mints it names the pool uses none; the pool's are {', '.join(self._treasuries)}"
            )
        for treasury in ours:
            if (await treasury.totals()).free >= amount:
                return treasury
        raise PoolFault(f"{OURS}the pool has too little ecash at {', '.join(treasury.url for treasury in ours)}")

    async def _outputs(self, treasury: Treasury, amount: int, lock: Lock | None) -> Locked:
        """Outputs worth the amount. Raises PaymentBlocked when the mint does not show its keys."""
        try:
            keyset = await treasury.mint.active_keyset()
            amounts = await treasury.mint.keys(keyset.id)
        except MintError as error:
            raise PoolFault(f"{OURS}{error}") from None
        outputs = []
        for part in split(amount, amounts):
            nonce = self._random(SECRET_BYTES).hex()
            secret = nonce if lock is None else build_secret(lock, nonce)
            outputs.append(make_output(keyset.id, part, secret, self._random(32)))
        return Locked(
            mint=treasury.url,
            lock="" if lock is None else lock.pubkey,
            locktime=(lock.locktime or 0) if lock is not None else 0,
            outputs=tuple(outputs),
            keys={output.amount: amounts[output.amount] for output in outputs},
            recipient="",
        )

    def _lock(self, treasury: Treasury, pubkey: str) -> Lock:
        return Lock(pubkey, self._clock() // 1000 + self._return_after_s, (treasury.refund_key,))

    @staticmethod
    def _prepared(method: str, locked: Locked) -> Prepared:
        ys = [hash_to_curve(output.secret.encode()).format().hex() for output in locked.outputs]
        return Prepared(method=method, reference=reference_of(ys), payload=encode_locked(locked))

    # Handing over

    async def send(self, intent: Intent) -> Paid | Refused | Unclear:
        """Have the outputs signed and bring them to the payee. Raises MintError when the outcome is not known."""
        locked = decode_locked(intent.payload or "")
        reference = intent.reference or ""
        treasury = self._at(locked)
        given_up = await treasury.store.abandoned(reference)
        if given_up is not None:
            return Refused(given_up)
        try:
            operation = await treasury.send(reference, locked.outputs, max_fee=intent.max_fee_msat // 1000)
        except PaymentBlocked as error:
            return Refused(str(error), ours=True)
        match await self._answer(intent, locked, operation):
            case FailedPayment(reason):
                return Refused(reason)
            case answer:
                return answer

    async def lookup(self, intent: Intent) -> Paid | Pending | NotFound | FailedPayment:
        """What became of it, brought on as far as it can be. Raises MintError when the mint can't be asked."""
        locked = decode_locked(intent.payload or "")
        treasury = self._at(locked)
        given_up = await treasury.store.abandoned(intent.reference or "")
        if given_up is not None:
            return FailedPayment(given_up)
        operation = await treasury.find(intent.reference or "", locked.outputs)
        if operation is None:
            return NotFound()
        answer = await self._answer(intent, locked, await treasury.conclude(operation))
        return Pending() if isinstance(answer, Unclear) else answer

    def _at(self, locked: Locked) -> Treasury:
        """The treasury at the payout's mint. Raises MintFailed when the pool uses it no more."""
        treasury = self._treasuries.get(locked.mint)
        if treasury is None:
            raise MintFailed(locked.mint, "the pool does not use it any more ([mint] urls), so it is not asked")
        return treasury

    async def _answer(self, intent: Intent, locked: Locked, operation: Operation) -> Paid | FailedPayment | Unclear:
        """What the end of the operation means for the payout, brought to the payee when it is done."""
        if operation.state is OpState.VOID:
            return FailedPayment(operation.reason)
        if operation.state is OpState.BEGUN:
            return Unclear("the mint has not said yet whether it signs")
        treasury = self._at(locked)
        sent = await treasury.store.sent_proofs(operation.reference)
        if any(state == "returning" for _, state in sent):
            # Killed while the operator took it back: the mint knows who was first.
            await treasury.reclaim(operation.reference, [proof for proof, _ in sent])
            sent = await treasury.store.sent_proofs(operation.reference)
        if all(state == "returned" for _, state in sent):
            return FailedPayment("it was taken back before the payee took it")
        answer = await self._hand_over(intent, locked, operation)
        if isinstance(answer, Paid) or locked.lock:
            return answer
        handed = await treasury.store.handed(operation.reference)
        if handed is None or self._clock() - handed.created_ms < DELIVER_FOR_MS:
            return answer
        # Without a lock it is still ours: back it comes, unless the payee was faster and only the answer was lost.
        back = await treasury.reclaim(operation.reference, [proof for proof, _ in sent])
        if back is None or back.state is not OpState.DONE:
            return answer
        return FailedPayment("the wallet that asked for it could not be reached for a day; it was taken back")

    async def _hand_over(self, intent: Intent, locked: Locked, operation: Operation) -> Paid | Unclear:
        """Bring what was signed to the payee. What carries it is stored first, so that it is the same each time."""
        store = self._at(locked).store
        sent = [proof for proof, _ in await store.sent_proofs(operation.reference)]
        handed = await store.handed(operation.reference)
        if handed is None:
            event = self._carrier(intent, locked, sent)
            handed = await store.hand(
                Handed(
                    reference=operation.reference,
                    payout_id=intent.payout_id,
                    miner=intent.miner,
                    method=intent.method,
                    mint=locked.mint,
                    locktime=locked.locktime,
                    event="" if event is None else encode_event(event).decode(),
                    relays=locked.relays,
                    created_ms=self._clock(),
                )
            )
        if handed.delivered_ms is None:
            try:
                await self._bring(handed, locked, sent)
            except Exception as error:  # relays and servers have their own
                if not locked.lock or not handed.event:
                    return Unclear(f"the ecash is signed, and not delivered yet: {_words(error)}")
                # Who holds the key finds it there, or in the payout record; `outcome` goes on trying.
                await self._feed.publish(decode_verified(handed.event))
                log.warning(
                    "the relays of %s take no ecash yet, the pool's own have it: %s", handed.miner, _words(error)
                )
        evidence = self._evidence(locked, sent, handed)
        return Paid("", operation.fee * 1000, json.dumps(evidence, separators=(",", ":")))

    def _carrier(self, intent: Intent, locked: Locked, sent: Sequence[Proof]) -> VerifiedEvent | None:
        """The signed event that brings it; None where it goes by POST."""
        raise NotImplementedError

    async def _deliver(self, handed: Handed, locked: Locked, sent: Sequence[Proof]) -> None:
        """Bring it. Raises an Exception when nobody took it."""
        raise NotImplementedError

    def _evidence(self, locked: Locked, sent: Sequence[Proof], handed: Handed) -> Mapping[str, Any]:
        """4215's proof."""
        raise NotImplementedError

    @staticmethod
    def _shown(locked: Locked, sent: Sequence[Proof]) -> dict[str, Any]:
        """Locked ecash as 4215's proof shows it: its owner alone can spend it, so all may see and judge it."""
        keys = {str(amount): key for amount, key in sorted(locked.keys.items())}
        return {"mint": locked.mint, "unit": UNIT, "keys": keys, "proofs": msgspec.to_builtins(list(sent))}

    async def _bring(self, handed: Handed, locked: Locked, sent: Sequence[Proof]) -> None:
        """Deliver it, and write down that it was. Raises an Exception when nobody took it."""
        try:
            await self._deliver(handed, locked, sent)
        except Exception:
            # An answer that was lost, and one who took it: the mint tells.
            if not await self._is_taken(handed, locked, sent):
                raise
        await self._at(locked).store.set_delivered(handed.reference, self._clock())

    async def _is_taken(self, handed: Handed, locked: Locked, sent: Sequence[Proof]) -> bool:
        """Whether the payee has spent some of it: who took a part has had it all. Raises MintError."""
        treasury = self._at(locked)
        states = await treasury.mint.states([proof_y(proof) for proof in sent])
        ours = {state for _, state in await treasury.store.sent_proofs(handed.reference)}
        return Spent.SPENT in states.values() and ours.isdisjoint(("returning", "returned"))

    async def _to_relays(self, handed: Handed) -> None:
        """To the payee's relays; to the pool's own when it names none. Raises an Exception when none took it."""
        event = decode_verified(handed.event)
        if handed.relays:
            await self._courier.deliver(event, handed.relays)
        else:
            await self._feed.publish(event)

    # Afterwards

    def proof(self, intent: Intent) -> Mapping[str, Any]:
        """4215's proof, as the evidence has it."""
        value = json.loads(intent.evidence)
        assert isinstance(value, dict)  # we wrote it
        return value

    async def balance_msat(self) -> int | None:
        """What can be spent, at all mints together; 0 where another rail tells of it."""
        if not self._is_counted:
            return 0
        return sum([(await treasury.totals()).free for treasury in self._treasuries.values()]) * 1000

    async def begin(self, unfinished: Sequence[Intent]) -> None:  # noqa: ARG002 - the port's
        """Nothing is kept for payouts that have not been sent; what a crash left otherwise is brought on."""
        for treasury in self._treasuries.values():
            await treasury.recover()

    async def release(self, intent: Intent) -> None:
        """Nothing is kept before it is sent."""

    async def outcome(self, intent: Intent) -> Kept | Waiting | Returned:
        """Whether it was claimed; what was not is taken back after its locktime, all or nothing. Raises MintError."""
        reference = intent.reference or ""
        locked = decode_locked(intent.payload or "")
        treasury = self._at(locked)
        proofs = await treasury.store.sent_proofs(reference)
        if proofs and all(state == "returned" for _, state in proofs):
            return Returned("{}")
        if self._ask_at.get(reference, 0) > self._clock() and all(state == "out" for _, state in proofs):
            return Waiting()
        if any(state == "returning" for _, state in proofs):
            return await self._take_back(treasury, reference, [proof for proof, _ in proofs])
        self._ask_at[reference] = self._clock() + self._pause_ms(intent)
        ys = [proof_y(proof) for proof, state in proofs if state == "out"]
        states = await treasury.mint.states(ys) if ys else {}
        spent = [y for y, state in states.items() if state is Spent.SPENT]
        await treasury.store.set_claimed(reference, spent, self._clock())
        open_count = len(ys) - len(spent)
        if open_count:
            await self._bring_again(treasury, reference, locked, [proof for proof, _ in proofs])
        over = bool(locked.locktime) and self._clock() // 1000 >= locked.locktime + RETURN_MARGIN_S
        if not open_count or (over and open_count < len(proofs)):
            # Who took a part has the key to the rest, which stays theirs.
            self._ask_at.pop(reference, None)
            return Kept()
        return await self._take_back(treasury, reference, [proof for proof, _ in proofs]) if over else Waiting()

    async def _bring_again(self, treasury: Treasury, reference: str, locked: Locked, sent: Sequence[Proof]) -> None:
        """What the payee's relays have not got, they may take now."""
        handed = await treasury.store.handed(reference)
        if handed is None or handed.delivered_ms is not None:
            return
        try:
            await self._bring(handed, locked, sent)
        except Exception as error:  # relays have their own: tried again as long as nobody claims it
            log.info("the relays of %s take no ecash yet: %s", handed.miner, _words(error))

    async def _take_back(
        self, treasury: Treasury, reference: str, proofs: Sequence[Proof]
    ) -> Kept | Waiting | Returned:
        operation = await treasury.reclaim(reference, proofs)
        if operation is None:
            return Kept()
        if operation.state is OpState.DONE:
            self._ask_at.pop(reference, None)
            return Returned("{}")
        return Waiting()

    def _pause_ms(self, intent: Intent) -> int:
        """A tenth of the time it has waited."""
        return min(max((self._clock() - intent.step_ms) // 10, ASK_EVERY_MS), ASK_LATE_MS)


def decode_verified(text: str) -> VerifiedEvent:
    """An event that we have signed and kept ourselves."""
    event = decode_event(text)
    return VerifiedEvent(
        id=event.id,
        pubkey=event.pubkey,
        created_at=event.created_at,
        kind=event.kind,
        tags=event.tags,
        content=event.content,
        sig=event.sig,
    )
