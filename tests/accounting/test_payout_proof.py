"""What a payout's proof is worth."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from accounting.facts import ATTESTED, CLAIMED, PROVEN, REFUTED
from accounting.payout_proof import Proof, check_proof
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event
from nips.nip57 import build_zap_request, zap_request_text
from nips.pool.kinds import WITHDRAWAL
from nips.pool.payout import Payout, parse_payout

MakeInvoice = Callable[..., str]


@pytest.fixture
def paid(story: Any) -> Payout:
    return parse_payout(story.events["payout 0"])


def grade(story: Any, payout: Payout, *named: VerifiedEvent, pool_keys: frozenset[str] = frozenset()) -> Proof:
    zappers = frozenset({story.keys.zapper.pubkey})
    return check_proof(payout, zappers, pool_keys, {event.id: event for event in named})


def test_a_zap_with_its_receipt_is_attested(story: Any, paid: Payout) -> None:
    proof = grade(story, paid, story.events["receipt 0"])
    assert proof.grade == ATTESTED
    assert len(proof.serves) == 1
    assert proof.serves[0].startswith("payment ")


def test_without_its_receipt_it_is_claimed_and_says_which_lacks(story: Any, paid: Payout) -> None:
    proof = grade(story, paid)
    assert (proof.grade, proof.receipt) == (CLAIMED, story.events["receipt 0"].id)
    told = replace(paid, proof={name: value for name, value in paid.proof.items() if name != "receipt"})
    assert grade(story, told, story.events["receipt 0"]).grade == CLAIMED


def test_a_receipt_counts_by_the_provider_that_the_record_names(story: Any, paid: Payout) -> None:
    receipt = story.events["receipt 0"]
    nameless = replace(paid, proof={name: value for name, value in paid.proof.items() if name != "provider"})
    assert grade(story, nameless, receipt).grade == CLAIMED
    for wrong in (story.keys.bob.pubkey, "", receipt.pubkey.upper()):
        proof = grade(story, replace(paid, proof={**paid.proof, "provider": wrong}), receipt)
        assert (proof.grade, proof.text) == (REFUTED, "the zap receipt is not signed by the provider's nostrPubkey")
    assert grade(story, replace(paid, proof={**paid.proof, "provider": 7}), receipt).grade == CLAIMED


def test_a_receipt_that_the_pool_signed_is_the_payers_own_word(story: Any, paid: Payout) -> None:
    keys = frozenset({story.keys.provider.pubkey})
    assert grade(story, paid, story.events["receipt 0"], pool_keys=keys).grade == CLAIMED


def test_a_receipt_of_another_payment_refutes(story: Any, paid: Payout) -> None:
    other = story.events["receipt 1"]
    told = replace(paid, proof={**paid.proof, "receipt": other.id})
    assert grade(story, told, other).grade == REFUTED


def test_an_invoice_that_the_miner_signed_proves(story: Any, paid: Payout, invoice: MakeInvoice) -> None:
    preimage = hashlib.sha256(b"payout 0").digest()
    request = zap_request_text(story.keys.zapper.sign(UnsignedEvent(1, 1, (), "")))
    text = invoice(story.keys.alice, paid.amount_msat, preimage, request, 1_700_000_000)
    told = replace(paid, method="bolt11", proof={"bolt11": text, "preimage": preimage.hex()})
    made = grade(story, told)
    by_miner = story.keys.alice.pubkey == paid.miner
    assert by_miner
    # A BOLT 11 payee may be either point of the x; the key that signed is the miner's.
    assert made.grade == PROVEN


def test_an_invoice_that_the_miner_asked_to_pay_proves(story: Any, paid: Payout, invoice: MakeInvoice) -> None:
    preimage = bytes(32)
    text = invoice(story.keys.provider, paid.amount_msat, preimage, "x", 1_700_000_000)
    content = json.dumps({"v": 1, "method": "bolt11", "amount_msat": paid.amount_msat, "bolt11": text, "expires": 1})
    tags = (story.pool.tag(),)
    asked = story.keys.alice.sign(UnsignedEvent(WITHDRAWAL, 1, tags, content))
    forged = story.keys.bob.sign(UnsignedEvent(WITHDRAWAL, 1, tags, content))
    other = story.keys.alice.sign(UnsignedEvent(WITHDRAWAL, 1, tags, content.replace(text, "lnbcrt1other")))
    # What a miner asked of another pool that one may have paid, and shown the preimage.
    elsewhere = [
        story.keys.alice.sign(UnsignedEvent(WITHDRAWAL, 1, tags, content))
        for tags in (
            (),
            (("a", f"34210:{story.keys.bob.pubkey}:regtest"),),
            (("a", f"34210:{story.pool.pubkey}:main"),),
        )
    ]
    for request, expected in (
        (asked, PROVEN),
        (forged, CLAIMED),
        (other, CLAIMED),
        *((each, CLAIMED) for each in elsewhere),
    ):
        told = replace(paid, method="bolt11", to=request.id, proof={"bolt11": text, "preimage": preimage.hex()})
        assert grade(story, told, asked, forged, other, *elsewhere).grade == expected


def resigned(story: Any, paid: Payout, invoice: MakeInvoice, **changes: Any) -> Payout:
    """A payout whose zap request is wrong, the invoice committing to it all the same."""
    signer = changes.pop("signer", story.keys.zapper)
    fields = {
        "recipient": paid.miner,
        "amount_msat": paid.amount_msat,
        "lnurl": "lnurl1",
        "relays": ("ws://x",),
        "content": "",
        "created_at": 1_700_000_000,
    }
    request = signer.sign(build_zap_request(**{**fields, **changes}))
    preimage = hashlib.sha256(b"again").digest()
    text = invoice(story.keys.provider, paid.amount_msat, preimage, zap_request_text(request), 1_700_000_000)
    proof = {"bolt11": text, "preimage": preimage.hex(), "zap_request": json.loads(encode_event(request))}
    return replace(paid, proof=proof)


def test_a_zap_request_by_the_right_key_over_the_right_amount(story: Any, paid: Payout, invoice: MakeInvoice) -> None:
    assert grade(story, resigned(story, paid, invoice)).grade == CLAIMED
    for changes, text in (
        ({"signer": story.keys.bob}, "not signed by a zapper"),
        ({"recipient": story.keys.bob.pubkey}, "somebody else"),
        ({"amount_msat": 1}, "1 msat"),
    ):
        proof = grade(story, resigned(story, paid, invoice, **changes))
        assert proof.grade == REFUTED
        assert text in proof.text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"preimage": "11" * 32}, "preimage"),
        ({"preimage": "zz"}, "preimage"),
        ({"preimage": 7}, "no preimage"),
        ({"bolt11": None}, "no bolt11"),
        ({"bolt11": "lnbcrt1qq"}, "invoice"),
        ({"zap_request": None}, "zap request"),
        ({"zap_request": {"id": 1}}, "zap request"),
    ],
)
def test_what_does_not_hold_is_refuted(story: Any, paid: Payout, changes: dict[str, Any], text: str) -> None:
    proof = grade(story, replace(paid, proof={**paid.proof, **changes}))
    assert proof.grade == REFUTED
    assert text in proof.text
    assert proof.serves == ()


def test_a_zap_request_with_a_forged_signature_is_refuted(story: Any, paid: Payout) -> None:
    request = {**paid.proof["zap_request"], "content": "other"}
    assert grade(story, replace(paid, proof={**paid.proof, "zap_request": request})).grade == REFUTED


def test_play_money_pays_no_real_debt(story: Any, paid: Payout) -> None:
    real = replace(paid, pool=paid.pool._replace(network="main"))
    proof = grade(story, real, story.events["receipt 0"])
    assert (proof.grade, "regtest" in proof.text) == (REFUTED, True)


def test_a_method_that_is_not_checked_is_a_claim(story: Any, paid: Payout) -> None:
    assert grade(story, replace(paid, method="coinbase", proof={})).grade == CLAIMED


def test_money_that_came_back_is_a_claim(story: Any, paid: Payout) -> None:
    assert grade(story, replace(paid, amount_msat=-1, reverses="x")).grade == CLAIMED
