"""A batch's sums by offer, height, miner and worker, against a count share by share; and their bytes."""

from array import array
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.schemes.lots import Price, value
from accounting.shares import CheckedShares, JobRef, Session
from accounting.tally import Tally, tally_of, unpack_tally

PRICE = Price(312_500_000_000, 0x207FFFFF, 10_000)
JOBS = (
    JobRef("01" * 32, 1, "main"),
    JobRef("02" * 32, 2, "main", None, by_worker=True),
    JobRef("03" * 32, 2, "steady", PRICE),
    JobRef("04" * 32, 2, "main", None, by_worker=True),
)
MINERS = ("aa" * 32, "bb" * 32, "cc" * 32)
SHARES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["", "rig"]), st.integers(1, 1 << 70), st.integers(0, len(JOBS) - 1)),
    max_size=12,
)


def checked(rows: list[tuple[int, str, int, int]]) -> CheckedShares:
    return CheckedShares(
        t=array("q", range(1000, 1000 + len(rows))),
        index=array("I", range(len(rows))),
        session=array("H", range(len(rows))),
        job=array("B", [row[3] for row in rows]),
        sessions=tuple(Session(MINERS[row[0]], row[1], row[2]) for row in rows),
        jobs=JOBS,
    )


@given(SHARES)
def test_rows_are_the_sums_of_the_shares(rows: list[tuple[int, str, int, int]]) -> None:
    tally = tally_of(1000, 2000, checked(rows))
    expected: dict[Any, Any] = {}
    for number, (miner, worker, work, job) in enumerate(rows):
        kind = JOBS[job].offer, JOBS[job].height
        first, miners, workers, values = expected.setdefault(kind, (1000 + number, Counter(), Counter(), Counter()))
        miners[MINERS[miner]] += work
        workers[MINERS[miner], worker] += work
        price = JOBS[job].price
        if price is not None:
            values[MINERS[miner]] += value(work, price)
    assert [(row.offer, row.height) for row in tally.rows] == sorted(expected)
    for row in tally.rows:
        first, miners, workers, values = expected[row.offer, row.height]
        assert (row.first_ms, row.work) == (first, miners.total())
        assert dict(row.by_miner) == miners
        assert dict(row.values) == values
        assert {(miner, worker): part for miner, worker, part in row.by_worker} == workers


@given(SHARES)
def test_its_bytes_are_read_again(rows: list[tuple[int, str, int, int]]) -> None:
    tally = tally_of(1000, 2000, checked(rows))
    assert unpack_tally(tally.pack()) == tally
    # Sums of batches nobody gave a share in stand for them.
    assert unpack_tally(Tally(5, 6, ()).pack()) == Tally(5, 6, ())


def test_other_bytes_are_refused() -> None:
    data = tally_of(1000, 2000, checked([(0, "rig", 5, 1)])).pack()
    for broken in (b"", data[:-1], b"\x00" + data, b"\xc0"):
        with pytest.raises((msgspec.MsgspecError, ValueError)):
            unpack_tally(broken)
