"""What a site says of its pool."""

import msgspec

from client_web.site import Site
from nips.nip19 import decode_npub


def test_config_names_the_pool_in_both_forms_and_every_role(site: Site) -> None:
    config = site.config()
    assert config["pool"]["pubkey"] == site.pool
    assert decode_npub(config["pool"]["npub"]) == site.pool
    assert config["relays"] == ["/relay"]
    assert config["network"] == "regtest"
    assert config["stratum_url"] == "stratum+tcp://127.0.0.1:3333"
    assert config["keys"] == {"edge": [site.pool], "accounting": [site.pool], "zapper": [site.pool]}


def test_nostr_json_gives_all_names_or_the_one_asked_for(site: Site) -> None:
    assert site.nostr_json(None) == {"names": dict(site.names)}
    assert site.nostr_json("alice") == {"names": {"alice": site.names["alice"]}}
    assert site.nostr_json("mallory") == {"names": {}}


def test_nostr_json_names_the_relays_of_who_is_asked_for(site: Site) -> None:
    told = msgspec.structs.replace(site, name_relays=("wss://a", "wss://b"))
    alice = site.names["alice"]
    assert told.nostr_json("alice") == {"names": {"alice": alice}, "relays": {alice: ["wss://a", "wss://b"]}}
    assert set(told.nostr_json(None)["relays"]) == set(site.names.values())
    assert told.nostr_json("mallory") == {"names": {}}
