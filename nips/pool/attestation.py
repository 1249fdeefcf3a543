"""4222 attestation: a miner says which device a worker is, for the loyalty bonus (SPEC.md, "Miners' events").

A claim: it counts on a day whose measured hashrate bears it out.
"""

import re
from dataclasses import dataclass

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.content import decode_content, encode_content, parse_id, parse_work, read_str, require_kind
from nips.pool.kinds import ATTESTATION
from nips.pool.receipt import is_worker_name

# Names of models and firmware as makers write them, with their versions.
MAX_NAME = 64
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class AttestationBody:
    """`worker`: its name in the receipts. `nominal_hs`: the maker's hashrate in hashes a second. `block`: the name
    (64 hex digits, RPC order) of a recent block, so that it was not signed before that one.
    """

    worker: str
    model: str
    firmware: str
    nominal_hs: int
    block: str


@dataclass(frozen=True, slots=True)
class Attestation:
    """A 4222 event of a miner."""

    id: str
    miner: str
    pool: PoolAddress
    created_at: int
    body: AttestationBody


def build_attestation(pool: PoolAddress, body: AttestationBody, created_at: int) -> UnsignedEvent:
    """The event the miner signs."""
    fields = {
        "worker": body.worker,
        "model": body.model,
        "firmware": body.firmware,
        "nominal_hs": str(body.nominal_hs),
        "block": body.block,
    }
    tags = (pool.tag(), ("alt", "A miner's word on a device"))
    return UnsignedEvent(ATTESTATION, created_at, tags, encode_content(fields))


def parse_attestation(event: VerifiedEvent) -> Attestation:
    """Raises InvalidPoolEvent. Whether the hashrate bears it out is for the statement's maker and verifier."""
    require_kind(event, ATTESTATION)
    fields = decode_content(event.content)
    worker, model, firmware = (read_str(fields, name) for name in ("worker", "model", "firmware"))
    if not is_worker_name(worker):
        raise InvalidPoolEvent("worker must be a worker's name as receipts write it")
    if not model or any(len(text) > MAX_NAME or _CONTROL.search(text) for text in (model, firmware)):
        raise InvalidPoolEvent(f"model and firmware must be one line of at most {MAX_NAME} characters, model not empty")
    nominal = parse_work(fields.get("nominal_hs"), "nominal_hs")
    if not nominal:
        raise InvalidPoolEvent("nominal_hs must be positive")
    body = AttestationBody(worker, model, firmware, nominal, parse_id(fields.get("block"), "block"))
    return Attestation(event.id, event.pubkey, address_of(event), event.created_at, body)
