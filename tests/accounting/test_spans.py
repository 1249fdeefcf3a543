"""Sums of many batches (what windows make of them: test_window.py)."""

from accounting.columns import NO_WORKERS, miners_of, workers_of
from accounting.spans import FAN, MAX_MINERS, span_of
from accounting.tally import Tally, TallyRow


def tally(from_ms: int, to_ms: int, *miners: str) -> Tally:
    row = TallyRow("main", from_ms, from_ms + 1, len(miners), miners_of(dict.fromkeys(miners, 1)))
    return Tally(from_ms, to_ms, (row,))


def test_a_span_sums_every_field_of_a_row() -> None:
    """A field that is added to the rows is to be summed in spans too, or its windows must not use them."""
    assert TallyRow._fields == ("offer", "height", "first_ms", "work", "by_miner", "values", "by_worker")
    span = span_of([tally(0, 10, "a", "b"), tally(10, 20, "a")])
    assert span == Tally(0, 20, (TallyRow("main", 10, 1, 3, miners_of({"a": 2, "b": 1})),))


def test_a_span_has_workers_if_all_its_rows_have() -> None:
    with_workers = [
        Tally(from_ms, to_ms, (tally(from_ms, to_ms, "a").rows[0]._replace(by_worker=workers_of({("a", "rig"): 1})),))
        for from_ms, to_ms in ((0, 10), (10, 20))
    ]
    span = span_of(with_workers)
    assert span is not None
    assert span.rows[0].by_worker == workers_of({("a", "rig"): 2})
    span = span_of([with_workers[0], tally(10, 20, "a")])
    assert span is not None
    assert span.rows[0].by_worker == NO_WORKERS


def test_no_span_is_made_of_what_is_out_of_order_or_too_much() -> None:
    assert span_of([tally(10, 20, "a"), tally(0, 10, "a")]) is None
    many = [tally(10 * n, 10 * n + 10, *(f"{n}/{m}" for m in range(MAX_MINERS // FAN + 1))) for n in range(FAN)]
    assert span_of(many) is None
    assert span_of(many[:2]) is not None
