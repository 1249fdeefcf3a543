"""A payment hash is told to a wallet once: whatever the wallet would do with a second order, it gets none from us."""

from collections.abc import Awaitable, Callable

from nips.bolt11 import Invoice
from nips.errors import NipError
from nips.nip57 import proves_payment
from zapper.errors import ZapperError
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear


class WalletConfused(ZapperError):
    """The wallet's answer makes no sense, or is not about what was asked: nothing is known of the payment."""


def paid(preimage: str, payment_hash: str, fee_msat: int) -> Paid:
    """The proof of a payment, checked. Some wallets write fees as negative. Raises WalletConfused."""
    if not proves_payment(preimage, payment_hash):
        raise WalletConfused("the wallet says it has paid, and shows a preimage that is not the invoice's")
    return Paid(preimage, abs(fee_msat))


def is_short(words: str) -> bool:
    """Whether a wallet's words for a failed payment say that it has too little."""
    return any(word in words.lower() for word in ("insufficient", "not enough"))


Lookup = Callable[[str], Awaitable[Paid | Pending | NotFound | FailedPayment]]


class PayOnce:
    """Looks before it pays, and after a no. One for each backend."""

    def __init__(self, lookup: Lookup, *, before: Lookup | None = None) -> None:
        """`lookup` as the port's. `before`: what is asked before paying, when less certainty will do there."""
        self._lookup = lookup
        self._before = before or lookup
        self._under_way: set[str] = set()

    async def pay(
        self, invoice: Invoice, send: Callable[[], Awaitable[Paid | Refused | Unclear]]
    ) -> Paid | Refused | Unclear:
        """What became of the invoice if the wallet knows it, else what `send` brings. Raises as lookup and `send`."""
        key = invoice.payment_hash
        if key in self._under_way:
            return Unclear("this payment is under way")
        self._under_way.add(key)
        try:
            match await self._before(key):
                case Paid() as paid_before:
                    return paid_before
                case Pending():
                    return Unclear("this payment is under way")
                case FailedPayment(reason):
                    return Refused(f"this invoice was tried before and failed: {reason}")
                case NotFound():
                    answer = await send()
            return await self._confirmed(key, answer) if isinstance(answer, Refused) else answer
        finally:
            self._under_way.discard(key)

    async def _confirmed(self, key: str, refused: Refused) -> Paid | Refused | Unclear:
        """A no, if the wallet still says so when it is asked again: a node that shuts down gives up its callers before
        its payments.
        """
        try:
            known = await self._lookup(key)
        except (ZapperError, NipError) as error:
            return Unclear(f"{refused.reason}; what became of it is not known ({error})")
        match known:
            case Paid():
                return known
            case Pending():
                return Unclear(f"{refused.reason}; but it is under way")
            case NotFound() | FailedPayment():
                return refused
