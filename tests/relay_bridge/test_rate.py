"""Token buckets and waits."""

from hypothesis import given
from hypothesis import strategies as st

from relay_bridge.backoff import FIRST_MS, GOOD_MS, LONGEST_MS, Backoff
from relay_bridge.rate import TokenBuckets


@given(st.lists(st.integers(0, 300), max_size=80), st.integers(1, 5), st.integers(1, 100))
def test_never_more_than_burst_and_refill(gaps: list[int], burst: int, refill_ms: int) -> None:
    buckets = TokenBuckets(burst, refill_ms)
    now, taken = 0, []
    for gap in gaps:
        now += gap
        if buckets.take("x", now):
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - taken[first]) // refill_ms


def test_buckets_are_apart_and_bounded() -> None:
    buckets = TokenBuckets(1, 1_000, capacity=2)
    assert [buckets.take(name, 0) for name in "aabbc"] == [True, False, True, False, True]
    # Room for two names: the oldest is forgotten, which makes it full.
    assert buckets.take("a", 0)


def test_waits_double_to_a_bound_and_a_good_connection_resets_them() -> None:
    backoff = Backoff()
    waits = [backoff.wait_ms(0.0) for _ in range(12)]
    assert waits[0] == FIRST_MS // 2
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_MS // 2
    assert LONGEST_MS // 2 <= backoff.wait_ms(0.999) <= LONGEST_MS
    backoff.succeeded(GOOD_MS - 1)
    assert backoff.wait_ms(0.0) == LONGEST_MS // 2
    backoff.succeeded(GOOD_MS)
    assert backoff.wait_ms(0.0) == FIRST_MS // 2
