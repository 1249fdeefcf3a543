"""Lightning payments as rails: to a lightning address or LNURL (as a zap if it takes them), to a miner's invoice."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from nips.bolt11 import Invoice, decode_invoice
from nips.errors import InvalidInvoice
from nips.keys import Signer
from nips.lnurl import MIN_REMAINING_S
from nips.nip01 import decode_event
from nips.nip57 import proves_payment
from zapper.errors import PaymentBlocked
from zapper.lnurlpay import INVOICE_NETWORKS, ask_for_invoice, fetch_invoice, pay_params
from zapper.payout import Intent
from zapper.plan import sat_text
from zapper.ports import FailedPayment, Http, LightningBackend, NotFound, Paid, Pending, Refused, Unclear
from zapper.profile import lnurl_of
from zapper.rails import Order, Prepared

WRONG_PREIMAGE = "the wallet showed a preimage that is not the invoice's"
# A miner's invoice must leave time to be paid, and not hold its payout open for weeks when a wallet keeps silent.
MAX_EXPIRY_S = 14 * 86_400


class _LightningRail:
    """What every Lightning payment has in common: an invoice handed to a wallet, and a preimage for it."""

    # A wallet's word that it never pays a payment hash twice is not tried out.
    replayable = False
    slow = False

    def __init__(self, backend: LightningBackend) -> None:
        self._backend = backend

    @property
    def name(self) -> str:
        """For people and logs."""
        return self._backend.name

    @property
    def purse(self) -> Hashable:
        """The wallet itself."""
        return id(self._backend)

    async def send(self, intent: Intent) -> Paid | Refused | Unclear:
        """Have the wallet pay the invoice; a preimage that is not the invoice's leaves it unclear."""
        invoice = decode_invoice(intent.payload or "")
        answer = await self._backend.pay(invoice, max_fee_msat=intent.max_fee_msat)
        if isinstance(answer, Paid) and not proves_payment(answer.preimage, invoice.payment_hash):
            return Unclear(WRONG_PREIMAGE)
        return answer

    async def lookup(self, intent: Intent) -> Paid | Pending | NotFound | FailedPayment:
        """What the wallet knows of the payment hash. Raises InvalidInvoice for a preimage that proves nothing."""
        payment_hash = intent.reference or ""
        answer = await self._backend.lookup(payment_hash)
        if isinstance(answer, Paid) and not proves_payment(answer.preimage, payment_hash):
            raise InvalidInvoice(WRONG_PREIMAGE)
        return answer

    def proof(self, intent: Intent) -> Mapping[str, Any]:
        """4215's proof: {"bolt11", "preimage", "zap_request"?, "provider"?, "receipt"?}."""
        proof: dict[str, Any] = {"bolt11": intent.payload, "preimage": intent.preimage}
        if intent.zap_request is not None:
            event = decode_event(intent.zap_request)
            # The order in which the request was serialised: encoded again without spaces it is what was hashed.
            proof["zap_request"] = {
                "id": event.id,
                "pubkey": event.pubkey,
                "created_at": event.created_at,
                "kind": event.kind,
                "tags": [list(tag) for tag in event.tags],
                "content": event.content,
                "sig": event.sig,
            }
            # Whose receipts count, as the payee's server said it before it was paid.
            if intent.provider is not None:
                proof["provider"] = intent.provider
        if intent.receipt is not None:
            proof["receipt"] = intent.receipt
        return proof

    async def balance_msat(self) -> int | None:
        """What the wallet can spend."""
        return await self._backend.balance_msat()

    async def begin(self, unfinished: Sequence[Intent]) -> None:
        """Nothing is kept for payouts but their intents."""

    async def release(self, intent: Intent) -> None:
        """As above."""


class LnurlRail(_LightningRail):
    """Pays lightning addresses and LNURLs: as a zap when the server takes zaps (NIP-57) and they are wanted."""

    def __init__(
        self,
        backend: LightningBackend,
        *,
        http: Http,
        signer: Signer,
        network: str,
        relays: tuple[str, ...],
        now_s: Callable[[], int],
        zaps: bool = True,
        allow_http_loopback: bool = False,
    ) -> None:
        """`relays`: where receipts should go. `zaps`: False pays without a zap request, so without a public receipt."""
        super().__init__(backend)
        self._http = http
        self._signer = signer
        self._network = network
        self._relays = relays
        self._now_s = now_s
        self._zaps = zaps
        self._allow_http_loopback = allow_http_loopback

    async def prepare(self, order: Order) -> Prepared:
        """The dialogue with the payee's server, up to an invoice worth paying.

        Raises PaymentBlocked, HttpFailed, InvalidLnurl, LnurlRefused, InvalidInvoice.
        """
        url = lnurl_of(order.destination, allow_http_loopback=self._allow_http_loopback)
        params, amount_msat = await pay_params(
            self._http,
            url,
            order.amount_msat,
            least_msat=order.least_msat,
            name=order.destination,
            allow_http_loopback=self._allow_http_loopback,
        )
        is_part = amount_msat < order.amount_msat
        provider = params.nostr_pubkey if self._zaps else None
        asked = ask_for_invoice(
            params,
            url,
            zap=provider is not None,
            miner=order.miner,
            amount_msat=amount_msat,
            relays=self._relays,
            content=f"{order.line} ({amount_msat // 1000} sat of it now)" if is_part else order.line,
            signer=self._signer,
            now_s=self._now_s(),
        )
        invoice = await fetch_invoice(
            self._http, asked, amount_msat=amount_msat, network=self._network, now_s=self._now_s()
        )
        return Prepared(
            method="lnurl" if asked.zap_request is None else "zap",
            reference=invoice.payment_hash,
            payload=invoice.text,
            expires_at=invoice.expires_at,
            provider=provider,
            zap_request=asked.zap_request,
            amount_msat=amount_msat if is_part else None,
        )


class InvoiceRail(_LightningRail):
    """Pays an invoice that the miner signed into a withdrawal request (4217)."""

    def __init__(self, backend: LightningBackend, *, network: str, now_s: Callable[[], int]) -> None:
        super().__init__(backend)
        self._network = network
        self._now_s = now_s

    async def prepare(self, order: Order) -> Prepared:
        """The invoice itself, when it is of this network, over the amount and not about to end.

        Raises PaymentBlocked, InvalidInvoice.
        """
        invoice = decode_invoice(order.destination)
        check_withdrawn(invoice, amount_msat=order.amount_msat, network=self._network, now_s=self._now_s())
        return Prepared(
            method="bolt11", reference=invoice.payment_hash, payload=invoice.text, expires_at=invoice.expires_at
        )


def check_withdrawn(invoice: Invoice, *, amount_msat: int, network: str, now_s: int) -> None:
    """Whether a miner's own invoice can be paid. `network`: the pool's. Raises PaymentBlocked."""
    wanted = INVOICE_NETWORKS[network]
    if invoice.network != wanted:
        raise PaymentBlocked(f"the invoice is for {invoice.network}, the pool pays on {wanted}")
    if invoice.amount_msat != amount_msat:
        asked = "no amount" if invoice.amount_msat is None else sat_text(invoice.amount_msat)
        raise PaymentBlocked(f"the invoice asks for {asked}, the request for {sat_text(amount_msat)}")
    if invoice.expires_at < now_s + MIN_REMAINING_S:
        raise PaymentBlocked("the invoice has expired, or is about to")
    if invoice.expires_at > now_s + MAX_EXPIRY_S:
        raise PaymentBlocked(f"the invoice lives for more than {MAX_EXPIRY_S // 86_400} days")
