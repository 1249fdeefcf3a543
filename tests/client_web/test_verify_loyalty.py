"""Bonuses: the verifier in TypeScript computes what the one in Python does, and says the same of altered logs."""

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest

from accounting.schemes.loyalty import DAY_MS
from nips.pool.kinds import STATEMENT, STATEMENT_PART
from nips.pool.terms import Model
from tests.accounting.conftest import KEYS, T0
from tests.accounting.loyalty_story import FACTORS, LOYAL_TERMS, MIDNIGHT, OFFERS, RULES, LoyalLog, attest, tell_loyal
from tests.accounting.tampering import mutations
from tests.accounting.test_attendance import NO_DEVICE, TODAY, less, moved, unnamed
from tests.client_web.test_verify_accounts import differences
from tests.client_web.told_logs import Told, claims, codes, judge_logs

# Before any summary is overdue: the story tells none.
AFTER_MS = MIDNIGHT + 60_000
TRIED = 80
ATTESTED: dict[str, tuple[Any, ...]] = {
    "none": (),
    "hers": (attest(),),
    "twice the hashrate": (attest(hs=2, model="other"),),
    "a day that is not over": (attest(second=TODAY),),
    "a day without work": (attest(second=T0 // 1000 - 86_400),),
    "another worker": (attest(worker="rig"),),
    "another miner": (attest(KEYS.bob),),
    "a model that the terms lack": (attest(model="other"),),
    "a newer one of another model": (attest(), attest(second=T0 // 1000 + 61, model="other")),
    "an older one of another model": (attest(), attest(second=T0 // 1000 + 59, model="other")),
    "two of one second": (attest(), attest(model="other")),
    "two of one second, told the other way round": (attest(model="other"), attest()),
    "too long ago": (attest(second=T0 // 1000 - 31 * DAY_MS // 1000),),
}


def told(label: str, log: LoyalLog, *without: str) -> Told:
    return Told(label, log.pool, log.t0 + AFTER_MS, log.all(*without))


def exact(node: str, logs: list[Told]) -> list[set[str]]:
    """The codes of each log, which both verifiers give alike, none left out."""
    found = []
    for log, ours in zip(logs, judge_logs(node, logs), strict=True):
        theirs = log.audit()
        assert codes(ours["findings"], notes=True) == codes(theirs["findings"], notes=True), log.label
        assert ours["holds"] is theirs["holds"], log.label
        found.append(codes(ours["findings"]))
    return found


def test_the_clean_log_claim_by_claim(node: str) -> None:
    story = tell_loyal()
    log = told("clean", story)
    (ours,) = judge_logs(node, [log])
    theirs = log.audit()
    assert ours["holds"] is theirs["holds"] is True
    assert codes(ours["findings"], notes=True) == codes(theirs["findings"], notes=True) == {"chain-facts"}
    assert claims(ours["claims"]) == claims(theirs["claims"])
    assert ours["miners"] == theirs["miners"]
    computed = {each["id"]: each["rows"] for each in ours["statements"]}
    for number in range(3):
        label = f"statement {number}"
        rows = [(row.miner, row.msat, row.bonus_msat) for row in story.bodies[label].rows]
        assert [(row["miner"], row["msat"], row["bonus"]) for row in computed[story.events[label].id]] == rows
        assert all(bonus > 0 for *_, bonus in rows)
    assert len(computed) == 3


def test_attestations_of_every_sort(node: str) -> None:
    """Each with the factors that count it and those that do not: both say which statement is right."""
    known = (FACTORS, NO_DEVICE, FACTORS | {KEYS.alice.pubkey: 1000 * 1500 * 1250})
    pairs = list(itertools.product(ATTESTED.items(), known))
    logs = [told(f"{name} {factors}", tell_loyal(attested=given, factors=factors)) for (name, given), factors in pairs]
    found = exact(node, logs)
    right = [label for (label, _), codes in zip((pair[0] for pair in pairs), found, strict=True) if not codes]
    # One reading of each is right, no more and no less; the lowest id of two of one second decides.
    assert sorted(right) == sorted(ATTESTED)
    assert all(codes <= {"statement-split"} for codes in found)


@pytest.mark.parametrize("change", [less, unnamed, moved])
def test_a_bonus_kept_or_moved(node: str, change: Any) -> None:
    labels = [f"statement {number}" for number in range(3)]
    logs = [told(label, tell_loyal(change={label: change})) for label in labels]
    assert exact(node, logs) == [{"statement-split"}] * 3


def test_terms_with_other_rules(node: str) -> None:
    """Terms that count a device otherwise than the statements do; the vectors have the rest of the rules."""
    offers = {**OFFERS, "main": replace(OFFERS["main"], loyalty=replace(RULES, hardware={"axe": Model(1, 1500)}))}
    log = told("another factor", tell_loyal(terms=replace(LOYAL_TERMS, offers=offers)))
    assert exact(node, [log]) == [{"statement-split"}]


def test_what_is_altered_and_signed_anew(node: str) -> None:
    kinds = (STATEMENT, STATEMENT_PART)
    story = tell_loyal()
    every = [each for label, event in story.events.items() if event.kind in kinds for each in mutations(label, event)]
    random.Random(5).shuffle(every)
    logs = [told(f"{each.label}: {each.name}", tell_loyal(tamper={each.label: each.apply})) for each in every[:TRIED]]
    differ = differences(node, logs)
    assert not differ, "\n".join(differ)


def test_what_is_not_there(node: str) -> None:
    """Each event hidden in turn: an attestation that may be hidden is no fault of the pool's."""
    story = tell_loyal()
    logs = [told(f"without {label}", story, label) for label in story.events if label != "terms 0"]
    differ = differences(node, logs)
    assert not differ, "\n".join(differ)
    (hidden,) = exact(node, [told("no attestation", story, "attested 0")])
    assert hidden == {"gap", "statement-not-recomputed"}
