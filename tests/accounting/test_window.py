"""The window over S by sums of batches, against the same share by share."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import accounting.lanes
import accounting.spans
import accounting.torn
from accounting.chains import Chain
from accounting.lanes import Batch, Lane, LaneKey, Lanes
from accounting.schemes.held import Bound, Held
from accounting.schemes.loyalty import Worker
from accounting.selection import Selection, count_newest, newest_first
from accounting.shares import CheckedShares, JobRef, Session
from accounting.window import count_window

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
