"""At the counter: hand a prepared payout over once, and ask what became of it.

Nothing here is sure but what proves the payment, or a rail that says no twice; all else leaves the payout UNKNOWN.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from nips.nip01 import MAX_SAFE_INTEGER
from zapper.config import ZapperConfig
from zapper.payout import Intent, State, Step
from zapper.plan import OURS, is_surely_unpaid
from zapper.ports import FailedPayment, IntentStore, NotFound, Paid, Payee, Pending, Refused, Unclear
from zapper.rails import Rail, SigningRail

log = logging.getLogger("zapper")

_Answer = Paid | Pending | NotFound | FailedPayment | Unclear


def _words(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()


class Teller:
    """`clock` gives Unix ms; `deadline(seconds)` is a context that raises TimeoutError when its block takes longer."""

    def __init__(
        self,
        config: ZapperConfig,
        *,
        store: IntentStore,
        rails: Mapping[str, Rail],
        clock: Callable[[], int],
        deadline: Callable[[float], AbstractContextManager[object]],
    ) -> None:
        self._config = config
        self._store = store
        self._rails = rails
        self._clock = clock
        self._deadline = deadline

    async def balance_msat(self) -> int | None:
        """What all wallets together can spend; None unless each says."""
        rails = list({rail.purse: rail for rail in self._rails.values()}.values())
        total = 0
        for rail in rails:
            try:
                with self._deadline(self._config.fetch_timeout_s):
                    balance = await rail.balance_msat()
            except Exception as error:  # any backend's own errors: not knowing the balance stops nothing
                log.warning("the balance of %s is not known: %s", rail.name, error)
                return None
            if balance is None:
                return None
            total += balance
        return total if rails else None

    async def send(self, intent: Intent) -> Intent:
        """Hand an INVOICED payout over, once: SETTLED, FAILED or UNKNOWN; still SENDING on a slow rail.

        That it is sent is stored before.
        """
        rail = self._rails.get(intent.method)
        if rail is None:
            return await self.fail(intent, Step.EXPIRE, f"{OURS}this pool does not pay by {intent.method} any more")
        if intent.expires_at is not None and self._clock() // 1000 >= intent.expires_at:
            return await self.fail(intent, Step.EXPIRE, f"{OURS}the invoice expired before it was sent")
        intent = await self._store.advance(intent, Step.SEND, self._clock())
        return await self._hand_over(rail, intent)

    async def look_for_signature(self, intent: Intent) -> Intent:
        """An AWAITING payout: handed over once it turns out that it was signed and sent by others."""
        rail = self._rails.get(intent.method)
        if not isinstance(rail, SigningRail):
            return intent
        try:
            with self._deadline(self._config.fetch_timeout_s):
                payload = await rail.signed(intent)
        except Exception as error:  # the rail's own: asked again later
            log.warning("whether payout %s was signed is not known: %s", intent.payout_id, _words(error))
            return intent
        if payload is None:
            return intent
        return await self.send(await self._store.advance(intent, Step.SIGN, self._clock(), payload=payload))

    async def resolve(self, intent: Intent) -> Intent:
        """Ask about a payout that is UNKNOWN, or was left SENDING; only a certain answer ends it."""
        rail = self._rails.get(intent.method)
        if rail is None:
            return await self._unclear(intent, f"no backend pays by {intent.method} any more: it can't be asked")
        match await self._ask(rail, intent):
            case Paid() as paid:
                return await self._settle(intent, paid)
            case FailedPayment(reason):
                return await self.fail(intent, Step.REFUSED, reason)
            case (Pending() | NotFound()) as answer if self._is_surely_unpaid(intent, answer):
                return await self.fail(intent, Step.REFUSED, f"{OURS}the pool's wallet never saw the payment")
            case NotFound() if rail.replayable:
                return await self._hand_over(rail, intent)
            case Pending() if rail.slow:
                return intent
            case Unclear(reason):
                return await self._unclear(intent, reason)
            case _:
                return await self._unclear(intent, "the wallet has not said yet what became of it")

    async def fail(self, intent: Intent, step: Step, reason: str) -> Intent:
        """The payout ends FAILED by this step, and its rail lets go of what it kept for it."""
        failed = await self._store.advance(intent, step, self._clock(), reason=reason)
        rail = self._rails.get(intent.method)
        if rail is not None:
            try:
                await rail.release(failed)
            except Exception as error:  # the rail's own; `begin` lets go of it at the next start
                log.warning("what was kept for payout %s is not free yet: %s", intent.payout_id, _words(error))
        return failed

    async def _hand_over(self, rail: Rail, intent: Intent) -> Intent:
        """What is SENDING or UNKNOWN goes to the rail: the first time, or once more on one that can't pay twice."""
        answer: Paid | Refused | Unclear
        try:
            with self._deadline(self._config.pay_timeout_s):
                answer = await rail.send(intent)
        except Exception as error:  # a backend's own errors, timeouts: the payment may have left all the same
            answer = Unclear(_words(error))
        match answer:
            case Paid():
                return await self._settle(intent, answer)
            case Refused(reason, ours):
                return await self._confirm_refusal(rail, intent, OURS + reason if ours else reason)
            case Unclear(reason):
                if rail.slow and isinstance(await self._ask(rail, intent), Pending):
                    return intent
                return await self._unclear(intent, reason)

    def _is_surely_unpaid(self, intent: Intent, answer: Pending | NotFound) -> bool:
        if intent.expires_at is None:
            return False
        grace_s = self._config.unknown_grace_s
        return is_surely_unpaid(answer, expires_at=intent.expires_at, grace_s=grace_s, now_s=self._clock() // 1000)

    async def _confirm_refusal(self, rail: Rail, intent: Intent, reason: str) -> Intent:
        """A wallet that says no is asked once more by reference: some say no to a payment that is under way."""
        match await self._ask(rail, intent):
            case Paid() as paid:
                return await self._settle(intent, paid)
            case NotFound() | FailedPayment():
                return await self.fail(intent, Step.REFUSED, reason)
            case Pending() | Unclear():
                return await self._unclear(intent, reason)

    async def _ask(self, rail: Rail, intent: Intent) -> _Answer:
        """What the rail knows of a payment. Proof that proves nothing is no answer."""
        try:
            # A rail that is handed the same over again brings it on while it is asked: that takes as long as sending.
            patience = self._config.pay_timeout_s if rail.replayable else self._config.fetch_timeout_s
            with self._deadline(patience):
                return await rail.lookup(intent)
        except Exception as error:  # a backend's own errors, timeouts: nothing is known
            return Unclear(_words(error))

    async def _settle(self, intent: Intent, paid: Paid) -> Intent:
        # Some wallets write fees as negative; one that no record can hold would break the chain of records for good.
        # A miner never bears more than what was set aside for the fee.
        fee_msat = min(abs(paid.fee_msat), intent.max_fee_msat if intent.fee_borne else MAX_SAFE_INTEGER)
        settled = await self._store.advance(
            intent,
            Step.PAID,
            self._clock(),
            preimage=paid.preimage or None,
            evidence=paid.evidence,
            fee_msat=fee_msat,
            reason="",
        )
        await self._store.set_payee(Payee(intent.miner, 0, 0, ""))
        return settled

    async def _unclear(self, intent: Intent, reason: str) -> Intent:
        if intent.state is not State.SENDING:
            return intent
        log.warning("payout %s is unknown: %s", intent.payout_id, reason)
        return await self._store.advance(intent, Step.UNCLEAR, self._clock(), reason=reason)
