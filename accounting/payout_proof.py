"""What a payout record's proof is worth (SPEC.md, "4215 payout record").

*proven*: the miner itself signed the invoice, or the request that held it. *attested*: a zap receipt says it arrived,
signed by the provider that the record names, a key that is none of the pool's; or ecash that only the miner can spend
is signed by the keys shown (and *proven*, if the mint says that they are its own). *claimed*: the record is sound
in itself, but whoever makes an invoice, be it the pool, has its preimage. *refuted*: the proof does not hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accounting.ecash_proof import ECASH_METHODS, MintKeys, NoProof, check_ecash
from accounting.facts import ATTESTED, CLAIMED, PROVEN, REFUTED
from accounting.shelves import Shelf
from nips.bolt11 import Invoice, decode_invoice
from nips.errors import InvalidPoolEvent, NipError
from nips.nip01 import VerifiedEvent, parse_event, verify
from nips.nip57 import ZapRequest, check_zap_receipt, check_zap_request, proves_payment, zap_request_text
from nips.pool.address import address_of
from nips.pool.content import decode_content, parse_id
from nips.pool.kinds import WITHDRAWAL
from nips.pool.payout import Payout

# BOLT 11's prefixes know one test network; testnet4 uses it.
INVOICE_NETWORKS: Mapping[str, str] = {
    "main": "main",
    "testnet4": "testnet",
    "signet": "signet",
    "regtest": "regtest",
}
LIGHTNING_METHODS = frozenset({"zap", "lnurl", "bolt11"})
# An output's number has 32 bits (the transaction format).
MAX_VOUT = 2**32 - 1
# No mint was asked.
NO_MINTS: MintKeys = {}


@dataclass(frozen=True, slots=True)
class Proof:
    """`grade`, why, and `serves`: names of the payment, of which none may serve twice. `receipt`: the id of the zap
    receipt that would raise a claim to attested.
    """

    grade: str
    text: str
    serves: tuple[str, ...] = ()
    receipt: str | None = None


def _text(proof: Mapping[str, Any], name: str) -> str:
    value = proof.get(name)
    if type(value) is not str:
        raise NoProof(f"the proof has no {name}")
    return value


def _paid_invoice(payout: Payout) -> Invoice:
    try:
        invoice = decode_invoice(_text(payout.proof, "bolt11"))
    except NipError as error:
        raise NoProof(str(error)) from None
    if invoice.network != INVOICE_NETWORKS[payout.pool.network]:
        raise NoProof(f"the invoice is of {invoice.network}, the pool of {payout.pool.network}")
    if invoice.amount_msat != payout.amount_msat:
        raise NoProof(f"the invoice is over {invoice.amount_msat} msat, the payout over {payout.amount_msat}")
    if not proves_payment(_text(payout.proof, "preimage"), invoice.payment_hash):
        raise NoProof("the preimage is not the invoice's")
    return invoice


def _zap_request(payout: Payout, invoice: Invoice, zappers: frozenset[str]) -> ZapRequest:
    try:
        text = zap_request_text(verify(parse_event(payout.proof.get("zap_request"))))
        request = check_zap_request(text, amount_msat=payout.amount_msat)
    except NipError as error:
        raise NoProof(f"the zap request: {error}") from None
    if request.event.pubkey not in zappers:
        raise NoProof("the zap request is not signed by a zapper of the pool")
    if request.recipient != payout.miner:
        raise NoProof("the zap request is for somebody else")
    if request.amount_msat != payout.amount_msat:
        raise NoProof("the zap request does not name the payout's amount")
    if invoice.description_hash != request.description_hash:
        raise NoProof("the invoice does not commit to the zap request")
    return request


def _miner_asked(payout: Payout, invoice: Invoice, named: Shelf[VerifiedEvent]) -> bool:
    """Whether the miner's own withdrawal request (4217) to this pool holds this very invoice."""
    request = named.get(payout.to)
    if request is None or request.kind != WITHDRAWAL or request.pubkey != payout.miner:
        return False
    try:
        # What it asked of another pool may have been paid by that one.
        asked = decode_content(request.content).get("bolt11") if address_of(request) == payout.pool else None
    except NipError:
        return False
    return type(asked) is str and asked.lower() == invoice.text


def _lightning(
    payout: Payout, zappers: frozenset[str], pool_keys: frozenset[str], named: Shelf[VerifiedEvent]
) -> Proof:
    invoice = _paid_invoice(payout)
    serves = (f"payment {invoice.payment_hash}",)
    request = _zap_request(payout, invoice, zappers) if payout.method == "zap" else None
    if invoice.payee[2:] == payout.miner or _miner_asked(payout, invoice, named):
        return Proof(PROVEN, "the miner signed the invoice or asked for it", serves)
    told = payout.proof.get("receipt")
    if request is None or type(told) is not str:
        return Proof(CLAIMED, "the preimage is the payer's word", serves)
    provider = payout.proof.get("provider")
    if type(provider) is not str:
        return Proof(CLAIMED, "the proof does not name the key that signs the recipient's receipts", serves)
    if provider in pool_keys:
        return Proof(CLAIMED, "the zap receipt is the pool's own", serves)
    receipt = named.get(told)
    if receipt is None:
        return Proof(CLAIMED, "the zap receipt was not read", serves, told)
    try:
        check_zap_receipt(receipt, provider=provider, request=request, bolt11=invoice.text)
    except NipError as error:
        raise NoProof(str(error)) from None
    return Proof(ATTESTED, "the recipient's provider signed the zap receipt", serves)


def _ecash(payout: Payout, asked: MintKeys) -> Proof:
    shown = check_ecash(payout, asked)
    serves = tuple(f"ecash {y}" for y in shown.ys)
    if payout.method == "nutzap":
        serves = (f"nutzap {parse_id(payout.proof.get('nutzap'), 'nutzap')}", *serves)
    if not shown.own:
        return Proof(CLAIMED, "the ecash is not locked to the miner's own key", serves)
    if shown.unlisted:
        # No contradiction: the mint may have dropped it since, or have it since it was asked.
        return Proof(CLAIMED, "the ecash is of a keyset that the mint does not list", serves)
    if not shown.asked:
        return Proof(ATTESTED, "ecash that only the miner can spend, by the keys shown", serves)
    return Proof(PROVEN, "ecash that only the miner can spend, by the mint's keys", serves)


def _onchain(payout: Payout) -> Proof:
    txid, vout = parse_id(payout.proof.get("txid"), "txid"), payout.proof.get("vout")
    if type(vout) is not int or not 0 <= vout <= MAX_VOUT:
        raise NoProof("the proof has no vout")
    if payout.amount_msat % 1000:
        raise NoProof("an output holds whole satoshis")
    return Proof(CLAIMED, "the chain was not asked", (f"output {txid}:{vout}",))


def check_proof(
    payout: Payout,
    zappers: frozenset[str],
    pool_keys: frozenset[str],
    named: Shelf[VerifiedEvent],
    mint_keys: MintKeys = NO_MINTS,
) -> Proof:
    """Grade a payout's proof. `zappers`, `pool_keys`: keys of the terms, hex; `named`: zap receipts and withdrawal
    requests that were read, by id; `mint_keys`: of mints that were asked. What the chain says of a payout on it, and so
    *proven*, is accounting.onchain_proof's. A reversal has no proof but the money's being
    back: claimed.
    """
    if payout.amount_msat < 0:
        return Proof(CLAIMED, "money that came back shows on no relay")
    try:
        if payout.method in ECASH_METHODS:
            return _ecash(payout, mint_keys)
        if payout.method == "onchain":
            return _onchain(payout)
        if payout.method not in LIGHTNING_METHODS:
            return Proof(CLAIMED, f"the method {payout.method} is not checked by this version")
        return _lightning(payout, zappers, pool_keys, named)
    except (NoProof, InvalidPoolEvent) as error:
        return Proof(REFUTED, str(error))
