"""What one statement held the next does not count: every share counts once, whenever it is read."""

from hypothesis import given
from hypothesis import strategies as st

from accounting.schemes.held import NOTHING_HELD, Bound, Held, held_by_blocks
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head
from nips.pool.statement import BlockReward, Statement, Window


def statement(end_ms: int, height: int, heads: dict[str, int]) -> Statement:
    return Statement(
        reward=BlockReward("00" * 32, height, end_ms, 0),
        terms="",
        offer="main",
        window=Window(0, 0, {lane: Head(seq, "") for lane, seq in heads.items()}),
        fee_msat=0,
        rows=(),
        id="",
        signer="",
        pool=PoolAddress("", "main"),
        link=FIRST,
        created_at=0,
    )


def test_a_share_is_held_by_lane_batch_time_and_height() -> None:
    held = held_by_blocks([statement(1000, 10, {"e/0": 5})])
    assert held.holds("e/0", 5, 1000, 10)
    assert not held.holds("e/1", 5, 1000, 10)
    assert not held.holds("e/0", 6, 1000, 10)
    assert not held.holds("e/0", 5, 1001, 10)
    assert not held.holds("e/0", 5, 1000, 11)
    assert not NOTHING_HELD.holds("e/0", 0, 0, 0)


def test_the_newest_that_names_a_lane_speaks_for_it() -> None:
    held = held_by_blocks([statement(1000, 10, {"e/0": 5, "e/1": 3}), statement(2000, 11, {"e/0": 9})])
    assert held.bounds == {"e/0": Bound(9, 2000, 11), "e/1": Bound(3, 1000, 10)}
    assert held.holds("e/1", 3, 999, 10)


def test_a_period_has_no_bound_by_height() -> None:
    assert Held({"e/0": Bound(5, 1000, None)}).holds("e/0", 5, 1000, 1 << 30)


SHARES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40), st.integers(1, 4)), max_size=20)


@given(SHARES, st.integers(0, 9), st.integers(0, 40), st.integers(1, 4))
def test_a_batch_is_held_whole_only_if_each_of_its_shares_is(
    shares: list[tuple[int, int, int]], seq: int, end_ms: int, height: int
) -> None:
    held = Held({"e/0": Bound(seq, end_ms, height)})
    for number in range(10):
        batch = [share for share in shares if share[0] == number]
        to_ms = max((t for _, t, _ in batch), default=0) + 1
        if held.holds_all("e/0", number, to_ms, max((high for _, _, high in batch), default=0)):
            assert all(held.holds("e/0", *share) for share in batch)


@given(st.lists(st.integers(0, 100), unique=True, max_size=30), st.lists(st.integers(0, 100), max_size=5))
def test_rounds_leave_nothing_out_and_count_nothing_twice(times: list[int], ends: list[int]) -> None:
    """One lane, a batch a millisecond; each round ends at a block."""
    known: list[Statement] = []
    counted: list[int] = []
    for end in sorted(set(ends)):
        held = held_by_blocks(known)
        counted += [t for t in times if t <= end and not held.holds("e/0", t, t, 1)]
        known.append(statement(end, 1, {"e/0": end + 1}))
    assert sorted(counted) == sorted(t for t in times if ends and t <= max(ends))
