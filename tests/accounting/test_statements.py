"""Statements of every scheme, judged as by a stranger: what an honest pool tells holds, however it is read."""

import random
from dataclasses import replace
from typing import Any

import pytest

from accounting.findings import Code
from accounting.fold import Fold
from accounting.log import PoolLog
from accounting.rewards import NotYet
from accounting.verifier import audit
from nips.pool.chain import next_link
from nips.pool.statement import Row, StatementBody, build_statement
from nips.pool.targets import work_from_bits
from nips.pool.terms import Offer
from tests.accounting.conftest import GROSS_SAT, HARD_BITS, SHARE_BITS, TERMS
from tests.accounting.offers_story import OFFERS, OffersLog, tell_offers
from tests.accounting.orders_story import PERIODS, tell_orders

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


def test_a_share_has_its_price_whatever_is_found(offers: OffersLog) -> None:
    """By hand: each hash is worth 1/512 of the outputs of its job, less 2 %, since these terms' blocks take 512."""
    alice, bob = offers.keys.alice.pubkey, offers.keys.bob.pubkey
    gross = sum(GROSS_SAT) * 1000
    rows = {number: {row.miner: row for row in offers.bodies[f"period {number}"].rows} for number in range(2)}
    assert {miner: row.work for miner, row in rows[0].items()} == {alice: 3 * WORK, bob: HARD + WORK}
    assert {miner: row.work for miner, row in rows[1].items()} == {alice: WORK, bob: WORK}
    for row in (*rows[0].values(), *rows[1].values()):
        assert row.msat == row.work * gross * 98 // 51200
    # The block of such an offer is the pool's, which carries the luck.
    block = offers.bodies["statement 4"]
    assert (block.rows, block.fee_msat, block.window.work) == ((), gross, 0)


def test_the_pool_makes_the_same_statements(offers: OffersLog) -> None:
    log = PoolLog(offers.pool)
    accounting = offers.keys.accounting.pubkey
    made: dict[str, Any] = {}
    for label, event in offers.events.items():
        if label.startswith("statement "):
            block = log.blocks[offers.bodies[label].reward.block]
            made[label] = log.expected(block, accounting, event.created_at)
        if label.startswith("period "):
            (made[label],) = log.statements.due_periods(accounting, event.created_at)
        log.add(event)
        log.settle()
    assert made == {label: body for label, body in offers.bodies.items() if label in made}
    assert len(made) == 7
    assert not list(log.statements.due_periods(accounting, event.created_at))


def test_what_is_paid_at_once_is_owed_at_once(offers: OffersLog) -> None:
    fold = Fold(offers.pool)
    for event in offers.all():
        fold.add(event)
        fold.settle()
    alice, paid = offers.keys.alice, offers.bodies["payout 0"].amount_msat
    matured = offers.row_msat("statement 0", alice) + offers.row_msat("statement 1", alice)
    owed = matured + offers.row_msat("period 0", alice) + offers.row_msat("period 1", alice) - paid
    assert fold.ledger.balance(alice.pubkey, None).owed_msat == owed
    assert not fold.check()
    assert not fold.violations
    assert fold.ledger.accounts["luck"] == sum(
        row.msat for number in range(2) for row in offers.bodies[f"period {number}"].rows
    )


def test_a_period_that_nobody_stated_is_overdue(offers: OffersLog) -> None:
    events = [event for label, event in offers.events.items() if label not in ("period 1", "payout 0")]
    found = audit(events, [], offers.pool, now_ms=offers.t0 + AFTER_MS).findings
    assert {each.code for each in found if each.grade != "not checked"} == {Code.STATEMENT_OVERDUE}


def test_a_period_made_void_and_not_made_again_is_overdue() -> None:
    """The one after it holds its shares: without this nobody would miss what its miners are no longer owed."""
    log = tell_offers()
    log.status("period 0", "void", 103_000)
    late_ms = log.t0 + 103_000 + TERMS.limits.statement_ms
    for now_ms, overdue in ((late_ms, False), (late_ms + 1000, True)):
        found = {each.code for each in audit(log.all(), [], log.pool, now_ms=now_ms).findings}
        assert (Code.STATEMENT_OVERDUE in found) is overdue
    log.undone.add("period 0")
    log.period("steady", 40_000, 104_000)
    assert codes(log) == set()


def test_a_void_period_is_due_again_as_it_was() -> None:
    """Newer terms have longer periods, none of which ends with it: it goes by those that it could go by."""
    log = tell_orders([("state", PERIODS[0]), ("void", "period 0")])
    longer = {**OFFERS, "steady": replace(OFFERS["steady"], period_s=3600)}
    log.terms(30_000, replace(TERMS, offers=longer))
    fold, key = Fold(log.pool), log.keys.accounting.pubkey
    for event in log.all():
        fold.add(event)
    fold.settle()
    end_ms, second = log.t0 + PERIODS[0], log.t0 // 1000 + 200
    (due,) = fold.log.statements.due_periods(key, second)
    assert isinstance(due, StatementBody)
    assert (due.reward.end_ms, due.terms) == (end_ms, log.events["terms 0"].id)
    log.say("state", PERIODS[0])
    event = log.events["period 1"]
    fold.add(event)
    fold.settle()
    # Its work is told: what is due is what came after it, and that is not over yet.
    for body in fold.log.statements.due_periods(key, second):
        assert isinstance(body, NotYet)


def test_of_two_void_periods_neither_keeps_the_other_waiting() -> None:
    log = tell_orders([("state", end) for end in PERIODS] + [("void", "period 0"), ("void", "period 1")])
    fold, key = Fold(log.pool), log.keys.accounting.pubkey
    for event in log.all():
        fold.add(event)
    fold.settle()
    ends = []
    for number in range(2):
        (due,) = fold.log.statements.due_periods(key, log.t0 // 1000 + 300)
        assert isinstance(due, StatementBody)
        ends.append(due.reward.end_ms - log.t0)
        log.say("state", PERIODS[number])
        fold.add(log.events[f"period {3 + number}"])
        fold.settle()
    assert ends == list(PERIODS[:2])
    assert list(fold.log.statements.due_periods(key, log.t0 // 1000 + 300)) == []
    assert codes(log) == set()


def test_terms_that_come_after_payouts_they_judge_reopen_the_books() -> None:
    """A fee that they put on the miner is the miner's in every order, or the books would change with a restart."""
    log = tell_offers(change={"payout 0": lambda body: replace(body, network_fee_msat=5000)})
    base = replace(TERMS, offers=OFFERS)
    events = log.all()
    same = log.terms(54_000, base)
    other = log.terms(55_000, replace(base, payouts=replace(base.payouts, network_fee="miner")))
    fold = Fold(log.pool)
    for event in (*events, same):
        fold.add(event)
        fold.settle()
    assert fold.reopened is None
    fold.add(other)
    fold.settle()
    assert fold.reopened is not None
    anew = Fold(log.pool)
    for event in (same, other, *events):
        anew.add(event)
        anew.settle()
    assert anew.reopened is None
    miner = log.keys.alice.pubkey
    assert fold.ledger.balance(miner, None).owed_msat - anew.ledger.balance(miner, None).owed_msat == 5000


ALTERED: dict[str, tuple[str, Any, set[Code]]] = {
    "longer period": (
        "period 1",
        lambda body: replace(body, reward=replace(body.reward, from_ms=body.reward.from_ms - 1)),
        {Code.STATEMENT_REWARD},
    ),
    "ends between": (
        "period 1",
        lambda body: replace(body, reward=replace(body.reward, to_ms=body.reward.to_ms - 1)),
        {Code.STATEMENT_REWARD},
    ),
    "a round that counts another's work": (
        "statement 3",
        lambda body: replace(body, window=replace(body.window, work=body.window.work + WORK)),
        {Code.STATEMENT_WINDOW},
    ),
    "solo work": (
        "statement 1",
        lambda body: replace(body, rows=(replace(body.rows[0], work=WORK),)),
        {Code.STATEMENT_SPLIT},
    ),
    "rows for a block whose shares are paid": (
        "statement 4",
        lambda body: replace(body, fee_msat=body.fee_msat - 5, rows=(Row("11" * 32, 1, 5),)),
        {Code.STATEMENT_SPLIT},
    ),
    "a fee of a period": (
        "period 0",
        lambda body: replace(body, fee_msat=7, reward=replace(body.reward, gross_msat=body.reward.gross_msat + 7)),
        {Code.STATEMENT_REWARD, Code.STATEMENT_SPLIT},
    ),
}


@pytest.mark.parametrize("name", list(ALTERED))
def test_what_is_altered_is_found(name: str) -> None:
    label, change, expected = ALTERED[name]
    assert expected <= codes(tell_offers(change={label: change}))


def test_a_period_has_one_statement(offers: OffersLog) -> None:
    again = offers.bodies["period 1"]
    log = tell_offers()
    link = next_link(log.heads["accounting"])
    log.sign("again", log.keys.accounting, build_statement(log.pool, link, again, log.t0 // 1000 + 110), "accounting")
    assert codes(log) == {Code.REWARD_TWICE}


def test_terms_that_change_a_scheme_under_its_name_are_found(offers: OffersLog) -> None:
    log = tell_offers()
    log.terms(110_000, replace(TERMS, offers={**OFFERS, "round": Offer("solo")}))
    assert codes(log) == {Code.OFFER_SCHEME}


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_reading_makes_no_difference(offers: OffersLog, seed: int) -> None:
    events = offers.all()
    random.Random(seed).shuffle(events)
    report = audit(events, [], offers.pool, now_ms=offers.t0 + AFTER_MS)
    assert {found.code for found in report.findings} == {Code.CHAIN_FACTS}
    assert report == audit(offers.all(), [], offers.pool, now_ms=offers.t0 + AFTER_MS)
