"""BOLT 11: the specification's own examples, and what must be refused."""

import contextlib
import hashlib

import bech32
import bolt11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nips.bolt11 import MAX_LENGTH, MAX_MSAT, Invoice, decode_invoice
from nips.errors import InvalidInvoice

HASH = "0001020304050607080900010203040506070809000102030405060708090102"
PAYEE = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"
# BOLT 11, "Examples": (text, msat, expiry, description hash)
COFFEE = (
    "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq"
    "5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0"
    "ymjpf39tuven09sam30g4vgpfna3rh"
)
DONATION = (
    "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqw"
    "zqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafk"
    "q3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql"
)


def make(
    *,
    amount_msat: int | None = 5000,
    currency: str = "bcrt",
    key: str = "41" * 32,
    expiry: int = 600,
    described: str = "ab",
) -> str:
    tags = bolt11.Tags()
    tags.add(bolt11.TagChar.payment_hash, HASH)
    tags.add(bolt11.TagChar.payment_secret, "11" * 32)
    tags.add(bolt11.TagChar.description_hash, described * 32)
    tags.add(bolt11.TagChar.expire_time, expiry)
    amount = None if amount_msat is None else bolt11.MilliSatoshi(amount_msat)
    return str(bolt11.encode(bolt11.Bolt11(currency=currency, date=1_800_000_000, amount_msat=amount, tags=tags), key))


def with_hrp(text: str, hrp: str) -> str:
    """The same data part under another human-readable part, its checksum made right."""
    _, values = bech32.bech32_decode(text)
    assert values is not None
    return str(bech32.bech32_encode(hrp, values))


def test_the_specifications_coffee() -> None:
    invoice = decode_invoice(COFFEE)
    assert invoice == Invoice(
        amount_msat=250_000_000,
        payment_hash=HASH,
        description_hash=None,
        description="1 cup coffee",
        created_at=1496314658,
        expiry_s=60,
        network="main",
        payee=PAYEE,
        text=COFFEE,
    )
    assert invoice.expires_at == 1496314718


def test_the_specifications_donation_leaves_the_amount_open() -> None:
    invoice = decode_invoice(DONATION)
    assert (invoice.amount_msat, invoice.expiry_s, invoice.payee) == (None, 3600, PAYEE)


def test_upper_case_is_the_same_and_mixed_case_is_none() -> None:
    assert decode_invoice(COFFEE.upper()) == decode_invoice(COFFEE)
    with pytest.raises(InvalidInvoice, match="mix"):
        decode_invoice(COFFEE[:20].upper() + COFFEE[20:])


@pytest.mark.parametrize("currency", ["bc", "tb", "tbs", "bcrt"])
def test_networks(currency: str) -> None:
    names = {"bc": "main", "tb": "testnet", "tbs": "signet", "bcrt": "regtest"}
    assert decode_invoice(make(currency=currency)).network == names[currency]


@pytest.mark.parametrize(
    "hrp", ["lnbcrt5p", "lnbcrt0n", "lnbcrt05n", "lnbcrt5x", "lnbcrt-5n", "lnbcrt5", "lnxy5n", "lnbcrt" + "9" * 21]
)
def test_amounts_and_prefixes_out_of_form_are_refused(hrp: str) -> None:
    """Among them a tenth of a msat, and an hrp whose signature would be somebody's by recovery."""
    if hrp == "lnbcrt5":
        assert decode_invoice(with_hrp(make(), hrp)).amount_msat == 5 * 10**11
        return
    with pytest.raises(InvalidInvoice):
        decode_invoice(with_hrp(make(), hrp))


def test_more_than_all_bitcoin_is_refused() -> None:
    assert decode_invoice(with_hrp(make(), "lnbcrt21000000")).amount_msat == MAX_MSAT
    with pytest.raises(InvalidInvoice, match="all bitcoin"):
        decode_invoice(with_hrp(make(), "lnbcrt21000001"))


# The library's encoder drops three zeros of multiples of 1,000 bitcoin: only its decoder is used for others' invoices.
@given(st.integers(1, 1000 * 10**11 - 1))
@settings(max_examples=50, deadline=None)
def test_amounts_come_back(amount_msat: int) -> None:
    """Invariant: decode(encode(x)) = x, to the msat."""
    assert decode_invoice(make(amount_msat=amount_msat)).amount_msat == amount_msat


def test_every_changed_character_is_noticed() -> None:
    """The checksum covers all: no single change passes."""
    text = make()
    for at in range(0, len(text), 3):
        changed = text[:at] + ("q" if text[at] != "q" else "p") + text[at + 1 :]
        with pytest.raises(InvalidInvoice):
            decode_invoice(changed)


def test_every_cut_is_refused() -> None:
    text = make()
    for end in range(0, len(text), 5):
        with pytest.raises(InvalidInvoice):
            decode_invoice(text[:end])


def test_a_changed_data_part_with_a_right_checksum_is_another_payees() -> None:
    """Without an `n` field the key is recovered: a forged invoice is never the first payee's."""
    text = make()
    hrp, values = bech32.bech32_decode(text)
    assert values is not None
    original = decode_invoice(text)
    values[3] ^= 1
    try:
        forged = decode_invoice(str(bech32.bech32_encode(hrp, values)))
    except InvalidInvoice:
        return
    assert forged.payee != original.payee


@pytest.mark.parametrize(
    "text", ["", "1", "lnbc", "lnbc1", "lnbcrt5n1qqqqqq", "ünvoice", "x" * (MAX_LENGTH + 1), "lnbc1\x00"]
)
def test_junk_is_refused(text: str) -> None:
    with pytest.raises(InvalidInvoice):
        decode_invoice(text)


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda raw: bech32_of(raw)))
@settings(max_examples=200, deadline=None)
def test_nothing_else_is_raised(text: str) -> None:
    """Invariant: any text is an invoice or InvalidInvoice."""
    with contextlib.suppress(InvalidInvoice):
        decode_invoice(text)


def bech32_of(raw: bytes) -> str:
    values = bech32.convertbits(raw, 8, 5)
    assert values is not None
    return str(bech32.bech32_encode("lnbcrt10n", values))


def test_an_endless_expiry_is_refused() -> None:
    with pytest.raises(InvalidInvoice, match="century"):
        decode_invoice(make(expiry=200 * 366 * 86400))


def test_the_payee_is_the_signers_key() -> None:
    from coincurve import PrivateKey

    key = hashlib.sha256(b"node").hexdigest()
    assert decode_invoice(make(key=key)).payee == PrivateKey.from_hex(key).public_key.format().hex()
