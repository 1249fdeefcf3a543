"""The window over S: its order, its edges, and the vectors that another implementation may use (split.json)."""

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import accounting.lanes
import accounting.spans
import accounting.torn
from accounting.apportion import split
from accounting.chains import Chain
from accounting.lanes import Batch, Lane, LaneKey, Lanes
from accounting.schemes import pplns
from accounting.schemes.held import Bound, Held
from accounting.schemes.loyalty import Worker
from accounting.shares import CheckedShares, JobRef, Session
from accounting.window import Placed, Selection, count_newest, count_window, newest_first
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


BATCHES = st.lists(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.sampled_from("ab"),
            st.integers(1, 5),
            st.sampled_from(["main", "x"]),
            st.integers(1, 3),
        ),
        max_size=4,
    ),
    max_size=6,
)


def touching(columns: list[Any], loyal: frozenset[int] = frozenset()) -> Lanes:
    """Lanes whose windows of 10 ms touch; rows are (ms within, miner, work, offer, height), and a worker. `loyal`: the
    heights whose terms pay loyalty.
    """
    lanes = Lanes()
    for number, batches in enumerate(columns):
        key = LaneKey("e", number)
        lane = lanes.setdefault(key, Lane(key, Chain(str(key), lambda _: None)))
        for seq, rows in enumerate(batches):
            mine = sorted(rows)
            shares = CheckedShares(
                t=array("q", [100 + 10 * seq + row[0] for row in mine]),
                index=array("I", range(len(mine))),
                session=array("H", range(len(mine))),
                job=array("B", range(len(mine))),
                sessions=tuple(Session(row[1], "".join(row[5:]), row[2]) for row in mine),
                jobs=tuple(JobRef("", row[4], row[3], None, row[4] in loyal) for row in mine),
            )
            start = 100 + 10 * seq
            lane.add(Batch(seq, f"{key}/{seq}", start, start + 10, 1, shares.pack()), follows=True)
    return lanes


@given(
    columns=st.lists(BATCHES, min_size=1, max_size=3),
    limit=st.integers(0, 60),
    end_ms=st.integers(95, 165),
    oldest_ms=st.sampled_from([0, 100, 113, 120]),
    height=st.integers(1, 3),
)
def test_batch_by_batch_is_share_by_share(
    columns: list[Any], limit: int, end_ms: int, oldest_ms: int, height: int
) -> None:
    lanes = touching(columns)
    cuts = {key: lane.batches[-1] for key, lane in lanes.in_order()}
    wanted = Selection("main", end_ms, height, oldest_ms)
    slow = count_newest(newest_first(lanes, cuts, wanted), limit, end_ms)
    assert count_window(lanes, cuts, wanted, limit) == slow


SPANNED = st.tuples(
    st.integers(0, 9),
    st.sampled_from("abc"),
    st.integers(1, 5),
    st.sampled_from(["main", "main", "x"]),
    st.integers(1, 3),
)


@pytest.fixture(scope="module")
def soon_put_away() -> Iterator[None]:
    """What is older than two batches is summed up, and no share counted by itself that need not be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounting.lanes, "HOT_MS", 20)
        patch.setattr(accounting.torn, "FEW", 0)
        yield


@pytest.mark.usefixtures("soon_put_away")
@pytest.mark.parametrize("hot_ms", [20, 150, 600_000])
@given(data=st.data(), limit=st.integers(0, 400), end_ms=st.integers(95, 500), height=st.integers(1, 3))
def test_span_by_span_is_share_by_share(hot_ms: int, data: st.DataObject, limit: int, end_ms: int, height: int) -> None:
    """Whether batches are put away or at hand."""
    batches = st.lists(st.lists(SPANNED, max_size=3), min_size=1, max_size=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounting.lanes, "HOT_MS", hot_ms)
        lanes = touching(data.draw(st.lists(batches, min_size=1, max_size=3)))
    cuts = {key: lane.batches[-1] for key, lane in lanes.items()}
    held = Held({"e/0": Bound(data.draw(st.integers(0, 40)), data.draw(st.integers(95, 500)))})
    oldest_ms = data.draw(st.sampled_from([0, 100, 113, 220]))
    for held_before in (Held(), held):
        wanted = Selection("main", end_ms, height, oldest_ms, held_before)
        slow = count_newest(newest_first(lanes, cuts, wanted), limit, end_ms)
        assert count_window(lanes, cuts, wanted, limit) == slow
        everything = count_window(lanes, cuts, wanted, None)
        assert everything.work == count_newest(newest_first(lanes, cuts, wanted), 1 << 64, end_ms).work


WORKED = st.tuples(
    st.integers(0, 9),
    st.sampled_from("ab"),
    st.integers(1, 5),
    st.sampled_from(["main", "main", "x"]),
    st.integers(1, 3),
    st.sampled_from(["", "rig"]),
)


@pytest.mark.usefixtures("soon_put_away")
@pytest.mark.parametrize("most", [2, 2048])
@given(data=st.data(), limit=st.integers(0, 400), end_ms=st.integers(95, 500), height=st.integers(1, 3))
def test_workers_are_counted_as_share_by_share(
    most: int, data: st.DataObject, limit: int, end_ms: int, height: int
) -> None:
    """Through spans, split ones and torn batches, whether a tally has its workers or was mined without loyalty."""
    batches = st.lists(st.lists(WORKED, max_size=3), min_size=1, max_size=40)
    loyal = data.draw(st.sampled_from([frozenset({1, 2, 3}), frozenset({2, 3}), frozenset[int]()]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounting.spans, "MAX_WORKERS", most)
        lanes = touching(data.draw(st.lists(batches, min_size=1, max_size=3)), loyal)
    cuts = {key: lane.batches[-1] for key, lane in lanes.items()}
    held = Held({"e/0": Bound(data.draw(st.integers(0, 40)), data.draw(st.integers(95, 500)))})
    oldest_ms = data.draw(st.sampled_from([0, 100, 113, 220]))
    for held_before in (Held(), held):
        wanted = Selection("main", end_ms, height, oldest_ms, held_before, by_worker=True)
        slow = count_newest(newest_first(lanes, cuts, wanted), limit, end_ms, by_worker=True)
        assert count_window(lanes, cuts, wanted, limit) == slow
        assert sum(slow.workers.values()) == slow.total
        shares = newest_first(lanes, cuts, wanted)
        everything = Counter[Worker]()
        for share in shares:
            everything[Worker(share.miner, share.worker)] += share.work
        assert count_window(lanes, cuts, wanted, None).workers == everything


@pytest.mark.usefixtures("soon_put_away")
def test_a_span_serves_workers_if_all_its_batches_have_them() -> None:
    rows = [(0, "a", 1, "main", 1, "rig"), (1, "a", 2, "main", 1, "")]
    for loyal, workers in ((frozenset({1}), {("a", "rig"): 16, ("a", ""): 32}), (frozenset[int](), {})):
        lane = next(iter(touching([[rows] * 40], loyal).values()))
        level, span = next(lane.batches.spans.ending(15))
        assert level == 2
        assert {(miner, worker): work for miner, worker, work in span.rows[0].by_worker} == workers


@pytest.mark.usefixtures("soon_put_away")
def test_a_changed_batch_is_in_no_span() -> None:
    lanes = touching([[[(0, "a", 1, "main", 1), (1, "b", 2, "main", 1)]] * 40])
    lane = next(iter(lanes.values()))
    cuts, wanted = {lane.key: lane.batches[-1]}, Selection("main", 10_000, 1)
    assert [level for level, _ in lane.batches.spans.ending(15)] == [2, 1]
    assert count_window(lanes, cuts, wanted, None).work == {"a": 40, "b": 80}
    batch = lane.batches[13]
    lane.batches.update(13, batch, batch.shares.without(1))
    assert [level for level, _ in lane.batches.spans.ending(15)] == []
    assert [level for level, _ in lane.batches.spans.ending(11)] == [1]
    assert count_window(lanes, cuts, wanted, None).work == {"a": 40, "b": 78}


def test_batches_at_hand_are_in_spans_too_until_one_of_them_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting.lanes, "HOT_MS", 600_000)
    lanes = touching([[[(0, "a", 1, "main", 1), (1, "b", 2, "main", 1)]] * 11])
    lane = next(iter(lanes.values()))
    cuts, wanted = {lane.key: lane.batches[-1]}, Selection("main", 10_000, 1)
    assert lane.batches.shelved == 0
    assert [level for at in range(11) for level, _ in lane.batches.spans.ending(at)] == [1, 1]
    batch = lane.batches[5]
    lane.batches.update(5, batch, batch.shares.without(1))
    assert [at for at in range(11) if list(lane.batches.spans.ending(at))] == [3]
    assert count_window(lanes, cuts, wanted, None).work == {"a": 11, "b": 20}
    assert count_window(lanes, cuts, wanted, 19).work == {"a": 7, "b": 12}


def test_spans_put_away_are_those_begun_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what changed in between is summed as it is then."""
    rows = [[(0, "a", 1, "main", 1), (1, "b", 2, "main", 1)]]
    monkeypatch.setattr(accounting.lanes, "HOT_MS", 600_000)
    lane = next(iter(touching([rows * 11]).values()))
    begun = dict(lane.batches.spans.ending(3)), dict(lane.batches.spans.ending(7))
    batch = lane.batches[5]
    lane.batches.update(5, batch, batch.shares.without(1))
    monkeypatch.setattr(accounting.lanes, "HOT_MS", 20)
    last = lane.batches[-1]
    lane.add(replace(last, seq=11, id="later", from_ms=last.to_ms, to_ms=last.to_ms + 10), follows=True)
    assert lane.batches.shelved == 8
    assert dict(lane.batches.spans.ending(3)) == begun[0]
    (before,), (after,) = begun[1][1].rows, dict(lane.batches.spans.ending(7))[1].rows
    assert (dict(before.by_miner), dict(after.by_miner)) == ({"a": 4, "b": 8}, {"a": 4, "b": 6})
