"""Opens the chain that the configuration names, and says what its blocks pay."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from noncestr.config.chain import NodeConfig
from noncestr.config.payout_script import payout_script
from noncestr.config.sections import Config
from noncestr.running import looping, running
from stratum_edge.adapters.bitcoin_node import NodeAddress
from stratum_edge.adapters.bitcoin_nodes import BitcoinNodes
from stratum_edge.adapters.bitcoin_rpc import NodeAuth
from stratum_edge.adapters.embedded_chain import EmbeddedChain
from stratum_edge.ports import Clock, TemplateSource


@asynccontextmanager
async def open_source(config: Config, data: Path, clock: Clock) -> AsyncIterator[TemplateSource]:
    """The chain, from its start until the block is left. Raises ChainStoreError, WrongChain."""
    if config.chain.source == "embedded":
        chain = _embedded(config, data, clock)
        try:
            async with looping(chain.run):
                yield chain
        finally:
            chain.close()
    else:
        nodes = BitcoinNodes(
            node_addresses(config.node), network=config.pool.network, poll_s=float(config.node.poll_seconds)
        )
        async with running(nodes.run):
            yield nodes


def _embedded(config: Config, data: Path, clock: Clock) -> EmbeddedChain:
    seconds = config.chain.network_block_seconds
    return EmbeddedChain(
        data / "chain",
        clock=clock,
        reward_sat=config.chain.reward_sat,
        network_block_ms=seconds * 1000 if seconds else None,
    )


def node_addresses(node: NodeConfig) -> list[NodeAddress]:
    """The configured nodes in their order."""
    count = len(node.urls)
    cookies = node.cookie_files * count if len(node.cookie_files) == 1 else node.cookie_files or ("",) * count
    zmq = node.zmq or ("",) * count
    return [
        NodeAddress(url, _auth(node, cookie), notices)
        for url, cookie, notices in zip(node.urls, cookies, zmq, strict=True)
    ]


def _auth(node: NodeConfig, cookie: str) -> NodeAuth:
    if cookie:
        return NodeAuth(cookie_file=Path(cookie).expanduser())
    file = Path(node.password_file).expanduser() if node.password_file else None
    return NodeAuth(user=node.user, password=node.password, password_file=file)


def coinbase_script(config: Config, pool_pubkey: str) -> bytes:
    """What blocks pay: the configured address or descriptor. Raises PayoutRefused.

    Without one, which only regtest allows, Taproot to the pool's key (BIP 341): those coins are spent by nobody.
    """
    if config.chain.payout:
        return payout_script(config.chain.payout, config.pool.network)
    return b"\x51\x20" + bytes.fromhex(pool_pubkey)
