"""Events as the store keeps them: whatever the size, the very same event comes back, and damage is told."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.kept_events import DEFLATE_FROM, pack_event, unpack_event, unpack_raw
from nips.nip01 import Event, VerifiedEvent, encode_event

NAMES = st.text(max_size=20)


def event_of(content: str, tags: tuple[tuple[str, ...], ...] = ()) -> Event:
    return Event("aa" * 32, "bb" * 32, 5, 4212, tags, content, "cc" * 64)


@given(
    content=st.one_of(st.text(max_size=200), st.integers(0, 3 * DEFLATE_FROM).map(lambda size: "x" * size)),
    tags=st.lists(st.lists(NAMES, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple),
)
def test_what_is_packed_comes_back(content: str, tags: tuple[tuple[str, ...], ...]) -> None:
    event = event_of(content, tags)
    kept = pack_event(event)
    assert unpack_raw(kept) == encode_event(event)
    found = unpack_event(kept)
    assert isinstance(found, VerifiedEvent)
    assert encode_event(found) == encode_event(event)
    assert len(kept) <= len(encode_event(event))


def test_short_ones_can_be_read_with_sql_and_long_ones_take_less() -> None:
    short, long = event_of("short"), event_of("0123456789" * DEFLATE_FROM)
    assert pack_event(short) == encode_event(short)
    assert len(pack_event(long)) < len(encode_event(long)) // 10


def test_damage_is_told() -> None:
    kept = pack_event(event_of("0123456789" * DEFLATE_FROM))
    for damaged in (kept[:-1], kept[:1] + b"\x00" + kept[2:], kept[:-4] + bytes(4), b"z"):
        with pytest.raises(ValueError, match="damaged"):
            unpack_event(damaged)
    # What archives alone have is no event.
    with pytest.raises(msgspec.DecodeError):
        unpack_event(b"")
