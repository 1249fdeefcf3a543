"""What the proof of a payout by ecash shows without its mint (SPEC.md, "4215 payout record", *Ecash*)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nips.errors import NipError
from nips.nip01 import parse_event, verify
from nips.nip61 import DEFAULT_UNIT, NutzapInfo, parse_info
from nips.nut00 import MAX_URL, InvalidMintUrl, Proof, normal_mint_url, parse_proofs, proof_y, total
from nips.nut11 import Lock, parse_secret
from nips.nut12 import check_dleq
from nips.pool.content import decode_strict
from nips.pool.payout import Payout

ECASH_METHODS = frozenset({"nutzap", "cashu"})
# As many as an event of 60,000 bytes holds with their locks.
MAX_YS = 64
# Amounts are the mint's powers of two.
MAX_KEYS = 256
# Up to 2^63 in decimal; longer ones would cost time, or be refused by int().
_AMOUNT = re.compile(r"[0-9]{1,20}")
# A mint's keys by its URL in the normal form and the keyset's id, as somebody asked the mint; by `LISTED` in the place
# of an id nothing: that is all it lists.
LISTED = ""
MintKeys = Mapping[tuple[str, str], Mapping[int, str]]


class NoProof(Exception):
    """Why a proof does not hold."""


@dataclass(frozen=True, slots=True)
class Ecash:
    """What a payout shows of its ecash: `ys` names it; `own`: its lock key is the miner's, by its own word.

    `asked`: whether the keys that signed it are those that the mint itself shows; `unlisted`: whether the mint was
    asked, and does not list their keyset.
    """

    ys: tuple[str, ...]
    own: bool
    asked: bool
    unlisted: bool = False


def _point(value: object) -> bool:
    if type(value) is not str or len(value) != 66 or value[:2] not in ("02", "03"):
        return False
    return all(char in "0123456789abcdef" for char in value)


def _mint(proof: Mapping[str, Any]) -> str:
    mint = proof.get("mint")
    if type(mint) is not str or not 0 < len(mint) <= MAX_URL:
        raise NoProof("the proof names no mint")
    if proof.get("unit") != DEFAULT_UNIT:
        raise NoProof(f"the ecash is not in {DEFAULT_UNIT}")
    return mint


def _check_amount(payout: Payout, amount: int) -> None:
    if amount * 1000 != payout.amount_msat:
        raise NoProof(f"the ecash is worth {amount} sat, the payout is over {payout.amount_msat} msat")


def _unlocked(payout: Payout) -> Ecash:
    ys, amount = payout.proof.get("ys"), payout.proof.get("amount")
    if type(ys) is not list or not 0 < len(ys) <= MAX_YS or not all(_point(y) for y in ys):
        raise NoProof("the proof has neither proofs of ecash nor their Y values")
    if ys != sorted(set(ys)):
        raise NoProof("the Y values are not sorted, or one stands twice")
    if type(amount) is not int or amount < 1:
        raise NoProof("the proof names no amount of ecash")
    _check_amount(payout, amount)
    return Ecash(tuple(ys), own=False, asked=False)


def _keys(proof: Mapping[str, Any]) -> dict[int, str]:
    keys = proof.get("keys")
    if type(keys) is not dict or not 0 < len(keys) <= MAX_KEYS:
        raise NoProof("the proof shows no keys of the mint")
    if not all(_AMOUNT.fullmatch(amount) and _point(key) for amount, key in keys.items()):
        raise NoProof("the mint's keys are not amounts and public keys")
    return {int(amount): key for amount, key in keys.items() if str(int(amount)) == amount}


def _lock(payout: Payout, proofs: tuple[Proof, ...]) -> Lock:
    for proof in proofs:
        # Of a name that stands twice the mint may take the other one than we do.
        decode_strict(proof.secret)
    locks = {parse_secret(proof.secret) for proof in proofs}
    if len(locks) != 1:
        raise NoProof("the ecash is locked in different ways")
    lock = locks.pop()
    if lock.locktime is not None and lock.locktime <= payout.created_at:
        raise NoProof("the lock had run out before the payout: the pool could take it back at once")
    return lock


def _info(payout: Payout, mint: str, lock: Lock) -> NutzapInfo:
    """The miner's 10019, if this ecash is what it asks for."""
    event = verify(parse_event(payout.proof.get("info")))
    if event.pubkey != payout.miner or event.id != payout.to:
        raise NoProof("the nutzap info is not the miner's that the payout names")
    info = parse_info(event)
    if info.lock_key != lock.pubkey:
        raise NoProof("the ecash is locked to another key than the miner's nutzap info names")
    listed = info.listed(mint)
    if listed is None or not listed.takes(DEFAULT_UNIT):
        raise NoProof("the miner's nutzap info does not name that mint")
    return info


def _check_with_mint(
    mint: str, proofs: tuple[Proof, ...], keys: Mapping[int, str], asked: MintKeys
) -> tuple[bool, bool]:
    """Whether the mint was asked for its keys, which are those of the proof then; whether it lists no such keyset."""
    try:
        url = normal_mint_url(mint)
    except InvalidMintUrl:
        return False, False
    known = asked.get((url, proofs[0].id))
    if known is None:
        return False, (url, LISTED) in asked
    if any(known.get(proof.amount) != keys[proof.amount] for proof in proofs):
        raise NoProof("the keys that the proof shows are not the mint's")
    return True, False


def check_ecash(payout: Payout, asked: MintKeys) -> Ecash:
    """Judge the ecash of a payout. `asked`: keys that mints were asked for. Raises NoProof."""
    proof = payout.proof
    mint = _mint(proof)
    if payout.method == "cashu" and "proofs" not in proof:
        return _unlocked(payout)
    try:
        proofs = parse_proofs(proof.get("proofs"))
        keys = _keys(proof)
        lock = _lock(payout, proofs)
        if payout.method == "nutzap":
            _info(payout, mint, lock)
        if len({each.id for each in proofs}) != 1:
            raise NoProof("the ecash is of several keysets")
        for each in proofs:
            if each.amount not in keys:
                raise NoProof(f"the mint's key for {each.amount} is not shown")
            check_dleq(each, keys[each.amount])
    except NipError as error:
        raise NoProof(str(error)) from None
    _check_amount(payout, total(proofs))
    own = payout.method == "nutzap" or lock.pubkey == f"02{payout.miner}"
    ys = tuple(sorted(proof_y(each) for each in proofs))
    known, unlisted = _check_with_mint(mint, proofs, keys, asked)
    return Ecash(ys, own=own, asked=known, unlisted=unlisted)
