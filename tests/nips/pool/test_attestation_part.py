"""Attestations quoted in the log: sorted, none twice, only what miners signed, and never more than a relay takes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event
from nips.pool.address import PoolAddress
from nips.pool.attestation import AttestationBody, build_attestation
from nips.pool.attestation_part import (
    MAX_ATTESTATION_BYTES,
    MAX_ATTESTATIONS,
    build_attestation_part,
    fits_attestation_part,
    parse_attestation_part,
)
from nips.pool.chain import Head, next_link
from nips.pool.kinds import ATTESTATION, SETTINGS

ACCOUNTING, MINER = SecretKey(b"\x03" * 32), SecretKey(b"\x02" * 32)
POOL = PoolAddress("cd" * 32, "regtest")
LINK = next_link(Head(4, "ee" * 32))
# What a relay takes.
RELAY_BYTES = 64 * 1024


def attested(number: int, pool: PoolAddress = POOL, model: str = "Bitaxe") -> VerifiedEvent:
    return MINER.sign(build_attestation(pool, AttestationBody(f"rig{number}", model, "2.9", 10**12, "00" * 32), 9))


HELD = [attested(number) for number in range(MAX_ATTESTATIONS + 1)]


def part(held: list[VerifiedEvent]) -> VerifiedEvent:
    return ACCOUNTING.sign(build_attestation_part(POOL, LINK, held, 70))


def with_fields(**changes: Any) -> VerifiedEvent:
    made = build_attestation_part(POOL, LINK, HELD[:3], 70)
    return ACCOUNTING.sign(
        UnsignedEvent(made.kind, made.created_at, made.tags, json.dumps({**json.loads(made.content), **changes}))
    )


def told(events: list[VerifiedEvent]) -> list[Any]:
    return [json.loads(encode_event(event)) for event in events]


@given(st.permutations(HELD[:MAX_ATTESTATIONS]).flatmap(lambda held: st.integers(1, len(held)).map(lambda n: held[:n])))
def test_there_and_back_in_any_order(held: list[VerifiedEvent]) -> None:
    event = part(held)
    found = parse_attestation_part(event)
    assert [each.id for each in found.attestations] == sorted(each.id for each in held)
    assert (found.id, found.signer, found.pool, found.link, found.created_at) == (
        event.id, ACCOUNTING.pubkey, POOL, LINK, 70,
    )  # fmt: skip


def test_a_part_holds_one_to_twenty() -> None:
    for held in ([], HELD):
        with pytest.raises(ValueError, match="1 to 20"):
            build_attestation_part(POOL, LINK, held, 70)
        with pytest.raises(InvalidPoolEvent, match="1 to 20"):
            parse_attestation_part(with_fields(attestations=told(sorted(held, key=lambda event: event.id))))


def test_the_fullest_part_is_taken_by_relays() -> None:
    """Quotes in the names are written as two characters, and as four once they are quoted."""
    room = MAX_ATTESTATION_BYTES - len(encode_event(attested(0, model="")))
    assert not fits_attestation_part(attested(0, model="y" * 80 + '"' * (room // 2)))
    held = [attested(number, model="é" * 60) for number in range(MAX_ATTESTATIONS)]
    assert all(map(fits_attestation_part, held))
    event = part(held)
    assert len(encode_event(event)) < RELAY_BYTES
    assert len(parse_attestation_part(event).attestations) == MAX_ATTESTATIONS


def test_what_is_not_in_order_twice_or_changed_is_refused() -> None:
    ordered = sorted(HELD[:3], key=lambda event: event.id)
    good = told(ordered)
    assert len(parse_attestation_part(with_fields(attestations=good)).attestations) == 3
    changed = {**good[1], "content": good[1]["content"].replace("Bitaxe", "Antminer")}
    for wrong in (
        good[::-1],
        [good[0], *good],
        [good[0], changed, good[2]],
        [{**good[0], "sig": "00" * 64}],
        [{**good[0], "kind": SETTINGS}],
        ["text"],
        [[]],
        told([attested(0, PoolAddress("ab" * 32, "regtest"))]),
        told([attested(0, PoolAddress(POOL.pubkey, "main"))]),
    ):
        with pytest.raises(InvalidPoolEvent):
            parse_attestation_part(with_fields(attestations=wrong))


@pytest.mark.parametrize("changes", [{"of": SETTINGS}, {"of": None}, {"attestations": {}}, {"v": 2}])
def test_what_holds_no_attestations_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidPoolEvent):
        parse_attestation_part(with_fields(**changes))


def test_one_that_is_too_large_is_refused() -> None:
    large = MINER.sign(
        UnsignedEvent(ATTESTATION, 9, (*HELD[0].tags, ("x", "y" * MAX_ATTESTATION_BYTES)), HELD[0].content)
    )
    assert not fits_attestation_part(large)
    with pytest.raises(InvalidPoolEvent, match="at most"):
        parse_attestation_part(with_fields(attestations=told([large])))
