"""Which statements come before another, and what they hold."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from accounting.earlier import Earlier, line_of
from accounting.schemes.held import Bound
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head
from nips.pool.statement import BlockReward, PeriodReward, RewardStatus, Statement, Window

NOBODY: frozenset[str] = frozenset()
LINE = "block main"


def statement(name: str, end_ms: int, heads: dict[str, int], signer: str = "a") -> Statement:
    return Statement(
        reward=BlockReward("00" * 32, 1, end_ms, 0),
        terms="",
        offer="main",
        window=Window(0, 0, {lane: Head(seq, "") for lane, seq in heads.items()}),
        fee_msat=0,
        rows=(),
        id=name,
        signer=signer,
        pool=PoolAddress("", "main"),
        link=FIRST,
        created_at=0,
    )


def status(name: str, said: str, signer: str = "a") -> RewardStatus:
    return RewardStatus("", signer, PoolAddress("", "main"), FIRST, 0, name, said)


def test_the_newest_that_names_a_lane_speaks_for_it() -> None:
    earlier = Earlier()
    earlier.add(statement("one", 1000, {"e/0": 5, "e/1": 3}))
    earlier.add(statement("two", 2000, {"e/0": 9}))
    assert line_of(statement("one", 1, {})) == LINE
    assert earlier.held(LINE, 3000, "a", NOBODY).bounds == {"e/0": Bound(9, 2000), "e/1": Bound(3, 1000)}
    assert earlier.held(LINE, 2000, "a", NOBODY).bounds == {"e/0": Bound(5, 1000), "e/1": Bound(3, 1000)}
    assert earlier.held("block lunch", 3000, "a", NOBODY).bounds == {}
    assert earlier.last_end(LINE, "a", NOBODY) == 2000


def test_what_is_orphaned_or_void_holds_nothing_and_what_comes_back_does() -> None:
    earlier = Earlier()
    earlier.add(statement("one", 1000, {"e/0": 5}))
    assert earlier.held(LINE, 3000, "a", NOBODY).bounds
    for said, holds in (("orphaned", False), ("matured", True), ("void", False)):
        earlier.add_status(status("one", said))
        assert bool(earlier.held(LINE, 3000, "a", NOBODY).bounds) is holds


def test_other_keys_count_once_their_chain_is_closed() -> None:
    earlier = Earlier()
    earlier.add(statement("one", 1000, {"e/0": 5}, signer="old"))
    assert earlier.held(LINE, 3000, "a", NOBODY).bounds == {}
    assert earlier.held(LINE, 3000, "a", frozenset({"old"})).bounds == {"e/0": Bound(5, 1000)}
    # The key that came after says what became of it; what strangers say counts nothing.
    earlier.add_status(status("one", "orphaned", signer="other"))
    assert earlier.held(LINE, 3000, "a", frozenset({"old"})).bounds
    earlier.add_status(status("one", "orphaned", signer="a"))
    assert earlier.held(LINE, 3000, "a", frozenset({"old"})).bounds == {}


def test_a_snapshot_stays_what_it_was() -> None:
    earlier = Earlier()
    earlier.add(statement("one", 1000, {"e/0": 5}))
    earlier.keep_snapshot("two", earlier.held(LINE, 2000, "a", NOBODY))
    earlier.add_status(status("one", "orphaned"))
    assert earlier.snapshot("two").bounds == {"e/0": Bound(5, 1000)}
    assert earlier.snapshot("three").bounds == {}


ACTS = st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["", "orphaned", "matured"])), max_size=30)


@given(ACTS, st.lists(st.integers(0, 60), max_size=5))
def test_sums_kept_are_sums_made_anew(acts: list[tuple[int, str]], ends: list[int]) -> None:
    """Whatever comes in whatever order, and whenever it is asked."""
    earlier, told = Earlier(), dict[str, tuple[int, int, str]]()
    for number, (end, said) in enumerate(acts):
        name = f"{number}"
        earlier.add(statement(name, end, {"e/0": number}))
        told[name] = (end, number, said)
        for at in ends:
            earlier.held(LINE, at, "a", NOBODY)
        if said:
            earlier.add_status(status(name, said))
    for at in ends:
        stand = sorted((end, number) for end, number, said in told.values() if end < at and said != "orphaned")
        expected = {"e/0": Bound(stand[-1][1], stand[-1][0])} if stand else {}
        assert earlier.held(LINE, at, "a", NOBODY).bounds == expected


def period(name: str, end_ms: int) -> Statement:
    return replace(statement(name, end_ms, {"e/0": end_ms}), reward=PeriodReward(end_ms - 10, end_ms, 0))


def test_what_is_void_is_due_until_something_counts_it() -> None:
    earlier, line = Earlier(), "period main"

    def add(name: str, end_ms: int) -> None:
        earlier.keep_snapshot(name, earlier.held(line, end_ms, "a", NOBODY))
        earlier.add(period(name, end_ms))

    def due() -> list[int]:
        return [end_ms for end_ms, _ in earlier.voided(line, "a", NOBODY)]

    for number in range(1, 4):
        add(f"{number}", 10 * number)
    assert due() == []
    # Those after it held its work: nobody else counts it.
    earlier.add_status(status("1", "void"))
    assert due() == [10]
    assert not earlier.stands_at(line, 10, "a", NOBODY)
    add("1 again", 10)
    assert due() == []
    assert earlier.stands_at(line, 10, "a", NOBODY)
    # What comes after counts the last one's work, until it is void itself.
    earlier.add_status(status("3", "void"))
    assert due() == [30]
    add("4", 40)
    assert due() == []
    earlier.add_status(status("4", "void"))
    assert due() == [30, 40]


def test_one_of_two_that_is_void_leaves_nothing_due() -> None:
    """The other is wrong, which is found; nothing waits for a third."""
    earlier = Earlier()
    for name in ("one", "two"):
        earlier.add(period(name, 10))
    earlier.add_status(status("one", "void"))
    assert list(earlier.voided("period main", "a", NOBODY)) == []
