"""The chain's keys: what goes together, and a sentence for what does not."""

from dataclasses import replace
from pathlib import Path

import pytest

from noncestr.config.chain import ChainConfig, NodeConfig, chain_problems, rpc_urls, zmq_addresses
from noncestr.config.file import load_config
from noncestr.errors import ConfigError

MAIN = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
NODES = ChainConfig(source="bitcoind", payout=MAIN)
NODE = NodeConfig(urls=("http://127.0.0.1:8332", "https://node:8332"), cookie_files=("a", "b"))


def test_what_is_right() -> None:
    assert chain_problems("regtest", ChainConfig(), NodeConfig()) == []
    assert chain_problems("main", NODES, NODE) == []
    assert chain_problems("regtest", ChainConfig(source="bitcoind"), NODE) == []
    one_for_all = replace(NODE, cookie_files=("a",), zmq=("tcp://127.0.0.1:28332", ""))
    assert chain_problems("main", NODES, one_for_all) == []
    by_user = replace(NODE, cookie_files=(), user="u")
    assert chain_problems("main", NODES, replace(by_user, password="x")) == []
    assert chain_problems("main", NODES, replace(by_user, password_file="x")) == []


@pytest.mark.parametrize("network", ["main", "testnet4", "signet"])
def test_real_coins_need_a_node_and_somewhere_to_go(network: str) -> None:
    embedded, payout = chain_problems(network, ChainConfig(), NodeConfig())
    assert embedded == f'[chain] source: the embedded chain is regtest; {network} needs source = "bitcoind"'
    assert payout == f"[chain] payout: {network} needs an address or an output descriptor: blocks pay it"


def test_a_main_address_is_refused_elsewhere() -> None:
    for network in ("testnet4", "signet", "regtest"):
        (problem,) = chain_problems(network, NODES, NODE)
        assert problem.startswith(f"[chain] payout: {MAIN} is of the main network, the pool is on {network}")


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (NodeConfig(), "needs at least one node"),
        (replace(NODE, zmq=("tcp://a:1",)), "an address for each of urls"),
        (replace(NODE, cookie_files=("a", "b", "c")), "one for all, or one for each"),
        (replace(NODE, user="u"), "either these, or user and password"),
        (replace(NODE, password_file="x"), "either these, or user and password"),
        (replace(NODE, cookie_files=()), "needs cookie_files, or user"),
        (replace(NODE, cookie_files=(), user="u"), "needs cookie_files, or user"),
        (replace(NODE, cookie_files=(), password="p"), "needs cookie_files, or user"),
        (replace(NODE, cookie_files=(), user="u", password="p", password_file="x"), "one of password"),
    ],
)
def test_nodes_that_can_not_be_asked(node: NodeConfig, says: str) -> None:
    (problem,) = chain_problems("main", NODES, node)
    assert says in problem
    # Nothing is asked of keys that are not in use.
    assert chain_problems("regtest", ChainConfig(), node) == []


@pytest.mark.parametrize(
    ("urls", "says"),
    [
        (("ftp://a:1",), "is none"),
        (("http://a",), "is none"),
        (("http://:8332",), "is none"),
        (("http://a:99999",), "is none"),
        (("http://a:1/wallet",), "is none"),
        (("a:8332",), "is none"),
        (("http://[::1:1",), "is none"),
        (("http://user:secret@a:1",), "must not hold user and password"),
        (("http://a:1", "http://a:1"), "twice"),
    ],
)
def test_rpc_addresses(urls: tuple[str, ...], says: str) -> None:
    complaint = rpc_urls(urls)
    assert complaint is not None
    assert says in complaint
    assert rpc_urls(("http://[::1]:8332", "https://node.example:443/")) is None


def test_zmq_addresses() -> None:
    assert zmq_addresses(("tcp://127.0.0.1:28332", "", "ipc:///run/node")) is None
    for wrong in ("http://a:1", "tcp://a", "127.0.0.1:1"):
        assert zmq_addresses((wrong,)) is not None


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "noncestr.toml"
    path.write_text('[node]\nuser = "u"\npassword = "hunter2"\n')
    assert "hunter2" not in repr(load_config(path, {}))
    path.write_text("[node]\npassword = 2222222\n")
    with pytest.raises(ConfigError) as refused:
        load_config(path, {})
    assert "[node] password = ...: must be text" in str(refused.value)
    assert "2222222" not in str(refused.value)
