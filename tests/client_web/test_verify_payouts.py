"""Two readings of payouts that take a name again, and the pool's own books: none takes from a miner twice."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from accounting.fold import Fold
from tests.accounting.conftest import LogBuilder, tell_story
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
