"""Files of mints' keys: read back as written, refused when altered, and what they prove."""

import dataclasses
import json
import random
from typing import Any

import pytest

from accounting.facts import ATTESTED, PROVEN, REFUTED
from accounting.mint_keys import InvalidMintKeys, ShownKeyset, mint_keys, read_mint_keys, write_mint_keys
from accounting.payout_proof import check_proof
from nips.nut00 import hash_to_curve
from nips.nut02 import Keyset, keyset_id
from nips.nut03 import make_output, unblind
from nips.nut11 import Lock, build_secret
from nips.pool.payout import Payout, parse_payout
from tests.zapper.mints import MemoryMint, _scalar

URL = "http://mint.test"
AT = 1_800_000_000
KEYS = {2**n: str(hash_to_curve(bytes([n])).format().hex()) for n in range(8)}


def shown(version: str, unit: str = "sat", url: str = URL) -> ShownKeyset:
    keyset = Keyset(version, unit, True, 100, 1_900_000_000)
    return ShownKeyset(url, dataclasses.replace(keyset, id=keyset_id(KEYS, keyset)), KEYS)


def test_what_is_written_is_read() -> None:
    """Keysets with ids of both versions of NUT-02, of two mints; those of other units prove nothing."""
    keysets = (shown("00"), shown("01"), shown("01", "usd"), shown("00", url="https://other.test/path"))
    assert read_mint_keys(write_mint_keys(keysets)) == keysets
    assert {(URL, keysets[0].keyset.id), (URL, keysets[1].keyset.id)} < set(mint_keys(keysets))
    assert (URL, keysets[2].keyset.id) not in mint_keys(keysets)


@pytest.mark.parametrize("version", ["00", "01"])
def test_keys_that_are_not_their_keysets_are_refused(version: str) -> None:
    """The id is computed again from the keys: no digit of any of them can be another."""
    file = json.loads(write_mint_keys([shown(version)]))
    keys = file["mints"][0]["keysets"][0]["keys"]
    for amount, key in keys.items():
        for at in range(2, 66):
            keys[amount] = key[:at] + f"{int(key[at], 16) ^ 1:x}" + key[at + 1 :]
            with pytest.raises(InvalidMintKeys):
                read_mint_keys(json.dumps(file))
        keys[amount] = key
    read_mint_keys(json.dumps(file))
    del keys["1"]
    with pytest.raises(InvalidMintKeys):
        read_mint_keys(json.dumps(file))


def test_a_newer_id_commits_to_unit_fee_and_expiry() -> None:
    for changed in ({"unit": "usd"}, {"input_fee_ppk": 0}, {"final_expiry": 1}):
        file = json.loads(write_mint_keys([shown("01")]))
        file["mints"][0]["keysets"][0].update(changed)
        with pytest.raises(InvalidMintKeys):
            read_mint_keys(json.dumps(file))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"v":2,"mints":[]}', '{"v":1,"mints":{}}', '{"v":1,"mints":[{"mint":"ftp://x"}]}']
)
def test_what_is_no_such_file(text: str) -> None:
    with pytest.raises(InvalidMintKeys):
        read_mint_keys(text)


@pytest.fixture
def mint() -> MemoryMint:
    return MemoryMint(url=URL)


@pytest.fixture
def token(story: Any, mint: MemoryMint) -> Payout:
    base = parse_payout(story.events["payout 0"])
    public = mint._public(mint.secrets)
    secret = build_secret(Lock("02" + base.miner, AT + 1000, ("02" + story.keys.bob.pubkey,)), "ab" * 32)
    output = make_output(mint.keyset.id, 8, secret, _scalar(7))
    proof = unblind(output, mint.sign(output), public[8])
    assert proof.dleq is not None
    dleq = {name: getattr(proof.dleq, name) for name in "esr"}
    row = {"id": proof.id, "amount": 8, "secret": secret, "C": proof.C, "dleq": dleq}
    told = {"mint": URL, "unit": "sat", "keys": {"8": public[8]}, "proofs": [row]}
    return dataclasses.replace(base, method="cashu", amount_msat=8000, created_at=AT, proof=told)


def test_every_bit_of_a_proof_counts(token: Payout, mint: MemoryMint) -> None:
    """With the mint's keys known, no bit of a DLEQ, C, key or secret can be another; of another keyset's id
    the mint has said nothing, so that it proves nothing.
    """
    asked = {(URL, mint.keyset.id): mint._public(mint.secrets)}

    def grade(proof: dict[str, Any], amount_msat: int = 8000) -> str:
        changed = dataclasses.replace(token, proof=proof, amount_msat=amount_msat)
        return check_proof(changed, frozenset(), frozenset(), {}, asked).grade

    assert grade(dict(token.proof)) == PROVEN
    row = token.proof["proofs"][0]
    chance = random.Random(6)

    def flipped(text: str, bit: int) -> str:
        at, low = bit // 4, bit % 4
        return text[:at] + f"{int(text[at], 16) ^ (1 << low):x}" + text[at + 1 :]

    for name, bits in (("e", 256), ("s", 256), ("r", 256), ("C", 264)):
        for bit in range(bits):
            whole = {**row, "dleq": dict(row["dleq"])}
            where = whole if name == "C" else whole["dleq"]
            where[name] = flipped(where[name], bit)
            assert grade({**token.proof, "proofs": [whole]}) == REFUTED, (name, bit)
    for bit in range(264):
        assert grade({**token.proof, "keys": {"8": flipped(token.proof["keys"]["8"], bit)}}) == REFUTED, bit
    for _ in range(300):
        at = chance.randrange(len(row["secret"]))
        other = chr(ord(row["secret"][at]) ^ (1 << chance.randrange(7)))
        secret = row["secret"][:at] + other + row["secret"][at + 1 :]
        assert grade({**token.proof, "proofs": [{**row, "secret": secret}]}) == REFUTED, secret
    for bit in range(14 * 4):
        proofs = [{**row, "id": "00" + flipped(row["id"][2:], bit)}]
        assert grade({**token.proof, "proofs": proofs}) == ATTESTED, bit
    for bit in range(63):
        amount = 8 ^ (1 << bit)
        assert grade({**token.proof, "proofs": [{**row, "amount": amount}]}, amount * 1000) == REFUTED, bit
