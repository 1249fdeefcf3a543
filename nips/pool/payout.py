"""4215 payout record: money that is known to have reached a miner, with its proof (SPEC.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nips.errors import InvalidPoolEvent
from nips.nip01 import MAX_SAFE_INTEGER, UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.alts import alt_tag
from nips.pool.chain import Link, link_of
from nips.pool.content import (
    decode_content,
    encode_content,
    one_tag,
    parse_id,
    read_dict,
    read_int,
    read_str,
    require_kind,
)
from nips.pool.kinds import PAYOUT

METHODS = ("zap", "lnurl", "bolt11", "nutzap", "cashu", "onchain", "coinbase")


@dataclass(frozen=True, slots=True)
class PayoutBody:
    """A payment before it is signed.

    `payout_id`: the zapper's own name of it, never used twice. `amount_msat` leaves the balance; negative, with
    `reverses` naming a payout, when money came back. `to`: the id of the event that named the destination (kind 0,
    34216, 4217, 10019). `proof` by method; zap: {"bolt11", "preimage", "zap_request": signed 9734 as an object,
    "receipt"?: 9735's id}; lnurl and bolt11: {"bolt11", "preimage"}.
    """

    payout_id: str
    miner: str
    amount_msat: int
    network_fee_msat: int
    to: str
    method: str
    proof: Mapping[str, Any]
    reverses: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout(PayoutBody):
    """A 4215 event."""

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int


def build_payout(pool: PoolAddress, link: Link, body: PayoutBody, created_at: int) -> UnsignedEvent:
    """The event the zapper's key signs. `created_at` (s) is not before the chain's newest."""
    fields: dict[str, Any] = {
        "payout_id": body.payout_id,
        "miner": body.miner,
        "amount_msat": body.amount_msat,
        "network_fee_msat": body.network_fee_msat,
        "to": body.to,
        "method": body.method,
        "proof": dict(body.proof),
    }
    if body.reverses is not None:
        fields["reverses"] = body.reverses
    tags = (pool.tag(), *link.tags(), ("p", body.miner), alt_tag(PAYOUT))
    return UnsignedEvent(PAYOUT, created_at, tags, encode_content(fields))


def parse_payout(event: VerifiedEvent) -> Payout:
    """Raises InvalidPoolEvent. Whether the proof holds is for the verifier to check."""
    require_kind(event, PAYOUT)
    fields = decode_content(event.content)
    method = read_str(fields, "method")
    if method not in METHODS:
        raise InvalidPoolEvent(f"the method {method[:32]!r} is not one of {', '.join(METHODS)}")
    reverses = read_str(fields, "reverses") if "reverses" in fields else None
    amount = read_int(fields, "amount_msat", -MAX_SAFE_INTEGER)
    if amount == 0 or (amount < 0) != (reverses is not None):
        raise InvalidPoolEvent("a payout's amount is positive, or negative when it reverses another")
    miner = parse_id(fields.get("miner"), "miner")
    if one_tag(event, "p")[1] != miner:
        raise InvalidPoolEvent("the p tag and the content name different miners")
    return Payout(
        payout_id=read_str(fields, "payout_id"),
        miner=miner,
        amount_msat=amount,
        network_fee_msat=read_int(fields, "network_fee_msat"),
        to=parse_id(fields.get("to"), "to"),
        method=method,
        proof=read_dict(fields, "proof"),
        reverses=reverses,
        id=event.id,
        signer=event.pubkey,
        pool=address_of(event),
        link=link_of(event),
        created_at=event.created_at,
    )
