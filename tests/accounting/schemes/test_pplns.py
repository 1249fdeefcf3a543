"""The window's size and age, and what a window is worth whoever's it is."""

from hypothesis import given
from hypothesis import strategies as st

from accounting.apportion import split
from accounting.schemes import pplns
from accounting.selection import Placed
from nips.pool.targets import work_from_bits
from nips.pool.terms import Offer

NBITS = 0x1D00FFFF
REWARD = 312_500_000_000
WORKS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 1000)), min_size=1, max_size=30)


def placed(shares: list[tuple[str, int]]) -> list[Placed]:
    """Shares newest first, a millisecond apart."""
    return [Placed(1000 - n, "e", 0, 0, 1000 - n, miner, work) for n, (miner, work) in enumerate(shares)]


def window(work: int) -> Offer:
    """An offer whose window on the easiest network holds so much."""
    return Offer(window_milli=0, window_min_work=work)


def test_a_window_is_so_many_thousandths_of_a_blocks_work() -> None:
    assert pplns.window_work(Offer(window_milli=8000), NBITS) == 8 * work_from_bits(NBITS)
    assert pplns.window_work(Offer(window_milli=1500), 0x207FFFFF) == 3


def test_a_small_network_has_a_floor() -> None:
    assert pplns.window_work(Offer(window_milli=8000, window_min_work=1 << 40), 0x207FFFFF) == 1 << 40


def test_age() -> None:
    assert pplns.oldest_ms(Offer(window_max_ms=0), 5000) == 0
    assert pplns.oldest_ms(Offer(window_max_ms=2000), 5000) == 3000
    assert pplns.oldest_ms(Offer(window_max_ms=6000), 5000) == 0


@given(WORKS, st.integers(1, 40_000))
def test_a_full_window_holds_its_work_and_a_short_one_all_there_is(shares: list[tuple[str, int]], limit: int) -> None:
    counted = pplns.count(window(limit), NBITS, 2000, placed(shares))
    there = sum(work for _, work in shares)
    assert counted.total == min(limit, there)
    parts = split(REWARD, 20_000, counted.work)
    assert sum(row.msat for row in parts.rows) + parts.fee_msat == REWARD


@given(WORKS, st.data())
def test_the_order_of_one_moments_shares_within_a_full_window_is_nothing(
    shares: list[tuple[str, int]], data: st.DataObject
) -> None:
    whole = window(sum(work for _, work in shares))
    other = data.draw(st.permutations(shares))
    assert pplns.count(whole, NBITS, 2000, placed(shares)).work == pplns.count(whole, NBITS, 2000, placed(other)).work


@given(WORKS, st.integers(1, 40_000), st.integers(1, 1000))
def test_one_more_share_never_earns_its_miner_less(shares: list[tuple[str, int]], limit: int, work: int) -> None:
    before = pplns.count(window(limit), NBITS, 2000, placed(shares)).work.get("a", 0)
    after = pplns.count(window(limit), NBITS, 2000, placed([("a", work), *shares])).work.get("a", 0)
    assert after >= before


@given(WORKS, st.integers(1, 40_000), st.lists(st.booleans(), min_size=30, max_size=30))
def test_an_npub_split_into_two_earns_nothing_more(
    shares: list[tuple[str, int]], limit: int, turns: list[bool]
) -> None:
    two = [("a2" if miner == "a" and turn else miner, work) for (miner, work), turn in zip(shares, turns, strict=False)]
    one = split(REWARD, 20_000, pplns.count(window(limit), NBITS, 2000, placed(shares)).work)
    both = split(REWARD, 20_000, pplns.count(window(limit), NBITS, 2000, placed(two)).work)
    whole = sum(row.msat for row in one.rows if row.miner == "a")
    parts = sum(row.msat for row in both.rows if row.miner in ("a", "a2"))
    assert whole - 1 <= parts <= whole
    assert [row for row in one.rows if row.miner != "a"] == [row for row in both.rows if row.miner not in ("a", "a2")]
