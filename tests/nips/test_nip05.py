"""NIP-05: what is an identifier, where it is asked for, and which documents name a key."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.nip05 import MAX_DOCUMENT, Identifier, InvalidIdentifier, parse_identifier, pubkey_of

# NIP-05's own example.
BOB = "b0635d6a9851d3aed0cd6c495b282167acf761729078d975fc341b22650b07b9"


def document(**names: object) -> bytes:
    return json.dumps({"names": names}).encode()


def test_the_example_of_the_nip():
    bob = parse_identifier("bob@example.com")
    assert bob.url == "https://example.com/.well-known/nostr.json?name=bob"
    assert pubkey_of(document(bob=BOB), bob) == BOB
    with_relays = {"names": {"bob": BOB}, "relays": {BOB: ["wss://relay.example.com"]}}
    assert pubkey_of(json.dumps(with_relays).encode(), bob) == BOB


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("Bob@Example.COM", "bob@example.com"),
        (" a-b_c.9@sub.example.co.uk ", "a-b_c.9@sub.example.co.uk"),
        ("_@bob.com", "_@bob.com"),
        ("bob.com", "_@bob.com"),
        ("x@xn--bcher-kva.example", "x@xn--bcher-kva.example"),
        ("a@1.2.3.4.example", "a@1.2.3.4.example"),
    ],
)
def test_identifiers(text, means):
    assert str(parse_identifier(text)) == means


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "bob@", "@example.com", "bob@localhost", "bob@127.0.0.1", "bob@[::1]", "a b@example.com"),
        *("bob@example.com:8080", "bob@example.com/x", "bob@example.com?x", "bob@-a.com", "bob@a-.com", "bob@a..com"),
        *("bob@.com", "bob@com.", "a+b@example.com", "a@b@c.d", "é@example.com", "bob@bücher.example"),
        *("bob@" + "a" * 64 + ".com", "bob@" + "a." * 130 + "com", "x" * 65 + "@a.com", "bob@exa_mple.com"),
        *("bob@example.123", "bob\n@example.com", "bob@example.com\n.evil.com"),
    ],
)
def test_what_is_none(text):
    with pytest.raises(InvalidIdentifier):
        parse_identifier(text)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "JSON"),
        (b"<html>", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 30_000, "JSON"),
        (b"[]", "no names"),
        (b"{}", "no names"),
        (b'{"names":[]}', "no names"),
        (document(alice=BOB), "knows no bob"),
        (document(bob=None), "knows no bob"),
        (document(bob=5), "public key in hex"),
        (document(bob=BOB.upper()), "public key in hex"),
        (document(bob=BOB[:-1]), "public key in hex"),
        (document(bob="f" * 64), "public key in hex"),
        (document(bob="npub1kp346654j8f6a5xddj2ft2ppv7k0wctjjpudja0uxsdjyegtq7usa6ed6e"), "public key in hex"),
        (f'{{"names":{{"bob":"{BOB}","bob":"{"11" * 32}"}}}}'.encode(), "twice"),
        (document(bob=BOB) + b" " * MAX_DOCUMENT, "bytes"),
    ],
)
def test_documents_that_name_no_key(body, says):
    with pytest.raises(InvalidIdentifier, match=says):
        pubkey_of(body, Identifier("bob", "example.com"))


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9._@:/?#-]{0,30}", fullmatch=True))
def test_what_is_taken_is_a_plain_url(text):
    """Invariant: an identifier that is taken is stable, and nothing in it can change what the URL asks for."""
    try:
        found = parse_identifier(text)
    except InvalidIdentifier:
        return
    assert parse_identifier(str(found)) == found
    assert found.url.isascii()
    assert found.url.count("/") == 4
    assert set(found.url.split("//")[1]) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-/?=")


@given(st.binary(max_size=300))
def test_no_document_breaks_the_reader(body):
    with pytest.raises(InvalidIdentifier):
        pubkey_of(body, Identifier("bob", "example.com"))
