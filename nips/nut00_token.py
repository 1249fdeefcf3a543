"""Cashu, NUT-00: ecash as a text to pass on, `cashuA` (version 3, JSON) and `cashuB` (version 4, CBOR)."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import cbor2
import msgspec

from nips.errors import NipError
from nips.nut00 import MAX_PROOFS, InvalidMintUrl, InvalidProof, Proof, is_unit, normal_mint_url, parse_proofs

# 64 proofs with locks and DLEQ make some 45 KB.
MAX_TOKEN = 120_000
MAX_MEMO = 1000


class InvalidToken(NipError):
    """A text is no Cashu token, or none that we read."""


@dataclass(frozen=True, slots=True)
class CashuToken:
    """Proofs of one mint and unit."""

    mint: str
    unit: str
    proofs: tuple[Proof, ...]
    memo: str | None = None


def _dump_proof(proof: Proof) -> dict[str, Any]:
    row: dict[str, Any] = {"a": proof.amount, "s": proof.secret, "c": bytes.fromhex(proof.C)}
    if proof.dleq is not None:
        row["d"] = {name: bytes.fromhex(getattr(proof.dleq, name)) for name in "esr"}
    if proof.witness is not None:
        row["w"] = proof.witness
    return row


def encode_token(token: CashuToken) -> str:
    """The token as `cashuB`, with the proofs' DLEQ. Raises ValueError for keysets of the old base64 form."""
    groups: dict[str, list[Proof]] = {}
    for proof in token.proofs:
        groups.setdefault(proof.id, []).append(proof)
    # "Short keyset ids" of version 2 are for wallets that know the mint; the whole id is read by all.
    rows = [{"i": bytes.fromhex(key), "p": [_dump_proof(proof) for proof in row]} for key, row in groups.items()]
    value: dict[str, Any] = {"m": token.mint, "u": token.unit, "t": rows}
    if token.memo is not None:
        value["d"] = token.memo
    return "cashuB" + base64.urlsafe_b64encode(cbor2.dumps(value)).decode().rstrip("=")


def _hex(value: Any) -> str:
    if not isinstance(value, bytes):
        raise InvalidToken("the token holds a text where bytes belong")
    return value.hex()


def _load_proof(keyset: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InvalidToken("a proof of the token is no map")
    proof: dict[str, Any] = {"id": keyset, "amount": row.get("a"), "secret": row.get("s"), "C": _hex(row.get("c"))}
    dleq = row.get("d")
    if dleq is not None:
        if not isinstance(dleq, dict):
            raise InvalidToken("the DLEQ of a proof is no map")
        proof["dleq"] = {name: _hex(dleq.get(name)) for name in "esr"}
    proof["witness"] = row.get("w")
    return proof


def _load_b(data: bytes) -> dict[str, Any]:
    try:
        value = cbor2.loads(data)
    except Exception:  # cbor2 raises its own, ValueError, RecursionError, OverflowError, MemoryError by what it meets
        raise InvalidToken("the token is not CBOR") from None
    if not isinstance(value, dict) or not isinstance(value.get("t"), list):
        raise InvalidToken("the token has no proofs")
    proofs: list[Any] = []
    for group in value["t"]:
        if not isinstance(group, dict) or not isinstance(group.get("p"), list):
            raise InvalidToken("the token has no proofs")
        proofs += [_load_proof(_hex(group.get("i")), row) for row in group["p"][: MAX_PROOFS + 1]]
    return {"mint": value.get("m"), "unit": value.get("u"), "proofs": proofs, "memo": value.get("d")}


def _load_a(data: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidToken("the token is not JSON") from None
    rows = value.get("token") if isinstance(value, dict) else None
    if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], dict):
        raise InvalidToken("the token is not of one mint")
    return {
        "mint": rows[0].get("mint"),
        "unit": value.get("unit") or "sat",
        "proofs": rows[0].get("proofs"),
        "memo": value.get("memo"),
    }


def decode_token(text: str) -> CashuToken:
    """The proofs in a token. Raises InvalidToken."""
    text = text.strip().removeprefix("cashu:")
    if len(text) > MAX_TOKEN or text[:6] not in ("cashuA", "cashuB"):
        raise InvalidToken("a Cashu token begins with cashuA or cashuB")
    body = text[6:].rstrip("=")
    try:
        data = base64.b64decode(body.replace("-", "+").replace("_", "/") + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidToken("the token is not base64") from None
    value = _load_a(data) if text[5] == "A" else _load_b(data)
    mint, unit, memo = value["mint"], value["unit"], value["memo"]
    if not isinstance(mint, str) or not isinstance(unit, str) or not is_unit(unit):
        raise InvalidToken("the token names no mint or no unit")
    try:
        normal_mint_url(mint)
        proofs = parse_proofs(value["proofs"])
    except (InvalidMintUrl, InvalidProof) as error:
        raise InvalidToken(f"the token: {error}") from None
    return CashuToken(mint, unit, proofs, memo[:MAX_MEMO] if isinstance(memo, str) else None)
