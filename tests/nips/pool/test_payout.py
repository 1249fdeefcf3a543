"""4215 payout records."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.pool.chain import FIRST, Link
from nips.pool.payout import METHODS, PayoutBody, build_payout, parse_payout
from tests.vectors.example_log import POOL, ZAPPER

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=9)
id64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
bodies = st.builds(
    PayoutBody,
    payout_id=text,
    miner=id64,
    amount_msat=st.integers(1, 2**53 - 1),
    network_fee_msat=st.integers(0, 2**53 - 1),
    to=id64,
    method=st.sampled_from(METHODS),
    proof=st.dictionaries(text, text | st.integers(0, 9) | st.lists(text, max_size=2), max_size=3),
)


def body_of(payout):
    return PayoutBody(**{field.name: getattr(payout, field.name) for field in fields(PayoutBody)})


def test_vectors(check_vectors, log):
    (payout,) = check_vectors("payout", parse_payout, 1, 26)
    assert body_of(payout) == log.payout
    assert payout.to == log.events["profile"].id
    assert payout.signer == ZAPPER.pubkey
    assert ZAPPER.sign(build_payout(POOL, FIRST, body_of(payout), payout.created_at)) == log.events["payout"]


@given(bodies, st.none() | text, st.integers(0, 9), id64)
def test_there_and_back(body, reverses, seq, prev):
    if reverses is not None:
        body = replace(body, amount_msat=-body.amount_msat, reverses=reverses)
    link = Link(seq, prev) if seq else FIRST
    event = ZAPPER.sign(build_payout(POOL, link, body, 9))
    payout = parse_payout(event)
    assert body_of(payout) == body
    assert (payout.id, payout.signer, payout.pool, payout.link) == (event.id, ZAPPER.pubkey, POOL, link)


@given(bodies, st.integers(-9, 9))
def test_money_comes_back_only_with_a_name(body, amount):
    for reverses in (None, "00000001"):
        event = ZAPPER.sign(build_payout(POOL, FIRST, replace(body, amount_msat=amount, reverses=reverses), 9))
        if amount == 0 or (amount < 0) != (reverses is not None):
            with pytest.raises(InvalidPoolEvent, match="amount"):
                parse_payout(event)
        else:
            assert parse_payout(event).amount_msat == amount


@given(st.data())
def test_nothing_else_is_raised(fuzz, log, data):
    fuzz(data, parse_payout, log.events["payout"])
