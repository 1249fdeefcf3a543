"""What one statement held the next does not count: every share counts once, whenever it is read."""

from hypothesis import given
from hypothesis import strategies as st

from accounting.schemes.held import NOTHING_HELD, Bound, Held


def test_a_share_is_held_by_lane_batch_and_time() -> None:
    held = Held({"e/0": Bound(5, 1000)})
    assert held.holds("e/0", 5, 1000)
    assert not held.holds("e/1", 5, 1000)
    assert not held.holds("e/0", 6, 1000)
    assert not held.holds("e/0", 5, 1001)
    assert not NOTHING_HELD.holds("e/0", 0, 0)


SHARES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=20)


@given(SHARES, st.integers(0, 9), st.integers(0, 40))
def test_a_batch_is_held_whole_only_if_each_of_its_shares_is(
    shares: list[tuple[int, int]], seq: int, end_ms: int
) -> None:
    bound = Bound(seq, end_ms)
    for number in range(10):
        batch = [share for share in shares if share[0] == number]
        first, to_ms = min((t for _, t in batch), default=0), max((t for _, t in batch), default=0) + 1
        if bound.holds_all(number, to_ms):
            assert all(bound.holds(*share) for share in batch)
        if bound.holds_none(number, first):
            assert not any(bound.holds(*share) for share in batch)
