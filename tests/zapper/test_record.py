"""Payout records: only of settled payouts, chained, and read back as they were meant."""

from dataclasses import replace

import pytest

from nips.keys import SecretKey
from nips.nip57 import build_zap_request, zap_request_text
from nips.pool.address import PoolAddress
from nips.pool.chain import Head
from nips.pool.payout import parse_payout
from zapper.errors import Conflict, StoreBehind
from zapper.payout import Intent, State
from zapper.ports import ChainHead
from zapper.record import check_chain, is_receipt, payout_record

KEY = SecretKey(b"\x01" * 32)
POOL = PoolAddress(KEY.pubkey, "regtest")
REQUEST = zap_request_text(
    KEY.sign(
        build_zap_request(
            recipient="aa" * 32, amount_msat=5000, lnurl="l", relays=["wss://a"], content="é", created_at=1
        )
    )
)
SETTLED = Intent(
    payout_id="p1",
    miner="aa" * 32,
    amount_msat=5000,
    max_fee_msat=0,
    state=State.SETTLED,
    created_ms=1,
    step_ms=2,
    to="bb" * 32,
    destination="a@b",
    method="zap",
    provider="cc" * 32,
    zap_request=REQUEST,
    payload="lnbcrt1",
    reference="dd" * 32,
    expires_at=9,
    preimage="ee" * 32,
    fee_msat=7,
)


PROOF = {"bolt11": "lnbcrt1", "preimage": "ee" * 32}


@pytest.mark.parametrize("state", [state for state in State if state not in (State.SETTLED, State.RETURNED)])
def test_what_is_not_settled_has_no_record(state: State) -> None:
    with pytest.raises(Conflict):
        payout_record(POOL, replace(SETTLED, state=state), PROOF, None, now_s=5)


def test_the_record_reads_back() -> None:
    seq, unsigned = payout_record(POOL, SETTLED, PROOF, None, now_s=5)
    payout = parse_payout(KEY.sign(unsigned))
    assert (seq, payout.link, payout.created_at, payout.network_fee_msat) == (0, (0, None), 5, 7)
    assert (payout.amount_msat, payout.reverses, payout.proof) == (5000, None, PROOF)


def test_money_that_came_back_is_a_reversal_of_the_whole() -> None:
    _, unsigned = payout_record(POOL, replace(SETTLED, state=State.RETURNED), {"x": 1}, None, now_s=5)
    payout = parse_payout(KEY.sign(unsigned))
    assert (payout.payout_id, payout.reverses, payout.amount_msat) == ("p1-back", "p1", -5000)
    assert (payout.network_fee_msat, payout.proof) == (0, {"x": 1})


def test_the_chain_goes_on_in_number_and_time() -> None:
    head = ChainHead(Head(4, "12" * 32), 100)
    seq, unsigned = payout_record(POOL, replace(SETTLED, method="lnurl"), PROOF, head, now_s=50)
    payout = parse_payout(KEY.sign(unsigned))
    assert (seq, payout.link, payout.created_at, payout.method) == (5, (5, "12" * 32), 100, "lnurl")


def test_a_store_behind_the_relays_is_told() -> None:
    _, unsigned = payout_record(POOL, SETTLED, PROOF, ChainHead(Head(4, "12" * 32), 100), now_s=50)
    event = KEY.sign(unsigned)
    check_chain([event], ChainHead(Head(5, event.id), 100))
    check_chain([event], ChainHead(Head(6, "34" * 32), 100))
    check_chain([], None)
    for head in (None, ChainHead(Head(4, "12" * 32), 100), ChainHead(Head(5, "34" * 32), 100)):
        with pytest.raises(StoreBehind, match="record 5"):
            check_chain([event], head)


def test_an_intent_without_a_request_has_no_receipt() -> None:
    _, unsigned = payout_record(POOL, SETTLED, PROOF, None, now_s=5)
    event = KEY.sign(unsigned)
    assert not is_receipt(event, SETTLED)
    assert not is_receipt(event, replace(SETTLED, zap_request=None))
