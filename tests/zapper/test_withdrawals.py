"""Withdrawal requests: which are open, which can be met."""

from typing import Any

import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal, parse_withdrawal
from zapper.errors import PaymentBlocked
from zapper.wishes import Wish
from zapper.withdrawals import MAX_OPEN, check_request, open_requests

MINER, OTHER = SecretKey(b"\x01" * 32), SecretKey(b"\x02" * 32)
POOL, ZAPPER = PoolAddress("aa" * 32, "regtest"), "bb" * 32
NOW = 1_800_000_000


def request(
    key: SecretKey = MINER,
    *,
    age_s: int = 10,
    pool: PoolAddress = POOL,
    zapper: str = ZAPPER,
    method: str = "cashu",
    msat: int = 5000,
    to: str = "",
    life_s: int = 3600,
) -> VerifiedEvent:
    body = WithdrawalBody(method, msat, to, NOW - age_s + life_s)
    return key.sign(build_withdrawal(pool, zapper, body, NOW - age_s))


def found(*events: VerifiedEvent, served: Any = ()) -> dict[str, list[str]]:
    open_ones = open_requests(events, pool=POOL, zapper=ZAPPER, served=served, now_s=NOW)
    return {miner: [request.asked.id for request in requests] for miner, requests in open_ones.items()}


def test_requests_are_by_miner_oldest_first_each_once() -> None:
    old, new, other = request(age_s=50), request(age_s=5), request(OTHER)
    assert found(new, old, other, old) == {MINER.pubkey: [old.id, new.id], OTHER.pubkey: [other.id]}
    assert found(new, old, served={old.id: ""}) == {MINER.pubkey: [new.id]}
    many = [request(age_s=age) for age in range(1, 2 * MAX_OPEN)]
    assert len(found(*many)[MINER.pubkey]) == MAX_OPEN


@pytest.mark.parametrize(
    "event",
    [
        request(age_s=100, life_s=100),
        request(age_s=-901),
        request(zapper="cc" * 32),
        request(pool=PoolAddress("aa" * 32, "main")),
        request(pool=PoolAddress("cc" * 32, "regtest")),
        MINER.sign(UnsignedEvent(4217, NOW - 5, (POOL.tag(), ("p", ZAPPER)), '{"v":1}')),
        MINER.sign(UnsignedEvent(1, NOW - 5, (), "")),
    ],
)
def test_what_is_late_for_others_or_unreadable_is_passed_over(event: VerifiedEvent) -> None:
    assert found(event) == {}


def test_a_request_says_how_to_pay_it() -> None:
    event = request(method="bolt11", to="lnbcrt1")
    [made] = open_requests([event], pool=POOL, zapper=ZAPPER, served=(), now_s=NOW)[MINER.pubkey]
    assert made.wish == Wish("bolt11", "lnbcrt1", event, once=event.id)


@pytest.mark.parametrize(
    ("fields", "limits", "word"),
    [
        ({"msat": 5001, "method": "bolt11", "to": "x"}, {}, None),
        ({"msat": 6000}, {}, None),
        ({"msat": 7000}, {}, "asks for 7 sat, due are 6 sat"),
        ({"msat": 5000}, {"fee_msat": 1000}, None),
        ({"msat": 6000}, {"fee_msat": 1000}, "6 sat and up to 1 sat of network fee"),
        ({"msat": 6000}, {"due_msat": -1}, "due are 0 sat"),
        ({"msat": 999}, {}, "asks for 0.999 sat, the least is 1 sat"),
        ({"msat": 5001}, {}, "part of a satoshi"),
        ({"msat": 5000, "method": "onchain", "to": "x"}, {"onchain_msat": 5001}, "the least is 5.001 sat"),
        ({"msat": 5000}, {"onchain_msat": 5001}, None),
    ],
)
def test_what_can_be_met(fields: Any, limits: Any, word: str | None) -> None:
    asked = parse_withdrawal(request(**fields))
    terms = {"due_msat": 6000, "fee_msat": 0, "minimum_msat": 1000, "onchain_msat": 0, **limits}
    if word is None:
        check_request(asked, **terms)
    else:
        with pytest.raises(PaymentBlocked, match=word):
            check_request(asked, **terms)
