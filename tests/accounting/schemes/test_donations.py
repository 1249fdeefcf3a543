"""Donations move rows' msat and make none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.schemes.donations import Donation, Pledge, donate
from nips.pool.statement import Row

ROWS = st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(1, 100), st.integers(0, 10**14))).map(
    lambda rows: tuple(Row(miner, work, msat) for miner, (work, msat) in sorted(rows.items()))
)
PLEDGES = st.dictionaries(st.sampled_from("abcdefgx"), st.integers(0, 1_000_000)).map(
    lambda ppm: {miner: Pledge(f"settings {miner}", part) for miner, part in ppm.items()}
)


@given(ROWS, PLEDGES, st.sampled_from(["", "a", "x"]))
def test_msat_are_moved_not_made(rows: tuple[Row, ...], pledges: dict[str, Pledge], receiver: str) -> None:
    after = donate(rows, pledges, receiver)
    assert sum(row.msat for row in after.rows) == sum(row.msat for row in rows)
    assert [row.miner for row in after.rows] == sorted({row.miner for row in after.rows})
    assert {(row.miner, row.work) for row in rows} <= {(row.miner, row.work) for row in after.rows}
    before = {row.miner: row.msat for row in rows}
    given_away = {after.rows[gift.row].miner: gift for gift in after.donations}
    assert receiver not in given_away
    for row in after.rows:
        gift = given_away.get(row.miner)
        if gift is not None:
            assert (gift.settings, gift.msat) == (
                pledges[row.miner].settings,
                before[row.miner] * pledges[row.miner].ppm // 1_000_000,
            )
            assert row.msat == before[row.miner] - gift.msat >= 0
        elif row.miner != receiver:
            assert row.msat == before[row.miner]
    assert sum(gift.msat for gift in after.donations) == sum(
        row.msat - before.get(row.miner, 0) for row in after.rows if row.miner == receiver
    )


def test_the_receiver_gets_a_row() -> None:
    after = donate((Row("a", 3, 1000), Row("z", 1, 999)), {"a": Pledge("s", 15_000), "z": Pledge("t", 1000)}, "m")
    assert after.rows == (Row("a", 3, 985), Row("m", 0, 15), Row("z", 1, 999))
    assert after.donations == (Donation(0, "s", 15),)


def test_without_a_receiver_nothing_moves() -> None:
    rows = (Row("a", 3, 1000),)
    assert donate(rows, {"a": Pledge("s", 500_000)}, "") == donate(rows, {}, "m")


@pytest.mark.parametrize("ppm", [-1, 1_000_001])
def test_nobody_gives_more_than_the_row(ppm: int) -> None:
    with pytest.raises(ValueError, match="a million"):
        donate((), {"a": Pledge("s", ppm)}, "m")
