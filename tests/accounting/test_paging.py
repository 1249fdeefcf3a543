"""Pages stay where they are whatever comes in meanwhile."""

from hypothesis import given
from hypothesis import strategies as st

from accounting.paging import Newest, Place, cut

PLACES = st.builds(Place, st.integers(0, 20), st.text("0123456789abcdef", min_size=2, max_size=2))


@given(st.lists(PLACES, unique=True), st.lists(PLACES, unique=True), st.integers(1, 5))
def test_every_entry_of_the_start_comes_once_and_in_order(first: list[Place], later: list[Place], limit: int) -> None:
    newest = Newest[Place](lambda place: place)
    source = {str(place): place for place in first}
    seen: list[Place] = []
    page = newest.page(source, None, limit)
    seen += page.items
    while page.next is not None:
        # Something comes in between any two pages.
        if later:
            source.setdefault(str(later[0]), later[0])
            later = later[1:]
        page = newest.page(source, page.next, limit)
        assert len(page.items) <= limit
        seen += page.items
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen))
    assert set(first) <= set(seen)


@given(st.lists(PLACES, unique=True), st.one_of(st.none(), PLACES), st.integers(1, 5))
def test_a_short_list_is_cut_the_same(places: list[Place], before: Place | None, limit: int) -> None:
    kept = Newest[Place](lambda place: place).page({str(place): place for place in places}, before, limit)
    short = cut([(place, place) for place in places], before, limit)
    assert short.items == kept.items
    assert (short.next is None) == (kept.next is None or len(short.items) < limit or kept.next == min(places))


def test_another_or_a_shorter_source_begins_anew() -> None:
    newest = Newest[Place](lambda place: place)
    source = {"a": Place(1, "aa"), "b": Place(2, "bb")}
    assert newest.page(source, None, 5).items == [Place(2, "bb"), Place(1, "aa")]
    assert newest.page({"c": Place(3, "cc")}, None, 5).items == [Place(3, "cc")]
    assert newest.page({}, None, 5).items == []
