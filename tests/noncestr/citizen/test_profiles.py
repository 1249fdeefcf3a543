"""Each key of the pool says whose it is, and where it is found."""

import hashlib
import json
from collections.abc import Sequence

from nips.keys import AsyncSigner, AtHand, SecretKey
from nips.nip01 import VerifiedEvent
from nips.nip19 import encode_npub
from nips.nip89 import parse_handler
from nips.pool.address import PoolAddress
from noncestr.citizen.presence import Presence
from noncestr.citizen.profiles import pool_profiles, profile


def key(name: str) -> SecretKey:
    return SecretKey(hashlib.sha256(f"noncestr test key {name}".encode()).digest())


POOL, EDGE = key("profiles"), key("edge")


def presence(**changes: object) -> Presence:
    fields = {
        "name": "Example", "about": "", "pool": PoolAddress(POOL.pubkey, "regtest"), "domain": "",
        "web": "http://127.0.0.1:8080", "stratum": "stratum+tcp://127.0.0.1:3333", "relays": ("ws://a",), "social": (),
        "keys": (("edge", EDGE.pubkey),),
    }  # fmt: skip
    return Presence(**{**fields, **changes})  # type: ignore[arg-type] # fields by name


def signed(
    found: Presence, delegates: Sequence[tuple[str, AsyncSigner]] = (("edge", AtHand(EDGE)),)
) -> list[VerifiedEvent]:
    profiles = pool_profiles(found, AtHand(POOL), delegates, 5)
    return [{POOL.pubkey: POOL, EDGE.pubkey: EDGE}[signer.pubkey].sign(unsigned) for signer, unsigned in profiles]


def test_profiles_name_the_pool() -> None:
    events = signed(presence())
    assert [(event.kind, event.pubkey == POOL.pubkey) for event in events] == [
        (0, True), (10002, True), (10050, True), (31990, True), (0, False), (10002, False),
    ]  # fmt: skip
    assert events[1].tags == (("r", "ws://a"),)
    assert events[2].tags == (("relay", "ws://a"),)
    edge = json.loads(events[4].content)
    assert edge["name"] == "Example edge"
    assert f"nostr:{encode_npub(POOL.pubkey)}" in edge["about"]
    assert edge["bot"] is True
    assert events[4].tags == (("p", POOL.pubkey), ("a", f"34210:{POOL.pubkey}:regtest"))
    assert not {"nip05", "website", "lud16", "picture"} & {*edge, *json.loads(events[0].content)}


def test_a_domain_gives_names_and_a_website() -> None:
    events = signed(presence(domain="pool.example", web="https://pool.example"))
    pool, edge = json.loads(events[0].content), json.loads(events[4].content)
    assert (pool["nip05"], pool["website"]) == ("_@pool.example", "https://pool.example")
    assert edge["nip05"] == "edge@pool.example"


def test_the_operator_may_say_what_the_pool_is() -> None:
    assert json.loads(signed(presence(about="ours"), ())[0].content)["about"] == "ours"
    assert "coins for play" in json.loads(signed(presence(), ())[0].content)["about"]


def test_the_relay_list_says_where_the_pool_reads() -> None:
    listed = signed(presence(social=("wss://b", "ws://a")), ())[1]
    assert listed.tags == (("r", "ws://a"), ("r", "wss://b", "write"))


def test_the_page_is_offered_for_the_pools_kinds() -> None:
    handler = parse_handler(signed(presence(), ())[3])
    assert {4210, 4211, 4212, 4213, 4214, 4215, 4222, 34210, 34214, 34215, 34216} <= handler.kinds
    assert handler.url("naddr1xyz") == "http://127.0.0.1:8080/#naddr1xyz"


def test_a_profile_of_anybody() -> None:
    assert json.loads(profile(EDGE, 5, name="bob", lud16="bob@example.com").content) == {
        "name": "bob",
        "lud16": "bob@example.com",
    }
