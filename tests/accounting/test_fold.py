"""The fold as a whole: the same events give the same books, statistics and summaries, byte for byte."""

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.fold import Fold


def folded(log, events, step=1):
    fold = Fold(log.pool)
    for at in range(0, len(events), step):
        for event in events[at : at + step]:
            fold.add(event)
        fold.settle()
    return fold


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9))
def test_any_order_gives_the_same_dump(story, seed, step):
    expected = list(folded(story, story.all()).dump())
    events = story.all()
    random.Random(seed).shuffle(events)
    fold = folded(story, events, step)
    assert list(fold.dump()) == expected
    assert not fold.violations
    assert fold.reopened is None or "closed" in fold.reopened or "replaced" in fold.reopened


def test_the_dump_says_it_all(story):
    fold = folded(story, story.all())
    lines = [json.loads(line) for line in fold.dump()]
    kinds = [line[0] for line in lines]
    assert {kind: kinds.count(kind) for kind in ("reward", "payout", "chain", "pool", "miner", "summaries")} == {
        "reward": 3,
        "payout": 3,
        "chain": 4,
        "pool": 1,
        "miner": 2,
        "summaries": 1,
    }
    states = {line[1]: line[3] for line in lines if line[0] == "reward"}
    assert states == {
        story.events["statement 0"].id: "matured",
        story.events["statement 1"].id: "matured",
        story.events["statement 2"].id: "orphaned",
    }
    assert sum(line[2] for line in lines if line[0] == "account") == 0
    less = list(folded(story, story.all("payout 2")).dump())
    assert less != list(fold.dump())


def test_proofs_and_rows_are_not_kept_in_the_books(story):
    fold = folded(story, story.all())
    assert all(not booked.payout.proof for booked in fold.ledger.payouts.values())
    assert all(not reward.statement.rows for reward in fold.ledger.rewards.values())
    reward = fold.ledger.rewards[story.events["statement 0"].id]
    assert reward.rows == len(story.bodies["statement 0"].rows)
    alice = story.keys.alice
    assert fold.ledger.row_of(reward.statement.id, alice.pubkey).msat == story.row_msat("statement 0", alice)
