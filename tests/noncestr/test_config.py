"""The configuration: defaults, the generated example, the environment, and a sentence for each bad value."""

import tomllib
from pathlib import Path

import pytest

from noncestr.config import Config, example_toml, load_config
from noncestr.errors import ConfigError

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
        "pool", "stratum", "edge", "chain", "relay", "web", "terms", "payouts", "demo", "log",
    }  # fmt: skip


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
        ('[pool]\nnetwork = "main"', "must be one of regtest"),
        ('[relay]\nrelays = ["http://x"]', "must hold ws:// or wss:// addresses"),
        ("[relay]\nrelays = [3]", "must be an array of texts"),
        ("[relay]\nembedded = false", "relays must name at least one"),
        ("[relay]\nquorum = 2", "quorum is larger"),
        ("[relay]\nembedded = 1", "must be true or false"),
        ("[edge]\nworkers = 0", "must lie between 1 and 64"),
        ('[edge]\nkeys = ["npub1nobody"]', "must hold npubs or public keys in hex"),
        ('[log]\nformat = "xml"', "must be one of text, json"),
        ("[terms]\nfee_ppm = 60000", "must lie between 0 and 50000"),
        ("[pool]\nname = 3", "must be text in quotes"),
        ("[pool\n", "is not TOML"),
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


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml", {})
