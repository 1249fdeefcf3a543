"""The fan-out index finds what looking at every filter would."""

from hypothesis import given
from hypothesis import strategies as st

from nips.nip01 import Event, Filter, make_filter
from relay_bridge.subscriptions import Subscriptions

FILTER = st.builds(
    make_filter,
    kinds=st.none() | st.lists(st.integers(1, 4), max_size=3),
    authors=st.none() | st.just(["a" * 64]),
)
MOVES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("st"), st.none() | st.lists(FILTER, min_size=1, max_size=3)),
    max_size=20,
)


@given(MOVES, st.integers(1, 5), st.sampled_from(["a" * 64, "b" * 64]))
def test_matching_is_what_a_plain_search_finds(
    moves: list[tuple[int, str, list[Filter] | None]], kind: int, author: str
) -> None:
    index = Subscriptions()
    plain: dict[tuple[int, str], tuple[Filter, ...]] = {}
    for connection, sub_id, filters in moves:
        key = (connection, sub_id)
        if filters is None:
            assert index.remove(key) == (plain.pop(key, None) is not None)
        else:
            index.add(key, tuple(filters))
            plain[key] = tuple(filters)
    event = Event("0" * 64, author, 1, kind, (), "", "0" * 128)
    found = list(index.matching(event))
    assert len(found) == len(set(found))
    assert set(found) == {key for key, filters in plain.items() if any(f.matches(event) for f in filters)}
    assert len(index) == len(plain)
    for key in list(plain):
        index.remove(key)
    assert (index._by_kind, index._any_kind) == ({}, {})
