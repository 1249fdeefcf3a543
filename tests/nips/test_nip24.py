"""Profiles, ours and others'."""

import json

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.nip24 import InvalidMetadata, Metadata, build_metadata, parse_metadata, parse_metadata_text

KEY = SecretKey(b"\x01" * 32)
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
profiles = st.builds(
    Metadata,
    **{name: texts for name in Metadata.__struct_fields__ if name != "bot"},
    bot=st.none() | st.booleans(),
)


@given(profiles)
def test_what_is_built_is_read(profile: Metadata) -> None:
    event = KEY.sign(build_metadata(profile, created_at=7))
    assert (event.kind, event.created_at, event.tags) == (0, 7, ())
    assert parse_metadata(event) == profile


def test_what_is_not_said_is_left_out() -> None:
    assert Metadata().to_text() == "{}"
    assert json.loads(Metadata(name="pool", bot=True).to_text()) == {"name": "pool", "bot": True}
    assert json.loads(Metadata(bot=False).to_text()) == {"bot": False}


def test_nostr_sdk_reads_the_same() -> None:
    theirs = nostr_sdk.Metadata.from_json(
        Metadata(name="pool", about="a\nb", lud16="a@b.example").to_text()
    ).as_record()
    assert (theirs.name, theirs.about, theirs.lud16, theirs.website) == ("pool", "a\nb", "a@b.example", None)


def test_fields_of_the_wrong_type_count_as_not_said() -> None:
    text = '{"name": 5, "about": null, "picture": ["x"], "bot": "yes", "lud16": "a@b.example", "unknown": {}}'
    assert parse_metadata_text(text) == Metadata(lud16="a@b.example")


@pytest.mark.parametrize("text", ["", "x", "[]", "null", '"name"', "[" * 2000, '{"about":"' + "x" * 32_768 + '"}'])
def test_what_is_no_profile(text: str) -> None:
    with pytest.raises(InvalidMetadata):
        parse_metadata_text(text)


def test_another_kind_is_no_profile() -> None:
    with pytest.raises(InvalidMetadata, match="not 1"):
        parse_metadata(KEY.sign(UnsignedEvent(1, 7, (), "{}")))
