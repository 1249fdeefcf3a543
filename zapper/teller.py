"""At the wallet's counter: tell it to pay a stored invoice once, and ask it what became of that.

Nothing here is sure but a preimage that fits, or a wallet that says no twice; all else leaves the payout UNKNOWN.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from nips.bolt11 import decode_invoice
from nips.nip01 import MAX_SAFE_INTEGER
from nips.nip57 import proves_payment
from zapper.config import ZapperConfig
from zapper.payout import Intent, State, Step
from zapper.plan import is_surely_unpaid
from zapper.ports import FailedPayment, IntentStore, LightningBackend, NotFound, Paid, Payee, Pending, Refused, Unclear

log = logging.getLogger("zapper")

_WRONG_PREIMAGE = "the wallet showed a preimage that is not the invoice's"


def _words(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()


class Teller:
    """`clock` gives Unix ms; `deadline(seconds)` is a context that raises TimeoutError when its block takes longer."""

    def __init__(
        self,
        config: ZapperConfig,
        *,
        store: IntentStore,
        backend: LightningBackend,
        clock: Callable[[], int],
        deadline: Callable[[float], AbstractContextManager[object]],
    ) -> None:
        self._config = config
        self._store = store
        self._backend = backend
        self._clock = clock
        self._deadline = deadline

    async def send(self, intent: Intent) -> Intent:
        """Pay the invoice of an INVOICED payout, once: SETTLED, FAILED or UNKNOWN. That it is sent is stored before."""
        invoice = decode_invoice(intent.invoice or "")
        if self._clock() // 1000 >= invoice.expires_at:
            return await self._step(intent, Step.EXPIRE, "the invoice expired before it was sent")
        intent = await self._store.advance(intent, Step.SEND, self._clock())
        answer: Paid | Refused | Unclear
        try:
            with self._deadline(self._config.pay_timeout_s):
                answer = await self._backend.pay(invoice, max_fee_msat=intent.max_fee_msat)
        except Exception as error:  # a backend's own errors, timeouts: the payment may have left all the same
            answer = Unclear(_words(error))
        match answer:
            case Paid() if proves_payment(answer.preimage, invoice.payment_hash):
                return await self._settle(intent, answer)
            case Paid():
                return await self._step(intent, Step.UNCLEAR, _WRONG_PREIMAGE)
            case Unclear(reason):
                return await self._step(intent, Step.UNCLEAR, reason)
            case Refused(reason):
                return await self._confirm_refusal(intent, reason)

    async def resolve(self, intent: Intent) -> Intent:
        """Ask about a payout that is UNKNOWN, or was left SENDING; only a certain answer ends it."""
        if intent.state is State.SENDING:
            intent = await self._step(intent, Step.UNCLEAR, "interrupted while the payment was sent")
        match await self._ask(intent):
            case Paid() as paid:
                return await self._settle(intent, paid)
            case FailedPayment(reason):
                return await self._step(intent, Step.REFUSED, reason)
            case (Pending() | NotFound()) as answer if self._is_surely_unpaid(intent, answer):
                return await self._step(intent, Step.REFUSED, "the wallet never saw the payment")
            case _:
                return intent

    def _is_surely_unpaid(self, intent: Intent, answer: Pending | NotFound) -> bool:
        grace_s = self._config.unknown_grace_s
        return is_surely_unpaid(answer, expires_at=intent.expires_at or 0, grace_s=grace_s, now_s=self._clock() // 1000)

    async def _confirm_refusal(self, intent: Intent, reason: str) -> Intent:
        """A wallet that says no is asked once more by payment hash: some say no to a payment that is under way."""
        match await self._ask(intent):
            case Paid() as paid:
                return await self._settle(intent, paid)
            case NotFound() | FailedPayment():
                return await self._step(intent, Step.REFUSED, reason)
            case Pending() | Unclear():
                return await self._step(intent, Step.UNCLEAR, reason)

    async def _ask(self, intent: Intent) -> Paid | Pending | NotFound | FailedPayment | Unclear:
        """What the wallet knows of a payment. A preimage that proves nothing is no answer."""
        payment_hash = intent.payment_hash or ""
        try:
            with self._deadline(self._config.fetch_timeout_s):
                answer = await self._backend.lookup(payment_hash)
        except Exception as error:  # a backend's own errors, timeouts: nothing is known
            return Unclear(_words(error))
        if isinstance(answer, Paid) and not proves_payment(answer.preimage, payment_hash):
            return Unclear(_WRONG_PREIMAGE)
        return answer

    async def _settle(self, intent: Intent, paid: Paid) -> Intent:
        # Some wallets write fees as negative; one that no record can hold would break the chain of records for good.
        fee_msat = min(abs(paid.fee_msat), MAX_SAFE_INTEGER)
        settled = await self._store.advance(
            intent, Step.PAID, self._clock(), preimage=paid.preimage, fee_msat=fee_msat, reason=""
        )
        await self._store.set_payee(Payee(intent.miner, 0, 0, ""))
        return settled

    async def _step(self, intent: Intent, step: Step, reason: str) -> Intent:
        after = await self._store.advance(intent, step, self._clock(), reason=reason)
        if after.state is State.UNKNOWN:
            log.warning("payout %s is unknown: %s", intent.payout_id, reason)
        return after
