"""Every field of every statement that is not pplns altered, and signed anew: the audit names each."""

import os
import random
import re

import pytest

from accounting.findings import Code
from accounting.verifier import audit
from nips.pool.kinds import STATEMENT, STATEMENT_PART, TERMS
from tests.accounting.offers_story import OffersLog, tell_offers
from tests.accounting.tampering import Mutation, mutations
from tests.accounting.test_donations_told import WITH_CHEST, give, put, settings
from tests.accounting.test_tamper import CAUGHT, HARMLESS, TRIED

AFTER_MS = 10**9
SEED = os.environ.get("NONCESTR_TAMPER_SEED", "1")
# What the tables of test_tamper don't know: the first pattern that fits counts.
ALSO: list[tuple[str, set[Code]]] = [
    (r"4214 reward\.(from_ms|to_ms) (more|less)", {Code.STATEMENT_REWARD, Code.STATEMENT_HEADS}),
    (r"4214 reward\.type other", {Code.MALFORMED}),
    (r"4214 offer other", {Code.STATEMENT_TERMS}),
    (r"4214 terms other", {Code.MISSING_TERMS, Code.STATEMENT_TERMS}),
    (r"4214 donations", {Code.STATEMENT_SPLIT, Code.MALFORMED}),
    (r"4214 tag a", {Code.GAP, Code.STATEMENT_OVERDUE}),
    (r"4218 tag a", {Code.GAP, Code.STATEMENT_SPLIT}),
    # What it does not hold it cannot move.
    (r"4218 of", {Code.STATEMENT_SPLIT, Code.MALFORMED}),
    (r"4218 ", {Code.MALFORMED, Code.BACKDATED, Code.STATEMENT_SPLIT, Code.STATEMENT_NOT_RECOMPUTED}),
    (r"4210 offers\.steady\.(fee_ppm|period_s)", {Code.STATEMENT_SPLIT, Code.STATEMENT_REWARD, Code.MALFORMED}),
    (r"4210 offers\.(round|lonely)\.fee_ppm", {Code.STATEMENT_SPLIT, Code.MALFORMED}),
    (r"4210 donate_to", {Code.STATEMENT_SPLIT, Code.MALFORMED}),
]
ALSO_HARMLESS = [
    (r"^settings: 4218 dated a day earlier", "the first of its chain, with nothing before it"),
    (r": 4210 offers\.main", "none of its blocks' jobs names it"),
    (r": 4210 offers\.\w+\.window_", "a window, of a scheme that has none"),
    (r"^period 1: 4214 tag a", "the newest of its chain: a log may end before it, and the period is not overdue yet"),
]


def told(each: Mutation | None = None) -> OffersLog:
    held = settings()
    return tell_offers(
        change={"statement 0": give(held)},
        tamper={} if each is None else {each.label: each.apply},
        terms=WITH_CHEST,
        before=put(held),
    )


@pytest.fixture(scope="module")
def clean() -> OffersLog:
    return told()


def chosen(log: OffersLog) -> list[Mutation]:
    """One of each kind and field in turn, until there are enough."""
    order = random.Random(SEED)
    by_name: dict[str, list[Mutation]] = {}
    for label, event in log.events.items():
        if event.kind in (STATEMENT, STATEMENT_PART, TERMS):
            for each in mutations(label, event):
                if event.kind == TERMS and not re.search(r"4210 (offers|donate_to)", each.name):
                    # test_tamper's, whatever the scheme.
                    continue
                # What each kind of statement calls its own is tried of each kind.
                by_name.setdefault(f"{label.split()[0]} {each.name}", []).append(each)
    names = sorted(by_name)
    order.shuffle(names)
    found: list[Mutation] = []
    for turn in range(max(map(len, by_name.values()))):
        found += [by_name[name][turn] for name in names if turn < len(by_name[name])]
    return found[:TRIED]


def verdict(each: Mutation) -> str | None:
    """What is wrong with the audit of a tampered log; None if it is as the tables say."""
    log = told(each)
    report = audit(log.all(), [], log.pool, now_ms=log.t0 + AFTER_MS)
    found = {finding.code for finding in report.findings} - {Code.CHAIN_FACTS}
    acceptable = next((codes for pattern, codes in (*ALSO, *CAUGHT) if re.search(pattern, each.name)), set[Code]())
    if found & acceptable:
        return None
    text = f"{each.label}: {each.name}"
    if not found and any(re.search(pattern, text) for pattern, _ in (*HARMLESS, *ALSO_HARMLESS)):
        return None
    return f"{text}: found {sorted(found)}, expected one of {sorted(acceptable)}"


def test_the_clean_log_holds(clean: OffersLog) -> None:
    report = audit(clean.all(), [], clean.pool, now_ms=clean.t0 + AFTER_MS)
    assert {finding.code for finding in report.findings} == {Code.CHAIN_FACTS}


def test_what_is_altered_and_signed_again_is_named(clean: OffersLog) -> None:
    wrong = [text for each in chosen(clean) if (text := verdict(each)) is not None]
    assert not wrong, "\n".join(wrong)
