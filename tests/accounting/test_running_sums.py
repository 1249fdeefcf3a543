"""The running sums of hours, days and work come to what every share looked at by itself gives."""

from array import array
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import turnout
from accounting.attendance import Attendance, Worked
from accounting.chains import Chain
from accounting.lanes import Batch, Batches, Lane, LaneKey, Lanes
from accounting.measured import MAX_KNOWN, Measured
from accounting.presence import SLACK_DAYS
from accounting.schemes import loyalty
from accounting.schemes.loyalty import DAY_MS, HOUR_MS, Worker
from accounting.shares import CheckedShares, JobRef, Session
from accounting.shelves import MemoryShelves
from accounting.turnout import DAYS, HOURS, KEPT_DAYS, MAX_ASIDE, Aside, turnout_of, unpack_turnout
from tests.accounting.plain_attendance import done_in, worked_by

START = 20_000 * DAY_MS + 3 * HOUR_MS
WORKERS = [Worker(miner, name) for miner in ("a" * 64, "b" * 64, "c" * 64) for name in ("", "rig", "axe.1")]
MINUTE = 60_000
# How long batches last: within an hour, over an hour's or a day's end, over many.
LASTS = (MINUTE, 7 * MINUTE, 7 * MINUTE, 20 * MINUTE, 50 * MINUTE, HOUR_MS, 5 * HOUR_MS, DAY_MS, 3 * DAY_MS)


class Pool:
    """Lanes that grow, and the sums of them."""

    def __init__(self) -> None:
        self.shelves = MemoryShelves()
        self.lanes = Lanes()
        self.attendance = Attendance(self.shelves)
        self.is_loyal = self.is_looked_at = True

    def add(self, number: int, length: int, shares: list[tuple[float, int, int]], by_worker: bool) -> None:
        """A batch with (place in its window, worker, work) as shares, in a lane that may be new."""
        key = LaneKey("edge", number)
        if key not in self.lanes:
            lane = Lane(key, Chain(str(key), lambda _: None), Batches(str(key), self.shelves))
            self.lanes[key] = lane
            start = max((each.watermark_ms for each in self.lanes.values()), default=0) or START
        lane = self.lanes[key]
        if lane.ended:
            return
        start = lane.watermark_ms or start
        rows = sorted((start + int(place * (length - 1)), worker, work) for place, worker, work in shares)
        sessions = sorted({(worker, work) for _, worker, work in rows})
        checked = CheckedShares(
            t=array("q", [t for t, _, _ in rows]),
            index=array("I", range(len(rows))),
            session=array("H", [sessions.index((worker, work)) for _, worker, work in rows]),
            job=array("B", bytes(len(rows))),
            sessions=tuple(Session(*WORKERS[worker], work) for worker, work in sessions),
            jobs=(JobRef("", 1, "main", by_worker=by_worker),),
        )
        seq = len(lane.batches)
        lane.add(Batch(seq, f"{key}/{seq}", start, start + length, 0, checked.pack()), follows=True)
        if self.is_loyal:
            self.attendance.passed(lane, checked if self.is_looked_at else None)

    def take_back(self, number: int, at: int) -> None:
        """A share's credit is taken back, as that of one told twice."""
        lane = self.lanes.get(LaneKey("edge", number))
        if lane is None:
            return
        position = at % len(lane.batches)
        batch = lane.batches[position]
        shares = batch.read()
        if len(shares):
            lane.batches.update(position, batch, shares.without(shares.index[at % len(shares)]))
            self.attendance.drop(lane.key, batch.from_ms, batch.to_ms)

    def damage(self, shelf: str, at: int) -> None:
        """A bit of a kept row falls over."""
        kept = self.shelves.open(shelf)
        if kept:
            key = sorted(kept)[at % len(kept)]
            row = bytearray(kept[key])
            row[at % len(row)] ^= 1 << at % 8
            kept[key] = bytes(row)

    def judge(self, back: float, leave_out: set[int], earlier: int, at: str) -> None:
        """A reward at some time before the newest share, by the cuts that the lanes should have or by others."""
        if not self.lanes:
            return
        newest = max(lane.watermark_ms for lane in self.lanes.values())
        end_ms = max(START, newest + HOUR_MS - int(back * DAY_MS))
        if at == "hour's end":
            end_ms = end_ms // HOUR_MS * HOUR_MS - 1
        elif at == "day's begin":
            end_ms = end_ms // DAY_MS * DAY_MS
        cuts = self.lanes.cuts(end_ms) if at != "heads" else {key: lane.batches[-1] for key, lane in self.lanes.items()}
        cuts = {key: cut for key, cut in cuts.items() if key.number not in leave_out}
        for key, cut in cuts.items():
            cuts[key] = self.lanes[key].batches[max(0, cut.seq - earlier)]
        assert self.worked(cuts, end_ms) == plain(self.lanes, cuts, end_ms)

    def worked(self, cuts: dict[LaneKey, Batch], end_ms: int) -> Worked:
        """By the sums, of all workers and days."""
        asked = [(worker, day) for worker in WORKERS for day in loyalty.days_at(end_ms)]
        found = self.attendance.worked(self.lanes, cuts, end_ms, asked)
        return found._replace(work={pair: work for pair, work in found.work.items() if work})


def plain(lanes: Lanes, cuts: dict[LaneKey, Batch], end_ms: int) -> Worked:
    return worked_by(done_in(lanes, cuts), end_ms)


places = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)
shares = st.lists(st.tuples(places, st.integers(0, 8), st.sampled_from([1, 5, 1 << 70])), max_size=6)
lane_numbers = st.integers(0, 2)
adds = st.tuples(st.just("add"), lane_numbers, st.sampled_from(LASTS), shares, st.sampled_from([True, True, False]))
deeds = st.one_of(
    adds,
    adds,
    adds,
    st.tuples(st.just("take_back"), lane_numbers, st.integers(0, 1000)),
    st.tuples(st.just("damage"), st.sampled_from([HOURS, DAYS]), st.integers(0, 10_000)),
    st.tuples(st.just("end"), lane_numbers),
    st.tuples(st.just("restart")),
    st.tuples(st.just("terms"), st.booleans()),
    st.tuples(st.just("look"), st.booleans()),
)
rewards = st.tuples(
    st.sampled_from([0.0, 0.02, 0.04, 0.1]) | st.floats(0, 45),
    st.sets(lane_numbers, max_size=1) | st.just(set()),
    st.sampled_from([0, 0, 0, 1, 4]),
    st.sampled_from(["", "", "hour's end", "day's begin", "heads", "heads"]),
)


def do(pool: Pool, deed: tuple[Any, ...]) -> None:
    name, *how = deed
    if name == "end":
        lane = pool.lanes.get(LaneKey("edge", how[0]))
        if lane is not None:
            lane.fin = True
    elif name == "restart":
        # What is on the shelves stays, what was in memory goes.
        pool.attendance = Attendance(pool.shelves)
    elif name == "terms":
        pool.is_loyal = how[0]
    elif name == "look":
        pool.is_looked_at = how[0]
    else:
        getattr(pool, name)(*how)


@settings(max_examples=200)
@given(st.lists(deeds, min_size=4, max_size=30), st.lists(rewards, min_size=1, max_size=8))
def test_the_sums_are_what_every_share_gives(done: list[tuple[Any, ...]], asked: list[Any]) -> None:
    pool = Pool()
    for number, deed in enumerate(done):
        do(pool, deed)
        pool.judge(*asked[number % len(asked)])
    for reward in asked:
        pool.judge(*reward)


def grown(days: int, lanes: int = 2) -> Pool:
    """Lanes with a batch every two hours."""
    pool = Pool()
    for _ in range(12 * days):
        for number in range(lanes):
            pool.add(number, 2 * HOUR_MS, [(0.1, number, 5), (0.9, 3 + number, 7)], by_worker=True)
    return pool


def test_an_hour_that_is_over_is_open_for_an_older_reward() -> None:
    pool = Pool()
    pool.add(0, HOUR_MS, [(1.0, 0, 1)], by_worker=True)
    pool.judge(0.0, set(), 0, "heads")
    pool.judge(0.05, set(), 0, "")


def test_what_is_kept_does_not_grow() -> None:
    pool = grown(KEPT_DAYS + 10)
    assert len(pool.shelves.open(DAYS)) == 2 * KEPT_DAYS
    assert len(pool.shelves.open(HOURS)) <= 2 * 24
    for back in range(30, 0, -5):
        pool.judge(back, set(), 0, "")
    running = pool.attendance._running
    assert running is not None
    newest = max(lane.watermark_ms for lane in pool.lanes.values()) // DAY_MS
    assert newest - running.first // 24 <= 31 + SLACK_DAYS + 6
    assert all(bits.bit_length() <= 24 * (newest + 1) - running.first for bits in running._bits.values())


def test_a_second_statement_sums_no_lane_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = grown(40)
    pool.judge(0.5, set(), 0, "")
    summed = []
    monkeypatch.setattr(turnout, "work_of", lambda *how: summed.append(how))
    monkeypatch.setattr(pool.attendance._turnouts, "day", lambda *how: summed.append(how))
    pool.judge(0.5, set(), 0, "")
    assert not summed


def test_a_row_of_others_is_not_taken() -> None:
    pool = grown(3)
    one, two = (pool.lanes[LaneKey("edge", number)] for number in (0, 1))
    days = pool.shelves.open(DAYS)
    key = min(days)
    row = days[key]
    assert unpack_turnout(row, key, one) is not None
    assert unpack_turnout(row, key, two) is None
    assert unpack_turnout(row, sorted(days)[1], one) is None
    for at in range(len(row)):
        for bit in range(8):
            bad = bytearray(row)
            bad[at] ^= 1 << bit
            assert unpack_turnout(bytes(bad), key, one) is None
        assert unpack_turnout(row[:at], key, one) is None
    assert unpack_turnout(row + b"\0", key, one) is None


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["d" * 64, "e" * 64, "f"]), st.sampled_from(["", "rig", "a.b-c_#1"])),
        st.integers(1, 1 << 200),
        max_size=9,
    )
)
def test_rows_say_what_they_were_told(works: dict[tuple[str, str], int]) -> None:
    pool = grown(1, lanes=1)
    lane = pool.lanes[LaneKey("edge", 0)]
    bits = {miner: 1 + len(name) for miner, name in works}
    made = turnout_of(bits, works)
    assert dict(made.hours()) == bits
    assert {(miner, name): work for miner, name, work in made.workers()} == works
    assert unpack_turnout(made.pack("k", 0, lane.batches[0].id), "k", lane) == made
    assert unpack_turnout(made.pack("k", 1, lane.batches[0].id), "k", lane) is None


def by_steps(pool: Pool, cuts: dict[LaneKey, Batch], end_ms: int) -> Iterator[Worked | None]:
    """None after each step, at last what was done."""
    asked = [(WORKERS[0], end_ms // DAY_MS - 2)]
    yield (yield from pool.attendance.walk(pool.lanes, cuts, end_ms, asked, keep=False))


def test_others_may_go_on_between_its_steps() -> None:
    pool = grown(40)
    end_ms = max(lane.watermark_ms for lane in pool.lanes.values())
    cuts = {key: lane.batches[-1] for key, lane in pool.lanes.items()}
    found, count = None, 0
    for found in by_steps(pool, cuts, end_ms):
        count += 1
        if found is None and count % 9 == 5:
            pool.judge(count / 9, set(), 0, "")
        if found is None and count == 20:
            pool.take_back(1, 100)
    assert found is not None
    wanted = plain(pool.lanes, cuts, end_ms)
    assert found.hours == wanted.hours
    assert count > 60


def test_who_must_leave_the_shelves_as_they_are_does() -> None:
    pool = grown(40)
    end_ms = max(lane.watermark_ms for lane in pool.lanes.values())
    cuts = {key: lane.batches[-1] for key, lane in pool.lanes.items()}
    for name in (HOURS, DAYS):
        pool.shelves.open(name).clear()
    for _ in range(2):
        *_, found = by_steps(pool, cuts, end_ms)
        assert found is not None
        assert found.hours == plain(pool.lanes, cuts, end_ms).hours
        assert pool.attendance._turnouts._aside._rows
        # Of what was put aside nothing is believed once a share of it is taken back.
        pool.take_back(0, 300)
        for name in (HOURS, DAYS):
            pool.shelves.open(name).clear()
    assert not pool.shelves.open(HOURS)
    assert not pool.shelves.open(DAYS)


def test_remembered_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounting.measured.MAX_KNOWN", 20)
    assert MAX_KNOWN > 20
    pool = grown(40)
    pool.judge(0.5, set(), 0, "")
    measured: Measured = pool.attendance._measured
    assert sum(len(day.work) for day in measured._days.values()) <= 20
    pool.judge(0.5, set(), 0, "")


def test_old_sums_make_room() -> None:
    aside = Aside()
    third = bytes(MAX_ASIDE // 3)
    for number in range(5):
        aside[str(number)] = third
    assert [number for number in range(5) if aside.get(str(number)) is not None] == [2, 3, 4]
    aside["4"] = b""
    aside["5"] = third
    assert [number for number in range(6) if aside.get(str(number)) is not None] == [2, 3, 4, 5]
