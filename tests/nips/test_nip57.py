"""NIP-57: our requests, providers' receipts, and everything that a receipt can get wrong."""

import hashlib
from typing import Any

import bolt11
import pytest

from nips.errors import NipError
from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, encode_event
from nips.nip57 import (
    InvalidZap,
    ZapRequest,
    build_zap_receipt,
    build_zap_request,
    check_zap_receipt,
    check_zap_request,
    proves_payment,
    zap_request_text,
)

SENDER, MINER, PROVIDER = (SecretKey(bytes([number]) * 32) for number in (1, 2, 3))
PREIMAGE = "42" * 32


def request(**changes: Any) -> ZapRequest:
    fields: dict[str, Any] = {
        "recipient": MINER.pubkey,
        "amount_msat": 5000,
        "lnurl": "lnurl1x",
        "relays": ["wss://a", "wss://b", "wss://c", "wss://d"],
        "content": "Pool: 5 sat",
        "created_at": 1_800_000_000,
        **changes,
    }
    return check_zap_request(zap_request_text(SENDER.sign(build_zap_request(**fields))))


def invoice(asked: ZapRequest, *, amount_msat: int = 5000, described: str | None = None) -> str:
    tags = bolt11.Tags()
    tags.add(bolt11.TagChar.payment_hash, hashlib.sha256(bytes.fromhex(PREIMAGE)).hexdigest())
    tags.add(bolt11.TagChar.payment_secret, "11" * 32)
    tags.add(bolt11.TagChar.description_hash, described or asked.description_hash)
    made = bolt11.Bolt11("bcrt", 1_800_000_000, tags, bolt11.MilliSatoshi(amount_msat))
    return str(bolt11.encode(made, "41" * 32))


def text_of(tags: Tags, kind: int = 9734) -> str:
    return encode_event(SENDER.sign(UnsignedEvent(kind, 1, tags, ""))).decode()


def test_a_request_says_what_nip57_asks_and_names_no_event() -> None:
    asked = request()
    assert asked.event.kind == 9734
    assert (asked.recipient, asked.amount_msat, asked.lnurl) == (MINER.pubkey, 5000, "lnurl1x")
    assert asked.relays == ("wss://a", "wss://b", "wss://c")
    assert {tag[0] for tag in asked.event.tags} == {"relays", "amount", "lnurl", "p"}
    assert asked.description_hash == hashlib.sha256(asked.text.encode()).hexdigest()
    with pytest.raises(ValueError, match="relays"):
        request(relays=[])


GOOD: Tags = (("p", MINER.pubkey), ("relays", "wss://a"), ("amount", "5000"))


def test_the_amount_must_be_the_querys() -> None:
    assert check_zap_request(text_of(GOOD), amount_msat=5000).amount_msat == 5000
    with pytest.raises(InvalidZap, match="5000"):
        check_zap_request(text_of(GOOD), amount_msat=5001)
    assert check_zap_request(text_of(GOOD[:2]), amount_msat=5001).amount_msat is None


@pytest.mark.parametrize(
    "tags",
    [
        GOOD[1:],
        (*GOOD, GOOD[0]),
        (("p", "xy"), *GOOD[1:]),
        (*GOOD, ("e", "aa" * 32), ("e", "bb" * 32)),
        (GOOD[0], GOOD[2]),
        (GOOD[0], ("relays",), GOOD[2]),
        (*GOOD[:2], ("amount", "0")),
        (*GOOD[:2], ("amount", "-5")),
        (*GOOD[:2], ("amount", "5e3")),
        (*GOOD, ("amount", "5000")),
    ],
)
def test_requests_out_of_form_are_refused(tags: Tags) -> None:
    with pytest.raises(InvalidZap):
        check_zap_request(text_of(tags))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "x", text_of(GOOD, kind=1), text_of(GOOD).replace('"5000"', '"6000"'), text_of(GOOD)[:-4] + '0"}'],
)
def test_what_is_no_signed_request_is_refused(text: str) -> None:
    with pytest.raises(NipError):
        check_zap_request(text)


def receipt(
    asked: ZapRequest, text: str, *, signer: SecretKey = PROVIDER, kind: int = 9735, **changes: tuple[str, ...] | None
) -> Any:
    """A provider's receipt; `changes` replace a tag by name (None drops it)."""
    made = build_zap_receipt(asked, bolt11=text, preimage=PREIMAGE, paid_at=1_800_000_001)
    tags = [changes.get(tag[0], tag) for tag in made.tags]
    return signer.sign(UnsignedEvent(kind, made.created_at, tuple(tag for tag in tags if tag is not None), ""))


def check(event: Any, asked: ZapRequest, text: str) -> None:
    check_zap_receipt(event, provider=PROVIDER.pubkey, request=asked, bolt11=text)


def test_a_receipt_that_holds() -> None:
    asked = request()
    text = invoice(asked)
    event = receipt(asked, text)
    assert event.tag_value("P") == SENDER.pubkey
    check(event, asked, text)
    check(receipt(asked, text, preimage=None), asked, text)
    check(receipt(asked, text, P=None), asked, text)
    check(receipt(asked, text, bolt11=("bolt11", text.upper())), asked, text)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"signer": MINER}, "nostrPubkey"),
        ({"kind": 9736}, "kind"),
        ({"p": ("p", PROVIDER.pubkey)}, "somebody else"),
        ({"p": None}, "p tags"),
        ({"P": ("P", MINER.pubkey)}, "sender"),
        ({"description": ("description", "{}")}, "another request"),
        ({"description": None}, "description"),
        ({"bolt11": ("bolt11", "lnbcrt1")}, "another invoice"),
        ({"bolt11": None}, "bolt11"),
        ({"preimage": ("preimage", "43" * 32)}, "preimage"),
        ({"preimage": ("preimage", "zz")}, "preimage"),
    ],
)
def test_a_receipt_with_one_thing_wrong_does_not_hold(changes: dict[str, Any], word: str) -> None:
    asked = request()
    text = invoice(asked)
    with pytest.raises(InvalidZap, match=word):
        check(receipt(asked, text, **changes), asked, text)


def test_a_receipt_over_a_wrong_invoice_does_not_hold() -> None:
    asked = request()
    for text, word in (
        (invoice(asked, amount_msat=4000), "amount"),
        (invoice(asked, described="ab" * 32), "commit"),
        ("lnbcrt1x", "invoice"),
    ):
        with pytest.raises(InvalidZap, match=word):
            check(receipt(asked, text), asked, text)


def test_a_preimage_proves_its_hash_alone() -> None:
    payment_hash = hashlib.sha256(bytes.fromhex(PREIMAGE)).hexdigest()
    assert proves_payment(PREIMAGE, payment_hash)
    assert not proves_payment("43" * 32, payment_hash)
    assert not proves_payment(PREIMAGE[:-2], payment_hash)
    assert not proves_payment("", hashlib.sha256(b"").hexdigest())
