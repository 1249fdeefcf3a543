"""Blinded outputs: the NUT's vectors, and signatures that are none."""

import hashlib
from typing import Any

import coincurve
import msgspec
import pytest

from nips.keys import ORDER, SecretKey
from nips.nut00 import hash_to_curve, proof_y
from nips.nut03 import InvalidSignature, Output, make_output, message, parse_signed, unblind
from nips.nut11 import Lock, build_secret, sign_input
from nips.nut20 import sign_quote
from tests.zapper.mints import MemoryMint, without_dleq

# NUT-00's vector of blinding: x as text of the message, r, and B_.
BLINDED = "033b1a9737a40cc3fd9b6af4b723632b76a67a36782596304612a6c2bfb5197e6d"


def test_the_nuts_blinded_message() -> None:
    """The vector's secret is of raw bytes, which no text is: its B_ is Y + r*G, made here by hand."""
    y = hash_to_curve(bytes.fromhex("d341ee4871f1f889041e63cf0d3823c713eea6aff01e80f1719f08f9e5be98f6"))
    r = bytes.fromhex("99fce58439fc37412ab3468b73db0569322588f62fb3a49182d67e23d877824a")
    made = coincurve.PublicKey.combine_keys([y, coincurve.PublicKey.from_valid_secret(r)]).format().hex()
    assert made == BLINDED


def signed_by(mint: MemoryMint, output: Output) -> Any:
    return msgspec.to_builtins(mint.sign(output))


def answer(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "amount": row["amount"], "C_": row["C_"], "dleq": {"e": row["e"], "s": row["s"]}}


def test_a_signature_becomes_the_same_proof_each_time() -> None:
    mint = MemoryMint()
    output = make_output(mint.keyset.id, 8, "secret", bytes(31) + b"\x05")
    assert message(output) == {"id": mint.keyset.id, "amount": 8, "B_": output.blinded()}
    key = mint._public(mint.secrets)[8]
    proofs = {unblind(output, parse_signed(answer(signed_by(mint, output))), key).C for _ in range(3)}
    assert len(proofs) == 1
    proof = unblind(output, mint.sign(output), key)
    mint._spend([without_dleq(proof)])
    assert len(proof_y(proof)) == 66


def test_blank_outputs_take_the_mints_amount() -> None:
    mint = MemoryMint()
    output = make_output(mint.keyset.id, 0, "blank", b"\x01" * 32)
    proof = unblind(output, mint.sign(output, 4), mint._public(mint.secrets)[4])
    assert proof.amount == 4


def test_what_is_no_signature_on_the_output() -> None:
    mint = MemoryMint()
    output = make_output(mint.keyset.id, 8, "secret", b"\x01" * 32)
    good = mint.sign(output)
    key = mint._public(mint.secrets)[8]
    unblind(output, good, key)
    for wrong in (
        msgspec.structs.replace(good, amount=16),
        msgspec.structs.replace(good, id="00" * 8),
        msgspec.structs.replace(good, C_="02" + "00" * 32),
        msgspec.structs.replace(good, C_=key),
        msgspec.structs.replace(good, e="11" * 32),
        msgspec.structs.replace(good, s="00" * 32),
    ):
        with pytest.raises(InvalidSignature):
            unblind(output, wrong, key)
    for wrong_key in (mint._public(mint.secrets)[16], "", "zz", "02" + "00" * 32):
        with pytest.raises(InvalidSignature):
            unblind(output, good, wrong_key)
    with pytest.raises(InvalidSignature):
        unblind(msgspec.structs.replace(output, secret="another"), good, key)


@pytest.mark.parametrize(
    "change",
    [
        {"dleq": None},
        {"dleq": {}},
        {"dleq": {"e": "11" * 32, "s": "xx" * 32}},
        {"amount": 0},
        {"amount": "8"},
        {"C_": "ff"},
        {"id": 1},
    ],
)
def test_signatures_out_of_form(change: dict[str, Any]) -> None:
    mint = MemoryMint()
    row = answer(signed_by(mint, make_output(mint.keyset.id, 8, "secret", b"\x01" * 32)))
    parse_signed(row)
    with pytest.raises(InvalidSignature):
        parse_signed({**row, **change})
    with pytest.raises(InvalidSignature):
        parse_signed([row])


def test_blinding_factors_are_scalars() -> None:
    for raw in (bytes(32), b"\xff" * 32, (ORDER - 1).to_bytes(32, "big"), ORDER.to_bytes(32, "big")):
        assert 0 < int(make_output("00" * 8, 1, "s", raw).r, 16) < ORDER


def test_witnesses_are_signatures_over_the_secret() -> None:
    key = SecretKey(b"\x05" * 32)
    secret = build_secret(Lock("02" + key.pubkey), "ab" * 32)
    witness = msgspec.json.decode(sign_input(secret, key))
    signature = bytes.fromhex(witness["signatures"][0])
    public = coincurve.PublicKeyXOnly(bytes.fromhex(key.pubkey))
    assert public.verify(signature, hashlib.sha256(secret.encode()).digest())
    output = make_output("00" * 8, 1, "s", b"\x01" * 32)
    digest = hashlib.sha256(("quote" + output.blinded()).encode()).digest()
    assert public.verify(bytes.fromhex(sign_quote("quote", [output], key)), digest)
