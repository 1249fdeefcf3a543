"""phoenixd (0.5 or later): `/payinvoice`, `/payments/outgoingbyhash/{hash}`, `/getbalance`
(phoenix.acinq.co/server/api).

phoenixd takes no fee limit with a payment, but its fee has a ceiling: that of its one peer's trampoline. A payment
whose ceiling is above our limit is refused before it is sent.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from nips.bolt11 import Invoice
from zapper.adapters.pay_once import PayOnce, WalletConfused, is_short, paid
from zapper.adapters.wallet_http import Answer, WalletHttp, WalletServer, open_wallet_http
from zapper.errors import ZapperError
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear

# "0.4 % + 4 sat", the published fee for sending over Lightning.
FEE_BASE_MSAT = 4_000
FEE_PPM = 4_000
# Its two ways to say 404: of a payment it does not know, and in other words of a path it does not know.
_UNKNOWN_PAYMENT = b"Not found"
# All bitcoin there will be, in sat.
_MAX_SAT = 21_000_000 * 100_000_000


def fee_ceiling_msat(amount_msat: int) -> int:
    """The most that sending this amount can cost."""
    return FEE_BASE_MSAT + -(-amount_msat * FEE_PPM // 1_000_000)


def _object(answer: Answer) -> Mapping[str, Any]:
    value = answer.json()
    return value if isinstance(value, Mapping) else {}


def _number(value: Mapping[str, Any], name: str, most: int) -> int:
    number = value.get(name)
    if type(number) is not int or not 0 <= number <= most:
        raise WalletConfused(f"phoenixd's answer has no {name}")
    return number


class PhoenixdBackend:
    """See `zapper.ports.LightningBackend`. Made by `open_phoenixd_backend`."""

    def __init__(self, http: WalletHttp) -> None:
        self._http = http
        self._once = PayOnce(self.lookup)

    @property
    def name(self) -> str:
        """For people and logs."""
        return f"phoenixd at {self._http.host}"

    async def pay(self, invoice: Invoice, *, max_fee_msat: int) -> Paid | Refused | Unclear:
        """Pay the invoice once. Raises HttpFailed, WalletConfused."""
        return await self._once.pay(invoice, lambda: self._send(invoice, max_fee_msat))

    async def _send(self, invoice: Invoice, max_fee_msat: int) -> Paid | Refused | Unclear:
        if invoice.amount_msat is None:
            return Refused("the invoice names no amount")
        ceiling = fee_ceiling_msat(invoice.amount_msat)
        if ceiling > max_fee_msat:
            return Refused(
                f"sending this by phoenixd may cost {ceiling} msat, more than the {max_fee_msat} msat it may cost here",
                ours=True,
            )
        answer = await self._http.post_form("/payinvoice", {"invoice": invoice.text}, pays=True)
        value = _object(answer)
        preimage, reason = value.get("paymentPreimage"), value.get("reason")
        if answer.status == 200 and isinstance(preimage, str):
            fee_msat = 1000 * _number(value, "routingFeeSat", _MAX_SAT)
            return await self._with_exact_fee(paid(preimage, invoice.payment_hash, fee_msat), invoice.payment_hash)
        if (answer.status == 200 and isinstance(reason, str)) or answer.status in (400, 401, 403):
            ours = answer.status in (401, 403) or is_short(answer.words)
            return Refused(f"phoenixd: {answer.words}", ours=ours)
        return Unclear(f"phoenixd answered {answer.status}: {answer.words}")

    async def _with_exact_fee(self, known: Paid, payment_hash: str) -> Paid:
        """The answer to an order rounds the fee down to whole sat; the list of payments has it in msat."""
        try:
            exact = await self.lookup(payment_hash)
        except ZapperError:
            return known
        return exact if isinstance(exact, Paid) else known

    async def lookup(self, payment_hash: str) -> Paid | Pending | NotFound | FailedPayment:
        """What became of a payment of ours. Raises HttpFailed, WalletConfused."""
        answer = await self._http.get(f"/payments/outgoingbyhash/{payment_hash}")
        if answer.status == 404 and answer.body.strip() == _UNKNOWN_PAYMENT:
            return NotFound()
        value = _object(answer)
        if answer.status != 200 or value.get("paymentHash") != payment_hash:
            raise self._http.failed(f"it answered {answer.status}: {answer.words} (phoenixd 0.5 or later is needed)")
        # Not `isPaid`: older versions call every payment paid that has come to an end.
        preimage = value.get("preimage")
        if isinstance(preimage, str):
            return paid(preimage, payment_hash, _number(value, "fees", 1000 * _MAX_SAT))
        if value.get("completedAt") is not None:
            return FailedPayment("phoenixd found no way to the payee")
        return Pending()

    async def balance_msat(self) -> int:
        """What can be spent. Raises HttpFailed, WalletConfused."""
        answer = await self._http.get("/getbalance")
        if answer.status != 200:
            raise self._http.failed(f"it answered {answer.status}: {answer.words}")
        return 1000 * _number(_object(answer), "balanceSat", _MAX_SAT)


@asynccontextmanager
async def open_phoenixd_backend(server: WalletServer) -> AsyncIterator[PhoenixdBackend]:
    """`server.basic_password` is phoenixd's http-password. Raises as `open_wallet_http`."""
    async with open_wallet_http(server) as http:
        yield PhoenixdBackend(http)
