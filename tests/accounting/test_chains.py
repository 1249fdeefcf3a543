"""One chain: events leave in its order, whatever theirs; forks, breaks and voids are named."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from accounting.chains import Chain, Opaque
from accounting.findings import Code, Finding
from nips.pool.chain import Head, Link
from nips.pool.terms import NEVER


def event(seq: int, *, branch: str = "a", prev: str | None = "", at: int = 0) -> Opaque:
    before = None if seq == 0 else prev or f"a{seq - 1}"
    return Opaque(f"{branch}{seq}", Link(seq, before), at or seq)


def chain() -> tuple[Chain[Opaque], list[Finding]]:
    found: list[Finding] = []
    return Chain("key/chain", found.append), found


def drain(of: Chain[Opaque]) -> list[str]:
    taken = []
    while (due := of.peek()) is not None:
        of.take(due)
        taken.append(due.id)
    return taken


@given(st.permutations([event(seq) for seq in range(8)]))
def test_any_order_in_is_the_chains_order_out(events: list[Opaque]) -> None:
    one, found = chain()
    taken = []
    for each in events:
        one.put(each)
        taken += drain(one)
    assert taken == [f"a{seq}" for seq in range(8)]
    assert found == []


@given(st.permutations([event(0), event(1), event(2), event(1, branch="b")]))
def test_a_fork_names_both_and_takes_the_branch_that_goes_on(events: list[Opaque]) -> None:
    one, found = chain()
    for each in events:
        one.put(each)
    assert drain(one) == ["a0", "a1", "a2"]
    assert [(each.code, each.events) for each in found] == [(Code.FORK, ("a1", "b1"))]


def test_a_fork_that_comes_late_is_named_too() -> None:
    one, found = chain()
    for seq in range(3):
        one.put(event(seq))
    drain(one)
    one.put(event(1, branch="b"))
    one.put(event(1))
    assert [each.events for each in found] == [("a1", "b1")]


def test_a_gap_is_skipped_only_when_asked() -> None:
    one, found = chain()
    for seq in (0, 3, 4):
        one.put(event(seq))
    assert drain(one) == ["a0"]
    skipped = one.skip_to()
    assert skipped is not None
    one.take(skipped)
    assert drain(one) == ["a4"]
    assert [each.code for each in found] == [Code.GAP]
    assert "lacks 1 to 2" in found[0].text
    assert one.broken == 1
    assert one.skip_to() is None


def test_a_prev_that_names_another_is_a_break() -> None:
    one, found = chain()
    one.put(event(0))
    one.put(event(1, prev="c0"))
    assert drain(one) == ["a0"]
    skipped = one.skip_to()
    assert skipped is not None
    one.take(skipped)
    assert [each.code for each in found] == [Code.BROKEN_CHAIN]


def test_dates_never_fall() -> None:
    one, found = chain()
    for each in (event(0, at=10), event(1, at=10), event(2, at=9), event(3, at=10)):
        one.put(each)
    drain(one)
    assert [(each.code, each.events) for each in found] == [(Code.BACKDATED, ("a1", "a2"))]


def test_what_lies_beyond_a_closed_end_is_void_whenever_it_comes() -> None:
    one, found = chain()
    one.put(event(0))
    one.put(event(2))
    assert one.close(Head(1, "a1"))
    one.put(event(1))
    one.put(event(1, branch="b"))
    one.put(event(3))
    assert drain(one) == ["a0", "a1"]
    assert one.is_ended
    assert sorted(each.events[1] for each in found) == ["a2", "a3", "b1"]
    assert {each.code for each in found} == {Code.CLOSED_CHAIN}


def test_closing_below_the_head_says_so() -> None:
    one, _ = chain()
    for seq in range(3):
        one.put(event(seq))
    drain(one)
    assert not one.close(Head(1, "a1"))


def test_closing_at_another_event_than_was_taken_says_so() -> None:
    one, _ = chain()
    one.put(event(0))
    drain(one)
    assert not one.close(Head(0, "b0"))


def test_a_chain_is_ended_once() -> None:
    one, _ = chain()
    assert one.close(Head(1, "a1"))
    assert one.close(Head(5, "a5"))
    assert one.closed == Head(1, "a1")


def test_ids_that_wait() -> None:
    one, _ = chain()
    one.put(event(2))
    one.put(replace(event(2), id="x"))
    assert sorted(one.waiting_ids) == ["a2", "x"]
    assert (one.pubkey, one.next_seq) == ("key", 0)


def test_a_chain_that_never_began_is_void_from_its_first_event() -> None:
    one, found = chain()
    assert one.close(NEVER)
    assert one.is_ended
    for seq in range(2):
        one.put(event(seq))
    assert drain(one) == []
    assert [(each.code, each.events) for each in found] == [(Code.CLOSED_CHAIN, ("a0",)), (Code.CLOSED_CHAIN, ("a1",))]


def test_closing_before_the_first_what_has_begun_says_so() -> None:
    one, _ = chain()
    one.put(event(0))
    drain(one)
    assert not one.close(NEVER)


@given(st.permutations([*(event(seq) for seq in range(5)), *(event(seq, branch="b", at=1) for seq in (1, 2, 3))]))
def test_a_closed_chains_line_is_the_one_that_leads_to_its_end(events: list[Opaque]) -> None:
    """Whoever stole the key forks it below the end, by an older branch that goes on: in whatever order they come."""
    one, found = chain()
    one.close(Head(3, "a3"), by_line=True)
    taken = []
    for each in events:
        branch = each if each.id != "b1" else replace(each, link=Link(1, "a0"))
        one.put(
            branch
            if branch.id not in ("b2", "b3")
            else replace(branch, link=Link(each.link.seq, f"b{each.link.seq - 1}"))
        )
        taken += drain(one)
    assert taken == ["a0", "a1", "a2", "a3"]
    assert {each.code for each in found} == {Code.FORK, Code.CLOSED_CHAIN}
    assert {each.key for each in found if each.code is Code.FORK} == {"key"}


def test_a_line_with_a_hole_waits_until_there_is_no_more() -> None:
    one, found = chain()
    one.close(Head(3, "a3"), by_line=True)
    for seq in (0, 1, 3):
        one.put(event(seq))
    assert drain(one) == []
    assert one.obstacle() is None
    one.give_up_line()
    assert drain(one) == ["a0", "a1"]
    skipped = one.skip_to()
    assert skipped is not None
    assert skipped.id == "a3"
    assert [each.code for each in found] == [Code.GAP]
