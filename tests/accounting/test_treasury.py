"""Debts beside funds: sums of the books, what is not known, and when to alert."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.ledger import Ledger
from accounting.treasury import (
    MAX_HOLDINGS,
    SILENT_MS,
    STALE_MS,
    Holding,
    Treasury,
    below_owed,
    silences,
    take_stock,
    to_json,
    to_places,
    to_summary,
)
from nips.nip19 import encode_npub
from nips.pool.funds import MAX_PLACES, Place

HOLDER = "ab" * 32
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
        (stock(NODE, Holding("cold")), "cold has never told what it holds"),
        (stock(NODE, replace(COLD, ms=1)), "descriptors has not told what it holds for 29999999 minutes"),
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


def test_sums_by_place_are_the_funds_however_many_places_there_are():
    many = [Holding(f"mint-{n}", 1 << n, NOW) for n in range(20)]
    told = to_summary(stock(*many, Holding("mint-0", 3, NOW)))
    assert told is not None
    assert len(told["held"]) == MAX_HOLDINGS
    assert sum(told["held"].values()) == told["funds_msat"] == (1 << 20) + 2
    assert told["held"]["mint-0"] == 4, "two holders' places of a name are one"


def test_what_a_holder_elsewhere_told_counts_while_it_speaks():
    far = Holding("lightning", 500, NOW - 1, "", HOLDER, NOW - SILENT_MS)
    assert stock(NODE, far).funds_msat == 1200
    silent = replace(far, heard_ms=NOW - SILENT_MS - 1)
    assert stock(NODE, silent).funds_msat is None, "neither as it was nor as nothing"
    assert "lightning of npub1" in str(below_owed(stock(NODE, silent)))
    assert str(silent.silence(NOW)).endswith("has not told what it holds for 30 minutes")
    hanging = replace(far, ms=NOW - STALE_MS - 1)
    assert str(hanging.silence(NOW)).endswith("for 180 minutes"), "the holder speaks, its wallet does not"
    assert [holding.name for holding, _ in silences(stock(NODE, silent, owed=0))] == ["lightning"]
    assert below_owed(stock(NODE, silent, owed=0)) is None
    assert silences(stock(NODE, far)) == []


@given(st.lists(st.tuples(st.none() | st.integers(0, 2**40), st.integers(1, NOW)), max_size=12))
def test_a_report_tells_all_that_is_held_or_says_that_it_is_not_known(told):
    held = [Holding(f"mint-{n}", msat, 0 if msat is None else ms) for n, (msat, ms) in enumerate(told)]
    places = to_places(held, NOW - 5)
    assert len(places) <= MAX_PLACES
    assert len({place.name for place in places}) == len(places)
    sums = [place.msat for place in places]
    assert (None in sums) == any(holding.msat is None for holding in held)
    if None not in sums:
        assert sum(filter(None, sums)) == sum(holding.msat or 0 for holding in held)
        assert min([place.ms for place in places], default=0) == min([min(h.ms, NOW - 5) for h in held], default=0)
    assert all(place.ms <= NOW - 5 for place in places)


def test_places_that_are_told_as_one_are_known_if_all_of_them_are():
    many = [Holding(f"mint-{n}", 10, NOW - n) for n in range(MAX_PLACES + 2)]
    assert to_places(many, NOW)[-1] == Place("other", 30, NOW - MAX_PLACES - 1)
    assert to_places([*many, Holding("silent")], NOW)[-1] == Place("other")


def test_the_api_tells_each_place():
    far = Holding("lightning", 9, NOW - 500, "", HOLDER, NOW - 300)
    told = to_json(stock(NODE, Holding("cold", error="no route"), far))
    assert told["spare_msat"] is None
    assert told["alert"] == "what the pool has is not known: cold has never told what it holds"
    assert told["holdings"][1] == {
        "name": "cold", "source": None, "msat": None, "told_ms": 0, "heard_ms": 0, "age_ms": None,
        "silence": "cold has never told what it holds", "error": "no route",
    }  # fmt: skip
    assert told["holdings"][2] == {
        "name": "lightning", "source": encode_npub(HOLDER), "msat": 9, "told_ms": NOW - 500, "heard_ms": NOW - 300,
        "age_ms": 500, "silence": None, "error": "",
    }  # fmt: skip
