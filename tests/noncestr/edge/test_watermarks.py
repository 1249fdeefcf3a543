"""Watermarks: what waits for a lane, when it is silent, how far its clock is off, and that each is said once."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from accounting.chains import Chain
from accounting.lanes import NO_SHARES, Batch, Lane, LaneKey, Lanes
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head
from nips.pool.receipt import ReceiptBody, build_receipt
from noncestr.edge.watermarks import CLOCK_BATCHES, Held, Mark, Watermarks, largest_skew

EDGE = SecretKey(hashlib.sha256(b"noncestr test key watermarks").digest())
POOL = PoolAddress(EDGE.pubkey, "regtest")
KEY = LaneKey(EDGE.pubkey, 0)
NAME = f"{encode_npub(EDGE.pubkey)}/0"
T0 = 1_800_000_000_000
BODY = ReceiptBody(
    lane=0, link=FIRST, from_ms=T0, to_ms=T0 + 1000, jobs=(), miners=(), sessions=(), shares=b"", rejects=(), work=0
)
ANCHOR_MS = 120_000


def lane(to_ms: int, *, fin: bool = False) -> Lane:
    made = Lane(KEY, Chain(str(KEY), lambda _: None, head=Head(4, "e4")), fin=fin)
    made.add(Batch(4, "e4", T0 - 1000, to_ms, 0, NO_SHARES), follows=True)
    return made


def block(name: str, found_ms: int, height: int = 1) -> Any:
    return SimpleNamespace(found_ms=found_ms, block=SimpleNamespace(block=name, height=height))


def receipt(to_ms: int) -> VerifiedEvent:
    return EDGE.sign(build_receipt(POOL, replace(BODY, to_ms=to_ms), to_ms // 1000 + 1))


def mark(marks: Watermarks, to_ms: int, now: int, *blocks: Any) -> Mark:
    (found,) = marks.marks(Lanes({KEY: lane(to_ms)}), blocks, 10, now)
    return found


def test_a_lane_holds_up_what_its_watermark_has_not_passed() -> None:
    """A block at the very watermark waits: the next batch may hold a share of the same ms."""
    blocks = [block("late", T0 + 900, 3), block("at", T0 + 500, 2), block("before", T0 + 499)]
    found = mark(Watermarks(), T0 + 500, T0 + 600, *blocks)
    assert found.holds_up == (Held("at", 2), Held("late", 3))
    assert (found.name, found.seq, found.age_ms, found.silent, found.clock_ms) == (NAME, 4, 100, False, None)
    assert found.plain()["holds_up"] == [{"block": "at", "height": 2}, {"block": "late", "height": 3}]


def test_lanes_that_have_ended_are_not_shown() -> None:
    assert Watermarks().marks(Lanes({KEY: lane(T0, fin=True)}), [block("b", T0)], 10, T0) == []


@pytest.mark.parametrize(("after_ms", "silent"), [(30_000, False), (30_001, True)])
def test_silence_is_three_heartbeats(after_ms: int, silent: bool) -> None:
    found = mark(Watermarks(), T0, T0 + after_ms)
    assert (found.silent, found.quiet_ms) == (silent, after_ms)


def test_a_backlog_that_is_coming_in_is_old_and_not_silent() -> None:
    marks = Watermarks()
    marks.hear(receipt(T0), T0 + 500_000)
    found = mark(marks, T0, T0 + 501_000)
    assert (found.silent, found.quiet_ms, found.age_ms) == (False, 1000, 501_000)


def test_a_clock_is_judged_by_the_quickest_of_the_newest_batches() -> None:
    marks = Watermarks()
    for delay in (40_000, 300, 2000):
        marks.hear(receipt(T0), T0 + delay)
    assert mark(marks, T0, T0).clock_ms == -300
    marks.hear(receipt(T0), T0 - 70_000)
    assert mark(marks, T0, T0).clock_ms == 70_000
    for _ in range(CLOCK_BATCHES):
        marks.hear(receipt(T0), T0 + 200)
    assert mark(marks, T0, T0).clock_ms == -200


@pytest.mark.parametrize(
    "tags", [(), (("lane", "0"),), (("lane", "x"), ("window", "1", "2")), (("lane", "0"), ("window", "1"))]
)
def test_what_is_no_batch_says_nothing(tags: tuple[tuple[str, ...], ...]) -> None:
    marks = Watermarks()
    marks.hear(EDGE.sign(UnsignedEvent(4212, 1, tags, "")), T0)
    marks.hear(EDGE.sign(UnsignedEvent(1, 1, (("lane", "0"), ("window", "1", "2")), "")), T0)
    assert mark(marks, T0, T0).clock_ms is None


def test_a_silent_lane_is_said_once_and_so_is_its_return() -> None:
    marks, waiting = Watermarks(), block("ab" * 32, T0 + 5, 77)

    def news(to_ms: int, now: int) -> list[str]:
        return marks.news([mark(marks, to_ms, now, waiting)], ANCHOR_MS, now)

    assert news(T0, T0 + 30_000) == []
    assert news(T0, T0 + 31_000) == [
        f"lane {NAME} is silent for 31 s; 1 statements wait for it, the first of block 77 {'ab' * 32}"
    ]
    assert news(T0, T0 + 60_000) == []
    assert news(T0 + 90_000, T0 + 90_100) == [f"lane {NAME} is back after 90 s; no statement waits for it"]
    assert news(T0 + 90_000, T0 + 91_000) == []


def test_what_could_not_reach_us_is_no_silence() -> None:
    """The pool was down, or cut off from its relays, for an hour: every lane has its time anew."""
    marks, hour = Watermarks(), T0 + 3_600_000
    assert marks.is_deaf
    marks.listen(connected=True, now=hour)
    assert (mark(marks, T0, hour + 30_000).silent, mark(marks, T0, hour + 30_001).quiet_ms) == (False, 30_001)
    marks.listen(connected=True, now=hour + 20_000)
    assert mark(marks, T0, hour + 30_001).silent
    marks.listen(connected=False, now=hour + 40_000)
    assert marks.is_deaf
    marks.listen(connected=True, now=hour + 50_000)
    assert not mark(marks, T0, hour + 60_000).silent


def test_a_lane_is_back_when_something_of_it_came() -> None:
    marks = Watermarks()
    marks.listen(connected=True, now=T0)
    assert "is silent for 31 s" in marks.news([mark(marks, T0, T0 + 31_000)], ANCHOR_MS, T0 + 31_000)[0]
    marks.listen(connected=False, now=T0 + 32_000)
    marks.listen(connected=True, now=T0 + 60_000)
    assert marks.news([mark(marks, T0, T0 + 61_000)], ANCHOR_MS, T0 + 61_000) == []
    again = marks.news([mark(marks, T0 + 62_000, T0 + 62_500)], ANCHOR_MS, T0 + 62_500)
    assert again == [f"lane {NAME} is back after 62 s; no statement waits for it"]


def test_a_lane_that_was_closed_is_forgotten() -> None:
    marks = Watermarks()
    assert marks.news([mark(marks, T0, T0 + 40_000)], ANCHOR_MS, T0 + 40_000)
    assert marks.news([], ANCHOR_MS, T0 + 41_000) == []
    assert marks.news([mark(marks, T0, T0 + 42_000)], ANCHOR_MS, T0 + 42_000)


@pytest.mark.parametrize(("delay", "said"), [(-31_000, "31 s ahead of"), (31_000, "31 s behind"), (30_000, "")])
def test_a_clock_that_is_off_by_a_quarter_of_anchor_ms_is_said_once(delay: int, said: str) -> None:
    marks = Watermarks()
    marks.hear(receipt(T0), T0 + delay)
    now = T0 + delay
    first = marks.news([mark(marks, T0, now)], ANCHOR_MS, now)
    assert said in "".join(first)
    assert len(first) == bool(said)
    assert marks.news([mark(marks, T0, now)], ANCHOR_MS, now) == []
    for _ in range(CLOCK_BATCHES):
        marks.hear(receipt(T0), T0 + 10)
    again = [f"lane {NAME}: its batches are dated by our clock again"] if said else []
    assert marks.news([mark(marks, T0, T0 + 20)], ANCHOR_MS, T0 + 20) == again


def test_the_largest_difference_is_of_lanes_that_speak() -> None:
    rows = [
        {"clock_ms": 5, "silent": False},
        {"clock_ms": -9, "silent": False},
        {"clock_ms": None, "silent": False},
        {"clock_ms": 99, "silent": True},
    ]
    assert largest_skew(rows) == -9
    assert largest_skew([]) is None
