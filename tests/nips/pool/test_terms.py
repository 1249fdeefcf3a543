"""4210 terms."""

import json

from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head, Link
from nips.pool.targets import share_bits_from_difficulty
from nips.pool.terms import (
    NEVER,
    PERIOD_SCHEMES,
    ROLES,
    Limits,
    LogTerms,
    Loyalty,
    Model,
    Offer,
    PayoutTerms,
    TermsBody,
    build_terms,
    parse_terms,
)
from tests.vectors.example_log import ACCOUNTING, EDGE, POOL, POOL_KEY, TERMS_BODY, ZAPPER
from tests.vectors.pool_events import EVERY_OFFER

number = st.integers(0, 2**53 - 1)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=9)
id64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
bits = st.integers(1, 2**60).map(share_bits_from_difficulty)
KEYS = [SecretKey(bytes([n]) * 32).pubkey for n in range(1, 5)]
models = st.builds(Model, st.integers(1, 10**20), st.integers(1000, 1500))
loyalties = st.builds(
    Loyalty, st.integers(0, 250_000), st.integers(1, 720), st.integers(1, 30), st.dictionaries(text, models, max_size=3)
)
plain = (st.integers(0, 10**6), number, st.integers(0, 10**99), number)
offers = st.builds(Offer, st.sampled_from(["pplns", "prop", "solo"]), *plain, st.just(0), st.none() | loyalties)
offers |= st.builds(Offer, st.sampled_from(PERIOD_SCHEMES), *plain, st.integers(60, 86_400))
bodies = st.builds(
    TermsBody,
    offers=st.dictionaries(
        text,
        offers,
        min_size=1,
        max_size=3,
    ),
    keys=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(ROLES)), max_size=5).map(tuple),
    closed=st.dictionaries(
        st.builds("{}/{}".format, id64, st.sampled_from(["terms", "accounting", "payouts"]) | st.integers(0, 65535)),
        st.just(NEVER) | st.builds(Head, number, id64),
        max_size=3,
    ),
    limits=st.builds(Limits, *[number] * 7, bits, st.none() | bits, st.none() | number),
    payouts=st.builds(
        PayoutTerms,
        number,
        number,
        st.sampled_from(["pool", "miner"]),
        st.sampled_from(["", "bc1qaddress"]),
        st.sampled_from(["", "0 12 * * *"]),
        st.lists(text, max_size=3).map(tuple),
        st.none() | st.tuples(number, number),
        *[st.none() | number] * 4,
    ),
    log=st.builds(LogTerms, st.lists(text, max_size=3).map(tuple), number, st.lists(text, max_size=3).map(tuple)),
    donate_to=st.none() | st.sampled_from(KEYS),
)


def test_vectors(check_vectors, log):
    terms, revoking, offering = check_vectors("terms", parse_terms, 3, 54)
    assert offering.body == EVERY_OFFER
    assert revoking.body.closed == {
        f"{EDGE.pubkey}/0": Head(1, log.events["receipt"].id),
        f"{EDGE.pubkey}/*": NEVER,
        f"{ZAPPER.pubkey}/payouts": NEVER,
    }
    assert terms.body == TERMS_BODY
    assert (terms.id, terms.signer, terms.pool, terms.link) == (log.events["terms"].id, POOL.pubkey, POOL, FIRST)
    assert terms.body.keys_of("edge") == {EDGE.pubkey}
    assert terms.body.keys_of("accounting") == {ACCOUNTING.pubkey}
    assert terms.body.keys_of("zapper") == {ZAPPER.pubkey}
    assert terms.body.keys_of("pool") == frozenset()
    assert POOL_KEY.sign(build_terms(POOL, FIRST, terms.created_at, terms.body)) == log.events["terms"]


@given(bodies, st.integers(0, 99), id64)
def test_there_and_back(body, seq, prev):
    link = Link(seq, prev) if seq else FIRST
    event = POOL_KEY.sign(build_terms(POOL, link, 5, body))
    terms = parse_terms(event)
    assert terms.body == body
    assert (terms.id, terms.signer, terms.pool, terms.link, terms.created_at) == (event.id, POOL.pubkey, POOL, link, 5)


def test_one_key_may_hold_every_role():
    body = TermsBody(offers={"main": Offer()}, keys=tuple((EDGE.pubkey, role) for role in ROLES))
    terms = parse_terms(POOL_KEY.sign(build_terms(PoolAddress(POOL.pubkey, "main"), FIRST, 5, body)))
    assert all(terms.body.keys_of(role) == {EDGE.pubkey} for role in ROLES)
    assert terms.body.limits.block_bits is None
    assert terms.body.limits.lane_grace_ms is None
    assert terms.body.limits.silence_ms == terms.body.limits.anchor_ms == 120_000
    assert Limits(lane_grace_ms=600_000).silence_ms == 600_000


def test_defaults_are_the_specs():
    """SPEC.md's values in brackets."""
    body = json.loads(build_terms(POOL, FIRST, 1, TermsBody(offers={"main": Offer()}, keys=())).content)
    assert body == {
        "v": 1,
        "offers": {
            "main": {
                "scheme": "pplns",
                "fee_ppm": 10000,
                "window_milli": 8000,
                "window_min_work": "0",
                "window_max_ms": 0,
            }
        },
        "keys": [],
        "closed": {},
        "limits": {
            "batch_seconds": 10,
            "heartbeat_seconds": 30,
            "anchor_ms": 120000,
            "stale_ms": 0,
            "job_ms": 600000,
            "statement_ms": 600000,
            "maturity_blocks": 100,
            "easiest_bits": "2100ffff",
        },
        "payouts": {"minimum_msat": 1000, "interval_s": 3600, "network_fee": "pool"},
        "log": {"relays": [], "retention_days": 0, "archives": []},
    }


@given(st.data())
def test_nothing_else_is_raised(fuzz, log, data):
    fuzz(data, parse_terms, log.events["terms"])
