"""Each key of the pool says whose it is."""

import hashlib

from nips.keys import SecretKey
from noncestr.profiles import pool_profiles

KEY = SecretKey(hashlib.sha256(b"noncestr test key profiles").digest())


def test_profiles_name_the_pool() -> None:
    edge = SecretKey(hashlib.sha256(b"noncestr test key edge").digest())
    events = pool_profiles(KEY, "pool", "regtest", [("edge", edge)], ("ws://a",), 5)
    assert [(event.kind, event.pubkey) for event in events] == [(0, KEY.pubkey), (10002, KEY.pubkey), (0, edge.pubkey)]
    assert events[1].tags == (("r", "ws://a"),)
    assert "nostr:npub1" in events[2].content


def test_the_relay_list_says_where_the_pool_reads() -> None:
    listed = pool_profiles(KEY, "pool", "regtest", [], ("ws://a",), 5, ("wss://b", "ws://a"))[1]
    assert listed.tags == (("r", "ws://a"), ("r", "wss://b", "write"))
