"""NIP-60: our wallet on relays."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, VerifiedEvent
from nips.nip44 import KeyCipher
from nips.nip60 import (
    Direction,
    Entry,
    InvalidWallet,
    Marker,
    Token,
    Wallet,
    build_deletion,
    build_entry,
    build_token,
    build_wallet,
    parse_entry,
    parse_token,
    parse_wallet,
    redeemed,
)
from nips.nut00 import Dleq, Proof

OWNER, LOCK, MALLORY = (SecretKey(bytes([n]) * 32) for n in (0x51, 0x52, 0x53))
CIPHER = KeyCipher(OWNER)
NONCE = bytes(32)
NOW = 1_800_000_000
MINT = "https://mint.example"


def sign(made: UnsignedEvent) -> VerifiedEvent:
    return OWNER.sign(made)


def test_a_wallet_is_built_and_read() -> None:
    for key in (LOCK, None):
        event = sign(build_wallet(Wallet((MINT, MINT + "/x"), key), cipher=CIPHER, nonce=NONCE, created_at=NOW))
        assert (event.kind, event.tags) == (17375, ())
        found = parse_wallet(event, cipher=CIPHER)
        assert found.mints == (MINT, MINT + "/x")
        assert (found.key and found.key.secret_bytes()) == (key and key.secret_bytes())
        assert LOCK.secret_bytes().hex() not in repr(found)
    with pytest.raises(ValueError, match="1 to 20"):
        build_wallet(Wallet((), LOCK), cipher=CIPHER, nonce=NONCE, created_at=NOW)


proofs = st.lists(
    st.builds(
        Proof,
        id=st.just("00" * 8),
        amount=st.integers(1, 2**40),
        secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
        C=st.just("02" + "ab" * 32),
        dleq=st.none() | st.just(Dleq("01" * 32, "02" * 32, "03" * 32)),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda proof: proof.secret,
).map(tuple)
ids = st.sampled_from(["aa" * 32, "bb" * 32, "cc" * 32])


@given(proofs, st.lists(ids, unique=True).map(tuple), st.sampled_from(["sat", "usd"]))
def test_a_token_is_built_and_read(proofs: tuple[Proof, ...], destroyed: tuple[str, ...], unit: str) -> None:
    token = Token(MINT, unit, proofs, destroyed)
    event = sign(build_token(token, cipher=CIPHER, nonce=NONCE, created_at=NOW))
    assert parse_token(event, cipher=CIPHER) == token
    assert token.amount == sum(proof.amount for proof in proofs)


@given(
    st.sampled_from(Direction),
    st.integers(0, 2**40),
    st.lists(st.tuples(ids, st.sampled_from([Marker.CREATED, Marker.DESTROYED])), unique=True, max_size=4),
    st.lists(ids, unique=True, max_size=3),
)
def test_history_is_built_and_read(
    direction: Direction, amount: int, hidden: list[tuple[str, Marker]], nutzaps: list[str]
) -> None:
    entry = Entry(direction, amount, "sat", (*hidden, *((id_, Marker.REDEEMED) for id_ in nutzaps)))
    event = sign(
        build_entry(entry, cipher=CIPHER, nonce=NONCE, created_at=NOW, senders=[MALLORY.pubkey, MALLORY.pubkey])
    )
    assert parse_entry(event, cipher=CIPHER) == entry
    assert redeemed(event) == tuple(nutzaps)
    assert event.tag_values("p") == (MALLORY.pubkey,)


def test_spent_tokens_are_deleted() -> None:
    event = sign(build_deletion(["aa" * 32, "bb" * 32], created_at=NOW))
    assert (event.kind, event.tags) == (5, (("e", "aa" * 32), ("e", "bb" * 32), ("k", "7375")))


def raw(kind: int, value: Any, by: SecretKey = OWNER, tags: Tags = ()) -> VerifiedEvent:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return by.sign(UnsignedEvent(kind, NOW, tags, KeyCipher(by).encrypt(by.pubkey, text, NONCE)))


SECRET = LOCK.secret_bytes().hex()


@pytest.mark.parametrize(
    "event",
    [
        raw(17376, [["mint", MINT]]),
        raw(17375, [["mint", MINT]], MALLORY),
        raw(17375, "{"),
        raw(17375, {}),
        raw(17375, [[]]),
        raw(17375, [["mint", 5]]),
        raw(17375, []),
        raw(17375, [["mint", "x"]]),
        raw(17375, [["mint", f"https://m{n}.example"] for n in range(21)]),
        raw(17375, [["mint", MINT], ["privkey", SECRET], ["privkey", SECRET]]),
        raw(17375, [["mint", MINT], ["privkey", "g" + SECRET[1:]]]),
        raw(17375, [["mint", MINT], ["privkey", SECRET[:-1]]]),
        OWNER.sign(UnsignedEvent(17375, NOW, (), "x")),
    ],
)
def test_what_is_no_wallet(event: VerifiedEvent) -> None:
    with pytest.raises(InvalidWallet) as caught:
        parse_wallet(event, cipher=CIPHER)
    assert SECRET[:-1] not in str(caught.value).lower()


PROOF = {"id": "005c2502034d4f12", "amount": 1, "secret": "z+zyxA", "C": "02" + "ab" * 32}


def test_the_unit_of_old_tokens_is_sat() -> None:
    assert parse_token(raw(7375, {"mint": MINT + "/", "proofs": [PROOF]}), cipher=CIPHER).unit == "sat"
    assert parse_token(raw(7375, {"mint": MINT + "/", "proofs": [PROOF], "del": None}), cipher=CIPHER).mint == MINT
    assert parse_entry(raw(7376, [["direction", "in"], ["amount", "1"]]), cipher=CIPHER).unit == "sat"


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"mint": MINT},
        {"mint": MINT, "proofs": []},
        {"mint": MINT, "proofs": [PROOF, PROOF]},
        {"mint": MINT, "proofs": [{**PROOF, "amount": -1}]},
        {"mint": "x", "proofs": [PROOF]},
        {"mint": 5, "proofs": [PROOF]},
        {"mint": MINT, "unit": "SAT!", "proofs": [PROOF]},
        {"mint": MINT, "unit": None, "proofs": [PROOF]},
        {"mint": MINT, "proofs": [PROOF], "del": ["x"]},
        {"mint": MINT, "proofs": [PROOF], "del": "x"},
        {"mint": MINT, "proofs": [PROOF], "del": ["aa" * 32] * 201},
    ],
)
def test_what_is_no_token(value: Any) -> None:
    with pytest.raises(InvalidWallet):
        parse_token(raw(7375, value), cipher=CIPHER)


@pytest.mark.parametrize(
    "value",
    [
        [],
        [["direction", "in"]],
        [["direction", "up"], ["amount", "1"]],
        [["direction", "in"], ["amount", "-1"]],
        [["direction", "in"], ["amount", "1.5"]],
        [["direction", "in"], ["amount", "9" * 19]],
        [["direction", "in"], ["amount", "1"], ["unit", "SAT!"]],
    ],
)
def test_what_is_no_history(value: Any) -> None:
    with pytest.raises(InvalidWallet):
        parse_entry(raw(7376, value), cipher=CIPHER)


def test_others_events_are_not_ours() -> None:
    with pytest.raises(InvalidWallet, match="owner"):
        parse_token(raw(7375, {}, MALLORY), cipher=CIPHER)
    with pytest.raises(InvalidWallet, match="7376"):
        redeemed(raw(7375, {}))


def test_references_that_make_no_sense_are_passed_over() -> None:
    tags: Tags = (
        ("e", "x", "", "redeemed"),
        ("e", "aa" * 32),
        ("e", "bb" * 32, "", "seen"),
        ("e", "cc" * 32, "", "redeemed"),
    )
    assert redeemed(raw(7376, [], tags=tags)) == ("cc" * 32,)
