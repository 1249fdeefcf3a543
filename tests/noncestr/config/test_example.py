"""`noncestr.example.toml`: the file in the tree is the generated one, and loads to the defaults."""

import tomllib
from pathlib import Path

from noncestr.config.example import example_toml
from noncestr.config.file import load_config
from noncestr.config.offers import OfferConfig
from noncestr.config.sections import Config, PortConfig

ROOT = Path(__file__).parents[3]


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


def test_the_port_in_the_example_can_be_taken_as_it_is(tmp_path: Path) -> None:
    lines = example_toml().splitlines()
    start = lines.index("# [[ports]]")
    block = lines[start : lines.index("", start)]
    path = tmp_path / "noncestr.toml"
    path.write_text("\n".join(line.removeprefix("# ") for line in block).replace("3333", "3334"), "utf-8")
    assert load_config(path, {}).ports == (PortConfig(name="high", port=3334),)


def test_the_offer_in_the_example_can_be_taken_as_it_is(tmp_path: Path) -> None:
    lines = example_toml().splitlines()
    start = lines.index("# [[offers]]")
    block = lines[start : lines.index("", start)]
    path = tmp_path / "noncestr.toml"
    path.write_text("\n".join(line.removeprefix("# ") for line in block), "utf-8")
    assert load_config(path, {}).offers == (OfferConfig(name="lottery"),)
