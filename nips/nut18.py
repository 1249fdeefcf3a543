"""Cashu, NUT-18: payment requests (`creqA`): what a wallet wants, from which mints, and how it is to be sent."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

import cbor2
import msgspec

from nips.errors import NipError
from nips.nip19 import decode_nprofile, decode_npub
from nips.nut00 import MAX_AMOUNT, InvalidMintUrl, Proof, is_unit, normal_mint_url

# A request has an id, a few mints and transports; QR codes end at some 4,000 characters.
MAX_REQUEST = 8_000
MAX_MINTS = 50
MAX_TRANSPORTS = 10
_POINT = re.compile(r"0[23][0-9a-f]{64}")


class InvalidPaymentRequest(NipError):
    """A text is no payment request, or asks for what we cannot do."""


@dataclass(frozen=True, slots=True)
class Transport:
    """How the payee wants it: `nostr` with a key (hex) and relays, or `post` with a URL."""

    kind: str
    target: str
    relays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """`amount` in `unit` (None: any); `mints` in their normal form, empty: any; `lock`: the key (33 bytes in hex) that
    the ecash is to be locked to, if the payee asks for that (NUT-10).
    """

    text: str
    id: str | None
    amount: int | None
    unit: str | None
    mints: tuple[str, ...]
    transports: tuple[Transport, ...]
    lock: str | None
    description: str


def _load(text: str) -> dict[str, Any]:
    if text[:6].lower() == "creqb1":
        raise InvalidPaymentRequest("the payment request is a creqB (NUT-26); have it written as creqA (NUT-18)")
    if not text.startswith("creqA"):
        raise InvalidPaymentRequest("a payment request begins with creqA")
    if len(text) > MAX_REQUEST:
        raise InvalidPaymentRequest(f"the payment request has more than {MAX_REQUEST} characters")
    body = text[5:].rstrip("=")
    try:
        data = base64.b64decode(body.replace("-", "+").replace("_", "/") + "=" * (-len(body) % 4), validate=True)
        value = cbor2.loads(data)
    except (binascii.Error, ValueError):
        raise InvalidPaymentRequest("the payment request is not base64") from None
    except Exception:  # cbor2 raises its own, RecursionError, OverflowError, MemoryError by what it meets
        raise InvalidPaymentRequest("the payment request is not CBOR") from None
    if not isinstance(value, dict):
        raise InvalidPaymentRequest("the payment request is no map")
    # JavaScript wallets write what they leave out as CBOR's `undefined`.
    return {name: each for name, each in value.items() if each is not cbor2.undefined}


def _transport(row: Any) -> Transport | None:
    """One that we can serve; None for others."""
    if not isinstance(row, dict) or not isinstance(row.get("a"), str):
        return None
    tags = [tag for tag in row.get("g") or [] if isinstance(tag, list) and len(tag) > 1]
    if row.get("t") == "post":
        return Transport("post", row["a"])
    if row.get("t") != "nostr":
        return None
    # "n" lists the NIPs that the payee reads: we send by NIP-17.
    nips = [str(value) for tag in tags if tag[0] == "n" for value in tag[1:]]
    if nips and "17" not in nips:
        return None
    try:
        if row["a"].startswith("npub1"):
            return Transport("nostr", decode_npub(row["a"]))
        return Transport("nostr", *decode_nprofile(row["a"]))
    except NipError:
        return None


def _lock(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("k") != "P2PK":
        raise InvalidPaymentRequest("the payment request asks for a lock other than to a key (P2PK)")
    if not isinstance(value.get("d"), str) or not _POINT.fullmatch(value["d"]):
        raise InvalidPaymentRequest("the lock of a payment request names a compressed public key in hex")
    # Tags may ask for further conditions (several signatures, times): what we would not keep we do not promise.
    tags = value.get("t") or []
    if not isinstance(tags, list) or any(not isinstance(tag, list) or tag[:1] != ["sigflag"] for tag in tags):
        raise InvalidPaymentRequest("the lock of the payment request has conditions that the pool does not set")
    return str(value["d"])


def decode_request(text: str) -> PaymentRequest:
    """What the payee asks for. Raises InvalidPaymentRequest."""
    text = text.strip()
    value = _load(text)
    amount, unit, mints = value.get("a"), value.get("u"), value.get("m") or []
    if amount is not None and (type(amount) is not int or not 0 < amount <= MAX_AMOUNT):
        raise InvalidPaymentRequest("the amount of a payment request is a positive whole number")
    if unit is not None and (not isinstance(unit, str) or not is_unit(unit)):
        raise InvalidPaymentRequest("the payment request names a unit that is none")
    if amount is not None and unit is None:
        raise InvalidPaymentRequest("a payment request with an amount names its unit")
    if not isinstance(mints, list) or len(mints) > MAX_MINTS or not all(isinstance(mint, str) for mint in mints):
        raise InvalidPaymentRequest(f"a payment request names at most {MAX_MINTS} mints")
    rows = value.get("t") or []
    if not isinstance(rows, list) or len(rows) > MAX_TRANSPORTS:
        raise InvalidPaymentRequest(f"a payment request names at most {MAX_TRANSPORTS} ways to send it")
    identity, description = value.get("i"), value.get("d")
    try:
        normal = tuple(normal_mint_url(mint) for mint in mints)
    except InvalidMintUrl as error:
        raise InvalidPaymentRequest(str(error)) from None
    return PaymentRequest(
        text=text,
        id=identity if isinstance(identity, str) else None,
        amount=amount,
        unit=unit,
        mints=normal,
        transports=tuple(way for way in map(_transport, rows) if way is not None),
        lock=_lock(value.get("nut10")),
        description=description[:1000] if isinstance(description, str) else "",
    )


def payload(request_id: str | None, *, mint: str, unit: str, proofs: tuple[Proof, ...], memo: str) -> str:
    """The PaymentRequestPayload as JSON: what is sent to the payee, by message or POST."""
    value: dict[str, Any] = {"memo": memo, "mint": mint, "unit": unit, "proofs": proofs}
    if request_id is not None:
        value = {"id": request_id, **value}
    return msgspec.json.encode(value).decode()
