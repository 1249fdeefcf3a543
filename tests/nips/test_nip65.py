"""NIP-65: relay lists we write, others' lists we read, and URLs of relays."""

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, VerifiedEvent, encode_event
from nips.nip65 import (
    BOTH,
    MAX_RELAYS,
    MAX_TAGS,
    MAX_URL,
    InvalidRelayList,
    InvalidRelayUrl,
    Use,
    build_relay_list,
    normal_relay_url,
    parse_relay_list,
)

KEY = SecretKey(b"\x07" * 32)


def listed(*tags: tuple[str, ...], kind: int = 10002) -> VerifiedEvent:
    return KEY.sign(UnsignedEvent(kind, 1, tuple(tags), ""))


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("wss://relay.example", "wss://relay.example"),
        (" WSS://Relay.EXAMPLE:443/ ", "wss://relay.example"),
        ("ws://relay.example:80", "ws://relay.example"),
        ("ws://relay.example:443", "ws://relay.example:443"),
        ("wss://relay.example:7777/", "wss://relay.example:7777"),
        ("wss://relay.example/Inbox/", "wss://relay.example/Inbox/"),
        ("wss://relay.example/a?b=C", "wss://relay.example/a?b=C"),
        ("wss://relay.example/?b", "wss://relay.example?b"),
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080"),
        ("ws://[::1]:8080/", "ws://[::1]:8080"),
        ("ws://[2001:DB8::1]", "ws://[2001:db8::1]"),
        ("ws://my_relay.onion/", "ws://my_relay.onion"),
        ("ws://localhost", "ws://localhost"),
        ("wss://relay.example/%7Bx%7D", "wss://relay.example/%7Bx%7D"),
    ],
)
def test_urls_have_one_form(text: str, normal: str) -> None:
    assert normal_relay_url(text) == normal
    assert normal_relay_url(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "relay.example",
        "https://relay.example",
        "wss:relay.example",
        "wss://",
        "wss:///path",
        "wss://user@relay.example",
        "wss://user:word@relay.example",
        "wss://relay.example#x",
        "wss://relay.example\\@other",
        "wss://relay .example",
        "wss://relay.example/\x00",
        "wss://relay.example/a\nb",
        "wss://rélay.example",
        "wss://relay..example",
        "wss://-relay.example",
        "wss://relay.example:0",
        "wss://relay.example:65536",
        "wss://relay.example:x",
        "wss://[::1",
        "wss://[fe80::1%25eth0]",
        "wss://relay.example,wss://other.example",
        "wss://%72elay.example",
        "wss://r/" + "x" * MAX_URL,
    ],
)
def test_what_is_no_relays_url(text: str) -> None:
    with pytest.raises(InvalidRelayUrl):
        normal_relay_url(text)


@given(st.text(max_size=300) | st.text("wss://:.@[]ab1/?#%", max_size=30).map(lambda end: "wss://" + end))
def test_a_normal_url_is_normal(text: str) -> None:
    try:
        normal = normal_relay_url(text)
    except InvalidRelayUrl:
        return
    assert normal_relay_url(normal) == normal


def test_a_list_is_read_as_the_nip_shows_it() -> None:
    found = parse_relay_list(
        listed(
            ("r", "wss://alicerelay.example.com"),
            ("r", "wss://brando-relay.com"),
            ("r", "wss://expensive-relay.example2.com", "write"),
            ("r", "wss://nostr-relay.example.com", "read"),
        )
    )
    assert found.read == ("wss://alicerelay.example.com", "wss://brando-relay.com", "wss://nostr-relay.example.com")
    assert found.write == (
        "wss://alicerelay.example.com",
        "wss://brando-relay.com",
        "wss://expensive-relay.example2.com",
    )


def test_what_makes_no_sense_is_passed_over() -> None:
    found = parse_relay_list(
        listed(
            ("r",),
            ("r", "http://a.example"),
            ("x", "wss://a.example"),
            ("r", "wss://a.example", "archive"),
            ("r", "wss://b.example", ""),
            ("r", "wss://C.example/", "READ"),
            ("r", "wss://c.example:443", "write", "more"),
            ("r", "wss://d.example", "read"),
        )
    )
    assert found.relays == (("wss://b.example", BOTH), ("wss://c.example", BOTH), ("wss://d.example", Use.READ))


def test_a_huge_list_is_cut() -> None:
    many: Tags = tuple(("r", f"wss://r{n}.example") for n in range(1500))
    assert parse_relay_list(listed(*many)).read == tuple(url for _, url in many[:MAX_RELAYS])
    late = (*((("r", "x"),) * MAX_TAGS), ("r", "wss://late.example"))
    assert parse_relay_list(listed(*late)).relays == ()


def test_another_kind_is_no_relay_list() -> None:
    with pytest.raises(InvalidRelayList, match="10050"):
        parse_relay_list(listed(("r", "wss://a.example"), kind=10050))


hosts = st.from_regex(r"[a-z][a-z0-9]{0,9}\.example(:[1-9][0-9]{0,3})?(/[a-z]{1,5})?", fullmatch=True)
uses = st.sampled_from([Use.READ, Use.WRITE, BOTH])


@given(
    st.dictionaries(hosts.map(lambda host: normal_relay_url("wss://" + host)), uses, min_size=1, max_size=MAX_RELAYS)
)
def test_what_is_built_is_read(relays: dict[str, Use]) -> None:
    event = KEY.sign(build_relay_list(relays.items(), created_at=5))
    assert (event.kind, event.created_at, event.content) == (10002, 5, "")
    assert parse_relay_list(event).relays == tuple(relays.items())


def test_a_relay_is_built_once() -> None:
    built = build_relay_list([("wss://a.example", Use.READ), ("wss://A.example/", Use.WRITE)], created_at=5)
    assert built.tags == (("r", "wss://a.example"),)


def test_what_is_not_built() -> None:
    with pytest.raises(ValueError, match="1 to 16"):
        build_relay_list([], created_at=5)
    with pytest.raises(ValueError, match="not 17"):
        build_relay_list([(f"wss://r{n}.example", BOTH) for n in range(17)], created_at=5)
    with pytest.raises(ValueError, match="reading"):
        build_relay_list([("wss://a.example", Use(0))], created_at=5)
    with pytest.raises(InvalidRelayUrl):
        build_relay_list([("a.example", BOTH)], created_at=5)


def test_nostr_sdk_reads_the_same() -> None:
    event = KEY.sign(
        build_relay_list(
            [("wss://a.example", BOTH), ("wss://b.example", Use.READ), ("wss://c.example", Use.WRITE)], created_at=5
        )
    )
    theirs = nostr_sdk.extract_relay_list(nostr_sdk.Event.from_json(encode_event(event).decode()))
    assert {str(url).rstrip("/"): None if marker is None else marker.name for url, marker in theirs.items()} == {
        "wss://a.example": None,
        "wss://b.example": "READ",
        "wss://c.example": "WRITE",
    }
