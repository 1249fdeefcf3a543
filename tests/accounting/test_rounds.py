"""The work between two blocks: every batch in one round, a bounded number of them an answer."""

from array import array
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from accounting.hours import Hour
from accounting.lanes import Batch, LaneKey
from accounting.rounds import SEEK_BATCHES, Rounds
from accounting.shares import CheckedShares, JobRef, Session
from nips.pool.summary import HOUR_MS


@dataclass
class FakeBatches:
    batches: list[Batch]
    looked: int = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, position: int) -> Batch:
        self.looked += 1
        return self.batches[position]


@dataclass
class FakeLane:
    batches: FakeBatches

    @property
    def watermark_ms(self) -> int:
        return self.batches.batches[-1].to_ms if self.batches.batches else 0


@dataclass
class FakeLanes:
    lanes: dict[LaneKey, FakeLane] = field(default_factory=dict)
    known_ms: int = 1 << 60

    def in_order(self):
        return sorted(self.lanes.items())

    def behind(self, end_ms: int) -> LaneKey | None:
        return None if end_ms < self.known_ms else next(iter(self.lanes))


def shares(work: int) -> CheckedShares:
    """One share."""
    columns = array("q", [0]), array("I", [0]), array("H", [0]), array("B", [0])
    return CheckedShares(*columns, (Session("a", "", work),), (JobRef("", 1, "main"),))


def lanes_of(*columns: list[int]) -> FakeLanes:
    """Lanes whose batches end at the times given; each batch's work is its number + 1."""
    lanes = FakeLanes()
    for number, ends in enumerate(columns):
        batches = [Batch(at, f"{at}", end - 1, end, 0, shares(at + 1).pack()) for at, end in enumerate(sorted(ends))]
        lanes.lanes[LaneKey("edge", number)] = FakeLane(FakeBatches(batches))
    return lanes


def rounds_of(lanes: FakeLanes, hours: list[Hour] | None = None) -> Rounds:
    rounds = Rounds(lanes, deque(hours or []))  # type: ignore[arg-type] - a fake of what is asked
    rounds.spend(1_000_000)
    return rounds


@given(
    st.lists(st.lists(st.integers(1, 100), max_size=20), min_size=1, max_size=3),
    st.lists(st.integers(1, 100), unique=True, max_size=5),
)
def test_every_batch_is_in_one_round(columns: list[list[int]], found: list[int]) -> None:
    lanes = lanes_of(*columns)
    rounds, edges = rounds_of(lanes), [0, *sorted(found)]
    works = [rounds.between(start, end) for start, end in pairwise(edges)]
    last = rounds.since(edges[-1])
    total = sum(sum(range(1, len(ends) + 1)) for ends in columns)
    assert None not in works
    assert last is not None
    assert sum(work for work in works if work is not None) + last == total


def test_a_closed_round_is_not_looked_at_again_and_an_open_one_goes_on() -> None:
    lanes = lanes_of([1, 2, 3, 4])
    rounds = rounds_of(lanes)
    assert (rounds.between(1, 3), rounds.since(3)) == (2 + 3, 4)
    batches = lanes.lanes[LaneKey("edge", 0)].batches
    batches.looked = 0
    assert rounds.between(1, 3) == 5
    assert batches.looked == 0
    batches.batches.append(Batch(9, "9", 4, 5, 0, shares(10).pack()))
    assert rounds.since(3) == 14
    assert batches.looked == 1


def test_while_a_lane_is_behind_its_work_is_looked_for_again() -> None:
    lanes = lanes_of([1, 2])
    lanes.known_ms = 2
    rounds = rounds_of(lanes)
    assert rounds.between(0, 3) == 3
    batches = lanes.lanes[LaneKey("edge", 0)].batches
    batches.batches.append(Batch(9, "9", 2, 3, 0, shares(7).pack()))
    assert rounds.between(0, 3) == 10


def test_a_long_round_comes_with_several_answers() -> None:
    rounds = rounds_of(lanes_of(list(range(1, 101))))
    answers = []
    for _ in range(10):
        rounds.spend(30 + 2 * SEEK_BATCHES)
        answers.append(rounds.between(0, 100))
    assert answers[0] is None
    assert answers[-1] == 5050
    rounds.spend(0)
    assert rounds.between(0, 100) == 5050
    assert rounds.since(99) is None


def test_whole_hours_are_taken_from_the_summaries() -> None:
    ends = [HOUR_MS // 2, HOUR_MS + 5, 2 * HOUR_MS, 3 * HOUR_MS + 5]
    lanes = lanes_of(ends)
    hours = [Hour(at * HOUR_MS, (at + 1) * HOUR_MS, work, 1, 1, {}) for at, work in enumerate((1, 5, 0))]
    rounds = rounds_of(lanes, hours)
    batches = lanes.lanes[LaneKey("edge", 0)].batches
    # From amid the first hour: the second and third as told, and the one batch after them.
    assert rounds.between(HOUR_MS // 2, 3 * HOUR_MS + 5) == 5 + 4
    assert rounds.since(HOUR_MS // 2) == 5 + 4
    assert rounds.since(0) == 1 + 5 + 4
    batches.looked = 0
    assert rounds.between(0, 3 * HOUR_MS) == 6
    assert batches.looked == 0
