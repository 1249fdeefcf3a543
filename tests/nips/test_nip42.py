"""NIP-42: the answer to a challenge holds only for this relay, this challenge and ten minutes."""

import pytest

from nips.errors import InvalidEvent
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.nip42 import KIND_CLIENT_AUTH, MAX_AGE_S, check_client_auth, client_auth

KEY = SecretKey(b"\x07" * 32)
HOSTS = frozenset({"relay.example.com"})
NOW = 1_700_000_000


def check(unsigned: UnsignedEvent, now_s: int = NOW) -> str:
    return check_client_auth(KEY.sign(unsigned), challenge="c", hosts=HOSTS, now_s=now_s)


@pytest.mark.parametrize("url", ["wss://relay.example.com", "wss://Relay.Example.com:443/", "ws://relay.example.com/x"])
def test_a_good_answer_proves_the_key(url: str) -> None:
    assert check(client_auth(url, "c", NOW)) == KEY.pubkey


@pytest.mark.parametrize("drift", [-MAX_AGE_S, MAX_AGE_S])
def test_time_within_ten_minutes(drift: int) -> None:
    good = client_auth("wss://relay.example.com", "c", NOW)
    assert check(good, NOW + drift) == KEY.pubkey
    with pytest.raises(InvalidEvent, match="created_at"):
        check(good, NOW + drift + (1 if drift > 0 else -1))


@pytest.mark.parametrize(
    ("unsigned", "reason"),
    [
        (client_auth("wss://relay.example.com", "d", NOW), "challenge"),
        (client_auth("wss://relay.example.com.evil.org", "c", NOW), "another relay"),
        (client_auth("wss://[broken", "c", NOW), "another relay"),
        (client_auth("", "c", NOW), "another relay"),
        (UnsignedEvent(1, NOW, client_auth("wss://relay.example.com", "c", NOW).tags, ""), "kind"),
        (UnsignedEvent(KIND_CLIENT_AUTH, NOW, (), ""), "challenge"),
    ],
)
def test_anything_else_proves_nothing(unsigned: UnsignedEvent, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        check(unsigned)
