"""Cashu, NUT-00 and NUT-03: blinded outputs, the mint's signatures on them, and the proofs that come of both.

An output is made and stored before a mint sees it: with the mint's signature, which it gives again whenever it is
asked (NUT-09), it becomes the same proof each time.
"""

import re
from typing import Any

import coincurve
import msgspec

from nips.errors import NipError
from nips.keys import ORDER
from nips.nut00 import MAX_AMOUNT, Dleq, InvalidProof, Proof, hash_to_curve
from nips.nut12 import check_dleq

_HEX64 = re.compile(r"[0-9a-f]{64}")
_POINT = re.compile(r"0[23][0-9a-f]{64}")


class InvalidSignature(NipError):
    """What a mint gave for an output is not its signature on it."""


class Output(msgspec.Struct, frozen=True):
    """What a mint is to sign: `amount` of keyset `id` (0: the mint sets it, NUT-08), the secret, and the blinding
    factor `r` (64 hex digits). Whoever knows secret and r owns what is signed.
    """

    id: str
    amount: int
    secret: str
    r: str

    def blinded(self) -> str:
        """B_ = Y + r*G, 33 bytes in hex: all that the mint sees of it."""
        point = coincurve.PublicKey.from_valid_secret(bytes.fromhex(self.r))
        y = hash_to_curve(self.secret.encode())
        return str(coincurve.PublicKey.combine_keys([y, point]).format().hex())


class Signed(msgspec.Struct, frozen=True):
    """NUT-00's BlindSignature: the mint's `C_` for an output, with NUT-12's `e` and `s`."""

    id: str
    amount: int
    C_: str
    e: str
    s: str


def make_output(keyset: str, amount: int, secret: str, blinding: bytes) -> Output:
    """An output. `blinding`: 32 random bytes; they are taken into the group's order."""
    scalar = int.from_bytes(blinding, "big") % (ORDER - 1) + 1
    return Output(keyset, amount, secret, f"{scalar:064x}")


def message(output: Output) -> dict[str, Any]:
    """NUT-00's BlindedMessage, for JSON."""
    return {"id": output.id, "amount": output.amount, "B_": output.blinded()}


def parse_signed(value: object) -> Signed:
    """A signature out of decoded JSON. Raises InvalidSignature, also without a DLEQ: it could not be judged."""
    if not isinstance(value, dict):
        raise InvalidSignature("a mint's signature is a JSON object")
    identity, amount, point, dleq = (value.get(name) for name in ("id", "amount", "C_", "dleq"))
    if not isinstance(identity, str) or type(amount) is not int or not 0 < amount <= MAX_AMOUNT:
        raise InvalidSignature("a mint's signature names keyset and amount")
    if not isinstance(point, str) or not _POINT.fullmatch(point):
        raise InvalidSignature("a mint's signature is a compressed point in hex")
    challenge, response = (dleq.get(name) if isinstance(dleq, dict) else None for name in "es")
    if not isinstance(challenge, str) or not isinstance(response, str):
        raise InvalidSignature("the mint's signature comes without a DLEQ")
    if not _HEX64.fullmatch(challenge) or not _HEX64.fullmatch(response):
        raise InvalidSignature("the e and s of a DLEQ have 64 hex digits each")
    return Signed(identity, amount, point, challenge, response)


def unblind(output: Output, signed: Signed, key: str) -> Proof:
    """The proof: C = C_ - r*A, with the DLEQ for whoever gets it. `key`: the mint's for that keyset and amount.

    Raises InvalidSignature when keyset or amount are not the output's, or the key has not signed it.
    """
    if signed.id != output.id or output.amount not in (0, signed.amount):
        raise InvalidSignature("the mint has signed another keyset or amount than it was asked to")
    try:
        minus = (ORDER - int(output.r, 16)).to_bytes(32, "big")
        mint_key = coincurve.PublicKey(bytes.fromhex(key))
        blind = coincurve.PublicKey(bytes.fromhex(signed.C_))
        point = coincurve.PublicKey.combine_keys([blind, mint_key.multiply(minus)]).format().hex()
        dleq = Dleq(signed.e, signed.s, output.r)
        proof = Proof(id=output.id, amount=signed.amount, secret=output.secret, C=point, dleq=dleq)
        check_dleq(proof, key)
    except (ValueError, InvalidProof) as error:
        raise InvalidSignature(f"the mint's signature is none: {error}") from None
    return proof
