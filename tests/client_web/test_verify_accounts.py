"""Two readings of what the accounting signs: all schemes' statements, parts, donations, summaries, closed lanes.

Each log is told whole, and with fields of its statements, summaries and their parts altered and signed anew: the
verifier in Python and the one in TypeScript find the same.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nips.nip01 import UnsignedEvent
from nips.pool.chain import next_link
from nips.pool.kinds import STATEMENT, STATEMENT_PART, SUMMARY, TERMS
from nips.pool.terms import NEVER
from tests.accounting.conftest import TERMS as STORY_TERMS
from tests.accounting.conftest import LogBuilder, tell_story
from tests.accounting.hourly import tell_hours
from tests.accounting.offers_story import OFFERS, tell_offers
from tests.accounting.tampering import mutations
from tests.accounting.test_donations_told import WITH_CHEST, give, put, settings
from tests.client_web.told_logs import FOLLOWING, Told, claims, codes, judge_logs

AFTER_MS = 10**9
TRIED = 60
# Of an event without a readable form the number in its chain may be called a gap; what rests on it is wrong or missing.
BROKEN = {"malformed", "unknown-version", "gap", "summary", "summary-not-recomputed"}


def offers(tamper: Any = None, change: Any = None) -> LogBuilder:
    held = settings()
    return tell_offers({"statement 0": give(held), **(change or {})}, tamper, WITH_CHEST, put(held))


def hours(tamper: Any = None) -> LogBuilder:
    told: LogBuilder = tell_hours(tell_story(tamper=tamper))
    return told


def told(label: str, log: LogBuilder, *without: str, after_ms: int = AFTER_MS) -> Told:
    return Told(label, log.pool, log.t0 + after_ms, log.all(*without))


def differences(node: str, logs: list[Told]) -> list[str]:
    differ = []
    for log, ours in zip(logs, judge_logs(node, logs), strict=True):
        theirs = log.audit()
        here, there = codes(ours["findings"]), codes(theirs["findings"])
        following = FOLLOWING | (BROKEN if (here | there) & {"malformed", "unknown-version", "gap"} else set())
        same = here - following == there - following and bool(here) == bool(there)
        if ours["holds"] != theirs["holds"] or not same:
            differ.append(f"{log.label}: {sorted(here)} here, {sorted(there)} there")
    return differ


@pytest.mark.parametrize("tell", [offers, hours])
def test_the_clean_log_claim_by_claim(node: str, tell: Callable[[], LogBuilder]) -> None:
    log = told("clean", tell())
    (ours,) = judge_logs(node, [log])
    theirs = log.audit()
    assert ours["holds"] is theirs["holds"] is True
    assert codes(ours["findings"], notes=True) == codes(theirs["findings"], notes=True) == {"chain-facts"}
    assert claims(ours["claims"]) == claims(theirs["claims"])
    assert ours["miners"] == theirs["miners"]
    assert all(row["msat"] == row["told"] for statement in ours["statements"] for row in statement["rows"])
    assert {"statements", "summaries"} <= set(claims(ours["claims"]))


@pytest.mark.parametrize("tell", [offers, hours])
def test_what_the_accounting_alters(node: str, tell: Callable[..., LogBuilder]) -> None:
    kinds = (STATEMENT, STATEMENT_PART, SUMMARY, TERMS)
    every = [each for label, event in tell().events.items() if event.kind in kinds for each in mutations(label, event)]
    random.Random(4).shuffle(every)
    logs = [told(f"{each.label}: {each.name}", tell({each.label: each.apply})) for each in every[:TRIED]]
    differ = differences(node, logs)
    assert not differ, "\n".join(differ)


def test_what_is_not_there(node: str) -> None:
    """Events hidden, and what is overdue at each moment."""
    story, counted = offers(), hours()
    logs = [
        told(f"without {label}", story, label)
        for label in ("period 0", "statement 2", "status 0", "job R", "batch 0/1")
    ]
    logs += [told(f"without {label}", counted, label) for label in ("summary 0", "summary 1", "batch 0/3", "job G")]
    none = ("summary 0", "part 1/0", "part 1/1", "summary 1", "archive 0")
    logs += [told(f"no summaries at {ms}", counted, *none, after_ms=ms) for ms in range(0, 15_000_000, 1_500_000)]
    for ms in range(0, 1_000_000, 100_000):
        logs.append(told(f"no periods at {ms}", story, "period 0", "period 1", after_ms=ms))
        logs.append(told(f"no second period at {ms}", story, "period 1", after_ms=ms))
    differ = differences(node, logs)
    assert not differ, "\n".join(differ)


def test_an_offer_that_changes_its_scheme(node: str) -> None:
    story = offers()
    changed = {**OFFERS, "round": replace(OFFERS["round"], scheme="pplns")}
    story.terms(110_000, replace(WITH_CHEST, offers=changed))
    log = told("prop becomes pplns", story)
    assert not differences(node, [log])
    (ours,) = judge_logs(node, [log])
    assert codes(ours["findings"]) == {"offer-scheme"}


def close(story: LogBuilder, seconds: int, grace_ms: int | None, end: Any, name: str = "1") -> LogBuilder:
    """The terms close a lane so many seconds after the story, and it lives on for a batch."""
    limits = replace(STORY_TERMS.limits, lane_grace_ms=grace_ms)
    last = story.windows[1][-1][1] - story.t0
    story.terms(last, replace(STORY_TERMS, limits=limits))
    lane = f"{story.keys.edge.pubkey}/{name}"
    story.terms(last + seconds * 1000, replace(STORY_TERMS, limits=limits, closed={lane: end(story)}))
    story.batch(1, last, last + seconds * 1000 + 10_000)
    return story


def test_lanes_closed_early_and_in_time(node: str) -> None:
    logs = []
    for seconds in (59, 60, 61):
        for grace_ms in (None, 60_000):
            log = close(tell_story(), seconds, grace_ms, lambda story: story.heads["1"])
            logs.append(told(f"closed {seconds} s after, grace {grace_ms}", log))
    logs.append(told("a lane closed before its first batch", close(tell_story(), 5, 60_000, lambda _: NEVER, "7")))
    logs.append(told("all lanes but those named", close(tell_story(), 5, 60_000, lambda _: NEVER, "*")))
    assert not (differ := differences(node, logs)), "\n".join(differ)
    early = [
        log.label
        for log, ours in zip(logs, judge_logs(node, logs), strict=True)
        if "lane-closed-early" in codes(ours["findings"])
    ]
    assert early == ["closed 59 s after, grace 60000"]


def test_a_part_of_what_has_no_parts(node: str) -> None:
    """4218 `of` any kind but a statement, a summary and settings breaks the form; so for both."""
    logs = []
    for of in ("4210", "4216", "4218", "0", "-1", '"4214"', "null"):
        story = tell_story()
        link = next_link(story.heads["accounting"])
        newest = max(event.created_at for event in story.all())
        content = f'{{"v":1,"of":{of},"part":0,"rows":[]}}'
        unsigned = UnsignedEvent(STATEMENT_PART, newest, (story.pool.tag(), *link.tags()), content)
        story.sign("part of nothing", story.keys.accounting, unsigned, "accounting")
        logs.append(told(f"of {of}", story))
    for log, ours in zip(logs, judge_logs(node, logs), strict=True):
        assert codes(ours["findings"]) == codes(log.audit()["findings"]) == {"malformed"}, log.label
