"""A payment hash is told to a wallet once: whatever the wallet would do with a second order, it gets none from us."""

from collections.abc import Awaitable, Callable

from nips.bolt11 import Invoice
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


class PayOnce:
    """Looks before it pays. One for each backend; `lookup` as the port's."""

    def __init__(self, lookup: Callable[[str], Awaitable[Paid | Pending | NotFound | FailedPayment]]) -> None:
        self._lookup = lookup
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
            match await self._lookup(key):
                case Paid() as before:
                    return before
                case Pending():
                    return Unclear("this payment is under way")
                case FailedPayment(reason):
                    return Refused(f"this invoice was tried before and failed: {reason}")
                case NotFound():
                    return await send()
        finally:
            self._under_way.discard(key)
