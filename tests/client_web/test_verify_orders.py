"""Two readings of the order in which rounds and periods are stated, taken back and stated again.

The accounting signs any of it, each statement split as SPEC.md reads. Nobody is cheated unseen: where neither verifier
finds anything, no share is counted twice, and each share of a period once.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.accounting.conftest import LIMITS, TERMS
from tests.accounting.offers_story import OFFERS
from tests.accounting.orders_story import BLOCKS, ENDED_MS, PERIODS, Act, OrdersLog, tell_orders
from tests.client_web.told_logs import Told, claims, codes, judge_logs

AFTER_MS = 10**9
A, B, C = BLOCKS
P1, P2, P3 = PERIODS
TRIED = 60
# At least so many of these are in order after all.
CLEAN = 5
# What may follow a state of a round's statement; of a period's only `void` may.
NEXT = {"pending": ("matured", "orphaned", "void"), "matured": ("orphaned", "void"), "orphaned": ("matured", "void")}

ORDERS: dict[str, tuple[Sequence[Act], set[str]]] = {
    "rounds in order": ([("state", A), ("state", B), ("state", C)], set()),
    "a void round made again at once": (
        [("state", A), ("void", "statement 0"), ("state", A), ("state", B), ("state", C)],
        set(),
    ),
    "a void round made again after one that held it": (
        [("state", A), ("state", B), ("void", "statement 0"), ("state", A), ("state", C)],
        set(),
    ),
    "a void round made again after one that counted it": (
        [("state", A), ("void", "statement 0"), ("state", B), ("state", A), ("state", C)],
        {"counted-twice"},
    ),
    "that one made void, too, and both again": (
        [
            ("state", A),
            ("void", "statement 0"),
            ("state", B),
            ("void", "statement 1"),
            ("state", A),
            ("state", B),
            ("state", C),
        ],
        set(),
    ),
    "rounds out of order": ([("state", B), ("state", A), ("state", C)], {"counted-twice"}),
    "an orphan that comes back when another counted it": (
        [("state", A), ("orphaned", "statement 0"), ("state", B), ("matured", "statement 0"), ("state", C)],
        {"counted-twice"},
    ),
    "a round without a statement": ([("state", A), ("state", C)], {"statement-overdue"}),
    "periods in order": ([("state", P1), ("state", P2), ("state", P3)], set()),
    "a void period made again after one that counted it": (
        [("state", P1), ("void", "period 0"), ("state", P2), ("state", P1), ("state", P3)],
        {"counted-twice"},
    ),
    "a void period that the next one counts": (
        [("state", P1), ("void", "period 0"), ("state", P2), ("state", P3)],
        set(),
    ),
    "a void period that the next one held": (
        [("state", P1), ("state", P2), ("void", "period 0"), ("state", P3)],
        {"statement-overdue"},
    ),
    "that one made again": (
        [("state", P1), ("state", P2), ("void", "period 0"), ("state", P3), ("state", P1)],
        set(),
    ),
    "two void periods of which one is made again": (
        [("state", P1), ("state", P2), ("state", P3), ("void", "period 0"), ("void", "period 1"), ("state", P1)],
        {"statement-overdue"},
    ),
    "periods out of order": ([("state", P2), ("state", P1), ("state", P3)], {"counted-twice"}),
    "a period that is stated twice": ([("state", P1), ("state", P1), ("state", P2), ("state", P3)], {"reward-twice"}),
    "a period stated twice, once void": (
        [("state", P1), ("state", P1), ("void", "period 0"), ("state", P2), ("state", P3)],
        {"reward-twice"},
    ),
}


def as_told(label: str, log: OrdersLog) -> Told:
    return Told(label, log.pool, log.t0 + AFTER_MS, log.all())


def test_orders_of_rounds_and_periods(node: str) -> None:
    logs = [as_told(label, tell_orders(acts)) for label, (acts, _) in ORDERS.items()]
    for log, ours in zip(logs, judge_logs(node, logs), strict=True):
        theirs = log.audit()
        assert codes(ours["findings"]) == codes(theirs["findings"]) == ORDERS[log.label][1], log.label
        assert ours["miners"] == theirs["miners"], log.label
        if not ORDERS[log.label][1]:
            assert claims(ours["claims"]) == claims(theirs["claims"]), log.label


def test_when_a_void_period_is_overdue(node: str) -> None:
    """`statement_ms` after the status, to the second; and not if it has no work, or another has told it."""
    held: list[Act] = [("state", P1), ("state", P2), ("state", P3), ("void", "period 0")]
    logs = []
    for label, acts in (("not told", held), ("told again", [*held, ("state", P1)])):
        log = tell_orders(acts)
        since_ms = (log.events["status 0"].created_at) * 1000 + LIMITS.statement_ms
        logs += [Told(f"{label} {ms}", log.pool, since_ms + ms, log.all()) for ms in (-1000, 0, 1000)]
    for told, ours in zip(logs, judge_logs(node, logs), strict=True):
        expected = {"statement-overdue"} if told.label == "not told 1000" else set()
        assert codes(ours["findings"]) == codes(told.audit()["findings"]) == expected, told.label


def standing(stated: Sequence[str | int], states: dict[str, str]) -> set[str | int]:
    """What has a statement that is not void."""
    return {each for each, state in zip(stated, states.values(), strict=True) if state != "void"}


def by_chance(chance: random.Random, of: Sequence[str | int]) -> list[Act]:
    """So many acts of the accounting that each state may follow the one before."""
    acts: list[Act] = []
    states: dict[str, str] = {}
    kind = "statement" if isinstance(of[0], str) else "period"
    stated: list[str | int] = []
    for _ in range(chance.randrange(4, 9)):
        changes = [
            (said, label)
            for label, state in states.items()
            for said in (NEXT.get(state, ()) if kind == "statement" else ("void",) if state != "void" else ())
        ]
        if changes and chance.random() < 0.4:
            said, label = chance.choice(changes)
            acts.append((said, label))
            states[label] = said
        else:
            # Mostly the first that has none which stands.
            lacking = [each for each in of if each not in standing(stated, states)]
            stated.append(lacking[0] if lacking and chance.random() < 0.8 else chance.choice(of))
            acts.append(("state", stated[-1]))
            states[f"{kind} {len(states)}"] = "pending"
    return acts


@pytest.mark.parametrize("of", [BLOCKS, PERIODS])
def test_any_order(node: str, of: Sequence[str | int]) -> None:
    """Every other log is told in one second: what comes first the numbers say."""
    chance = random.Random(9)
    told = [tell_orders(by_chance(chance, of), 1000 * (number % 2)) for number in range(TRIED)]
    logs = [as_told(f"log {number}", log) for number, log in enumerate(told)]
    clean = 0
    for acts, log, ours in zip(told, logs, judge_logs(node, logs), strict=True):
        theirs = log.audit()
        said = [(label, acts.states[label]) for label in acts.states]
        here, there = codes(ours["findings"]), codes(theirs["findings"])
        assert here == there, said
        assert ours["miners"] == theirs["miners"], said
        times = max(acts.times_counted().values()), min(acts.times_counted().values())
        # Two statements of one reward count the same, which has a finding of its own.
        assert ("counted-twice" in there) <= (times[0] > 1) <= bool(there & {"counted-twice", "reward-twice"}), said
        if theirs["holds"]:
            clean += 1
            assert of is BLOCKS or times == (1, 1), said
    assert clean >= CLEAN


def by_another_key(label: str, *, closed_ms: int | None, counts_all: bool) -> Told:
    """The first round by one key, the others by another that the terms name, too; the first one's chain is closed then
    (in the terms' date) or stays open. `counts_all`: the heir counts the first round's work again.
    """
    log = tell_orders([("state", A)])
    heir = log.keys.stranger
    both = replace(TERMS, offers=OFFERS, keys=(*TERMS.keys, (heir.pubkey, "accounting")))
    closed = {f"{log.keys.accounting.pubkey}/accounting": log.heads["accounting"]}
    log.terms(ENDED_MS, both)
    if closed_ms is not None:
        log.terms(closed_ms, replace(both, closed=closed))
    log.keys = log.keys._replace(accounting=heir)
    del log.heads["accounting"]
    if counts_all:
        log.undone.add("statement 0")
    log.clock_ms = ENDED_MS + 100_000
    for name in (B, C):
        log.say("state", name)
        log.undone.discard("statement 0")
    return Told(label, log.pool, log.t0 + AFTER_MS, log.all())


def test_an_heir_counts_nothing_again(node: str) -> None:
    """Neither while both may sign, nor by a date before the terms that closed the first one's chain."""
    logs = {
        by_another_key("goes on", closed_ms=ENDED_MS + 50_000, counts_all=False): set(),
        by_another_key("both at once", closed_ms=None, counts_all=True): {"counted-twice"},
        by_another_key("dated before", closed_ms=ENDED_MS + 150_000, counts_all=True): {"counted-twice"},
    }
    for log, ours in zip(logs, judge_logs(node, list(logs)), strict=True):
        assert codes(ours["findings"]) == codes(log.audit()["findings"]) == logs[log], log.label


def test_two_rounds_that_end_together_count_the_same(node: str) -> None:
    """Two blocks at one moment: neither comes before the other, and what follows counts nothing of theirs."""
    log = OrdersLog()
    alice, bob = log.keys.alice, log.keys.bob
    log.terms(0, replace(TERMS, offers=OFFERS))
    for lane in (0, 1):
        log.batch(lane, 0, 10_000)
    job = log.job("R", 10_500, (0, 1), offer="round")
    found = [log.mine(job, miner, 20_000, block=True) for miner in (alice, bob)]
    for lane in (0, 1):
        log.batch(lane, 10_000, 20_001, [log.mine(job, alice, 11_000 + lane), found[lane]])
        log.block(f"batch {lane}/1", found[lane], 1)
    later = log.mine(job, bob, 30_000, block=True)
    log.batch(0, 20_001, 30_001, [later])
    log.batch(1, 20_001, 40_000, [log.mine(job, alice, 25_000)])
    log.batch(0, 30_001, 40_000)
    log.block("batch 0/2", later, 0)
    log.found = dict(zip(BLOCKS, (*found, later), strict=True))
    for name in BLOCKS:
        log.say("state", name)
    assert [len(log.counts[f"statement {number}"]) for number in range(3)] == [4, 4, 2]
    told = as_told("together", log)
    (ours,) = judge_logs(node, [told])
    assert codes(ours["findings"]) == codes(told.audit()["findings"]) == set()
