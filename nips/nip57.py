"""NIP-57: zap requests (9734), which go to the LNURL callback only, and zap receipts (9735), which come from the
recipient's wallet provider. "The zap receipt is not a proof of payment": the preimage is the closest thing to one.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from nips.bolt11 import decode_invoice
from nips.errors import InvalidInvoice, NipError
from nips.nip01 import Tag, UnsignedEvent, VerifiedEvent, decode_event, encode_event, verify

ZAP_REQUEST = 9734
ZAP_RECEIPT = 9735
# The request rides in a URL: two or three relays are enough to be found.
MAX_RELAYS = 3

_HEX64 = re.compile(r"[0-9a-f]{64}")
_AMOUNT = re.compile(r"[1-9][0-9]{0,18}")


class InvalidZap(NipError):
    """A zap request or receipt breaks NIP-57, or is not the one looked for."""


@dataclass(frozen=True, slots=True)
class ZapRequest:
    """A zap request that holds. `text` is the exact JSON that the invoice's description hash commits to."""

    event: VerifiedEvent
    recipient: str
    amount_msat: int | None
    relays: tuple[str, ...]
    lnurl: str | None
    text: str

    @property
    def description_hash(self) -> str:
        """Hex SHA-256 of the request's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def build_zap_request(
    *, recipient: str, amount_msat: int, lnurl: str, relays: Sequence[str], content: str, created_at: int
) -> UnsignedEvent:
    """A 9734 for `recipient` (hex) without an `e`: it is the person who is zapped, no event of ours."""
    if not relays:
        raise ValueError("a zap request names the relays its receipt should go to")
    return UnsignedEvent(
        kind=ZAP_REQUEST,
        created_at=created_at,
        tags=(
            ("relays", *relays[:MAX_RELAYS]),
            ("amount", str(amount_msat)),
            ("lnurl", lnurl),
            ("p", recipient),
        ),
        content=content,
    )


def _single(event: VerifiedEvent, name: str, *, required: bool = False) -> str | None:
    """The value of a tag that may stand once. Raises InvalidZap."""
    values = event.tag_values(name)
    if len(values) > 1 or (required and not values):
        raise InvalidZap(f"the event has {len(values)} {name} tags")
    return values[0] if values else None


def check_zap_request(text: str, *, amount_msat: int | None = None) -> ZapRequest:
    """A signed 9734 out of its JSON, by NIP-57's appendix D; with `amount_msat`, for exactly that amount.

    Raises InvalidZap, InvalidEvent.
    """
    event = verify(decode_event(text))
    if event.kind != ZAP_REQUEST:
        raise InvalidZap(f"a zap request is of kind {ZAP_REQUEST}, not {event.kind}")
    recipient = _single(event, "p", required=True) or ""
    if not _HEX64.fullmatch(recipient):
        raise InvalidZap("a zap request's p tag holds a public key in hex")
    _single(event, "e")
    _single(event, "a")
    amount = _single(event, "amount")
    if amount is not None and not _AMOUNT.fullmatch(amount):
        raise InvalidZap("a zap request's amount is a positive integer of msat")
    asked = None if amount is None else int(amount)
    # Appendix D: "If there is an amount tag, it MUST be equal to the amount query parameter."
    if amount_msat is not None and asked is not None and asked != amount_msat:
        raise InvalidZap(f"the zap request is over {asked} msat, the query over {amount_msat}")
    relays = event.tag("relays")
    if relays is None or len(relays) < 2:
        raise InvalidZap("a zap request names at least one relay")
    return ZapRequest(event, recipient, asked, relays[1:], _single(event, "lnurl"), text)


def zap_request_text(event: VerifiedEvent) -> str:
    """The JSON that is sent, and hashed: keep it, for it must be repeated to the byte."""
    return encode_event(event).decode()


def build_zap_receipt(request: ZapRequest, *, bolt11: str, preimage: str, paid_at: int) -> UnsignedEvent:
    """The 9735 a wallet provider publishes for a paid zap (appendix E). `preimage` is hex, `paid_at` Unix seconds."""
    tags: list[Tag] = [("p", request.recipient), ("P", request.event.pubkey)]
    tags += [tag[:2] for tag in request.event.tags if tag[0] in ("e", "a") and len(tag) > 1]
    tags += [("bolt11", bolt11), ("description", request.text), ("preimage", preimage)]
    return UnsignedEvent(kind=ZAP_RECEIPT, created_at=paid_at, tags=tuple(tags), content="")


def check_zap_receipt(receipt: VerifiedEvent, *, provider: str, request: ZapRequest, bolt11: str) -> None:
    """Whether a 9735 is `provider`'s (its LNURL's nostrPubkey) word that our request was paid by this very invoice.

    Appendix F, and more: the description must be our request to the byte, since the invoice commits to it. Raises
    InvalidZap with what does not fit.
    """
    if receipt.kind != ZAP_RECEIPT:
        raise InvalidZap(f"a zap receipt is of kind {ZAP_RECEIPT}, not {receipt.kind}")
    # "The zap receipt event's pubkey MUST be the same as the recipient's lnurl provider's nostrPubkey".
    if receipt.pubkey != provider:
        raise InvalidZap("the zap receipt is not signed by the provider's nostrPubkey")
    if _single(receipt, "p", required=True) != request.recipient:
        raise InvalidZap("the zap receipt is for somebody else")
    if _single(receipt, "P") not in (None, request.event.pubkey):
        raise InvalidZap("the zap receipt names another sender")
    if _single(receipt, "description", required=True) != request.text:
        raise InvalidZap("the zap receipt describes another request")
    told = _single(receipt, "bolt11", required=True) or ""
    if told.lower() != bolt11.lower():
        raise InvalidZap("the zap receipt is about another invoice")
    try:
        invoice = decode_invoice(told)
    except InvalidInvoice as error:
        raise InvalidZap(f"the zap receipt's invoice: {error}") from None
    # "The invoiceAmount contained in the bolt11 tag of the zap receipt MUST equal the amount tag of the zap request".
    if request.amount_msat is not None and invoice.amount_msat != request.amount_msat:
        raise InvalidZap("the zap receipt's invoice is over another amount")
    if invoice.description_hash != request.description_hash:
        raise InvalidZap("the zap receipt's invoice does not commit to the request")
    preimage = _single(receipt, "preimage")
    if preimage is not None and not proves_payment(preimage, invoice.payment_hash):
        raise InvalidZap("the zap receipt's preimage is not the invoice's")


def proves_payment(preimage: str, payment_hash: str) -> bool:
    """Whether SHA-256 of the preimage (hex) is the payment hash (hex)."""
    if not _HEX64.fullmatch(preimage):
        return False
    return hashlib.sha256(bytes.fromhex(preimage)).hexdigest() == payment_hash
