"""DLEQ: the NUT's vectors, a mint of our own making, and everything changed by a bit."""

from collections.abc import Callable
from typing import Any

import coincurve
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nips.keys import ORDER, SecretKey
from nips.nut00 import Dleq, InvalidProof, Proof, hash_to_curve, parse_proof, proof_y
from nips.nut11 import Lock, parse_secret
from nips.nut12 import check_dleq, hash_e

Vectors = Callable[[str], Any]


def test_the_nuts_hash(vectors: Vectors) -> None:
    case = vectors("nut")["hash_e"]
    assert hash_e(*(coincurve.PublicKey(bytes.fromhex(point)) for point in case["points"])).hex() == case["hash"]


def test_the_nuts_proof(vectors: Vectors) -> None:
    case = vectors("nut")["dleq"]
    check_dleq(parse_proof(case["proof"]), case["key"])


def test_cashu_ts_agrees(vectors: Vectors) -> None:
    """The JavaScript library's lock, its point for ours, and a proof of its mint."""
    case = vectors("nut")["cashu_ts"]
    proof = parse_proof(case["proof"])
    owner, refund = ("02" + SecretKey(bytes([number]) * 32).pubkey for number in (0x43, 0x41))
    lock = Lock(owner, 1_800_086_400, (refund,))
    assert parse_secret(case["locked"]) == lock
    assert parse_secret(proof.secret) == lock
    assert proof_y(proof) == case["y"]
    check_dleq(proof, case["key"])


def test_one_changed_digit_is_noticed(vectors: Vectors) -> None:
    case = vectors("nut")["dleq"]
    good = parse_proof(case["proof"])
    assert good.dleq is not None
    changed = [
        msgspec.structs.replace(good, secret="0" + good.secret[1:]),
        msgspec.structs.replace(good, C="03" + good.C[2:]),
        msgspec.structs.replace(good, C="02" + "00" * 32),
    ]
    for name in "esr":
        digits = getattr(good.dleq, name)
        changed += [
            msgspec.structs.replace(good, dleq=msgspec.structs.replace(good.dleq, **{name: other}))
            for other in (digits[:-1] + ("0" if digits[-1] != "0" else "1"), "00" * 32, f"{ORDER:x}", "ff" * 32)
        ]
    for proof in changed:
        with pytest.raises(InvalidProof):
            check_dleq(proof, case["key"])
    for key in ("03" + case["key"][2:], "02" + "ab" * 32, "02" + "00" * 32):
        with pytest.raises(InvalidProof):
            check_dleq(good, key)


def test_no_dleq_is_no_proof(vectors: Vectors) -> None:
    case = vectors("nut")["dleq"]
    with pytest.raises(InvalidProof, match="without a DLEQ"):
        check_dleq(msgspec.structs.replace(parse_proof(case["proof"]), dleq=None), case["key"])


def minted(mint: int, blinding: int, nonce: int, secret: str) -> tuple[Proof, str]:
    """What a mint with that key gives for a secret: NUT-00's blind signature, NUT-12's DLEQ."""

    def scalar(number: int) -> bytes:
        return (number % ORDER).to_bytes(32, "big")

    key = coincurve.PublicKey.from_valid_secret(scalar(mint))
    y = hash_to_curve(secret.encode())
    blinded = coincurve.PublicKey.combine_keys([y, coincurve.PublicKey.from_valid_secret(scalar(blinding))])
    blind_signature = blinded.multiply(scalar(mint))
    challenge = hash_e(
        coincurve.PublicKey.from_valid_secret(scalar(nonce)), blinded.multiply(scalar(nonce)), key, blind_signature
    )
    response = scalar(nonce + int.from_bytes(challenge, "big") * mint)
    dleq = Dleq(challenge.hex(), response.hex(), scalar(blinding).hex())
    return Proof("00" * 8, 1, secret, y.multiply(scalar(mint)).format().hex(), dleq), key.format().hex()


scalars = st.integers(1, ORDER - 1)


@settings(max_examples=30)
@given(scalars, scalars, scalars, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_what_a_mint_signs_holds(mint: int, blinding: int, nonce: int, secret: str) -> None:
    proof, key = minted(mint, blinding, nonce, secret)
    check_dleq(proof, key)
    other, _ = minted(mint % (ORDER - 1) + 1, blinding, nonce, secret)
    with pytest.raises(InvalidProof, match="not signed"):
        check_dleq(other, key)
