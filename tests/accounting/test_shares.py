"""Columns of good shares and how they are kept."""

from array import array

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.shares import CheckedShares, JobRef, Session, Solution, unpack_shares

COLUMN = st.lists(st.tuples(st.integers(0, 1 << 50), st.integers(0, 1 << 31), st.integers(0, 2), st.integers(0, 1)))


@given(COLUMN, st.integers(0, 1 << 255), st.binary(min_size=80, max_size=80))
def test_packed_and_unpacked_is_the_same(rows: list[tuple[int, int, int, int]], work: int, header: bytes) -> None:
    shares = CheckedShares(
        t=array("q", [row[0] for row in rows]),
        index=array("I", [row[1] for row in rows]),
        session=array("H", [row[2] for row in rows]),
        job=array("B", [row[3] for row in rows]),
        sessions=(Session("aa", "rig", work), Session("bb", "", 1), Session("bb", "x", 2)),
        jobs=(JobRef("11", 1, "main"), JobRef("22", 2, "lunch")),
        bad=1,
        uncredited=2,
        unchecked=3,
        solutions=(Solution(0, 5, "aa", "11", 0x1D00FFFF, header, b"coinbase", True),),
        ratios=(1, 2, 3),
        told=work + 3,
    )
    assert unpack_shares(shares.pack()) == shares


def test_what_was_not_packed_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        unpack_shares(b"\x90")
