"""4217 withdrawal requests."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress
from nips.pool.withdrawal import MAX_LIFE_S, METHODS, WithdrawalBody, build_withdrawal, parse_withdrawal

MINER = SecretKey(b"\2" * 32)
ZAPPER = "ab" * 32
POOL = PoolAddress("cd" * 32, "regtest")
INVOICE = WithdrawalBody("bolt11", 21_000, "lnbcrt1", 100)
text = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=9)
bodies = st.builds(
    WithdrawalBody,
    method=st.sampled_from(METHODS),
    amount_msat=st.integers(1, 2**53 - 1),
    destination=text,
    expires=st.integers(10, 9 + MAX_LIFE_S),
)


def test_methods():
    assert METHODS == ("bolt11", "onchain", "cashu")


@given(bodies)
def test_there_and_back(body):
    event = MINER.sign(build_withdrawal(POOL, ZAPPER, body, 9))
    request = parse_withdrawal(event)
    assert (request.id, request.miner, request.zapper, request.pool) == (event.id, MINER.pubkey, ZAPPER, POOL)
    assert (request.created_at, request.body) == (9, body)


def test_a_token_needs_no_destination():
    body = WithdrawalBody("cashu", 1, "", 10)
    assert parse_withdrawal(MINER.sign(build_withdrawal(POOL, ZAPPER, body, 9))).body == body


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "gold"},
        {"method": None},
        {"amount_msat": 0},
        {"amount_msat": "21000"},
        {"expires": 9},
        {"expires": 10 + MAX_LIFE_S},
        {"bolt11": ""},
        {"bolt11": None},
        {"bolt11": "x" * 10_001},
        {"method": "onchain"},
        {"method": "cashu", "request": 1},
    ],
)
def test_what_cannot_be_meant_is_refused(fields):
    event = build_withdrawal(POOL, ZAPPER, INVOICE, 9)
    content = json.dumps({**json.loads(event.content), **fields})
    with pytest.raises(InvalidPoolEvent):
        parse_withdrawal(MINER.sign(UnsignedEvent(event.kind, 9, event.tags, content)))


def test_one_zapper_and_one_pool():
    event = build_withdrawal(POOL, ZAPPER, INVOICE, 9)
    for tags in (event.tags[1:], event.tags[:1], (*event.tags, ("p", ZAPPER)), (POOL.tag(), ("p", "x"))):
        with pytest.raises(InvalidPoolEvent):
            parse_withdrawal(MINER.sign(UnsignedEvent(event.kind, 9, tags, event.content)))


@given(data=st.data())
def test_nothing_else_is_raised(fuzz, data):
    fuzz(data, parse_withdrawal, MINER.sign(build_withdrawal(POOL, ZAPPER, INVOICE, 9)))
