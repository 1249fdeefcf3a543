"""Payouts by ecash: what their records show without the mint, and every way to tamper with them."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from accounting.ecash_proof import LISTED
from accounting.facts import ATTESTED, CLAIMED, PROVEN, REFUTED
from accounting.payout_proof import Proof, check_proof
from nips.keys import SecretKey
from nips.nip01 import encode_event
from nips.nip61 import ListedMint, build_info
from nips.nut00 import parse_proofs, proof_y
from nips.nut03 import make_output, unblind
from nips.nut11 import Lock, build_secret
from nips.pool.payout import Payout, parse_payout
from tests.zapper.mints import AMOUNTS, MemoryMint, _scalar

LOCK, REFUND, OTHER = (SecretKey(bytes([number]) * 32) for number in (0x43, 0x41, 0x45))
URL = "http://mint.test"
PARTS = (1, 8, 256, 512)
AT = 1_800_000_000


@pytest.fixture
def base(story: Any) -> Payout:
    return replace(parse_payout(story.events["payout 0"]), amount_msat=sum(PARTS) * 1000, created_at=AT)


@pytest.fixture
def mint() -> MemoryMint:
    return MemoryMint(url=URL)


def locked_to(mint: MemoryMint, key: str, *, locktime: int = AT + 1000, nonces: int = 1) -> list[dict[str, Any]]:
    lock = Lock(key, locktime, ("02" + REFUND.pubkey,))
    found = []
    for number, amount in enumerate(PARTS):
        secret = build_secret(lock, f"{number + nonces * 100:064x}")
        output = make_output(mint.keyset.id, amount, secret, _scalar(number + nonces * 1000))
        proof = unblind(output, mint.sign(output), mint._public(mint.secrets)[amount])
        assert proof.dleq is not None
        dleq = {name: getattr(proof.dleq, name) for name in "esr"}
        found.append({"id": proof.id, "amount": amount, "secret": secret, "C": proof.C, "dleq": dleq})
    return found


def keys_of(mint: MemoryMint) -> dict[str, str]:
    public = mint._public(mint.secrets)
    return {str(amount): public[amount] for amount in PARTS}


def info_of(miner: SecretKey, key: SecretKey = LOCK, mint: str = "HTTP://MINT.test:80/") -> dict[str, Any]:
    info = build_info(pubkey=key.pubkey, mints=[ListedMint(mint)], relays=["wss://x.example"], created_at=AT)
    return dict(json.loads(encode_event(miner.sign(info))))


@pytest.fixture
def nutzap(story: Any, base: Payout, mint: MemoryMint) -> Payout:
    info = info_of(story.keys.alice)
    assert base.miner == story.keys.alice.pubkey
    proof = {
        "nutzap": "ab" * 32,
        "info": info,
        "mint": URL,
        "unit": "sat",
        "keys": keys_of(mint),
        "proofs": locked_to(mint, "02" + LOCK.pubkey),
    }
    return replace(base, method="nutzap", to=info["id"], proof=proof)


@pytest.fixture
def token(base: Payout, mint: MemoryMint) -> Payout:
    proof = {
        "mint": URL,
        "unit": "sat",
        "keys": keys_of(mint),
        "proofs": locked_to(mint, "02" + base.miner),
    }
    return replace(base, method="cashu", proof=proof)


def grade(payout: Payout, mint_keys: Any = None) -> Proof:
    return check_proof(payout, frozenset(), frozenset(), {}, mint_keys or {})


def asked(mint: MemoryMint) -> Any:
    return {(URL, mint.keyset.id): mint._public(mint.secrets)}


def test_ecash_for_the_miner_alone_is_attested_and_with_the_mints_keys_proven(
    nutzap: Payout, token: Payout, mint: MemoryMint
) -> None:
    for payout in (nutzap, token):
        judged = grade(payout)
        assert judged.grade == ATTESTED, judged.text
        assert sum(name.startswith("ecash ") for name in judged.serves) == len(PARTS)
        assert grade(payout, asked(mint)).grade == PROVEN
    assert "nutzap " + "ab" * 32 in grade(nutzap).serves


def test_another_mints_keys_refute(token: Payout, mint: MemoryMint) -> None:
    keys = {(URL, mint.keyset.id): dict.fromkeys(AMOUNTS, "02" + LOCK.pubkey)}
    assert grade(token, keys).grade == REFUTED
    # Of other mints nothing is learnt.
    assert (
        grade(token, {("http://other.test", mint.keyset.id): {}, ("http://other.test", LISTED): {}}).grade == ATTESTED
    )


def test_a_keyset_that_its_mint_does_not_list_is_claimed(nutzap: Payout, token: Payout, mint: MemoryMint) -> None:
    """Else a pool makes up a keyset, and with it ecash for the miner alone that no mint takes."""
    for payout in (nutzap, token):
        assert grade(payout, {(URL, LISTED): {}, (URL, "00" + "11" * 7): {}}).grade == CLAIMED
        assert grade(payout, {(URL, LISTED): {}, **asked(mint)}).grade == PROVEN


def test_one_y_serves_once_by_whichever_method(nutzap: Payout, token: Payout, base: Payout, mint: MemoryMint) -> None:
    """The names of the payment are the same, whatever the record around them."""
    shown = locked_to(mint, "02" + base.miner, nonces=7)
    first = replace(token, proof={**token.proof, "proofs": shown})
    ys = sorted(proof_y(proof) for proof in parse_proofs(shown))
    second = replace(base, method="cashu", proof={"mint": URL, "unit": "sat", "amount": sum(PARTS), "ys": ys})
    assert grade(second).grade == CLAIMED
    assert grade(first).serves == grade(second).serves


def test_a_token_locked_to_another_key_is_claimed(token: Payout, mint: MemoryMint) -> None:
    other = replace(token, proof={**token.proof, "proofs": locked_to(mint, "02" + OTHER.pubkey)})
    assert grade(other).grade == CLAIMED
    # The same x with the other sign is another key.
    odd = replace(token, proof={**token.proof, "proofs": locked_to(mint, "03" + token.miner)})
    assert grade(odd).grade == CLAIMED


Change = Callable[[dict[str, Any]], object]


def _secret(proof: dict[str, Any], change: Callable[[list[Any]], object]) -> None:
    value = json.loads(proof["proofs"][0]["secret"])
    change(value)
    proof["proofs"][0]["secret"] = json.dumps(value)


CHANGES: dict[str, Change] = {
    "no proofs": lambda p: p.pop("proofs"),
    "empty proofs": lambda p: p["proofs"].clear(),
    "one too few": lambda p: p["proofs"].pop(),
    "one twice": lambda p: p["proofs"].append(p["proofs"][0]),
    "another amount": lambda p: p["proofs"][0].update(amount=2),
    "amount as text": lambda p: p["proofs"][0].update(amount="1"),
    "amount zero": lambda p: p["proofs"][0].update(amount=0),
    "another nonce": lambda p: _secret(p, lambda s: s[1].update(nonce="11" * 32)),
    "another lock": lambda p: _secret(p, lambda s: s[1].update(data="02" + OTHER.pubkey)),
    "another locktime": lambda p: _secret(p, lambda s: s[1].update(tags=[["locktime", "1"]])),
    "a plain secret": lambda p: p["proofs"][0].update(secret="ab" * 32),
    "no dleq": lambda p: p["proofs"][0].pop("dleq"),
    "another e": lambda p: p["proofs"][0]["dleq"].update(e="11" * 32),
    "another s": lambda p: p["proofs"][0]["dleq"].update(s="11" * 32),
    "another r": lambda p: p["proofs"][0]["dleq"].update(r="11" * 32),
    "another C": lambda p: p["proofs"][0].update(C="02" + LOCK.pubkey),
    "another keyset": lambda p: p["proofs"][0].update(id="00" + "11" * 7),
    "no keys": lambda p: p.pop("keys"),
    "a key that lacks": lambda p: p["keys"].pop("1"),
    "another key": lambda p: p["keys"].update({"1": "02" + LOCK.pubkey}),
    "a key with a leading zero": lambda p: p["keys"].update({"01": p["keys"].pop("1")}),
    "no mint": lambda p: p.pop("mint"),
    "another unit": lambda p: p.update(unit="usd"),
}
OF_NUTZAPS: dict[str, Change] = {
    "no id": lambda p: p.pop("nutzap"),
    "no info": lambda p: p.pop("info"),
    "a forged info": lambda p: p["info"].update(content="x"),
    "another mint": lambda p: p.update(mint="http://mint.test/other"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_tampered_with_is_refuted(nutzap: Payout, token: Payout, name: str) -> None:
    for payout in (nutzap, token):
        proof = copy.deepcopy(dict(payout.proof))
        CHANGES[name](proof)
        assert grade(replace(payout, proof=proof)).grade == REFUTED


@pytest.mark.parametrize("name", OF_NUTZAPS)
def test_a_nutzap_that_is_tampered_with_is_refuted(nutzap: Payout, name: str) -> None:
    proof = copy.deepcopy(dict(nutzap.proof))
    OF_NUTZAPS[name](proof)
    assert grade(replace(nutzap, proof=proof)).grade == REFUTED


def test_a_nutzap_info_of_another_refutes(story: Any, nutzap: Payout) -> None:
    for info in (info_of(story.keys.bob), info_of(story.keys.alice, OTHER), info_of(story.keys.alice, mint="http://y")):
        told = replace(nutzap, to=info["id"], proof={**nutzap.proof, "info": info})
        assert grade(told).grade == REFUTED
    # The miner's own, but not the one that the record names.
    newer = info_of(story.keys.alice)
    assert grade(replace(nutzap, to="cd" * 32, proof={**nutzap.proof, "info": newer})).grade == REFUTED


def test_other_amounts_than_the_payouts_are_refuted(nutzap: Payout, token: Payout) -> None:
    for payout in (nutzap, token):
        for amount in (payout.amount_msat + 1, payout.amount_msat - 1000, 1):
            assert grade(replace(payout, amount_msat=amount)).grade == REFUTED


def test_a_lock_that_has_run_out_is_no_lock(token: Payout, mint: MemoryMint) -> None:
    for locktime, expected in ((AT, REFUTED), (AT + 1, ATTESTED)):
        proofs = locked_to(mint, "02" + token.miner, locktime=locktime)
        assert grade(replace(token, proof={**token.proof, "proofs": proofs})).grade == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"ys": []},
        {"ys": ["02" + "ab" * 32, "02" + "ab" * 32]},
        {"ys": ["02" + "ac" * 32, "02" + "ab" * 32]},
        {"ys": ["ab" * 32]},
        {"ys": "02" + "ab" * 32},
        {"amount": 0},
        {"amount": 778},
        {"amount": True},
        {"unit": "usd"},
        {"mint": ""},
    ],
)
def test_unlocked_tokens_name_their_ys(base: Payout, changes: dict[str, Any]) -> None:
    proof = {"mint": URL, "unit": "sat", "amount": sum(PARTS), "ys": ["02" + "ab" * 32, "02" + "ac" * 32]}
    assert grade(replace(base, method="cashu", proof=proof)).grade == CLAIMED
    assert grade(replace(base, method="cashu", proof={**proof, **changes})).grade == REFUTED
    # A nutzap is never without its lock.
    assert grade(replace(base, method="nutzap", proof=proof)).grade == REFUTED


def test_a_reversal_has_no_proof(token: Payout) -> None:
    back = replace(token, amount_msat=-token.amount_msat, reverses=token.payout_id, proof={})
    assert grade(back).grade == CLAIMED
    assert grade(back).serves == ()


def test_proofs_of_nothing(base: Payout) -> None:
    for method in ("nutzap", "cashu"):
        assert grade(replace(base, method=method, proof={})).grade == REFUTED
