"""Where strangers find the pool."""

import hashlib
from dataclasses import replace
from pathlib import Path

from nips.keys import SecretKey
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from noncestr.citizen.presence import Presence, find_presence
from noncestr.config.sections import Config, EdgeSection
from noncestr.config.social import SocialConfig
from noncestr.places import find_places
from noncestr.terms.promises import Keys

ELSEWHERE = SecretKey(hashlib.sha256(b"noncestr test key elsewhere").digest())
OWN, OTHER = "ws://127.0.0.1:7777", "wss://relay.example"


def found(tmp_path: Path, config: Config) -> tuple[Presence, Keys]:
    keys = Keys.load(tmp_path)
    address = PoolAddress(keys.pool.pubkey, "regtest")
    return find_presence(config, find_places(config, lan=False), address, keys, (OWN, OTHER)), keys


def test_without_a_domain_it_is_where_it_listens(tmp_path: Path) -> None:
    presence, keys = found(tmp_path, Config())
    assert presence.web.startswith("http://127.0.0.1:")
    assert presence.relays == (OWN, OTHER)
    assert presence.identifier("edge") is None
    assert presence.names == {
        "_": keys.pool.pubkey, "pool": keys.pool.pubkey, "edge": keys.edge.pubkey,
        "accounting": keys.accounting.pubkey, "zapper": keys.zapper.pubkey,
    }  # fmt: skip


def test_a_domain_leads_to_page_and_relay(tmp_path: Path) -> None:
    presence, _ = found(tmp_path, replace(Config(), social=SocialConfig(domain="pool.example")))
    assert presence.web == "https://pool.example"
    assert presence.relays == ("wss://pool.example/relay", OTHER)
    assert presence.identifier("edge") == "edge@pool.example"


def test_without_a_relay_of_its_own_the_others_stay(tmp_path: Path) -> None:
    config = replace(Config(), social=SocialConfig(domain="pool.example"))
    config = replace(config, relay=replace(config.relay, embedded=False, relays=(OTHER,)))
    keys = Keys.load(tmp_path)
    address = PoolAddress(keys.pool.pubkey, "regtest")
    assert find_presence(config, find_places(config, lan=False), address, keys, (OTHER,)).relays == (OTHER,)


def test_edges_elsewhere_have_names_too(tmp_path: Path) -> None:
    presence, keys = found(tmp_path, replace(Config(), edge=EdgeSection(keys=(encode_npub(ELSEWHERE.pubkey),))))
    assert presence.names["edge"] == keys.edge.pubkey
    assert presence.names["edge2"] == ELSEWHERE.pubkey
