"""Shares that two statements which stand have counted; the second verifier's part: tests/client_web."""

import pytest

from accounting.verifier import audit
from tests.accounting.orders_story import BLOCKS, PERIODS, Act, tell_orders

A, B, C = BLOCKS
AFTER_MS = 10**9


@pytest.mark.parametrize("dense", [False, True])
def test_each_names_one_that_it_overlaps(dense: bool) -> None:
    """The newest that ends before it, and only what counts shares of it."""
    first: list[Act] = [("state", A), ("void", "statement 0")] if dense else []
    log = tell_orders([*first, ("state", C), ("state", B), ("state", A)])
    report = audit(log.all(), [], log.pool, now_ms=log.t0 + AFTER_MS)
    found = {each.events for each in report.findings if each.code == "counted-twice"}
    # Each counts the offer's work from the start: the last one overlaps the second, that one the first.
    c, b, a = (log.events[f"statement {number}"].id for number in range(dense, dense + 3))
    assert found == {(b, c), (a, b)}
    assert max(log.times_counted().values()) == 3
    (row,) = [each for each in report.claims if each.name == "statements"]
    assert row.contradicted == 2


def test_a_late_period_whose_work_is_held_overlaps_nothing() -> None:
    log = tell_orders([("state", PERIODS[1]), ("state", PERIODS[2])])
    report = audit(log.all(), [], log.pool, now_ms=log.t0 + AFTER_MS)
    assert {each.grade for each in report.findings} <= {"not checked"}
    assert set(log.times_counted().values()) == {1}
