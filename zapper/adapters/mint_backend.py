"""A Cashu mint as a Lightning wallet: invoices are paid by melting the treasury's ecash (NUT-05, NUT-08)."""

from nips.bolt11 import Invoice
from zapper.ecash import Operation, OpState
from zapper.errors import PaymentBlocked
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear
from zapper.treasury import Treasury


class MintBackend:
    """See `zapper.ports.LightningBackend`. The operation's reference is the payment hash."""

    def __init__(self, treasury: Treasury) -> None:
        self._treasury = treasury

    @property
    def name(self) -> str:
        """For people and logs."""
        return f"cashu mint {self._treasury.url}"

    async def pay(self, invoice: Invoice, *, max_fee_msat: int) -> Paid | Refused | Unclear:
        """Pay the invoice once. Raises MintError when the outcome is not known."""
        if invoice.amount_msat is None:
            return Refused("the invoice names no amount")
        # Ecash comes in whole satoshis: what an invoice asks beyond is the mint's.
        amount = -(-invoice.amount_msat // 1000)
        try:
            operation = await self._treasury.melt(
                invoice.payment_hash, invoice.text, amount, max_fee=max_fee_msat // 1000
            )
        except PaymentBlocked as error:
            return Refused(str(error), ours=True)
        answer = self._answer(operation)
        if isinstance(answer, FailedPayment):
            return Refused(answer.reason)
        return answer if isinstance(answer, Paid) else Unclear("the mint is still paying")

    async def lookup(self, payment_hash: str) -> Paid | Pending | NotFound | FailedPayment:
        """What became of a payment, brought on as far as it can be. Raises MintError when the mint can't be asked."""
        operation = await self._treasury.store.operation(payment_hash)
        return NotFound() if operation is None else self._answer(await self._treasury.conclude(operation))

    def _answer(self, operation: Operation) -> Paid | Pending | FailedPayment:
        match operation.state:
            case OpState.DONE:
                return Paid(operation.preimage, operation.fee * 1000)
            case OpState.VOID:
                return FailedPayment(operation.reason)
            case OpState.BEGUN:
                return Pending()

    async def balance_msat(self) -> int:
        """The free ecash."""
        return (await self._treasury.totals()).free * 1000
