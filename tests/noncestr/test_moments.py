"""What people type for times, relays and pools."""

import hashlib
from datetime import UTC, datetime

import pytest

from nips.keys import SecretKey
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from noncestr.errors import NoncestrError
from noncestr.moments import parse_moment, parse_pool, parse_relays

POOL = SecretKey(hashlib.sha256(b"noncestr test key moments").digest())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", 1_000_000 - 5400),
        ("36h", 1_000_000 - 129_600),
        ("7d", 1_000_000 - 604_800),
        ("2026-01-31", int(datetime(2026, 1, 31, tzinfo=UTC).timestamp())),
        ("2026-01-31T12:00:00+01:00", int(datetime(2026, 1, 31, 11, tzinfo=UTC).timestamp())),
    ],
)
def test_since_reads_dates_and_spans(text: str, seconds: int) -> None:
    assert parse_moment("--since", text, 1_000_000) == seconds


@pytest.mark.parametrize("text", ["yesterday", "", "h", "7w", "2026-13-01"])
def test_since_says_what_it_reads(text: str) -> None:
    with pytest.raises(NoncestrError, match="write a date"):
        parse_moment("--since", text, 0)


def test_what_people_type():
    now = 1_767_225_600
    assert parse_moment("--from", "2026-01-01", 0) == parse_moment("--from", "2026-01-01T01:00+01:00", 0) == now
    assert parse_moment("--from", "90m", now) == now - 5400
    assert parse_moment("--from", "1700000000", now) == 1_700_000_000
    for wrong in ("", "m", "-1d", "yesterday"):
        with pytest.raises(NoncestrError):
            parse_moment("--from", wrong, now)
    assert parse_relays(" ws://a , wss://b,") == ["ws://a", "wss://b"]
    with pytest.raises(NoncestrError):
        parse_relays("http://a")
    assert parse_pool(encode_npub(POOL.pubkey), "regtest") == PoolAddress(POOL.pubkey, "regtest")
    for pool, network in (("x", "main"), (POOL.pubkey, "testnet3")):
        with pytest.raises(NoncestrError):
            parse_pool(pool, network)
