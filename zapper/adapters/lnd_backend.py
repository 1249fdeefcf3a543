"""LND over its REST interface: `/v2/router/send`, `/v2/router/track`, `/v1/balance/channels` (api.lightning.community).

Answers come in three shapes: {"result": payment} lines of a stream, {"error": {...}} in a stream, and {"code": ...} of
the gateway. 64-bit numbers are texts.
"""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from nips.bolt11 import Invoice
from zapper.adapters.pay_once import PayOnce, WalletConfused, is_short, paid
from zapper.adapters.wallet_http import ATTEMPT_S, Answer, WalletHttp, WalletServer, open_wallet_http
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear

# gRPC's codes. The gateway says NOT_FOUND of an unknown path too, so the words are looked at as well.
_NOT_FOUND = 5
_ALREADY_EXISTS = 6
_NOT_INITIATED = "isn't initiated"
_UNDER_WAY = frozenset({"IN_FLIGHT", "INITIATED"})
MACAROON_HEADER = "Grpc-Metadata-Macaroon"


def _field(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _number(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    if type(value) is int and value >= 0:
        return value
    raise WalletConfused("LND's answer lacks a number that belongs there")


class LndBackend:
    """See `zapper.ports.LightningBackend`. Made by `open_lnd_backend`."""

    def __init__(self, http: WalletHttp) -> None:
        self._http = http
        self._once = PayOnce(self.lookup)

    @property
    def name(self) -> str:
        """For people and logs."""
        return f"LND at {self._http.host}"

    async def pay(self, invoice: Invoice, *, max_fee_msat: int) -> Paid | Refused | Unclear:
        """Pay the invoice once. Raises HttpFailed, WalletConfused."""
        return await self._once.pay(invoice, lambda: self._send(invoice, max_fee_msat))

    async def _send(self, invoice: Invoice, max_fee_msat: int) -> Paid | Refused | Unclear:
        answer = await self._http.post(
            "/v2/router/send",
            {
                "payment_request": invoice.text,
                "fee_limit_msat": str(max_fee_msat),
                "timeout_seconds": ATTEMPT_S,
                "no_inflight_updates": True,
            },
            pays=True,
        )
        # One line each update, the final one last.
        lines = [line for line in answer.body.split(b"\n") if line.strip()]
        value = Answer(answer.status, lines[-1] if lines else b"").json()
        error = _field(value, "error")
        if isinstance(error, Mapping):
            if _field(error, "code") == _ALREADY_EXISTS:
                return Unclear(f"LND: {answer.words}")
            return Refused(f"LND: {answer.words}", ours=True)
        payment = _field(value, "result")
        match _field(payment, "status"):
            case "SUCCEEDED":
                return self._paid(payment, invoice.payment_hash)
            case "FAILED":
                return Refused(f"LND: {_reason(payment)}", ours=is_short(_reason(payment)))
        return Unclear(f"LND answered {answer.status}: {answer.words}")

    def _paid(self, payment: object, payment_hash: str) -> Paid:
        preimage = _field(payment, "payment_preimage")
        return paid(preimage if isinstance(preimage, str) else "", payment_hash, _number(_field(payment, "fee_msat")))

    async def lookup(self, payment_hash: str) -> Paid | Pending | NotFound | FailedPayment:
        """What became of a payment of ours. Raises HttpFailed, WalletConfused."""
        encoded = base64.urlsafe_b64encode(bytes.fromhex(payment_hash)).decode("ascii")
        # The stream tells the present state first, and stays open while that is not final.
        answer = await self._http.get(
            f"/v2/router/track/{encoded}", query={"no_inflight_updates": "false"}, first_line=True
        )
        value = answer.json()
        error = _field(value, "error") or value
        if _field(error, "code") == _NOT_FOUND and _NOT_INITIATED in str(_field(error, "message")):
            return NotFound()
        payment = _field(value, "result")
        status = _field(payment, "status")
        if _field(payment, "payment_hash") == payment_hash:
            if status == "SUCCEEDED":
                return self._paid(payment, payment_hash)
            if status == "FAILED":
                return FailedPayment(_reason(payment))
            if status in _UNDER_WAY:
                return Pending()
        raise self._http.failed(f"it answered {answer.status}: {answer.words}")

    async def balance_msat(self) -> int:
        """What can be spent: our side of the open channels. Raises HttpFailed, WalletConfused."""
        answer = await self._http.get("/v1/balance/channels")
        if answer.status != 200:
            raise self._http.failed(f"it answered {answer.status}: {answer.words}")
        return _number(_field(_field(answer.json(), "local_balance"), "msat"))


def _reason(payment: object) -> str:
    """FAILURE_REASON_NO_ROUTE as `no route`."""
    text = str(_field(payment, "failure_reason") or "no reason given")[:100]
    return text.removeprefix("FAILURE_REASON_").replace("_", " ").lower()


@asynccontextmanager
async def open_lnd_backend(server: WalletServer) -> AsyncIterator[LndBackend]:
    """`server.headers` holds the macaroon in hex under MACAROON_HEADER. Raises as `open_wallet_http`."""
    async with open_wallet_http(server) as http:
        yield LndBackend(http)
