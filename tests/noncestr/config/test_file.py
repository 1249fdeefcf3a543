"""The configuration as it is read: defaults, the environment, tables, and a sentence for each bad value."""

from pathlib import Path

import pytest

from noncestr.config.file import load_config
from noncestr.config.sections import Config
from noncestr.errors import ConfigError


def test_defaults_are_valid() -> None:
    assert load_config(None, {}) == Config()


def test_the_passphrase_is_no_key_and_no_mistake() -> None:
    assert load_config(None, {"NONCESTR_PASSPHRASE": "x", "NONCESTR_PASSPHRASE_FILE": "/x"}) == Config()


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text("[stratum]\nport = 4444\n[relay]\nembedded = true\n", "utf-8")
    config = load_config(
        path,
        {"NONCESTR_STRATUM_PORT": "5555", "NONCESTR_RELAY_RELAYS": "ws://a, wss://b", "NONCESTR_RELAY_QUORUM": "2"},
    )
    assert config.stratum.port == 5555
    assert config.relay.relays == ("ws://a", "wss://b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[stratum]\nport = 99999", "[stratum] port = 99999: must lie between 0 and 65535"),
        ("[stratum]\nport = true", "[stratum] port = True: must be a whole number"),
        ("[stratum]\nprot = 1", "[stratum] prot: there is no such key; known here: host, port"),
        ("[stratom]\nport = 1", "[stratom]: there is no such section"),
        ("stratum = 3", "stratum: must be a section"),
        ('[stratum]\nstart_difficulty = "0.3"', 'must be a whole difficulty such as "512"'),
        ('[stratum]\nstart_difficulty = "1/0"', 'must be a whole difficulty such as "512"'),
        ('[pool]\nnetwork = "test"', "must be one of main, testnet4, signet, regtest"),
        ('[relay]\nrelays = ["http://x"]', "must hold ws:// or wss:// addresses"),
        ("[relay]\nrelays = [3]", "must be an array of texts"),
        ("[relay]\nembedded = 1", "must be true or false"),
        ("[edge]\nworkers = 0", "must lie between 1 and 64"),
        ('[edge]\nkeys = ["npub1nobody"]', "must hold npubs or public keys in hex"),
        ('[edge]\nclosed = ["npub1nobody/0"]', "must hold npub/NUMBER"),
        ('[edge]\nclosed = ["79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798/-1"]', "npub/NUMBER"),
        ('[log]\nformat = "xml"', "must be one of text, json"),
        ('[terms]\nscheme = "pplsn"', "must be one of pplns, prop, solo, pps, fpps"),
        ('[[offers]]\nname = "a"', "[[offers]] a: scheme is missing"),
        ('[[offers]]\nname = "a"\nscheme = "pps"\nperiod_seconds = 59', "must lie between 60 and 86400"),
        ("offers = 3", "offers: must be tables, each written [[offers]]"),
        ("[pool]\nname = 3", "must be text in quotes"),
        ("[pool\n", "is not TOML"),
        ('[stratum]\ntrusted_networks = ["10.0.0.1/8"]', "must hold networks: '10.0.0.1/8' is no network"),
        ("ports = 3", "ports: must be tables, each written [[ports]]"),
        ("[ports]\nport = 3", "ports: must be tables, each written [[ports]]"),
        ("[[ports]]\nport = 4", "[[ports]] number 1: name is missing"),
        ('[[ports]]\nname = "a"', "[[ports]] a: port is missing"),
        ('[[ports]]\nname = "a"\nport = true', "[[ports]] a port = True: must be a whole number"),
        ('[[ports]]\nname = "a"\nport = 4\nprot = 4', "[[ports]] a prot: there is no such key; known here: host"),
        ('[[ports]]\nname = "main"\nport = 4', "[[ports]] main name = 'main': must be 1 to 32 of a-z"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert says in str(caught.value)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"NONCESTR_WEB_PORT": "x", "NONCESTR_NO_SUCH": "1"})
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("text", ["", "-", "--5", "5-", "1e3", "0x10", "5.0", " 5", "٣", "9" * 5000])
def test_what_is_no_whole_number_in_the_environment_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="must be a whole number"):
        load_config(None, {"NONCESTR_WEB_PORT": text})


def test_ports_are_tables_and_a_fixed_one_has_no_bounds(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text(
        '[[ports]]\nname = "a"\nport = 4\nfixed = true\nstart_difficulty = "8589934592"\n'
        '[[ports]]\nname = "b"\nport = 0\n[[ports]]\nname = "c"\nport = 0\n',
        "utf-8",
    )
    assert [port.name for port in load_config(path, {}).ports] == ["a", "b", "c"]


def test_offers_are_tables_that_ports_name(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    text = '[terms]\nforce_fee = true\n[[offers]]\nname = "lottery"\nscheme = "solo"\nfee_ppm = 60000\n'
    path.write_text(text + '[[ports]]\nname = "a"\nport = 4\noffer = "lottery"\n', "utf-8")
    config = load_config(path, {})
    assert config.ports[0].offer == config.offers[0].name == "lottery"


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml", {})
