"""The configured chain opened, embedded or over a node."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from noncestr.chains import coinbase_script, node_addresses, open_source
from noncestr.clock import WallClock
from noncestr.config.chain import ChainConfig, NodeConfig
from noncestr.config.sections import Config, PoolConfig
from stratum_edge.adapters.bitcoin_node import NodeAddress, WrongChain
from stratum_edge.adapters.bitcoin_rpc import NodeAuth
from stratum_edge.adapters.embedded_chain import EmbeddedChain
from tests.stratum_edge.scripted_node import ScriptedNode


@pytest.mark.anyio
async def test_the_embedded_chain(tmp_path: Path) -> None:
    config = Config(chain=ChainConfig(network_block_seconds=0))
    async with open_source(config, tmp_path, WallClock()) as source:
        assert isinstance(source, EmbeddedChain)
        assert (await source.template()).height == source.tip().height + 1
    # Closed again: another may open it.
    async with open_source(config, tmp_path, WallClock()) as source:
        assert source.network == "regtest"


@pytest.mark.anyio
async def test_a_node(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    cookie.write_text("__cookie__:x")
    async with ScriptedNode(auth="__cookie__:x", zmq=True) as node:
        config = Config(
            chain=ChainConfig(source="bitcoind"),
            node=NodeConfig(urls=(node.url,), zmq=(node.zmq_address,), cookie_files=(str(cookie),)),
        )
        with anyio.fail_after(20):
            async with open_source(config, tmp_path, WallClock()) as source:
                assert (await source.wait_tip(b"")).hash == node.tip.hash
                assert (await source.template()).prevhash == node.tip.hash
            with pytest.raises(BaseExceptionGroup) as wrong:
                async with open_source(replace(config, pool=PoolConfig(network="main")), tmp_path, WallClock()):
                    pass
        assert wrong.group_contains(WrongChain, match="is on 'regtest', the pool on 'main'")


def test_nodes_and_their_keys_in_order() -> None:
    urls = ("http://a:1", "http://b:2")
    assert node_addresses(NodeConfig(urls=urls, cookie_files=("c",), zmq=("", "tcp://b:3"))) == [
        NodeAddress("http://a:1", NodeAuth(cookie_file=Path("c")), ""),
        NodeAddress("http://b:2", NodeAuth(cookie_file=Path("c")), "tcp://b:3"),
    ]
    assert [n.auth.cookie_file for n in node_addresses(NodeConfig(urls=urls, cookie_files=("~/c", "d")))] == [
        Path.home() / "c",
        Path("d"),
    ]
    by_password = NodeAddress("http://a:1", NodeAuth(user="u", password="p"), "")
    assert node_addresses(NodeConfig(urls=urls[:1], user="u", password="p")) == [by_password]
    (by_file,) = node_addresses(NodeConfig(urls=urls[:1], user="u", password_file="~/p"))
    assert by_file.auth.password_file == Path.home() / "p"
    assert by_file.name == "a:1"


def test_what_blocks_pay() -> None:
    assert coinbase_script(Config(), "ab" * 32) == b"\x51\x20" + b"\xab" * 32
    paid = Config(chain=ChainConfig(payout="bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"))
    assert coinbase_script(paid, "ab" * 32).hex() == "0014751e76e8199196d454941c45d1b3a323f1433bd6"
