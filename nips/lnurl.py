"""LNURL-pay, the pure parts: addresses (LUD-16), bech32 names (LUD-01), pay parameters and callbacks (LUD-06).

Fetching is for others. Amounts are msat; the invoice a server answers with is judged by `check_invoice`.
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

import bech32

from nips.bolt11 import Invoice
from nips.errors import InvalidInvoice, NipError
from nips.keys import is_valid_xonly

# URLs that browsers and proxies still take; LNURL names of such URLs have some 3,300 characters.
MAX_URL = 2048
MAX_LNURL = 3400
# Metadata may hold a small picture (LUD-06); servers' answers are capped elsewhere, this keeps hashing cheap.
MAX_METADATA = 60_000
# What a server says goes into our log and to the miner: a line, not a page.
MAX_REASON = 200
# Paying takes time over several hops: an invoice about to expire would end unclear.
MIN_REMAINING_S = 30
# Clocks of honest servers are that good.
MAX_AHEAD_S = 600

# LUD-16: "the <username> is limited to a-z0-9-_."; "+" separates a tag.
_USER = re.compile(r"[a-z0-9._+-]{1,64}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?)*(:[0-9]{1,5})?")


class InvalidLnurl(NipError):
    """A lightning address, an LNURL, or an LNURL server's answer breaks its LUD."""


class LnurlRefused(NipError):
    """The server answered `{"status": "ERROR"}` with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the LNURL server refused: {self.reason}"


@dataclass(frozen=True, slots=True)
class PayParams:
    """What an LNURL-pay server offers (LUD-06, NIP-57). `nostr_pubkey` is set only when it takes zaps."""

    callback: str
    min_sendable_msat: int
    max_sendable_msat: int
    metadata: str
    nostr_pubkey: str | None

    @property
    def metadata_hash(self) -> str:
        """Hex SHA-256 of the metadata: the description hash of an invoice that is no zap's."""
        return hashlib.sha256(self.metadata.encode()).hexdigest()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str, *, allow_http_loopback: bool = False) -> str:
    """The URL, if LNURL allows it: https, or http for an onion (LUD-01), or in a demo http on this very machine.

    Raises InvalidLnurl.
    """
    if len(url) > MAX_URL or not url.isascii() or any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise InvalidLnurl(f"a URL is ASCII without spaces, at most {MAX_URL} characters")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidLnurl("this is not a URL") from None
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        raise InvalidLnurl("an LNURL names a host and carries neither a login nor a fragment")
    if parts.scheme == "https" and not host.endswith(".onion"):
        return url
    if parts.scheme in ("http", "https") and host.endswith(".onion"):
        return url
    if parts.scheme == "http" and allow_http_loopback and _is_loopback(host):
        return url
    raise InvalidLnurl("an LNURL is https (http only for an onion)")


def address_url(address: str, *, allow_http_loopback: bool = False) -> str:
    """The LNURL-pay URL of a lightning address `name@domain` (LUD-16).

    With `allow_http_loopback` (demo only) a domain on this machine is asked by http. Raises InvalidLnurl.
    """
    user, separator, domain = address.strip().lower().partition("@")
    if not separator or not _USER.fullmatch(user) or not _HOST.fullmatch(domain):
        raise InvalidLnurl("a lightning address reads name@domain")
    host = domain.partition(":")[0]
    plain = host.endswith(".onion") or (allow_http_loopback and _is_loopback(host))
    url = f"{'http' if plain else 'https'}://{domain}/.well-known/lnurlp/{quote(user, safe='+')}"
    return check_url(url, allow_http_loopback=allow_http_loopback)


def decode_lnurl(text: str, *, allow_http_loopback: bool = False) -> str:
    """The URL under a bech32 `lnurl1...` (LUD-01). Raises InvalidLnurl."""
    text = text.strip()
    if text.lower().startswith("lightning:"):
        text = text[len("lightning:") :]
    if len(text) > MAX_LNURL:
        raise InvalidLnurl(f"an LNURL has at most {MAX_LNURL} characters")
    prefix, values = bech32.bech32_decode(text)
    if prefix != "lnurl" or values is None:
        raise InvalidLnurl("this is not a bech32 text that starts with lnurl1")
    payload = bech32.convertbits(values, 5, 8, False)
    if payload is None:
        raise InvalidLnurl("the padding of this LNURL is wrong")
    try:
        url = bytes(payload).decode("ascii")
    except UnicodeDecodeError:
        raise InvalidLnurl("this LNURL holds no URL") from None
    return check_url(url, allow_http_loopback=allow_http_loopback)


def encode_lnurl(url: str) -> str:
    """`lnurl1...` of a URL, lowercase (LUD-01; NIP-57's `lnurl` tag)."""
    values = bech32.convertbits(url.encode("ascii"), 8, 5)
    if values is None:
        raise ValueError("bytes convert to 5-bit groups always")
    return str(bech32.bech32_encode("lnurl", values))


def _object(value: object) -> Mapping[str, object]:
    """The answer as an object; LUD-06's error object raises LnurlRefused."""
    if not isinstance(value, dict):
        raise InvalidLnurl("an LNURL server answers with a JSON object")
    status = value.get("status")
    if isinstance(status, str) and status.upper() == "ERROR":
        reason = value.get("reason")
        text = reason if isinstance(reason, str) else "no reason given"
        raise LnurlRefused("".join(char if char.isprintable() else " " for char in text[:MAX_REASON]))
    return value


def _check_metadata(metadata: object) -> str:
    if not isinstance(metadata, str) or len(metadata) > MAX_METADATA:
        raise InvalidLnurl("an LNURL's metadata is a string of moderate length")
    try:
        entries = json.loads(metadata)
        metadata.encode()
    except (ValueError, RecursionError):
        raise InvalidLnurl("an LNURL's metadata is a JSON array in a string") from None
    if not isinstance(entries, list) or not all(isinstance(entry, list) and len(entry) >= 2 for entry in entries):
        raise InvalidLnurl("an LNURL's metadata is an array of [type, content] entries")
    # LUD-06: "there must be only one text/plain entry".
    if sum(entry[0] == "text/plain" for entry in entries) != 1:
        raise InvalidLnurl("an LNURL's metadata has exactly one text/plain entry")
    return metadata


def parse_pay_params(value: object, *, allow_http_loopback: bool = False) -> PayParams:
    """The pay parameters out of a server's decoded JSON. Raises LnurlRefused, InvalidLnurl."""
    answer = _object(value)
    if answer.get("tag") != "payRequest":
        raise InvalidLnurl("this LNURL is not for paying (its tag is not payRequest)")
    callback = answer.get("callback")
    if not isinstance(callback, str):
        raise InvalidLnurl("the LNURL server names no callback")
    check_url(callback, allow_http_loopback=allow_http_loopback)
    lowest, highest = answer.get("minSendable"), answer.get("maxSendable")
    if type(lowest) is not int or type(highest) is not int or not 1 <= lowest <= highest:
        raise InvalidLnurl("minSendable and maxSendable are integers of msat, the first positive and not the larger")
    nostr_pubkey = answer.get("nostrPubkey")
    # NIP-57: zaps only if "allowsNostr" is there and true and "nostrPubkey" is a valid BIP-340 public key in hex.
    takes_zaps = (
        answer.get("allowsNostr") is True and isinstance(nostr_pubkey, str) and is_valid_xonly(str(nostr_pubkey))
    )
    return PayParams(
        callback=callback,
        min_sendable_msat=lowest,
        max_sendable_msat=highest,
        metadata=_check_metadata(answer.get("metadata")),
        nostr_pubkey=str(nostr_pubkey) if takes_zaps else None,
    )


def callback_url(params: PayParams, amount_msat: int, *, zap_request: str | None = None, lnurl: str = "") -> str:
    """Where to ask for an invoice over `amount_msat`; with `zap_request` (the signed 9734's JSON) as a zap (NIP-57)."""
    query = [("amount", str(amount_msat))]
    if zap_request is not None:
        query += [("nostr", zap_request), ("lnurl", lnurl)]
    return f"{params.callback}{'&' if '?' in params.callback else '?'}{urlencode(query, quote_via=quote)}"


def parse_invoice_reply(value: object) -> str:
    """The invoice's text out of a callback's decoded JSON. Raises LnurlRefused, InvalidLnurl."""
    invoice = _object(value).get("pr")
    if not isinstance(invoice, str) or not invoice:
        raise InvalidLnurl("the LNURL server sent no invoice")
    return invoice


def check_invoice(invoice: Invoice, *, amount_msat: int, description_hash: str, network: str, now_s: int) -> None:
    """Whether this is the invoice that was asked for, and may still be paid.

    `description_hash` is hex; `network` as in Invoice; `now_s` Unix seconds. Raises InvalidInvoice.
    """
    if invoice.network != network:
        raise InvalidInvoice(f"the invoice is for {invoice.network}, not for {network}")
    if invoice.amount_msat != amount_msat:
        raise InvalidInvoice(f"the invoice asks for {invoice.amount_msat} msat, not for {amount_msat}")
    # LUD-06: "LN WALLET verifies that h tag in provided invoice is a hash of metadata string"; NIP-57: of the 9734.
    if invoice.description_hash != description_hash:
        raise InvalidInvoice("the invoice does not commit to what was sent (description hash)")
    if invoice.created_at > now_s + MAX_AHEAD_S:
        raise InvalidInvoice("the invoice was made in the future")
    if invoice.expires_at < now_s + MIN_REMAINING_S:
        raise InvalidInvoice("the invoice has expired, or is about to")
