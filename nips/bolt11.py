"""BOLT 11: Lightning invoices, read strictly.

The library `bolt11` does the decoding; what it lets pass is refused here: mixed case, sub-millisatoshi amounts, a
human-readable part with something behind it, amounts beyond all bitcoin.
"""

import re
from dataclasses import dataclass

import bolt11

from nips.errors import InvalidInvoice

# BOLT 11 invoices of wallets have 200 to 1,200 characters; QR codes end at 4,296. Decoding costs time by the character.
MAX_LENGTH = 4296
# 21 million bitcoin: no invoice asks for more.
MAX_MSAT = 21_000_000 * 100_000_000 * 1000
# An expiry beyond a century is not meant; it also keeps created_at + expiry_s an exact JSON integer.
MAX_EXPIRY_S = 100 * 366 * 86400

_HRP = re.compile(r"ln(bcrt|bc|tbs|tb)(?:([1-9][0-9]{0,19})([munp]?))?")
_NETWORKS = {"bc": "main", "tb": "testnet", "tbs": "signet", "bcrt": "regtest"}
# BOLT 11: "m (milli): multiply by 0.001" and so on; one bitcoin is 10^11 msat, so a pico-bitcoin is a tenth of one.
_TENTHS_OF_MSAT = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}
_HEX64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Invoice:
    """A BOLT 11 invoice whose signature holds.

    `amount_msat` is None when the payer may choose. `payment_hash` and `description_hash` are 64 lowercase hex digits,
    `payee` 66 (compressed). `created_at` is in Unix seconds, `expiry_s` counts from it. `network` is main, testnet,
    signet or regtest. `text` is the invoice in lowercase.
    """

    amount_msat: int | None
    payment_hash: str
    description_hash: str | None
    description: str | None
    created_at: int
    expiry_s: int
    network: str
    payee: str
    text: str

    @property
    def expires_at(self) -> int:
        """Unix seconds from which on the payee no longer takes it."""
        return self.created_at + self.expiry_s


def _amount_msat(digits: str | None, multiplier: str) -> int | None:
    if digits is None:
        return None
    tenths = int(digits) * _TENTHS_OF_MSAT[multiplier]
    # BOLT 11: "If the p multiplier is used the last decimal of amount MUST be 0".
    if tenths % 10:
        raise InvalidInvoice("the invoice's amount is not a whole number of millisatoshi")
    amount = tenths // 10
    if amount > MAX_MSAT:
        raise InvalidInvoice("the invoice asks for more than all bitcoin there is")
    return amount


def decode_invoice(text: str) -> Invoice:
    """Read an invoice; its signature is checked (against the `n` field, or by recovering the payee's key).

    Upper case is accepted, mixed case is not (BIP 173). Raises InvalidInvoice.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidInvoice(f"an invoice has at most {MAX_LENGTH} characters")
    if not text.isascii() or text not in (text.lower(), text.upper()):
        raise InvalidInvoice("an invoice is ASCII and does not mix upper and lower case")
    text = text.lower()
    match = _HRP.fullmatch(text.rpartition("1")[0])
    if match is None:
        raise InvalidInvoice("this does not start like an invoice of a bitcoin network (lnbc, lntb, lntbs, lnbcrt)")
    currency, digits, multiplier = match.groups()
    amount_msat = _amount_msat(digits, multiplier or "")
    try:
        decoded = bolt11.decode(text)
    except Exception as error:  # the library and what it stands on raise a dozen unrelated types for malformed text
        raise InvalidInvoice(f"not an invoice: {error or type(error).__name__}") from None
    expiry_s = int(decoded.expiry)
    if not 0 <= expiry_s <= MAX_EXPIRY_S:
        raise InvalidInvoice("the invoice's expiry is beyond a century")
    payee = decoded.payee
    if payee is None or not _HEX64.fullmatch(decoded.payment_hash):
        raise InvalidInvoice("the invoice names no payee or no payment hash")
    return Invoice(
        amount_msat=amount_msat,
        payment_hash=decoded.payment_hash,
        description_hash=decoded.description_hash,
        description=decoded.description,
        created_at=int(decoded.date),
        expiry_s=expiry_s,
        network=_NETWORKS[currency],
        payee=payee,
        text=text,
    )
