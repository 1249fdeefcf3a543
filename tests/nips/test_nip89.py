"""NIP-89: handlers and recommendations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, VerifiedEvent
from nips.nip24 import Metadata
from nips.nip89 import (
    InvalidHandler,
    Recommended,
    build_handler,
    build_recommendation,
    parse_handler,
    parse_recommendation,
)

KEY = SecretKey(b"\x01" * 32)
WEB = "https://pool.example/#/"


def event(kind: int, tags: Tags, content: str = "") -> VerifiedEvent:
    return KEY.sign(UnsignedEvent(kind, 7, tags, content))


identifiers = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
templates = st.sampled_from([WEB + "<bech32>", WEB + "a/<bech32>/x"])
urls = st.dictionaries(
    st.tuples(st.sampled_from(["web", "ios", "android"]), st.sampled_from(["", "naddr", "nevent"])), templates
)


@given(identifiers, st.frozensets(st.integers(0, 65535), max_size=20), urls, st.none() | st.just(Metadata(name="pool")))
def test_what_is_built_is_read(
    identifier: str, kinds: frozenset[int], urls: dict[tuple[str, str], str], metadata: Metadata | None
) -> None:
    made = build_handler(identifier=identifier, kinds=kinds, urls=urls, metadata=metadata, created_at=7)
    handler = parse_handler(KEY.sign(made))
    assert (handler.identifier, handler.kinds, handler.urls, handler.metadata) == (identifier, kinds, urls, metadata)


def test_where_an_entity_is_shown() -> None:
    handler = parse_handler(
        event(31990, (("d", "x"), ("k", "4216"), ("web", WEB + "b/<bech32>", "nevent"), ("web", WEB + "any/<bech32>")))
    )
    assert handler.url("nevent1abc") == WEB + "b/nevent1abc"
    assert handler.url("npub1abc") == WEB + "any/npub1abc"
    assert handler.url("npub1abc", platform="ios") is None


def test_what_makes_no_sense_is_passed_over() -> None:
    tags: Tags = (
        ("d", "x"),
        ("k",),
        ("k", "65536"),
        ("k", "007"),
        ("k", "-1"),
        ("k", "1"),
        ("web", WEB),
        ("tv", WEB + "<bech32>"),
        ("web", "x" * 3000 + "<bech32>"),
        *((("k", "2"),) * 500),
        ("k", "3"),
    )
    handler = parse_handler(event(31990, tags, "no json"))
    assert (handler.kinds, handler.urls, handler.metadata) == ({1, 2}, {}, None)


def test_what_is_no_handler() -> None:
    with pytest.raises(InvalidHandler, match="31990"):
        parse_handler(event(31989, (("d", "x"),)))
    with pytest.raises(InvalidHandler, match="d tag"):
        parse_handler(event(31990, ()))
    for urls in ({("web", ""): WEB}, {("tv", ""): WEB + "<bech32>"}):
        with pytest.raises(ValueError, match="bech32"):
            build_handler(identifier="x", kinds=[1], urls=urls, created_at=7)


def test_the_nips_recommendation() -> None:
    author = "1743058db7078661b94aaf4286429d97ee5257d14a86d6bfa54cb0482b876fb0"
    tags: Tags = (("d", "31337"), ("a", f"31990:{author}:abcd", "wss://a.example", "web"), ("a", "31337:x:y"), ("a",))
    kind, handlers = parse_recommendation(event(31989, tags))
    assert kind == 31337
    assert handlers == (Recommended(author, "abcd", "wss://a.example", "web"),)
    assert handlers[0].address == tags[1][1]


@given(
    st.integers(0, 65535),
    st.lists(
        st.builds(
            Recommended,
            st.just(KEY.pubkey),
            identifiers,
            st.sampled_from([None, "wss://a.example"]),
            st.sampled_from([None, "web"]),
        ),
        max_size=3,
    ),
)
def test_what_is_recommended_is_read(kind: int, handlers: list[Recommended]) -> None:
    made = KEY.sign(build_recommendation(kind, handlers, created_at=7))
    assert parse_recommendation(made) == (kind, tuple(handlers))


@pytest.mark.parametrize(
    ("kind", "tags"), [(31990, (("d", "1"),)), (31989, ()), (31989, (("d", "x"),)), (31989, (("d", "65536"),))]
)
def test_what_is_no_recommendation(kind: int, tags: Tags) -> None:
    with pytest.raises(InvalidHandler):
        parse_recommendation(event(kind, tags))
