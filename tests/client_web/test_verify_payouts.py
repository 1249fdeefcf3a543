"""Two readings of payouts that take a name again, and the pool's own books: none takes from a miner twice."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from accounting.fold import Fold
from tests.accounting.conftest import TERMS, LogBuilder, tell_story
from tests.client_web.told_logs import Told, codes, judge_logs

AFTER_MS = 10**9


def owed(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {row["miner"]: row["owed_msat"] for row in rows}


def test_a_name_that_is_used_again_takes_nothing(node: str) -> None:
    """Whatever the second record says: else a pool could sign what it owes away."""
    story = tell_story()
    first, alice, bob = story.bodies["payout 0"], story.keys.alice, story.keys.bob
    # The third payment of the story: bob has more than these come to.
    again: dict[str, Callable[[Any], Any]] = {
        "another amount": lambda body: replace(body, payout_id=first.payout_id),
        "another miner": lambda body: replace(body, payout_id=first.payout_id, miner=bob.pubkey),
        "the same": lambda _: first,
        "of money that came back": lambda body: replace(
            body, payout_id=first.payout_id, amount_msat=-1000, reverses=first.payout_id, proof={}
        ),
        "a fee": lambda body: replace(body, payout_id=first.payout_id, network_fee_msat=7),
    }
    logs, books = [], []
    for label, change in again.items():
        log: LogBuilder = tell_story()
        log.change = {**log.change, "payout 3": change}
        log.zap(alice, 1000, 70_000)
        logs.append(Told(label, log.pool, log.t0 + AFTER_MS, log.all()))
        fold = Fold(log.pool)
        for event in log.all():
            fold.add(event)
        fold.settle()
        books.append(fold)
    expected = owed(Told("", story.pool, story.t0 + AFTER_MS, story.all()).audit()["miners"])
    for log, fold, ours in zip(logs, books, judge_logs(node, logs), strict=True):
        theirs = log.audit()
        assert "payout-twice" in codes(ours["findings"]) & codes(theirs["findings"]), log.label
        assert owed(ours["miners"]) == owed(theirs["miners"]) == expected, log.label
        assert {miner: fold.ledger.balance(miner, None).owed_msat for miner in expected} == expected, log.label
        # What the first one's proof is worth is not what the second one's is.
        booked = fold.ledger.payouts[first.payout_id]
        assert (booked.payout.id, booked.grade) == (story.events["payout 0"].id, "attested"), log.label


@pytest.mark.parametrize("earlier", [False, True])
def test_of_two_keys_the_one_that_told_it_earlier_counts(node: str, earlier: bool) -> None:
    """Whichever was read first."""
    log = tell_story()
    heir = log.keys.stranger
    offers = log.offers[log.heads["terms"].id].offers
    log.terms(61_000, replace(TERMS, offers=offers, keys=(*TERMS.keys, (heir.pubkey, "zapper"))))
    first = log.bodies["payout 0"]
    log.change = {"payout 3": lambda body: replace(body, payout_id=first.payout_id)}
    log.keys = log.keys._replace(zapper=heir)
    del log.heads["payouts"]
    log.zap(log.keys.bob, 1000, 61_500 if earlier else 70_000)
    told = Told("two keys", log.pool, log.t0 + AFTER_MS, log.all())
    (ours,), theirs = judge_logs(node, [told]), told.audit()
    backwards = Told("backwards", log.pool, log.t0 + AFTER_MS, log.all()[::-1]).audit()
    assert "payout-twice" in codes(ours["findings"]) & codes(theirs["findings"])
    assert owed(ours["miners"]) == owed(theirs["miners"]) == owed(backwards["miners"])
    paid = {row["miner"]: row["paid_msat"] for row in theirs["miners"]}
    assert (paid[log.keys.alice.pubkey] == 0) is earlier
