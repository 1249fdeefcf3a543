"""Chains: gaps, forks, order, and that nothing is lost whatever the order of arrival."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.nip01 import Event, make_filter
from relay_bridge import chains
from relay_bridge.chains import ChainOrder, ChainWatch, Fork, Gap, Place, seen_whole


def event(chain: str, seq: int, version: str = "", prev: str | None = None, at: int | None = None) -> Event:
    before = prev or (f"{chain}{seq - 1}" if seq else "")
    return Event(
        f"{chain}{seq}{version}", "", seq * 10 if at is None else at, 1, (("c", chain, str(seq), before),), "", ""
    )


def where(event: Event) -> Place | None:
    if not event.tags:
        return None
    _, chain, seq, prev = event.tags[0]
    return Place(chain, int(seq), prev or None)


UNCHAINED = Event("free", "", 0, 1, (), "", "")


def watching(*events: Event, whole: bool = True) -> ChainWatch:
    watch = ChainWatch(where, whole=whole)
    for each in events:
        assert watch.see(each) is None
    return watch


def test_gaps_and_what_is_known_of_them() -> None:
    watch = watching(event("x", 0), event("x", 1), event("x", 5), event("x", 6), event("y", 2), UNCHAINED)
    assert watch.gaps() == [Gap("x", 2, 4, "x4", 10, 50, ""), Gap("y", 0, 1, "y1", None, 20, "")]
    for seq in (3, 2, 4):
        watch.see(event("x", seq))
    assert watch.gaps() == [Gap("y", 0, 1, "y1", None, 20, "")]
    assert watching(event("y", 2), event("y", 3), whole=False).gaps() == []


def test_a_fork_is_seen_from_both_sides() -> None:
    watch = watching(event("x", 0), event("x", 1))
    assert watch.see(event("x", 1)) is None
    assert watch.see(event("x", 1, "b")) == Fork("x", 1, ("x1", "x1b"))
    # A successor of another event than the one we have proves a fork too.
    assert watch.see(event("x", 2, prev="other")) == Fork("x", 1, ("other", "x1"))


def test_who_asks_for_a_part_of_a_chain_sees_no_gaps() -> None:
    kinds = frozenset({1, 2})

    def place(event: Event) -> Place:
        return Place("x", 0, None, kinds)

    sample = event("x", 0)
    for asked, whole in (
        ([make_filter(kinds=[1, 2, 3])], True),
        ([make_filter()], True),
        ([make_filter(kinds=[1])], False),
        ([make_filter(kinds=[2]), make_filter(kinds=[1])], False),
        ([make_filter(authors=["ab" * 32])], False),
        ([make_filter(ids=["ab" * 32])], False),
    ):
        assert (seen_whole(place, asked)(sample) is not None) == whole
    assert seen_whole(where, [make_filter(kinds=[9])])(sample) == where(sample), "nothing is known of its kinds"


def test_memory_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(chains, "REMEMBERED", 3)
    monkeypatch.setattr(chains, "MAX_RUNS", 2)
    monkeypatch.setattr(chains, "MAX_CHAINS", 1)
    watch = watching(*(event("x", seq) for seq in range(10)), event("y", 5))
    assert watch.gaps() == []
    assert watch.see(event("x", 2, "b")) is None, "too old to be remembered"
    assert watch.see(event("x", 8, "b")) is not None
    watching(*(event("x", seq) for seq in (0, 2, 4, 6)))


def test_a_snapshot_goes_on() -> None:
    watch = watching(event("x", 0), event("x", 1), event("x", 4))
    again = ChainWatch(where)
    again.restore(watch.snapshot())
    assert again.gaps() == watch.gaps() == [Gap("x", 2, 3, "x3", 10, 40, "")]
    assert again.see(event("x", 4, "b")) == Fork("x", 4, ("x4", "x4b"))


@given(st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 30)), max_size=60))
def test_gaps_are_what_was_not_seen(seen: list[tuple[str, int]]) -> None:
    watch = ChainWatch(where)
    for chain, seq in seen:
        assert watch.see(event(chain, seq)) is None
    missing = {(gap.chain, seq) for gap in watch.gaps() for seq in range(gap.first, gap.last + 1)}
    highest = {chain: max(seq for other, seq in seen if other == chain) for chain, _ in seen}
    assert missing == {(chain, seq) for chain, top in highest.items() for seq in range(top)} - set(seen)


@given(st.permutations(range(12)), st.integers(1, 20))
def test_order_is_restored_and_nothing_lost(arrival: list[int], most: int) -> None:
    order = ChainOrder(where, hold_ms=100, most=most)
    out: list[int] = []
    for seq in arrival:
        out += [int(each.id[1:]) for each in order.push(event("x", seq), 0)]
    if most >= 12:
        assert out == list(range(12))
    out += [int(each.id[1:]) for each in order.overdue(1_000)]
    assert sorted(out) == list(range(12))
    assert order.held == 0


def test_a_gap_delays_and_does_not_stop() -> None:
    order = ChainOrder(where, hold_ms=100, most=50)
    order.passed(event("x", 0))
    assert order.push(UNCHAINED, 0) == [UNCHAINED]
    assert order.push(event("x", 2), 10) == []
    assert order.push(event("x", 3), 20) == []
    assert order.overdue(109) == []
    assert order.overdue(110) == [event("x", 2), event("x", 3)]
    late = event("x", 1)
    assert order.push(late, 120) == [late], "what comes too late is handed out at once"
    assert order.push(event("x", 4), 130) == [event("x", 4)]


@pytest.mark.parametrize("first", [3])
def test_a_chain_that_begins_later_waits_for_its_beginning(first: int) -> None:
    order = ChainOrder(where, hold_ms=100, most=50)
    assert order.push(event("x", first), 0) == []
    assert order.overdue(100) == [event("x", first)]
