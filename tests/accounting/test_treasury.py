"""Debts beside funds: sums of the books, what is not known, and when to alert."""

from dataclasses import replace

import pytest

from accounting.ledger import Ledger
from accounting.treasury import STALE_MS, Holding, Treasury, below_owed, take_stock, to_json, to_summary

NOW = 1_800_000_000_000
NODE = Holding("node", 700, NOW)
COLD = Holding("descriptors", 400, NOW - 3_600_000)


def stock(*holdings, owed=1000):
    return Treasury(NOW, owed, 5, 0, holdings)


def test_the_books_debts_are_summed_and_advances_cover_nobody_else():
    ledger = Ledger(
        accounts={
            "miner:aa:owed": -700,
            "miner:bb:owed": 50,
            "miner:cc:owed": -300,
            "miner:aa:pending": -9,
            "miner:aa:paid": -10_000,
            "reward:matured": 5,
            "fee": -70,
        }
    )
    assert take_stock(ledger, [NODE], NOW) == Treasury(NOW, 1000, 9, 50, (NODE,))


def test_funds_are_all_places_or_not_known():
    assert stock(NODE, COLD).funds_msat == 1100
    assert stock(NODE, COLD).spare_msat == 100
    assert stock().funds_msat is None
    assert stock(NODE, Holding("cold")).funds_msat is None
    assert stock(NODE, replace(COLD, ms=NOW - STALE_MS - 1)).spare_msat is None
    assert stock(NODE, replace(COLD, error="away")).funds_msat == 1100, "what it told an hour ago still counts"


@pytest.mark.parametrize(
    ("treasury", "said"),
    [
        (stock(NODE, COLD), None),
        (stock(), None),
        (stock(NODE, owed=0), None),
        (stock(Holding("node", 1000, NOW)), None),
        (stock(Holding("node", 999, NOW)), "less than that"),
        (stock(NODE, Holding("cold")), "cold does not tell"),
        (stock(NODE, replace(COLD, ms=1)), "descriptors does not tell"),
    ],
)
def test_the_alert_is_for_less_than_is_owed_and_for_what_nobody_knows(treasury, said):
    found = below_owed(treasury)
    assert (found is None) == (said is None)
    assert said is None or (found is not None and said in found)


def test_the_hourly_summary_tells_sums_by_place():
    assert to_summary(stock(NODE, COLD)) == {
        "ms": NOW,
        "owed_msat": 1000,
        "pending_msat": 5,
        "funds_msat": 1100,
        "held": {"node": 700, "descriptors": 400},
    }
    assert to_summary(stock(NODE, Holding("cold"))) is None
    assert to_summary(stock(Holding("node", 1 << 53, NOW))) is None, "no integer of the protocol is so large"


def test_the_api_tells_each_place():
    told = to_json(stock(NODE, Holding("cold", error="no route")))
    assert told["spare_msat"] is None
    assert told["alert"] == "what the pool has is not known: cold does not tell"
    assert told["holdings"][1] == {"name": "cold", "msat": None, "told_ms": 0, "error": "no route"}
