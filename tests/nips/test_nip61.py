"""NIP-61: how people take nutzaps, nutzaps we send, and nutzaps nobody could redeem."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, VerifiedEvent
from nips.nip61 import (
    InvalidNutzap,
    InvalidNutzapInfo,
    ListedMint,
    Nutzap,
    NutzapInfo,
    build_info,
    build_nutzap,
    parse_info,
    parse_nutzap,
)
from nips.nip65 import InvalidRelayUrl
from nips.nut00 import Dleq, InvalidMintUrl, Proof
from nips.nut11 import Lock, build_secret

POOL, MINER, WALLET, MALLORY = (SecretKey(bytes([n]) * 32) for n in (0x41, 0x42, 0x43, 0x44))
NOW = 1_800_000_000
MINT = ListedMint("https://Mint.example/", frozenset({"sat"}))
INFO = NutzapInfo(MINER.pubkey, WALLET.pubkey, (MINT, ListedMint("https://other.example")), ("wss://a.example",))
LOCK = Lock("02" + WALLET.pubkey, NOW + 86_400, ("02" + POOL.pubkey,))


def proof(number: int = 0, lock: Lock = LOCK, **changes: Any) -> Proof:
    good = Proof(
        "00" * 8,
        2**number,
        build_secret(lock, f"{number:064x}"),
        "02" + "ab" * 32,
        Dleq("01" * 32, "02" * 32, "03" * 32),
    )
    return msgspec.structs.replace(good, **changes)


PROOFS = (proof(0), proof(2))


def nutzap(proofs: Any = PROOFS, **changes: Any) -> VerifiedEvent:
    given: dict[str, Any] = {"info": INFO, "mint": MINT, "unit": "sat", "comment": "paid", "created_at": NOW, **changes}
    return POOL.sign(build_nutzap(proofs=proofs, **given))


def listed(*tags: tuple[str, ...], by: SecretKey = MINER, kind: int = 10019) -> VerifiedEvent:
    return by.sign(UnsignedEvent(kind, NOW, tags, ""))


KEY = ("pubkey", WALLET.pubkey)


def test_the_nips_info() -> None:
    info = parse_info(
        listed(
            ("relay", "wss://relay1"),
            ("relay", "wss://relay2"),
            ("mint", "https://mint1", "usd", "sat"),
            ("mint", "https://mint2", "sat"),
            KEY,
        )
    )
    assert info == NutzapInfo(
        MINER.pubkey,
        WALLET.pubkey,
        (ListedMint("https://mint1", frozenset({"usd", "sat"})), ListedMint("https://mint2", frozenset({"sat"}))),
        ("wss://relay1", "wss://relay2"),
    )
    assert info.lock_key == "02" + WALLET.pubkey
    assert info.mints[0].takes("usd")
    assert not info.mints[1].takes("usd")
    assert info.listed("HTTPS://mint1:443/") == info.mints[0]
    assert info.listed("https://mint3") is None
    assert info.listed("mint1") is None


def test_an_info_is_built_and_read() -> None:
    made = build_info(pubkey=WALLET.pubkey, mints=INFO.mints, relays=["wss://A.example/"], created_at=NOW)
    assert parse_info(MINER.sign(made)) == INFO
    for mints, pubkey in ((INFO.mints, "00" * 32), ((), WALLET.pubkey)):
        with pytest.raises(ValueError, match="a mint at least"):
            build_info(pubkey=pubkey, mints=mints, relays=[], created_at=NOW)
    with pytest.raises(InvalidMintUrl):
        build_info(pubkey=WALLET.pubkey, mints=[ListedMint("x")], relays=[], created_at=NOW)
    with pytest.raises(InvalidRelayUrl):
        build_info(pubkey=WALLET.pubkey, mints=INFO.mints, relays=["x"], created_at=NOW)


def test_what_makes_no_sense_is_passed_over() -> None:
    info = parse_info(
        listed(
            ("mint",),
            ("mint", "mint"),
            ("mint", "https://m.example", "SAT", "no unit"),
            ("mint", "https://m.example/", "usd"),
            ("relay", "x"),
            ("relay",),
            ("pubkey", "02" + WALLET.pubkey),
            *(("mint", f"https://m{n}.example") for n in range(500)),
        )
    )
    assert info.pubkey == WALLET.pubkey
    assert info.mints[0] == ListedMint("https://m.example", frozenset({"sat"}))
    assert len(info.mints) == 20
    assert info.relays == ()


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (listed(("mint", "https://m.example"), KEY, kind=10018), "10019"),
        (listed(("mint", "https://m.example")), "one public key"),
        (listed(("mint", "https://m.example"), KEY, KEY), "one public key"),
        (listed(("mint", "https://m.example"), ("pubkey", "03" + WALLET.pubkey)), "one public key"),
        (listed(("mint", "https://m.example"), ("pubkey", "00" * 32)), "one public key"),
        (listed(("mint", "https://m.example"), ("pubkey", MINER.pubkey)), "own key"),
        (listed(("mint", "https://m.example"), ("pubkey", "02" + MINER.pubkey)), "own key"),
        (listed(KEY), "no mint"),
        (listed(KEY, ("mint", "m.example")), "no mint"),
    ],
)
def test_an_info_that_says_nothing_is_refused(event: VerifiedEvent, word: str) -> None:
    with pytest.raises(InvalidNutzapInfo, match=word):
        parse_info(event)


def test_a_nutzap_is_built_and_read() -> None:
    event = nutzap(zapped=("ab" * 32, 4216))
    assert event.tag_values("u") == ("https://Mint.example/",)
    assert (event.tag_value("k"), event.tag_value("p")) == ("4216", MINER.pubkey)
    assert parse_nutzap(event, INFO) == Nutzap(
        event.id, POOL.pubkey, MINER.pubkey, MINT, "sat", PROOFS, 5, LOCK, "paid", "ab" * 32
    )


@given(st.sets(st.integers(0, 40), min_size=1, max_size=10), st.booleans())
def test_all_proofs_arrive(numbers: set[int], forever: bool) -> None:
    lock = Lock(LOCK.pubkey) if forever else LOCK
    proofs = tuple(proof(number, lock) for number in sorted(numbers))
    found = parse_nutzap(nutzap(proofs), INFO)
    assert found.proofs == proofs
    assert found.amount == sum(2**number for number in numbers)
    assert found.lock == lock


BAD_PROOFS = [
    ((), "1 to 64"),
    ((proof(), proof()), "twice"),
    ((proof(dleq=None),), "DLEQ"),
    ((proof(secret="plain"),), "not locked"),
    ((proof(lock=Lock("02" + MALLORY.pubkey)),), "another key"),
    ((proof(lock=Lock("03" + WALLET.pubkey)),), "another key"),
    ((proof(lock=Lock("02" + MINER.pubkey)),), "another key"),
    ((proof(0), proof(1, Lock(LOCK.pubkey))), "different ways"),
    (tuple(proof(secret=build_secret(LOCK, f"{n:064x}")) for n in range(65)), "1 to 64"),
    (
        (proof(secret=proof().secret.replace('["sigflag","SIG_INPUTS"]', '["n_sigs","2"]')),),
        "more than one signature",
    ),
]


@pytest.mark.parametrize(("proofs", "word"), BAD_PROOFS)
def test_proofs_nobody_could_redeem_are_neither_sent_nor_taken(proofs: Any, word: str) -> None:
    with pytest.raises(InvalidNutzap, match=word):
        nutzap(proofs)
    tags = tuple(("proof", msgspec.json.encode(each).decode()) for each in proofs)
    with pytest.raises(InvalidNutzap, match=word):
        parse_nutzap(raw(tags), INFO)


def raw(
    proofs: Tags, rest: Tags = (("u", "https://mint.example"), ("p", MINER.pubkey)), kind: int = 9321
) -> VerifiedEvent:
    return POOL.sign(UnsignedEvent(kind, NOW, (*proofs, *rest), "x" * 2000))


ONE: Tags = (("proof", msgspec.json.encode(proof()).decode()),)
U, P = ("u", "https://mint.example"), ("p", MINER.pubkey)


def test_what_is_forgiven() -> None:
    found = parse_nutzap(raw(ONE), INFO)
    assert (found.unit, found.mint, found.zapped, found.comment) == ("sat", MINT, None, "x" * 1000)
    other = parse_nutzap(raw(ONE, (("u", "https://other.example/"), P, ("unit", "usd"), ("e", "x"))), INFO)
    assert (other.unit, other.zapped) == ("usd", None)


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (raw(ONE, kind=9322), "9321"),
        (raw(ONE, (U,)), "somebody else"),
        (raw(ONE, (U, ("p", MALLORY.pubkey))), "somebody else"),
        (raw(ONE, (U, P, P)), "2 p tags"),
        (raw(ONE, (P,)), "does not name"),
        (raw(ONE, (U, U, P)), "2 u tags"),
        (raw(ONE, (("u", "https://evil.example"), P)), "does not name"),
        (raw(ONE, (("u", "x"), P)), "does not name"),
        (raw(ONE, (U, P, ("unit", "usd"))), "unit"),
        (raw((("proof", "{"),)), "JSON"),
        (raw((("proof", "{}"),)), "keyset"),
        (raw((("proof", json.dumps({**msgspec.to_builtins(proof()), "amount": -1})),)), "amount"),
        (raw((("proof",),)), "1 to 64"),
    ],
)
def test_what_is_no_nutzap_for_us(event: VerifiedEvent, word: str) -> None:
    with pytest.raises(InvalidNutzap, match=word):
        parse_nutzap(event, INFO)


def test_only_listed_mints_and_units_are_used() -> None:
    for changes in ({"mint": ListedMint("https://evil.example")}, {"unit": "usd"}):
        with pytest.raises(InvalidNutzap, match="does not name"):
            nutzap(**changes)
