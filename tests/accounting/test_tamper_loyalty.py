"""Every field of a statement with a bonus, and of what it rests on, altered and signed anew: the audit names each."""

import re

import pytest

from accounting.findings import Code
from accounting.verifier import audit
from nips.pool.kinds import STATEMENT, STATEMENT_PART
from tests.accounting.loyalty_story import LoyalLog, tell_loyal
from tests.accounting.tampering import Mutation, mutations
from tests.accounting.test_tamper import CAUGHT, HARMLESS
from tests.accounting.test_tamper_offers import ALSO

AFTER_MS = 10**9
# What the other tables don't know: the first pattern that fits counts.
OF_BONUSES: list[tuple[str, set[Code]]] = [
    (r"4214 rows\.\[\] shorter", {Code.STATEMENT_SPLIT, Code.MALFORMED}),
    (r"4218 dated a day earlier", {Code.BACKDATED}),
    (r"4218 attestations", {Code.MALFORMED}),
]
HARMLESS_HERE = [
    (r"^attested 0: 4218 dated a day earlier", "the first of its chain, with nothing before it"),
    (r"^statement 2: 4214 tag a", "the newest of its chain: a log may end before it"),
]
# What one label of each kind and all of its fields show; terms ask for the work to be done again.
TERMS_TRIED = ("part_ppm less", "full_hours more", "full_days more")


@pytest.fixture(scope="module")
def clean() -> LoyalLog:
    return tell_loyal()


def verdict(each: Mutation) -> str | None:
    """What is wrong with the audit of a tampered log; None if it is as the tables say."""
    log = tell_loyal(tamper={each.label: each.apply})
    report = audit(log.all(), [], log.pool, now_ms=log.t0 + AFTER_MS)
    found = {finding.code for finding in report.findings} - {Code.CHAIN_FACTS, Code.SUMMARY_OVERDUE}
    tables = (*OF_BONUSES, *ALSO, *CAUGHT)
    acceptable = next((codes for pattern, codes in tables if re.search(pattern, each.name)), set[Code]())
    text = f"{each.label}: {each.name}"
    if found & acceptable:
        return None
    if not found and any(re.search(pattern, text) for pattern, _ in (*HARMLESS_HERE, *HARMLESS)):
        return None
    return f"{text}: found {sorted(found)}, expected one of {sorted(acceptable)}"


def test_every_field_of_a_statement_with_a_bonus_and_of_its_attestations(clean: LoyalLog) -> None:
    tried = [
        each
        for label, event in clean.events.items()
        if event.kind in (STATEMENT, STATEMENT_PART)
        for each in mutations(label, event)
    ]
    assert any("rows.[].[]" in each.name for each in tried)
    wrong = [text for each in tried if (text := verdict(each)) is not None]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("field", TERMS_TRIED)
def test_the_terms_bonus_is_what_is_paid(clean: LoyalLog, field: str) -> None:
    named = (each for each in mutations("terms 0", clean.events["terms 0"]) if f"main.loyalty.{field}" in each.name)
    log = tell_loyal(tamper={"terms 0": next(named).apply})
    report = audit(log.all(), [], log.pool, now_ms=log.t0 + AFTER_MS)
    assert Code.STATEMENT_SPLIT in {finding.code for finding in report.findings}
