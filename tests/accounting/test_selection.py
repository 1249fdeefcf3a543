"""S share by share: its order, its edges, and the vectors that another implementation may use (split.json)."""

import json
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.apportion import split
from accounting.chains import Chain
from accounting.lanes import Batch, Lane, LaneKey, Lanes
from accounting.schemes import pplns
from accounting.selection import Placed, Selection, count_newest, newest_first
from accounting.shares import CheckedShares, JobRef, Session
from nips.pool.terms import Offer

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "split.json").read_text("utf-8"))


def lanes_of(rows: list[list[Any]]) -> Lanes:
    """Lanes with one batch for each (edge, lane, seq) of the rows [t, edge, lane, seq, number, miner, work, ...]."""
    lanes = Lanes()
    placed = sorted(rows, key=lambda row: (row[1], row[2], row[3], row[4]))
    for edge, number, seq in sorted({(row[1], row[2], row[3]) for row in placed}):
        key = LaneKey(edge, number)
        lane = lanes.setdefault(key, Lane(key, Chain(str(key), lambda _: None)))
        mine = [row for row in placed if (row[1], row[2], row[3]) == (edge, number, seq)]
        shares = CheckedShares(
            t=array("q", [row[0] for row in mine]),
            index=array("I", [row[4] for row in mine]),
            session=array("H", range(len(mine))),
            job=array("B", range(len(mine))),
            sessions=tuple(Session(row[5], "", int(row[6])) for row in mine),
            jobs=tuple(JobRef("", row[7], row[8]) for row in mine),
        )
        start, end = min(row[0] for row in mine), max(row[0] for row in mine) + 1
        lane.add(Batch(seq, f"{key}/{seq}", start, end, end // 1000 + 1, shares.pack()), follows=True)
    return lanes


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_vector(case: dict[str, Any]) -> None:
    terms = case["offer"]
    offer = Offer(
        "pplns", terms["fee_ppm"], terms["window_milli"], int(terms["window_min_work"]), terms["window_max_ms"]
    )
    lanes = lanes_of(case["shares"])
    cuts = {key: lane.batches[-1] for key, lane in lanes.in_order()}
    oldest = pplns.oldest_ms(offer, case["found_ms"])
    shares = newest_first(lanes, cuts, Selection(terms["name"], case["found_ms"], case["height"], oldest))
    counted = pplns.count(offer, int(case["nbits"], 16), case["found_ms"], shares)
    parts = split(case["gross_msat"], offer.fee_ppm, counted.work)
    assert (counted.from_ms, str(counted.total)) == (case["from_ms"], case["work"])
    assert [[row.miner, str(row.work), row.msat] for row in parts.rows] == case["rows"]
    assert parts.fee_msat == case["fee_msat"]


def test_the_vectors_are_all_there() -> None:
    assert len(VECTORS["cases"]) == 14
    assert all(
        sum(row[2] for row in case["rows"]) + case["fee_msat"] == case["gross_msat"] for case in VECTORS["cases"]
    )


ROWS = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 1)), max_size=30, unique=True
)


@given(ROWS)
def test_s_is_in_the_order_of_time_edge_lane_seq_number(rows: list[tuple[int, str, int, int]]) -> None:
    """Batch 0 of a lane holds the times below 10, batch 1 the rest."""
    shares = [[t, edge, lane, int(t >= 10), 100 * t + n, f"{n}", 1, 1, "main"] for t, edge, lane, n in rows]
    lanes = lanes_of(shares)
    cuts = {key: lane.batches[-1] for key, lane in lanes.in_order()}
    found = [(s.t, s.edge, s.lane, s.seq, s.number) for s in newest_first(lanes, cuts, Selection("main", 20, 1))]
    assert found == sorted(((row[0], row[1], row[2], row[3], row[4]) for row in shares), reverse=True)


@given(st.lists(st.integers(1, 1000), max_size=30), st.integers(0, 20_000))
def test_a_window_holds_its_work_or_all_there_is(works: list[int], limit: int) -> None:
    shares = [Placed(100 - n, "e", 0, 0, 100 - n, f"m{n % 3}", work) for n, work in enumerate(works)]
    counted = count_newest(shares, limit, 1000)
    assert counted.total == min(limit, sum(works))
    assert counted.full == (sum(works) >= limit)
    assert (counted.from_ms == 1000) == (counted.total == 0)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20), st.data())
def test_splitting_a_key_in_two_moves_no_work(works: list[int], data: st.DataObject) -> None:
    """Whoever mines as two gets what one would have: the window asks only when and how much."""
    limit = data.draw(st.integers(1, sum(works)))
    names = data.draw(st.lists(st.sampled_from(["a", "b"]), min_size=len(works), max_size=len(works)))
    one = [Placed(100 - n, "e", 0, 0, 100 - n, "one", work) for n, work in enumerate(works)]
    two = [share._replace(miner=name) for share, name in zip(one, names, strict=True)]
    assert count_newest(one, limit, 1000).total == count_newest(two, limit, 1000).total


def test_what_lies_past_the_cut_does_not_count() -> None:
    rows = [[1, "e", 0, 0, 0, "a", 5, 1, "main"], [2, "e", 0, 1, 0, "b", 5, 1, "main"]]
    lanes = lanes_of(rows)
    key, lane = next(lanes.in_order())
    shares = newest_first(lanes, {key: lane.batches[0]}, Selection("main", 100, 1))
    assert [share.miner for share in shares] == ["a"]
