"""The payout record (4215) of a settled payout, the receipt (9735) it may name, and the chain it extends."""

from collections.abc import Sequence
from typing import Any

from nips.errors import NipError
from nips.nip01 import UnsignedEvent, VerifiedEvent, decode_event
from nips.nip57 import check_zap_receipt, check_zap_request
from nips.pool.address import PoolAddress
from nips.pool.chain import next_link
from nips.pool.payout import PayoutBody, build_payout, parse_payout
from zapper.errors import Conflict, StoreBehind
from zapper.payout import Intent, State
from zapper.ports import ChainHead


def payout_record(
    pool: PoolAddress, intent: Intent, head: ChainHead | None, *, now_s: int
) -> tuple[int, UnsignedEvent]:
    """The record's seq and the event to sign; its created_at never falls along the chain.

    Raises Conflict for a payout that is not settled.
    """
    if intent.state is not State.SETTLED or intent.invoice is None or intent.preimage is None:
        raise Conflict(f"payout {intent.payout_id} is {intent.state.value}: there is nothing to record")
    proof: dict[str, Any] = {"bolt11": intent.invoice, "preimage": intent.preimage}
    if intent.zap_request is not None:
        event = decode_event(intent.zap_request)
        # The order in which the request was serialised: whoever encodes it again without spaces hashes what we sent.
        proof["zap_request"] = {
            "id": event.id,
            "pubkey": event.pubkey,
            "created_at": event.created_at,
            "kind": event.kind,
            "tags": [list(tag) for tag in event.tags],
            "content": event.content,
            "sig": event.sig,
        }
    if intent.receipt is not None:
        proof["receipt"] = intent.receipt
    body = PayoutBody(
        payout_id=intent.payout_id,
        miner=intent.miner,
        amount_msat=intent.amount_msat,
        network_fee_msat=intent.fee_msat,
        to=intent.to,
        method=intent.method,
        proof=proof,
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
    if intent.zap_request is None or intent.provider is None or intent.invoice is None:
        return False
    if event.tag_value("bolt11") != intent.invoice:
        return False
    try:
        request = check_zap_request(intent.zap_request)
        check_zap_receipt(event, provider=intent.provider, request=request, bolt11=intent.invoice)
    except NipError:
        return False
    return True
