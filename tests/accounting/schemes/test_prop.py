"""A round: everything since the last reward, in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from accounting.apportion import split
from accounting.schemes import prop
from accounting.selection import Placed

REWARD = 312_500_000_000
SHARES = st.lists(
    st.tuples(st.integers(0, 5000), st.sampled_from("abc"), st.integers(1, 1000)), max_size=30, unique_by=lambda s: s[0]
)


def placed(shares: list[tuple[int, str, int]]) -> list[Placed]:
    return [Placed(t, "e", 0, 0, n, miner, work) for n, (t, miner, work) in enumerate(shares)]


@given(SHARES, st.data())
def test_a_round_counts_all_of_it_in_any_order(shares: list[tuple[int, str, int]], data: st.DataObject) -> None:
    counted = prop.count(6000, placed(shares))
    assert counted.total == sum(work for _, _, work in shares)
    assert counted.from_ms == min((t for t, _, _ in shares), default=6000)
    assert not counted.full
    assert prop.count(6000, placed(data.draw(st.permutations(shares)))) == counted


@given(SHARES, st.lists(st.booleans(), min_size=30, max_size=30))
def test_an_npub_split_into_two_earns_nothing_more(shares: list[tuple[int, str, int]], turns: list[bool]) -> None:
    two = [(t, "a2" if miner == "a" and turn else miner, w) for (t, miner, w), turn in zip(shares, turns, strict=False)]
    one, both = (split(REWARD, 10_000, prop.count(6000, placed(each)).work) for each in (shares, two))
    whole = sum(row.msat for row in one.rows if row.miner == "a")
    parts = sum(row.msat for row in both.rows if row.miner in ("a", "a2"))
    assert whole - 1 <= parts <= whole
    assert sum(row.msat for row in both.rows) + both.fee_msat == REWARD


@given(SHARES, st.integers(1, 1000))
def test_more_work_earns_more_and_leaves_the_others_less(shares: list[tuple[int, str, int]], work: int) -> None:
    before = {r.miner: r.msat for r in split(REWARD, 0, prop.count(6000, placed(shares)).work).rows}
    after = {r.miner: r.msat for r in split(REWARD, 0, prop.count(6000, placed([*shares, (0, "a", work)])).work).rows}
    assert after["a"] >= before.get("a", 0)
    assert all(after[miner] <= before[miner] for miner in before if miner != "a")


def test_a_round_of_nobody() -> None:
    assert prop.count(6000, []).work == {}
