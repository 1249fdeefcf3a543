"""NIP-38: statuses we set and others'."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, VerifiedEvent
from nips.nip38 import MAX_TEXT, InvalidStatus, Status, build_status, parse_status

KEY = SecretKey(b"\x01" * 32)


def event(tags: Tags, text: str = "x", kind: int = 30315) -> VerifiedEvent:
    return KEY.sign(UnsignedEvent(kind, 7, tags, text))


def test_the_nips_examples() -> None:
    general = parse_status(event((("d", "general"), ("r", "https://nostr.world")), "Sign up for nostrasia!"))
    assert general == Status("Sign up for nostrasia!", "general", "https://nostr.world", None)
    track = "spotify:search:Intergalatic%20-%20Beastie%20Boys"
    music = parse_status(event((("d", "music"), ("r", track), ("expiration", "1692845589")), "Intergalatic"))
    assert music == Status("Intergalatic", "music", track, 1692845589)
    assert music.is_shown(1692845588)
    assert not music.is_shown(1692845589)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_TEXT),
    st.none() | st.just("https://pool.example"),
    st.none() | st.integers(0, 10**10),
)
def test_what_is_built_is_read(text: str, url: str | None, expires_at: int | None) -> None:
    made = KEY.sign(build_status(text, created_at=7, url=url, expires_at=expires_at))
    assert parse_status(made) == Status(text, "general", url, expires_at)


def test_an_empty_status_clears() -> None:
    assert not parse_status(KEY.sign(build_status("", created_at=7))).is_shown(8)


def test_long_texts() -> None:
    assert parse_status(event((("d", "general"), ("r", "x" * 3000)), "x" * 999)) == Status(
        "x" * 280, "general", None, None
    )
    with pytest.raises(ValueError, match="280"):
        build_status("x" * 281, created_at=7)


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ((("d", "general"),), 1),
        ((), 30315),
        ((("d",),), 30315),
        ((("d", ""),), 30315),
        ((("d", "x" * 65),), 30315),
        ((("d", "general"), ("expiration", "soon")), 30315),
        ((("d", "general"), ("expiration", "-1")), 30315),
        ((("d", "general"), ("expiration", "1" * 12)), 30315),
    ],
)
def test_what_is_no_status(tags: Tags, kind: int) -> None:
    with pytest.raises(InvalidStatus):
        parse_status(event(tags, kind=kind))
