"""A 4218 that holds miners' attestations (4222): what a bonus rests on stands in the log (SPEC.md, "Splits")."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nips.errors import InvalidPoolEvent, NipError
from nips.nip01 import MAX_SAFE_INTEGER, UnsignedEvent, VerifiedEvent, decode_event, encode_event, verify
from nips.pool.address import PoolAddress, address_of
from nips.pool.alts import alt_tag
from nips.pool.attestation import Attestation, parse_attestation
from nips.pool.chain import Link, link_of
from nips.pool.content import decode_content, encode_content, read_int, read_list, require_kind
from nips.pool.kinds import ATTESTATION, STATEMENT_PART

# Names of the greatest length that are one byte a character fit; a part of them stays below the 64 KB that relays take.
MAX_ATTESTATION_BYTES = 1_500
MAX_ATTESTATIONS = 20


@dataclass(frozen=True, slots=True)
class AttestationPart:
    """A 4218 event that holds attestations of miners, whose signatures were checked; sorted by id, none twice."""

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int
    attestations: tuple[Attestation, ...]


def fits_attestation_part(attestation: VerifiedEvent) -> bool:
    """Whether an attestation is small enough to be put into the log: else it counts nothing."""
    return len(encode_event(attestation)) <= MAX_ATTESTATION_BYTES


def build_attestation_part(
    pool: PoolAddress, link: Link, attestations: Sequence[VerifiedEvent], created_at: int
) -> UnsignedEvent:
    """The event the accounting's key signs; of attestations in any order. Raises ValueError for none or too many."""
    if not 0 < len(attestations) <= MAX_ATTESTATIONS:
        raise ValueError(f"a part holds 1 to {MAX_ATTESTATIONS} attestations")
    ordered = sorted(attestations, key=lambda event: event.id)
    told: list[dict[str, Any]] = [json.loads(encode_event(event)) for event in ordered]
    tags = (pool.tag(), *link.tags(), alt_tag(STATEMENT_PART))
    return UnsignedEvent(STATEMENT_PART, created_at, tags, encode_content({"of": ATTESTATION, "attestations": told}))


def parse_attestation_part(event: VerifiedEvent) -> AttestationPart:
    """Raises InvalidPoolEvent, also for a part of something else."""
    require_kind(event, STATEMENT_PART)
    fields = decode_content(event.content)
    if read_int(fields, "of", 0, MAX_SAFE_INTEGER) != ATTESTATION:
        raise InvalidPoolEvent("this holds no attestations")
    values = read_list(fields, "attestations")
    if not 0 < len(values) <= MAX_ATTESTATIONS:
        raise InvalidPoolEvent(f"a part holds 1 to {MAX_ATTESTATIONS} attestations")
    pool = address_of(event)
    held = tuple(_held(value, pool) for value in values)
    ids = [attestation.id for attestation in held]
    if ids != sorted(set(ids)):
        raise InvalidPoolEvent("attestations must be sorted by id, none twice")
    return AttestationPart(event.id, event.pubkey, pool, link_of(event), event.created_at, held)


def _held(value: object, pool: PoolAddress) -> Attestation:
    if type(value) is not dict:
        raise InvalidPoolEvent("an attestation must be an object")
    try:
        event = verify(decode_event(json.dumps(value, separators=(",", ":"), ensure_ascii=False)))
    except InvalidPoolEvent:
        raise
    except NipError as error:
        raise InvalidPoolEvent(f"an attestation is no signed event: {error}") from None
    if not fits_attestation_part(event):
        raise InvalidPoolEvent(f"an attestation in the log has at most {MAX_ATTESTATION_BYTES} bytes")
    attestation = parse_attestation(event)
    if attestation.pool != pool:
        raise InvalidPoolEvent("an attestation is for another pool")
    return attestation
