"""Batches at a window's edge: columns say the same as share by share, whatever the batches hold."""

from array import array
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import torn
from accounting.schemes.held import Bound
from accounting.shares import CheckedShares, JobRef, Session
from accounting.torn import Torn, narrow, tear

WORKS = (1, 3, 1 << 40)
SESSIONS = tuple(Session(f"{n:064x}", "rig", work) for n, work in enumerate(WORKS))
JOBS = (JobRef("aa", 5, "main"), JobRef("bb", 5, "lunch"))
SHARES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2), st.integers(0, 1)), max_size=30)
FITS = st.tuples(st.booleans(), st.booleans())


def batch(rows: list[tuple[int, int, int]]) -> CheckedShares:
    """Shares (t, session, job), which stand in the order of time."""
    rows = sorted(rows, key=lambda row: row[0])
    return CheckedShares(
        array("q", [t for t, _, _ in rows]),
        array("I", range(len(rows))),
        array("H", [session for _, session, _ in rows]),
        array("B", [job for _, _, job in rows]),
        SESSIONS,
        JOBS,
    )


def works_of(each: Torn, start: int, end: int) -> int:
    shares = each.shares
    return sum(WORKS[shares.session[row]] for row in range(start, end) if each.fits[shares.job[row]])


@given(SHARES, FITS, st.integers(0, 61), st.integers(0, 61), st.none() | st.integers(0, 61), st.integers(3, 5))
def test_what_is_torn_lies_in_the_window_and_is_not_held(
    rows: list[tuple[int, int, int]], fits: tuple[bool, bool], oldest: int, end: int, held_to: int | None, held_seq: int
) -> None:
    shares = batch(rows)
    held = None if held_to is None else Bound(held_seq, held_to)
    found = tear(shares, 4, fits, oldest, end, held)
    after = held_to if held_to is not None and held_seq >= 4 else -1
    assert list(shares.t[found.start : found.end]) == [t for t in shares.t if oldest <= t <= end and t > after]
    assert found.whole == found.end
    assert list(found.counted()) == []


@settings(max_examples=200)
@given(st.lists(st.tuples(SHARES, FITS), min_size=1, max_size=4), st.integers(1, 120), st.integers(0, 8))
def test_narrowing_splits_by_time_and_loses_no_work(
    groups: list[tuple[list[tuple[int, int, int]], tuple[bool, bool]]], limit: int, few: int
) -> None:
    batches = [tear(batch(rows), 0, fits, 0, 60, None) for rows, fits in groups]
    before = [(each.start, each.end) for each in batches]
    with pytest.MonkeyPatch.context() as patch:
        # As in a large window: so that it narrows at all.
        patch.setattr(torn, "FEW", few)
        left = narrow(batches, limit)
    for each, (start, end) in zip(batches, before, strict=True):
        assert start <= each.start <= each.end <= each.whole == end
    # What counts for sure is what the limit lost, and it never fills the limit: the edge is among the rows left.
    assert left == limit - sum(works_of(each, each.end, each.whole) for each in batches)
    assert left > 0
    gone = sum(works_of(each, start, each.start) for each, (start, _) in zip(batches, before, strict=True))
    rest = sum(works_of(each, each.start, each.end) for each in batches)
    assert not gone or rest >= left, "nothing that may count was let go"
    # In time: all that is let go is older than all that is left, and that older than all that counts.
    times = [
        [t for each, (start, _) in zip(batches, before, strict=True) for t in each.shares.t[start : each.start]],
        [t for each in batches for t in each.shares.t[each.start : each.end]],
        [t for each in batches for t in each.shares.t[each.end : each.whole]],
    ]
    ordered = [part for part in times if part]
    assert all(max(older) < min(newer) for older, newer in pairwise(ordered))


@given(SHARES, FITS, st.integers(0, 30))
def test_what_counts_for_sure_is_summed_by_session(
    rows: list[tuple[int, int, int]], fits: tuple[bool, bool], end: int
) -> None:
    shares = batch(rows)
    each = Torn(shares, fits, 0, min(end, len(shares)), len(shares))
    sure = [row for row in range(each.end, each.whole) if fits[shares.job[row]]]
    found = list(each.counted())
    counts = Counter(shares.session[row] for row in sure)
    assert {who: work for who, work, _ in found} == {SESSIONS[s]: WORKS[s] * n for s, n in counts.items()}
    assert {first for _, _, first in found} == ({min(shares.t[row] for row in sure)} if sure else set())
