"""Paging: whatever a relay's cap and however events crowd into seconds, everything arrives once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.nip01 import Event, Filter, make_filter
from relay_bridge.paging import CROWD, TIE_LIMIT, Pager, by_kind


def event(number: int, at: int, kind: int = 1) -> Event:
    return Event(f"{number:064x}", "a" * 64, at, kind, (), "", "b" * 128)


def relay(stored: list[Event], asked: Filter, cap: int) -> list[Event]:
    """A NIP-01 relay that gives at most `cap`: newest first, ties lowest id first."""
    found = sorted((e for e in stored if asked.matches(e)), key=lambda e: (-e.created_at, e.id))
    return found[: min(cap, asked.limit if asked.limit is not None else cap)]


def fetch_all(stored: list[Event], asked: Filter, *, cap: int, page_limit: int) -> tuple[list[Event], int, Pager]:
    pager = Pager(asked, page_limit=page_limit)
    got: list[Event] = []
    pages = 0
    while (page := pager.next_filter()) is not None:
        got += pager.take(relay(stored, page, cap))
        pages += 1
        assert pages < 500
    return got, pages, pager


@given(
    seconds=st.lists(st.integers(0, 30), max_size=60),
    page_limit=st.integers(1, 12),
    since=st.none() | st.integers(0, 30),
    until=st.none() | st.integers(0, 30),
)
def test_everything_arrives_once(seconds: list[int], page_limit: int, since: int | None, until: int | None) -> None:
    """A relay that gives a whole second when asked for it alone: nothing is lost, nothing comes twice."""
    stored = [event(number, at) for number, at in enumerate(seconds)]
    asked = make_filter(since=since, until=until)
    if page_limit == 1 and len(set(seconds)) < len(seconds):
        # Pages of one cannot show that a second holds more: no pager of ours asks so.
        page_limit = 2
    got, _, pager = fetch_all(stored, asked, cap=TIE_LIMIT, page_limit=page_limit)
    assert sorted(e.id for e in got) == sorted(e.id for e in stored if asked.matches(e))
    assert pager.crowded == []


@given(seconds=st.lists(st.integers(0, 500), max_size=60, unique=True), cap=st.integers(2, 20))
def test_a_relay_with_a_lower_cap_than_the_page(seconds: list[int], cap: int) -> None:
    stored = [event(number, at) for number, at in enumerate(seconds)]
    got, _, _ = fetch_all(stored, make_filter(), cap=cap, page_limit=500)
    assert sorted(e.id for e in got) == sorted(e.id for e in stored)


@pytest.mark.parametrize("limit", [0, 1, 3, 4, 7, 100])
def test_a_limit_bounds_the_whole(limit: int) -> None:
    stored = [event(number, number // 2) for number in range(10)]
    got, _, _ = fetch_all(stored, make_filter(limit=limit), cap=500, page_limit=4)
    assert len(got) == min(limit, 10)
    assert {e.created_at for e in got} == {e.created_at for e in relay(stored, make_filter(), limit)}


def test_few_questions_where_little_is_stored() -> None:
    assert fetch_all([], make_filter(), cap=500, page_limit=500)[1] == 1
    assert fetch_all([event(1, 5)], make_filter(), cap=500, page_limit=500)[1] == 2
    assert fetch_all([event(n, n) for n in range(300)], make_filter(), cap=500, page_limit=500)[1] == 2


def test_a_second_too_full_for_the_relay_is_named() -> None:
    stored = [event(number, 7) for number in range(TIE_LIMIT + 5)] + [event(99_999, 3)]
    got, _, pager = fetch_all(stored, make_filter(), cap=TIE_LIMIT, page_limit=500)
    assert pager.crowded == [7]
    assert len(got) == TIE_LIMIT + 1


@pytest.mark.parametrize("cap", [CROWD, 100, 499])
def test_a_second_beyond_a_relays_own_cap_is_told_and_asked_for_by_kind(cap: int) -> None:
    """A flood of one kind in the second of an event of another kind hides it from every page; not from its own."""
    flood = [event(number, 7, 4217) for number in range(600)]
    hidden, older = event(10_000, 7, 4212), event(10_001, 3, 4212)
    stored, asked = [*flood, hidden, older], make_filter(kinds=[4212, 4217])
    got, _, pager = fetch_all(stored, asked, cap=cap, page_limit=500)
    assert hidden not in got
    assert older in got
    assert pager.crowded == [7]
    questions = by_kind(asked, 7)
    assert [question.kinds for question in questions] == [frozenset({4212}), frozenset({4217})]
    assert [relay(stored, question, cap)[0] for question in questions] == [hidden, flood[0]]


def test_few_events_of_one_second_are_all_there_are() -> None:
    stored = [event(number, 7) for number in range(CROWD - 1)]
    got, _, pager = fetch_all(stored, make_filter(kinds=[1, 2]), cap=500, page_limit=500)
    assert (len(got), pager.crowded) == (CROWD - 1, [])


@pytest.mark.parametrize("kinds", [None, [4212]])
def test_a_question_of_one_kind_is_not_divided(kinds: list[int] | None) -> None:
    assert by_kind(make_filter(kinds=kinds), 7) == []
