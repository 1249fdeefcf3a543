"""Running sums: in any order the same, bounded in number."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from accounting.shares import CheckedShares, Session
from accounting.sums import sum_up
from accounting.totals import FIRST_SPAN_MS, MAX_SPANS, WorkTotals


def shares(count: int, work: int, miner: str = "a") -> CheckedShares:
    return CheckedShares(
        array("q", range(count)),
        array("I", range(count)),
        array("H", [0] * count),
        array("B", [0] * count),
        (Session(miner, "rig", work),),
        (),
        ratios=(count * 100,),
    )


def count(totals: WorkTotals, start: int, end: int, batch: CheckedShares) -> None:
    totals.add(start, end, len(batch), batch.work)
    totals.add_workers(sum_up(end, batch))


BATCHES = st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 5), st.integers(1, 9), st.sampled_from("ab")))


@given(BATCHES, st.randoms(use_true_random=False))
def test_any_order_gives_the_same(batches: list[tuple[int, int, int, str]], order: object) -> None:
    mixed = list(batches)
    order.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis' Random
    one, other = WorkTotals(), WorkTotals()
    for totals, rows in ((one, batches), (other, mixed)):
        for start, number, work, miner in rows:
            count(totals, start, start + 10_000, shares(number, work, miner))
    assert one == other
    assert sum(one.spans.values()) == sum(totals.work for totals in one.miners.values())


def test_a_long_log_has_wider_spans_not_more() -> None:
    totals = WorkTotals()
    for minute in range(3 * MAX_SPANS):
        count(totals, minute * FIRST_SPAN_MS, (minute + 1) * FIRST_SPAN_MS, shares(1, 5))
    assert len(totals.spans) <= MAX_SPANS
    assert totals.span_ms == 4 * FIRST_SPAN_MS
    assert set(totals.spans.values()) == {20}


def test_what_is_taken_back_is_gone() -> None:
    totals = WorkTotals()
    count(totals, 0, 10_000, shares(3, 5))
    totals.take_back(0, 10_000, shares(3, 5), 1)
    assert (totals.good, totals.bad, totals.miners["a"].work, totals.spans) == (2, 1, 10, {0: 10})
