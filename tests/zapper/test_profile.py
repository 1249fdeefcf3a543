"""Where a miner wants its money, whatever else stands in its profile."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from nips.errors import NipError
from nips.keys import SecretKey
from nips.lnurl import encode_lnurl
from nips.nip01 import UnsignedEvent, VerifiedEvent
from zapper.errors import PaymentBlocked
from zapper.profile import destination_of, newest_profile

NOW = 1_800_000_000
KEY, OTHER = SecretKey(b"\x01" * 32), SecretKey(b"\x02" * 32)


def profile(content: Any, *, at: int = NOW, key: SecretKey = KEY, kind: int = 0) -> VerifiedEvent:
    return key.sign(UnsignedEvent(kind, at, (), content if isinstance(content, str) else json.dumps(content)))


def test_the_newest_of_the_miners_own_profiles_counts() -> None:
    old, new = profile({"lud16": "old@x.example"}, at=NOW - 10), profile({"lud16": "new@x.example"}, at=NOW - 5)
    events = [
        new,
        old,
        profile({"lud16": "thief@x.example"}, key=OTHER),
        profile({"lud16": "future@x.example"}, at=NOW + 901),
        profile({"lud16": "note@x.example"}, kind=1),
    ]
    assert newest_profile(events, KEY.pubkey, now_s=NOW) == new
    assert newest_profile(reversed(events), KEY.pubkey, now_s=NOW) == new
    assert newest_profile([], KEY.pubkey, now_s=NOW) is None


def test_of_two_in_one_second_the_lower_id_counts() -> None:
    pair = [profile({"lud16": f"{name}@x.example"}) for name in "ab"]
    lower = min(pair, key=lambda event: event.id)
    assert newest_profile(pair, KEY.pubkey, now_s=NOW) == newest_profile(pair[::-1], KEY.pubkey, now_s=NOW) == lower


def test_lud16_goes_before_lud06() -> None:
    lnurl = encode_lnurl("https://y.example/pay")
    event = profile({"lud16": " alice@x.example", "lud06": lnurl})
    found = destination_of(event)
    assert (found.to, found.text, found.url) == (
        event.id,
        "alice@x.example",
        "https://x.example/.well-known/lnurlp/alice",
    )
    assert destination_of(profile({"lud16": "", "lud06": lnurl})).url == "https://y.example/pay"
    assert destination_of(profile({"lud16": None, "lud06": lnurl.upper()})).url == "https://y.example/pay"


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        lambda: profile("[]"),
        lambda: profile("{"),
        lambda: profile("[" * 50_000),
        lambda: profile(" " * 70_000 + "{}"),
        lambda: profile({"lud16": 5}),
        lambda: profile({"lud16": "nobody"}),
        lambda: profile({"lud06": "nothing"}),
    ],
)
def test_without_a_destination_the_reason_is_told(make: Callable[[], VerifiedEvent | None]) -> None:
    with pytest.raises((PaymentBlocked, NipError), match=r"\w"):
        destination_of(make())
