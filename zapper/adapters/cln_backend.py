"""Core Lightning (24.11 or later) over its clnrest plugin: `xpay`, `listpays`, `listpeerchannels`
(docs.corelightning.org).

`xpay` and not `pay`: that one asks for the description of an invoice which, as zaps do, holds only its hash.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from nips.bolt11 import Invoice
from zapper.adapters.pay_once import PayOnce, WalletConfused, is_short, paid
from zapper.adapters.wallet_http import ATTEMPT_S, WalletHttp, WalletServer, open_wallet_http
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear

RUNE_HEADER = "Rune"
# xpay(7): failure at the destination, no way to it, other payment errors, expired. 219, paid already, is none of them.
_NOT_PAID = frozenset({203, 205, 206, 207, 209})
_NO_SUCH_METHOD = -32601
# `listpays` calls a payment failed between two attempts of a command that still runs: one we know nothing of, since
# we were restarted, is believed to have failed once its command must have ended.
COMMAND_ENDS_S = ATTEMPT_S + 60
# Commands whose end we saw; far more than payments at a time.
MAX_ENDED = 10_000


def _now_s() -> int:
    return int(time.time())


def _msat(value: Mapping[str, object], name: str) -> int:
    amount = value.get(name)
    if type(amount) is not int or amount < 0:
        raise WalletConfused(f"Core Lightning's answer has no {name} (version 24.11 or later is needed)")
    return amount


class ClnBackend:
    """See `zapper.ports.LightningBackend`. Made by `open_cln_backend`; `clock` gives Unix seconds."""

    def __init__(self, http: WalletHttp, clock: Callable[[], int] = _now_s) -> None:
        self._http = http
        self._clock = clock
        self._once = PayOnce(self.lookup)
        # In the order they ended, as dict keys are.
        self._ended: dict[str, None] = {}

    @property
    def name(self) -> str:
        """For people and logs."""
        return f"Core Lightning at {self._http.host}"

    async def pay(self, invoice: Invoice, *, max_fee_msat: int) -> Paid | Refused | Unclear:
        """Pay the invoice once. Raises HttpFailed, WalletConfused."""
        return await self._once.pay(invoice, lambda: self._send(invoice, max_fee_msat))

    async def _send(self, invoice: Invoice, max_fee_msat: int) -> Paid | Refused | Unclear:
        answer = await self._http.post(
            "/v1/xpay", {"invstring": invoice.text, "maxfee": max_fee_msat, "retry_for": ATTEMPT_S}, pays=True
        )
        value = answer.json()
        if answer.status in (200, 201) and isinstance(value, Mapping):
            fee_msat = _msat(value, "amount_sent_msat") - _msat(value, "amount_msat")
            return paid(str(value.get("payment_preimage")), invoice.payment_hash, fee_msat)
        code = value.get("code") if isinstance(value, Mapping) else None
        if code == _NO_SUCH_METHOD:
            return Refused("this Core Lightning knows no xpay: version 24.11 or later is needed", ours=True)
        if code in _NOT_PAID or answer.status in (401, 403):
            self._ended[invoice.payment_hash] = None
            if len(self._ended) > MAX_ENDED:
                del self._ended[next(iter(self._ended))]
            ours = answer.status in (401, 403) or is_short(answer.words)
            return Refused(f"Core Lightning: {answer.words}", ours=ours)
        return Unclear(f"Core Lightning answered {answer.status}: {answer.words}")

    async def lookup(self, payment_hash: str) -> Paid | Pending | NotFound | FailedPayment:
        """What became of a payment of ours. Raises HttpFailed, WalletConfused."""
        value = await self._read("/v1/listpays", {"payment_hash": payment_hash})
        found = value.get("pays")
        if not isinstance(found, list) or not all(
            isinstance(each, dict) and each.get("payment_hash") == payment_hash for each in found
        ):
            raise WalletConfused("Core Lightning's list of payments is not of the one asked for")
        by_status = {str(each.get("status")): each for each in found}
        if "complete" in by_status:
            done = by_status["complete"]
            fee_msat = _msat(done, "amount_sent_msat") - _msat(done, "amount_msat")
            return paid(str(done.get("preimage")), payment_hash, fee_msat)
        if not found:
            return NotFound()
        if set(by_status) != {"failed"}:
            return Pending()
        begun = [each.get("created_at") for each in found]
        if any(type(at) is not int for at in begun):
            raise WalletConfused("Core Lightning's list of payments lacks a time")
        if payment_hash in self._ended or self._clock() > max(begun) + COMMAND_ENDS_S:
            return FailedPayment("every attempt failed")
        return Pending()

    async def balance_msat(self) -> int:
        """What can be spent over the open channels. Raises HttpFailed, WalletConfused."""
        channels = (await self._read("/v1/listpeerchannels", {})).get("channels")
        if not isinstance(channels, list) or not all(isinstance(each, dict) for each in channels):
            raise WalletConfused("Core Lightning's answer holds no list of channels")
        return sum(_msat(each, "spendable_msat") for each in channels if each.get("state") == "CHANNELD_NORMAL")

    async def _read(self, path: str, params: Mapping[str, object]) -> Mapping[str, object]:
        answer = await self._http.post(path, params)
        value = answer.json()
        if answer.status not in (200, 201) or not isinstance(value, Mapping):
            raise self._http.failed(f"it answered {answer.status}: {answer.words}")
        return value


@asynccontextmanager
async def open_cln_backend(server: WalletServer, clock: Callable[[], int] = _now_s) -> AsyncIterator[ClnBackend]:
    """`server.headers` holds a rune under RUNE_HEADER. Raises as `open_wallet_http`."""
    async with open_wallet_http(server) as http:
        yield ClnBackend(http, clock)
