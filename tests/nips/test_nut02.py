"""Keysets: ids that are their keys' hash, fees, and amounts in parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.nut00 import Proof
from nips.nut02 import InvalidKeyset, Keyset, input_fee, keyset_id, parse_keys, parse_keysets, split

KEYS = {
    1: "03a40f20667ed53513075dc51e715ff2046cad64eb68960632269ba7f0210e38bc",
    2: "03fd4ce5a16b65576145949e6f99f445f8249fee17c606b688b504a849cdc452de",
    4: "02648eccfa4c026960966276fa5a4cae46ce0fd432211a4f449bf84f13aa5f8303",
    8: "02fdfd6796bfeac490cbee12f778f867f0a2c68f6508d17c649759ea0dc3547528",
}
# NUT-02's first vector for ids of version 1.
FIRST = Keyset("00456a94ab4e1c46", "sat", True, 0)


def answer(keyset: Keyset, keys: object) -> dict[str, object]:
    return {"keysets": [{"id": keyset.id, "unit": keyset.unit, "keys": keys}]}


def test_the_nuts_id() -> None:
    assert keyset_id(KEYS, FIRST) == FIRST.id
    found = parse_keys(answer(FIRST, {str(amount): key for amount, key in KEYS.items()}), FIRST)
    assert found == KEYS


def test_version_2_commits_to_unit_fee_and_end() -> None:
    base = Keyset("01" + "00" * 32, "sat", True, 0)
    others = [
        Keyset(base.id, "usd", True, 0),
        Keyset(base.id, "sat", True, 100),
        Keyset(base.id, "sat", True, 0, 1_900_000_000),
    ]
    ids = {keyset_id(KEYS, each) for each in (base, *others)}
    assert len(ids) == 4
    assert all(len(each) == 66 and each.startswith("01") for each in ids)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"1": KEYS[2], **{str(amount): key for amount, key in KEYS.items() if amount > 1}},
        {"1": "00" * 33},
        {"0": KEYS[1]},
        {"one": KEYS[1]},
        [KEYS[1]],
        {str(n): KEYS[1] for n in range(1, 300)},
    ],
)
def test_other_keys_are_not_the_keysets(keys: object) -> None:
    with pytest.raises(InvalidKeyset):
        parse_keys(answer(FIRST, keys), FIRST)
    for value in (None, [], {"keysets": []}, answer(Keyset("00" + "11" * 7, "sat", True, 0), keys)):
        with pytest.raises(InvalidKeyset):
            parse_keys(value, FIRST)


def test_a_list_of_keysets() -> None:
    rows = [
        {"id": FIRST.id, "unit": "sat", "active": True, "input_fee_ppk": 100},
        {"id": "I2yN+iRYfkzT", "unit": "sat", "active": False},
        {"id": "01" + "ab" * 32, "unit": "usd", "active": False, "final_expiry": 5},
        "none",
    ]
    assert parse_keysets({"keysets": rows}) == (
        Keyset(FIRST.id, "sat", True, 100),
        Keyset("01" + "ab" * 32, "usd", False, 0, 5),
    )
    for wrong in (None, {}, {"keysets": {}}, {"keysets": [{}] * 1001}):
        with pytest.raises(InvalidKeyset):
            parse_keysets(wrong)
    for fee in (-1, 0.5, 10**9):
        with pytest.raises(InvalidKeyset):
            parse_keysets({"keysets": [{**rows[0], "input_fee_ppk": fee}]})  # type: ignore[dict-item]


@given(st.lists(st.sampled_from([0, 100, 999, 1000]), max_size=30))
def test_fees_are_rounded_up_once(fees: list[int]) -> None:
    keysets = {str(fee): Keyset(str(fee), "sat", True, fee) for fee in set(fees)}
    proofs = [Proof(str(fee), 1, "s", "C") for fee in fees]
    fee = input_fee(proofs, keysets)
    assert (fee - 1) * 1000 < sum(fees) <= fee * 1000 or fee == sum(fees) == 0


@given(st.integers(0, 2**40))
def test_parts_make_the_amount(amount: int) -> None:
    parts = split(amount, [2**n for n in range(64)])
    assert sum(parts) == amount
    assert len(set(parts)) == len(parts) == amount.bit_count()
    assert parts == sorted(parts)


def test_an_amount_without_keys_for_it() -> None:
    with pytest.raises(InvalidKeyset):
        split(3, [2, 4])
