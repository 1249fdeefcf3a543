"""The configuration: defaults, the generated example, the environment, and a sentence for each bad value."""

import tomllib
from pathlib import Path

import pytest

from noncestr.config import Config, PortConfig, load_config
from noncestr.config_example import example_toml
from noncestr.errors import ConfigError
from noncestr.offers_config import OfferConfig

ROOT = Path(__file__).parents[2]


def test_defaults_are_valid() -> None:
    assert load_config(None, {}) == Config()


def test_the_example_in_the_tree_is_the_generated_one() -> None:
    assert (ROOT / "noncestr.example.toml").read_text("utf-8") == example_toml()


def test_the_example_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text(example_toml(), "utf-8")
    assert load_config(path, {}) == Config()
    assert set(tomllib.loads(example_toml())) == {
        "pool", "stratum", "edge", "chain", "node", "relay", "social", "web", "terms", "accounting", "payouts",
        "treasury", "alerts", "notices", "mint", "demo", "log",
    }  # fmt: skip


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
        ('[stratum]\nstart_difficulty = "1/131072"', "start_difficulty must lie between"),
        ('[stratum]\npool_tag = ""', "pool_tag"),
        ('[pool]\nnetwork = "test"', "must be one of main, testnet4, signet, regtest"),
        ('[pool]\nnetwork = "main"', 'main needs source = "bitcoind"'),
        ('[relay]\nrelays = ["http://x"]', "must hold ws:// or wss:// addresses"),
        ("[relay]\nrelays = [3]", "must be an array of texts"),
        ("[relay]\nembedded = false", "relays must name at least one"),
        ("[relay]\nquorum = 2", "quorum is larger"),
        ("[relay]\nembedded = 1", "must be true or false"),
        ("[edge]\nworkers = 0", "must lie between 1 and 64"),
        ('[edge]\nkeys = ["npub1nobody"]', "must hold npubs or public keys in hex"),
        ('[edge]\nclosed = ["npub1nobody/0"]', "must hold npub/NUMBER"),
        ('[edge]\nclosed = ["79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798/-1"]', "npub/NUMBER"),
        ('[log]\nformat = "xml"', "must be one of text, json"),
        ("[terms]\nfee_ppm = 60000", "offer main takes a fee of 6 %, above 5 %: force it, or lower it ([terms] force"),
        ('[terms]\nscheme = "pplsn"', "must be one of pplns, prop, solo, pps, fpps"),
        ('[[offers]]\nname = "a"\nscheme = "solo"\nfee_ppm = 50001', "offer a takes a fee of 5.0001 %"),
        ('[[offers]]\nname = "a"', "[[offers]] a: scheme is missing"),
        ('[[offers]]\nname = "a"\nscheme = "pps"\nperiod_seconds = 59', "must lie between 60 and 86400"),
        ('[[offers]]\nname = "a"\nscheme = "solo"\n' * 2, "[[offers]] a: there are two offers of this name"),
        ("offers = 3", "offers: must be tables, each written [[offers]]"),
        ("[pool]\nname = 3", "must be text in quotes"),
        ("[pool\n", "is not TOML"),
        ('[stratum]\ntrusted_networks = ["10.0.0.1/8"]', "must hold networks: '10.0.0.1/8' is no network"),
        ('[stratum]\ntls_key = "a.key"', "[stratum] tls_certificate: TLS needs both"),
        ("ports = 3", "ports: must be tables, each written [[ports]]"),
        ("[ports]\nport = 3", "ports: must be tables, each written [[ports]]"),
        ("[[ports]]\nport = 4", "[[ports]] number 1: name is missing"),
        ('[[ports]]\nname = "a"', "[[ports]] a: port is missing"),
        ('[[ports]]\nname = "a"\nport = true', "[[ports]] a port = True: must be a whole number"),
        ('[[ports]]\nname = "a"\nport = 4\nprot = 4', "[[ports]] a prot: there is no such key; known here: host"),
        ('[[ports]]\nname = "main"\nport = 4', "[[ports]] main name = 'main': must be 1 to 32 of a-z"),
        ('[[ports]]\nname = "a"\nport = 3333', "[[ports]] a port = 3333: [stratum] listens there already"),
        ('[[ports]]\nname = "a"\nport = 4\n[[ports]]\nname = "a"\nport = 5', "there are two ports of this name"),
        (
            '[[ports]]\nname = "a"\nport = 4\noffer = "solo"',
            "[[ports]] a offer = 'solo': there is no such offer; known: main",
        ),
        ('[[ports]]\nname = "a"\nport = 4\ntls_certificate = "a.crt"', "[[ports]] a tls_key: TLS needs both"),
        (
            '[[ports]]\nname = "a"\nport = 4\nstart_difficulty = "8589934592"',
            "[[ports]] a start_difficulty must lie between",
        ),
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


def test_ports_are_tables_and_a_fixed_one_has_no_bounds(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text(
        '[[ports]]\nname = "a"\nport = 4\nfixed = true\nstart_difficulty = "8589934592"\n'
        '[[ports]]\nname = "b"\nport = 0\n[[ports]]\nname = "c"\nport = 0\n',
        "utf-8",
    )
    assert [port.name for port in load_config(path, {}).ports] == ["a", "b", "c"]


def test_the_port_in_the_example_can_be_taken_as_it_is(tmp_path: Path) -> None:
    lines = example_toml().splitlines()
    start = lines.index("# [[ports]]")
    block = lines[start : lines.index("", start)]
    path = tmp_path / "noncestr.toml"
    path.write_text("\n".join(line.removeprefix("# ") for line in block).replace("3333", "3334"), "utf-8")
    assert load_config(path, {}).ports == (PortConfig(name="high", port=3334),)


def test_offers_are_tables_that_ports_name(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    text = '[terms]\nforce_fee = true\n[[offers]]\nname = "lottery"\nscheme = "solo"\nfee_ppm = 60000\n'
    path.write_text(text + '[[ports]]\nname = "a"\nport = 4\noffer = "lottery"\n', "utf-8")
    config = load_config(path, {})
    assert config.ports[0].offer == config.offers[0].name == "lottery"


def test_the_offer_in_the_example_can_be_taken_as_it_is(tmp_path: Path) -> None:
    lines = example_toml().splitlines()
    start = lines.index("# [[offers]]")
    block = lines[start : lines.index("", start)]
    path = tmp_path / "noncestr.toml"
    path.write_text("\n".join(line.removeprefix("# ") for line in block), "utf-8")
    assert load_config(path, {}).offers == (OfferConfig(name="lottery"),)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml", {})
