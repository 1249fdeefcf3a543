"""User names: keys with workers, addresses to be resolved, names cut by firmware, and advice for everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidKey
from nips.nip19 import _encode, encode_nsec
from stratum_edge.names import Address, Name, parse_login, parse_user

LNURL = "lnurl1dp68gurn8ghj7um9wfmxjcm99e3k7mf0v9cxj0m385ekvcenxc6r2c35xvukxefcv5mkvv34x5ekzd3ev56nyd3hxqurzepexejxx"


def nprofile(pubkey: str, relay: bytes = b"wss://relay.example.com") -> str:
    return _encode("nprofile", b"\x00\x20" + bytes.fromhex(pubkey) + b"\x01" + bytes([len(relay)]) + relay)


def test_an_npub_a_hex_key_and_a_worker(edge):
    key = edge.MINER.pubkey
    assert parse_login(edge.NPUB) == Name(key, "")
    assert parse_login(edge.NPUB + ".bitaxe1") == Name(key, "bitaxe1")
    assert parse_login(edge.NPUB + "/bitaxe1") == Name(key, "bitaxe1")
    assert parse_login(edge.NPUB.upper() + ".A") == Name(key, "A")
    assert parse_login(key + ".rig.2") == Name(key, "rig.2")
    assert parse_login("nostr:" + edge.NPUB) == Name(key, "")
    assert parse_login(nprofile(key) + ".rig") == Name(key, "rig")
    assert parse_login(edge.NPUB + "%2Erig%20one") == Name(key, "rig_one")
    assert parse_login(edge.NPUB + "." + "w" * 99).worker == "w" * 32
    assert parse_login(edge.NPUB + ".ünï").worker == "_n_"
    assert parse_user(edge.NPUB + ".bitaxe1") == Name(key, "bitaxe1")


@pytest.mark.parametrize(
    ("text", "address", "worker"),
    [
        ("alice@example.com", "alice@example.com", ""),
        ("Alice@Example.com/rig.1", "alice@example.com", "rig.1"),
        ("alice%40example%2Ecom%2Frig%201", "alice@example.com", "rig_1"),
        ("al.ice@pool.example.com/", "al.ice@pool.example.com", ""),
        ("@example.com/rig", "_@example.com", "rig"),
        ("_@example.com", "_@example.com", ""),
        ("alice@example.com.rig", "alice@example.com.rig", ""),
        ("alice@example.com/a/b", "alice@example.com", "a_b"),
    ],
)
def test_an_address_is_left_to_be_resolved(text, address, worker):
    assert parse_login(text) == Address(address, worker)
    with pytest.raises(InvalidKey, match="lightning address"):
        parse_user(text)


def test_names_cut_by_firmware(edge):
    key = edge.MINER.pubkey
    assert len(edge.NPUB) == 63
    whole = edge.NPUB + "%2Ebitaxe%2Dgarage.and.some.more.to.make.it.longer.than.firmware.takes.at.all.or.so"
    for size in range(63, 128):
        name = parse_login(whole[:size])
        assert name.miner == key
        assert "%" not in name.worker
    assert parse_login(whole[:63]).worker == ""
    for size in (63, 80, 100):
        with pytest.raises(InvalidKey, match=f"it has {size} characters here: miners cut long names"):
            parse_login(nprofile(key)[:size])
    with pytest.raises(InvalidKey, match="64 digits, this one 63"):
        parse_login(key[:63])
    with pytest.raises(InvalidKey, match="an npub has 63 characters, this one 60"):
        parse_login(edge.NPUB[:60])


@pytest.mark.parametrize(
    ("user", "advice"),
    [
        ("", "empty"),
        ("%2", "empty"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig", "bitcoin address.*Nostr app"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "bitcoin address.*Nostr app"),
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "bitcoin address.*Nostr app"),
        (LNURL, "LNURL.*Nostr app"),
        ("lightning:" + LNURL.upper(), "LNURL.*Nostr app"),
        ("lnbc2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypq", "lightning.*Nostr app"),
        ("alice@localhost", "no Nostr address.*Nostr app"),
        ("alice+tips@example.com", "no Nostr address.*Nostr app"),
        ("alice@10.0.0.1", "no Nostr address"),
        ("alice@example.com:8080", "no Nostr address"),
        ("worker1", "npub1.*Nostr app"),
        ("x" * 2000, "characters"),
    ],
)
def test_other_names_are_refused_with_advice(user, advice):
    with pytest.raises(InvalidKey, match=advice):
        parse_login(user)
    with pytest.raises(InvalidKey):
        parse_user(user)


def test_a_typo_is_named(edge):
    with pytest.raises(InvalidKey, match="checksum"):
        parse_login(edge.NPUB[:-1] + ("q" if edge.NPUB[-1] != "q" else "p"))


def test_a_secret_key_is_refused_wherever_it_stands_and_never_repeated(edge):
    nsec = encode_nsec(b"\x03" * 32)
    for user in (
        nsec, nsec.upper(), nsec + ".rig", "nostr:" + nsec, f"{edge.NPUB}.{nsec}", f"{nsec}@example.com",
        f"alice@example.com/{nsec}", "%6esec1" + nsec[5:], nsec[:40], "ncryptsec1qqqq",
    ):  # fmt: skip
        with pytest.raises(InvalidKey, match="SECRET") as caught:
            parse_login(user)
        assert nsec[5:20] not in str(caught.value).lower()


@given(st.text(max_size=80) | st.from_regex(r"[a-z0-9@._/%-]{0,40}", fullmatch=True))
def test_a_name_is_one_or_a_sentence(text):
    """Invariant: any text is a miner, an address, or a sentence that does not repeat it; workers are the log's."""
    says = ""
    try:
        found = parse_login(text)
    except InvalidKey as error:
        says = str(error)
    if says:
        assert len(says) < 300
        assert len(text) < 20 or text not in says
        return
    assert len(found.worker) <= 32
    assert found.worker.isascii()
