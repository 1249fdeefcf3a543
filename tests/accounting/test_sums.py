"""Sums of batches: joined, they are the sums of all their shares."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from accounting.shares import CheckedShares, Session
from accounting.sums import Sums, WorkerSum, join_sums, sum_up, unpack_sums
from nips.pool.receipt import Rejects

SESSIONS = (Session("aa" * 32, "rig", 1 << 70), Session("aa" * 32, "", 3), Session("bb" * 32, "rig", 5))
BATCHES = st.lists(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 2)), max_size=6), max_size=5)


def batch(rows: list[tuple[int, int]]) -> CheckedShares:
    rows = sorted(rows)
    return CheckedShares(
        t=array("q", [t for t, _ in rows]),
        index=array("I", range(len(rows))),
        session=array("H", [session for _, session in rows]),
        job=array("B", bytes(len(rows))),
        sessions=SESSIONS,
        jobs=(),
        ratios=(7, 8, 9),
        rejects=(Rejects(2, 23, 4),),
    )


@given(BATCHES)
def test_joined_sums_are_those_of_all_shares(batches: list[list[tuple[int, int]]]) -> None:
    joined = join_sums(sum_up(100 + number, batch(rows)) for number, rows in enumerate(batches))
    assert unpack_sums(joined.pack()) == joined
    rows = {(row.miner, row.worker): row for row in joined.rows}
    for number, who in enumerate(SESSIONS):
        mine = [t for rows_of in batches for t, session in rows_of if session == number]
        having = sum(any(session == number for _, session in rows_of) for rows_of in batches)
        found = rows.pop((who.miner, who.worker), None)
        expected = (
            len(mine),
            who.work * len(mine),
            (7, 8, 9)[number] * having,
            *((min(mine), max(mine)) if mine else ()),
        )
        assert found == (WorkerSum(who.miner, who.worker, *expected) if mine else None)
    assert rows == {}
    assert joined.batches == len(batches)
    assert dict(joined.rejects) == ({"bb" * 32: 4 * len(batches)} if batches else {})


def test_nothing_is_packed_too() -> None:
    assert unpack_sums(Sums(5, 0, ()).pack()) == Sums(5, 0, ())
