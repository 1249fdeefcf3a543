"""User names: npubs with workers, and advice for everything else."""

import pytest

from nips.errors import InvalidKey
from nips.nip19 import encode_nsec
from stratum_edge.names import Name, parse_user


def test_an_npub_a_hex_key_and_a_worker(edge):
    key = edge.MINER.pubkey
    assert parse_user(edge.NPUB) == Name(key, "")
    assert parse_user(edge.NPUB + ".bitaxe1") == Name(key, "bitaxe1")
    assert parse_user(edge.NPUB.upper() + ".A") == Name(key, "A")
    assert parse_user(key + ".rig.2") == Name(key, "rig.2")
    assert parse_user("nostr:" + edge.NPUB) == Name(key, "")
    assert parse_user(edge.NPUB + "%2Erig%20one") == Name(key, "rig_one")
    assert parse_user(edge.NPUB + "." + "w" * 99).worker == "w" * 32
    assert parse_user(edge.NPUB + ".ünï").worker == "_n_"


@pytest.mark.parametrize(
    ("user", "advice"),
    [
        ("", "empty"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig", "Nostr app"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "Nostr app"),
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "Nostr app"),
        ("alice@example.com", "lightning address"),
        (
            "lnurl1dp68gurn8ghj7um9wfmxjcm99e3k7mf0v9cxj0m385ekvcenxc6r2c35xvukxefcv5mkvv34x5ekzd3ev56nyd3hxqurzepexejxxepnxscrvwfnv9nxzcn9xq6xyefhvgcxxcmyxymnserxfq5fns",
            "lightning",
        ),
        ("worker1", "npub"),
        ("x" * 2000, "characters"),
    ],
)
def test_other_names_are_refused_with_advice(user, advice):
    with pytest.raises(InvalidKey, match=advice):
        parse_user(user)


def test_a_typo_and_a_secret_key_are_named_and_not_repeated(edge):
    with pytest.raises(InvalidKey, match="checksum"):
        parse_user(edge.NPUB[:-1] + ("q" if edge.NPUB[-1] != "q" else "p"))
    nsec = encode_nsec(b"\x03" * 32)
    with pytest.raises(InvalidKey, match="secret") as caught:
        parse_user(nsec + ".rig")
    assert nsec not in str(caught.value)
