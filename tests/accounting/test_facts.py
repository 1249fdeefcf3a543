"""A block is judged by the terms and the offer of the job it was mined on, whatever terms say since."""

from dataclasses import FrozenInstanceError, fields, replace
from typing import get_args

import pytest

from accounting.facts import BlockSeen, Fact, PayoutSeen, StatementSeen, TermsAdopted
from accounting.log import PoolLog
from nips.pool.terms import Loyalty, Offer, TermsBody, parse_terms
from tests.accounting.conftest import TERMS, LogBuilder


@pytest.fixture
def told(story) -> list[Fact]:
    return told_by(story.pool, story.all())


def told_by(pool, events) -> list[Fact]:
    log, facts = PoolLog(pool), []
    for event in events:
        log.add(event)
        facts += log.settle()
    return facts


def blocks(told) -> list[BlockSeen]:
    return [fact for fact in told if isinstance(fact, BlockSeen)]


def test_facts_come_in_the_logs_order_and_name_their_events(story, told):
    kinds = [type(fact) for fact in told]
    assert set(kinds) <= set(get_args(Fact))
    adopted = [fact.terms.id for fact in told if isinstance(fact, TermsAdopted)]
    assert adopted == [story.events[name].id for name in ("terms 0", "terms 1")]
    assert [fact.block.id for fact in blocks(told)] == [story.events[f"block {n}"].id for n in range(3)]
    stated = [fact for fact in told if isinstance(fact, StatementSeen)]
    assert [fact.statement.id for fact in stated] == [story.events[f"statement {n}"].id for n in range(3)]
    assert all(fact.ok for fact in stated)
    paid = {fact.payout.id for fact in told if isinstance(fact, PayoutSeen)}
    assert paid == {event.id for name, event in story.events.items() if name.startswith("payout ")}


def test_a_block_has_the_terms_of_its_job(story, told):
    first, second, third = blocks(told)
    old, new = (story.events[name].id for name in ("terms 0", "terms 1"))
    assert [(block.terms.id, block.offer) for block in (first, second, third)] == [
        (old, "main"), (new, "main"), (new, "lunch"),
    ]  # fmt: skip
    assert {block.scheme for block in (first, second, third)} == {"pplns"}
    assert not any(block.pays_loyalty for block in (first, second, third))


def test_scheme_and_bonus_are_the_offers(told):
    block = blocks(told)[2]
    offers = {"main": Offer("pplns", loyalty=Loyalty(1000)), "lunch": Offer("solo")}
    changed = replace(block, terms=replace(block.terms, body=replace(block.terms.body, offers=offers)))
    assert (changed.scheme, changed.pays_loyalty) == ("solo", False)
    other = replace(changed, offer="main")
    assert (other.scheme, other.pays_loyalty) == ("pplns", True)
    with pytest.raises(KeyError):
        replace(changed, offer="gone").scheme  # noqa: B018 - the property is asked


@pytest.mark.parametrize("kind", get_args(Fact))
def test_what_was_established_is_not_changed(kind):
    fact = object.__new__(kind)
    with pytest.raises(FrozenInstanceError):
        setattr(fact, fields(kind)[0].name, None)


def test_terms_are_adopted_as_they_were_signed():
    log = LogBuilder()
    body: TermsBody = replace(TERMS, offers={"only": Offer("prop", 5)})
    event = log.terms(0, body)
    (fact,) = told_by(log.pool, [event])
    assert fact == TermsAdopted(parse_terms(event))
    assert fact.terms.body.offers == {"only": Offer("prop", 5)}
