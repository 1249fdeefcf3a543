"""NIP-98: the NIP's header, ours, and headers for something else."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, VerifiedEvent, encode_event
from nips.nip98 import InvalidHttpAuth, authorization, build_http_auth, check_http_auth

KEY = SecretKey(b"\x01" * 32)
NOW = 1_800_000_000
URL = "https://pool.example/api/v1/settings?npub=x"
# The NIP's own example.
THE_NIPS = (
    "Nostr eyJpZCI6ImZlOTY0ZTc1ODkwMzM2MGYyOGQ4NDI0ZDA5MmRhODQ5NGVkMjA3Y2JhODIzMTEwYmUzYTU3ZGZlNGI1Nzg3MzQiLCJwdWJrZXki"
    "OiI2M2ZlNjMxOGRjNTg1ODNjZmUxNjgxMGY4NmRkMDllMThiZmQ3NmFhYmMyNGEwMDgxY2UyODU2ZjMzMDUwNGVkIiwiY29udGVudCI6IiIsImtpbm"
    "QiOjI3MjM1LCJjcmVhdGVkX2F0IjoxNjgyMzI3ODUyLCJ0YWdzIjpbWyJ1IiwiaHR0cHM6Ly9hcGkuc25vcnQuc29jaWFsL2FwaS92MS9uNXNwL2xp"
    "c3QiXSxbIm1ldGhvZCIsIkdFVCJdXSwic2lnIjoiNWVkOWQ4ZWM5NThiYzg1NGY5OTdiZGMyNGFjMzM3ZDAwNWFmMzcyMzI0NzQ3ZWZlNGEwMGUyNG"
    "Y0YzMwNDM3ZmY0ZGQ4MzA4Njg0YmVkNDY3ZDlkNmJlM2U1YTUxN2JiNDNiMTczMmNjN2QzMzk0OWEzYWFmODY3MDVjMjIxODQifQ"
)


def header(tags: Tags, *, kind: int = 27235, at: int = NOW) -> str:
    return authorization(KEY.sign(UnsignedEvent(kind, at, tags, "")))


def check(text: str, **changes: Any) -> str:
    return check_http_auth(text, **{"url": URL, "method": "POST", "now_s": NOW, **changes})


@pytest.mark.parametrize("padding", ["", "=="])
def test_the_nips_header(padding: str) -> None:
    """It is read, without its padding too; its id is not its hash, so it proves nothing."""
    with pytest.raises(InvalidHttpAuth, match="hash"):
        check(THE_NIPS + padding, url="https://api.snort.social/api/v1/n5sp/list", method="GET", now_s=1682327852)


@given(st.binary(max_size=50), st.sampled_from(["GET", "post", "DELETE"]), st.integers(-60, 60))
def test_who_asks_is_known(body: bytes, method: str, off: int) -> None:
    made = authorization(KEY.sign(build_http_auth(URL, method, created_at=NOW + off, body=body)))
    assert check(made, method=method.lower(), body=body) == KEY.pubkey
    assert check(made.replace("Nostr ", "nostr  ", 1), method=method, body=body) == KEY.pubkey


GOOD: Tags = (("u", URL), ("method", "POST"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "starts with Nostr"),
        ("Basic eDp5", "starts with Nostr"),
        ("Nostr " + "x" * 9000, "8192"),
        ("Nostr ", "not JSON"),
        ("Nostr é", "base64"),
        ("Nostr a b", "base64"),
        ("Nostr e30=", "no id"),
        (header(GOOD, kind=1), "kind 27235"),
        (header(GOOD, at=NOW - 61), "60 seconds"),
        (header(GOOD, at=NOW + 61), "60 seconds"),
        (header((("u", URL + "&a=b"), GOOD[1])), "another URL"),
        (header(GOOD[1:]), "another URL"),
        (header((*GOOD, GOOD[0])), "another URL"),
        (header((GOOD[0], ("method", "GET"))), "another method"),
        (header(GOOD[:1]), "another method"),
    ],
)
def test_a_header_for_something_else_is_refused(text: str, word: str) -> None:
    with pytest.raises(InvalidHttpAuth, match=word):
        check(text)


def test_a_body_is_bound() -> None:
    made = header((*GOOD, ("payload", "ab" * 32)))
    assert check(made) == KEY.pubkey
    for text in (made, header(GOOD), header((*GOOD, ("payload", "é")))):
        with pytest.raises(InvalidHttpAuth, match="another body"):
            check(text, body=b"x")


def test_a_changed_event_is_refused() -> None:
    event: VerifiedEvent = KEY.sign(build_http_auth(URL, "POST", created_at=NOW))
    changed = encode_event(event).decode().replace("settings", "payments").encode()
    with pytest.raises(InvalidHttpAuth, match="hash"):
        check("Nostr " + base64.b64encode(changed).decode(), url=URL.replace("settings", "payments"))
