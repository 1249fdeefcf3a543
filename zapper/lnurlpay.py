"""From a destination to an invoice worth paying: the dialogue with the payee's LNURL server (LUD-06, NIP-57)."""

from dataclasses import dataclass
from hashlib import sha256

from nips.bolt11 import Invoice, decode_invoice
from nips.keys import Signer
from nips.lnurl import (
    PayParams,
    callback_url,
    check_invoice,
    encode_lnurl,
    parse_invoice_reply,
    parse_pay_params,
)
from nips.nip57 import build_zap_request, zap_request_text
from zapper.errors import PaymentBlocked
from zapper.plan import MSAT
from zapper.ports import Http

# Invoices know no testnet4: its wallets write lntb.
INVOICE_NETWORKS = {"main": "main", "testnet4": "testnet", "signet": "signet", "regtest": "regtest"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question for an invoice: the callback's URL and what the invoice must commit to."""

    url: str
    description_hash: str
    zap_request: str | None


async def pay_params(
    http: Http, url: str, amount_msat: int, *, least_msat: int | None, name: str, allow_http_loopback: bool
) -> tuple[PayParams, int]:
    """What the payee's server offers, and how much of the amount it takes at once, in whole satoshis. `least_msat`: a
    part may go down to that, None for none. `name`: of the destination, for people.

    Raises HttpFailed, InvalidLnurl, LnurlRefused, PaymentBlocked.
    """
    params = parse_pay_params(await http.get_json(url), allow_http_loopback=allow_http_loopback)
    takes = f"{name} takes {params.min_sendable_msat} to {params.max_sendable_msat} msat"
    part_msat = min(amount_msat, params.max_sendable_msat // MSAT * MSAT)
    if part_msat < max(params.min_sendable_msat, 1) or (part_msat < amount_msat and least_msat is None):
        raise PaymentBlocked(f"{takes}, due are {amount_msat}")
    if least_msat is not None and part_msat < least_msat:
        raise PaymentBlocked(f"{takes}, the least that is paid is {least_msat}")
    return params, part_msat


def ask_for_invoice(
    params: PayParams,
    url: str,
    *,
    zap: bool,
    miner: str,
    amount_msat: int,
    relays: tuple[str, ...],
    content: str,
    signer: Signer,
    now_s: int,
) -> Asked:
    """The question to the server at `url`: for a zap, or for a plain payment."""
    if not zap:
        return Asked(callback_url(params, amount_msat), params.metadata_hash, None)
    lnurl = encode_lnurl(url)
    request = signer.sign(
        build_zap_request(
            recipient=miner, amount_msat=amount_msat, lnurl=lnurl, relays=relays, content=content, created_at=now_s
        )
    )
    text = zap_request_text(request)
    callback = callback_url(params, amount_msat, zap_request=text, lnurl=lnurl)
    return Asked(callback, sha256(text.encode()).hexdigest(), text)


async def fetch_invoice(http: Http, asked: Asked, *, amount_msat: int, network: str, now_s: int) -> Invoice:
    """The invoice, checked. Raises HttpFailed, InvalidLnurl, LnurlRefused, InvalidInvoice."""
    invoice = decode_invoice(parse_invoice_reply(await http.get_json(asked.url)))
    check_invoice(
        invoice,
        amount_msat=amount_msat,
        description_hash=asked.description_hash,
        network=INVOICE_NETWORKS[network],
        now_s=now_s,
    )
    return invoice
