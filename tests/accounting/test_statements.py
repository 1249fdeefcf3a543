"""Statements of every scheme, judged as by a stranger: what an honest pool tells holds, however it is read."""

import random
from typing import Any

import pytest

from accounting.findings import Code
from accounting.log import PoolLog
from accounting.verifier import audit
from nips.pool.targets import work_from_bits
from tests.accounting.conftest import HARD_BITS, SHARE_BITS
from tests.accounting.offers_story import OffersLog, tell_offers

AFTER_MS = 10**9
WORK, HARD = work_from_bits(SHARE_BITS), work_from_bits(HARD_BITS)


@pytest.fixture(scope="module")
def offers() -> OffersLog:
    return tell_offers()


def codes(log: Any) -> set[Code]:
    report = audit(log.all(), [], log.pool, now_ms=log.t0 + AFTER_MS)
    return {found.code for found in report.findings} - {Code.CHAIN_FACTS}


def test_what_an_honest_pool_tells_holds(offers: OffersLog) -> None:
    assert codes(offers) == set()


def test_a_round_counts_what_none_before_it_did(offers: OffersLog) -> None:
    """By hand: alice has 11.0, 12.0 and 24.0 in the first round, bob the hard one and the block."""
    alice, bob = offers.keys.alice.pubkey, offers.keys.bob.pubkey
    rows = {number: {row.miner: row.work for row in offers.bodies[f"statement {number}"].rows} for number in range(4)}
    assert rows[0] == {alice: 3 * WORK, bob: HARD + WORK}
    assert rows[1] == {alice: HARD}
    assert rows[2] == {alice: 2 * WORK, bob: 3 * WORK}
    # The second was orphaned before: the third round has its work again, and what came since.
    assert rows[3] == {alice: 3 * WORK, bob: 5 * WORK}


def test_the_pool_makes_the_same_statements(offers: OffersLog) -> None:
    log = PoolLog(offers.pool)
    made: dict[str, Any] = {}
    for event in offers.all():
        label = next(name for name, known in offers.events.items() if known is event)
        if label.startswith("statement "):
            body = offers.bodies[label]
            made[label] = log.expected(log.blocks[body.reward.block], offers.keys.accounting.pubkey, event.created_at)
        log.add(event)
        log.settle()
    assert made == {label: body for label, body in offers.bodies.items() if label.startswith("statement ")}
    assert len(made) == 4


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_reading_makes_no_difference(offers: OffersLog, seed: int) -> None:
    events = offers.all()
    random.Random(seed).shuffle(events)
    report = audit(events, [], offers.pool, now_ms=offers.t0 + AFTER_MS)
    assert {found.code for found in report.findings} == {Code.CHAIN_FACTS}
    assert report == audit(offers.all(), [], offers.pool, now_ms=offers.t0 + AFTER_MS)
