"""The payout record (4215) of a settled payout, the receipt (9735) it may name, and the chain it extends."""

from collections.abc import Mapping, Sequence
from typing import Any

from nips.errors import NipError
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.nip57 import check_zap_receipt, check_zap_request
from nips.pool.address import PoolAddress
from nips.pool.chain import next_link
from nips.pool.payout import PayoutBody, build_payout, parse_payout
from zapper.errors import Conflict, StoreBehind
from zapper.payout import Intent, State
from zapper.ports import ChainHead

# Ends the name of a reversal: a payout comes back once.
BACK = "-back"


def payout_record(
    pool: PoolAddress, intent: Intent, proof: Mapping[str, Any], head: ChainHead | None, *, now_s: int
) -> tuple[int, UnsignedEvent]:
    """The record's seq and the event to sign: a settled payout's, or the reversal of one that came back.

    Its created_at never falls along the chain. `proof`: the rail's. Raises Conflict when there is nothing to record.
    """
    if intent.state not in (State.SETTLED, State.RETURNED):
        raise Conflict(f"payout {intent.payout_id} is {intent.state.value}: there is nothing to record")
    returned = intent.state is State.RETURNED
    body = PayoutBody(
        payout_id=intent.payout_id + (BACK if returned else ""),
        miner=intent.miner,
        amount_msat=-intent.amount_msat if returned else intent.amount_msat,
        network_fee_msat=0 if returned else intent.fee_msat,
        to=intent.to,
        method=intent.method,
        proof=proof,
        reverses=intent.payout_id if returned else None,
    )
    link = next_link(None if head is None else head.head)
    created_at = now_s if head is None else max(now_s, head.created_at)
    return link.seq, build_payout(pool, link, body, created_at)


def check_chain(events: Sequence[VerifiedEvent], head: ChainHead | None) -> None:
    """Raises StoreBehind when the relays know a record of ours at or past the store's end that is not the store's."""
    stored = -1 if head is None else head.head.seq
    for event in events:
        try:
            link = parse_payout(event).link
        except NipError:
            continue
        if link.seq > stored or (head is not None and link.seq == stored and event.id != head.head.id):
            raise StoreBehind(stored, link.seq)


def is_receipt(event: VerifiedEvent, intent: Intent) -> bool:
    """Whether this 9735 is the provider's word for our payment; others of the same provider pass by."""
    if intent.zap_request is None or intent.provider is None or intent.payload is None:
        return False
    if event.tag_value("bolt11") != intent.payload:
        return False
    try:
        request = check_zap_request(intent.zap_request)
        check_zap_receipt(event, provider=intent.provider, request=request, bolt11=intent.payload)
    except NipError:
        return False
    return True
