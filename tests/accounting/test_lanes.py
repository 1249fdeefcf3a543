"""Lanes: watermarks, cuts and heads."""

from array import array
from dataclasses import replace

from accounting.chains import Chain
from accounting.lanes import Batch, Batches, Lane, LaneKey, Lanes, heads_of
from accounting.shares import CheckedShares
from nips.pool.chain import Head

EMPTY = CheckedShares(array("q"), array("I"), array("H"), array("B"), (), ())
NO_SHARES = EMPTY.pack()


def lane(key: LaneKey, *windows: tuple[int, int], fin: bool = False) -> Lane:
    made = Lane(key, Chain(str(key), lambda _: None))
    for seq, (from_ms, to_ms) in enumerate(windows):
        made.add(Batch(seq, f"{key}#{seq}", from_ms, to_ms, 0, NO_SHARES), follows=True)
    made.fin = fin
    return made


A, B, C = LaneKey("aa", 0), LaneKey("aa", 10), LaneKey("bb", 2)


def lanes(*made: Lane) -> Lanes:
    return Lanes({each.key: each for each in made})


def test_lanes_stand_by_edge_and_number() -> None:
    every = lanes(lane(C, (0, 1)), lane(B, (0, 1)), lane(A, (0, 1)), lane(LaneKey("cc", 0)))
    assert [key for key, _ in every.in_order()] == [A, B, C]


def test_the_first_batch_past_a_time() -> None:
    one = lane(A, (0, 10), (10, 20), (20, 30))
    assert [getattr(one.past(ms), "seq", None) for ms in (0, 9, 10, 19, 20, 29, 30)] == [0, 0, 1, 1, 2, 2, None]
    assert [batch.seq for batch in one.back_from(1)] == [1, 0]
    assert one.watermark_ms == 30


def test_an_open_lane_holds_the_others_up_an_ended_one_does_not() -> None:
    every = lanes(lane(A, (0, 30)), lane(B, (0, 10)))
    assert every.behind(9) is None
    assert every.behind(10) == B
    every[B].fin = True
    assert every.behind(29) is None
    assert every.behind(30) == A


def test_a_lane_that_was_closed_and_read_to_its_end_is_ended() -> None:
    every = lanes(lane(A, (0, 10)))
    every[A].chain.head = Head(0, f"{A}#0")
    assert not every[A].ended
    every[A].chain.closed = Head(1, "later")
    assert not every[A].ended
    every[A].chain.closed = Head(0, f"{A}#0")
    assert every[A].ended


def test_a_cut_is_at_the_first_batch_past_the_end_or_an_ended_lanes_last() -> None:
    born_later = lane(C, (16, 30))
    every = lanes(lane(A, (0, 10), (10, 20), (20, 30)), lane(B, (0, 5), fin=True), born_later)
    cuts = every.cuts(15)
    assert {key: batch.seq for key, batch in cuts.items()} == {A: 1, B: 0}
    assert heads_of(cuts, 15, 5) == {str(A): Head(1, f"{A}#1"), str(B): Head(0, f"{B}#0")}
    assert heads_of(cuts, 15, 6) == {str(A): Head(1, f"{A}#1")}


def test_names_of_lanes_are_read_in_one_form_only() -> None:
    every = lanes(lane(A, (0, 1)), lane(B, (0, 1)))
    assert every.find("aa/0") is every[A]
    assert every.find("aa/10") is every[B]
    assert [every.find(name) for name in ("aa", "aa/00", "aa/-1", "aa/1", "bb/0", "aa/٠", "aa/" + "9" * 5000)] == [
        None
    ] * 7


def test_what_lacks_is_known_by_time() -> None:
    one = lane(A, (0, 10))
    one.add(Batch(3, "x", 30, 40, 0, NO_SHARES), follows=False)
    one.add(Batch(4, "y", 40, 50, 0, replace(EMPTY, unchecked=1).pack()), follows=True)
    assert [one.whole_from(seq) for seq in (0, 3, 4)] == [0, 30, 50]


def test_only_the_last_minutes_are_at_hand():
    """However long a batch lasts: ten minutes of batches, the newest one after a pause, and what fills no span yet."""
    for length_ms, at_hand in ((10_000, 64), (60_000, 12), (3_600_000, 4)):
        batches = Batches("aa/0")
        for seq in range(200):
            batches.append(Batch(seq, f"#{seq}", seq * length_ms, (seq + 1) * length_ms, 0, NO_SHARES))
        assert (len(batches.hot), len(batches)) == (at_hand, 200)
        assert [batch.seq for batch in batches] == list(range(200))
