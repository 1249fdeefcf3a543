"""An LNbits wallet (1.x): `/api/v1/payments`, `/api/v1/payments/{hash}`, `/api/v1/wallet` (its own /docs page).

LNbits takes no fee limit with a payment. It sets a reserve aside and lets its funding source spend no more than that,
so a payment whose reserve is above our limit is refused before it is sent.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from nips.bolt11 import Invoice
from zapper.adapters.pay_once import PayOnce, WalletConfused, is_short, paid
from zapper.adapters.wallet_http import Answer, WalletHttp, WalletServer, open_wallet_http
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear

KEY_HEADER = "X-Api-Key"
# LNbits' own status for a payment error: {"detail": ..., "status": ...}. The four others precede any payment.
_PAYMENT_ERROR = 520
_TURNED_DOWN = frozenset({400, 401, 403, 422})


def _object(answer: Answer) -> Mapping[str, Any]:
    value = answer.json()
    return value if isinstance(value, Mapping) else {}


class LnbitsBackend:
    """See `zapper.ports.LightningBackend`. Made by `open_lnbits_backend`."""

    def __init__(self, http: WalletHttp) -> None:
        self._http = http
        self._once = PayOnce(self.lookup)

    @property
    def name(self) -> str:
        """For people and logs."""
        return f"LNbits at {self._http.host}"

    async def pay(self, invoice: Invoice, *, max_fee_msat: int) -> Paid | Refused | Unclear:
        """Pay the invoice once. Raises HttpFailed, WalletConfused."""
        return await self._once.pay(invoice, lambda: self._send(invoice, max_fee_msat))

    async def _send(self, invoice: Invoice, max_fee_msat: int) -> Paid | Refused | Unclear:
        reserve = await self._fee_reserve(invoice)
        if reserve > max_fee_msat:
            return Refused(
                f"LNbits reserves {reserve} msat for fees, more than the {max_fee_msat} msat this payout may cost",
                ours=True,
            )
        answer = await self._http.post("/api/v1/payments", {"out": True, "bolt11": invoice.text}, pays=True)
        value = _object(answer)
        if answer.status == 201 and value.get("status") == "success":
            return self._paid(value, value, invoice.payment_hash)
        if answer.status in _TURNED_DOWN or (answer.status == _PAYMENT_ERROR and value.get("status") == "failed"):
            ours = answer.status in (401, 403) or is_short(answer.words)
            return Refused(f"LNbits: {answer.words}", ours=ours)
        return Unclear(f"LNbits answered {answer.status}: {answer.words}")

    async def _fee_reserve(self, invoice: Invoice) -> int:
        answer = await self._http.get("/api/v1/payments/fee-reserve", query={"invoice": invoice.text})
        reserve = _object(answer).get("fee_reserve")
        if answer.status != 200 or type(reserve) is not int:
            raise self._http.failed(f"it answered {answer.status}: {answer.words}")
        return abs(reserve)

    def _paid(self, value: Mapping[str, Any], payment: Mapping[str, Any], payment_hash: str) -> Paid:
        fee = payment.get("fee")
        if type(fee) is not int:
            raise WalletConfused("LNbits' answer does not tell the fee")
        return paid(str(value.get("preimage")), payment_hash, fee)

    async def lookup(self, payment_hash: str) -> Paid | Pending | NotFound | FailedPayment:
        """What became of a payment of ours. Raises HttpFailed, WalletConfused.

        LNbits answers this question without a valid key too, then about anybody's payments, so only an answer with
        details of a payment out of our wallet counts, and an unknown payment only when the key is known to be good.
        """
        answer = await self._http.get(f"/api/v1/payments/{quote(payment_hash)}")
        value = _object(answer)
        if answer.status == 404 and value.get("detail") == "Payment does not exist.":
            await self.balance_msat()
            return NotFound()
        details = value.get("details")
        if answer.status != 200 or not isinstance(details, Mapping) or details.get("payment_hash") != payment_hash:
            raise self._http.failed(f"it answered {answer.status}: {answer.words}")
        amount = details.get("amount")
        if type(amount) is not int or amount >= 0:
            raise WalletConfused("LNbits tells of an invoice of this wallet, not of a payment out of it")
        if value.get("paid") is True:
            return self._paid(value, details, payment_hash)
        if value.get("status") == "failed":
            return FailedPayment("LNbits marked it as failed")
        return Pending()

    async def balance_msat(self) -> int:
        """What is in the wallet. Raises HttpFailed."""
        answer = await self._http.get("/api/v1/wallet")
        balance = _object(answer).get("balance")
        if answer.status != 200 or type(balance) is not int:
            raise self._http.failed(f"it answered {answer.status}: {answer.words}")
        return max(0, balance)


@asynccontextmanager
async def open_lnbits_backend(server: WalletServer) -> AsyncIterator[LnbitsBackend]:
    """`server.headers` holds the wallet's admin key under KEY_HEADER. Raises as `open_wallet_http`."""
    async with open_wallet_http(server) as http:
        yield LnbitsBackend(http)
