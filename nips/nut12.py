"""Cashu, NUT-12: whether a mint's key has signed a proof, told offline by the DLEQ proof that comes with it."""

import hashlib

import coincurve

from nips.keys import ORDER
from nips.nut00 import InvalidProof, Proof, hash_to_curve


def hash_e(*points: coincurve.PublicKey) -> bytes:
    """SHA-256 over the uncompressed points, each written in hex."""
    return hashlib.sha256("".join(point.format(compressed=False).hex() for point in points).encode()).digest()


def _scalar(text: str) -> bytes:
    if not 0 < int(text, 16) < ORDER:
        raise InvalidProof("a number of the DLEQ lies outside of the group")
    return bytes.fromhex(text)


def check_dleq(proof: Proof, key: str) -> None:
    """Whether the mint's key for this amount and keyset (33 bytes in hex) has signed the proof.

    Raises InvalidProof, also for a proof without DLEQ: who accepts those accepts anything.
    """
    if proof.dleq is None:
        raise InvalidProof("the proof comes without a DLEQ: only its mint can tell whether it is good")
    challenge, response, blinding = (_scalar(text) for text in (proof.dleq.e, proof.dleq.s, proof.dleq.r))
    try:
        mint_key = coincurve.PublicKey(bytes.fromhex(key))
        signature = coincurve.PublicKey(bytes.fromhex(proof.C))
        combine = coincurve.PublicKey.combine_keys
        # C' = C + r*A and B' = Y + r*G, as Alice had them.
        blind_signature = combine([signature, mint_key.multiply(blinding)])
        blinded = combine([hash_to_curve(proof.secret.encode()), coincurve.PublicKey.from_valid_secret(blinding)])
        # R1 = s*G - e*A, R2 = s*B' - e*C'
        minus = (ORDER - int.from_bytes(challenge, "big")).to_bytes(32, "big")
        first = combine([coincurve.PublicKey.from_valid_secret(response), mint_key.multiply(minus)])
        second = combine([blinded.multiply(response), blind_signature.multiply(minus)])
    except ValueError:
        raise InvalidProof("the proof or its DLEQ holds what is no point of the curve") from None
    if hash_e(first, second, mint_key, blind_signature) != challenge:
        raise InvalidProof("the mint's key has not signed this proof (DLEQ)")
