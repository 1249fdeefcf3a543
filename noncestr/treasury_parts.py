"""The places of the pool's money that the configuration names, opened."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from accounting.adapters.bitcoin_funds import DescriptorFunds, NodeWallet
from accounting.ports import Funds
from noncestr.chains import node_addresses
from noncestr.config import Config
from stratum_edge.adapters.bitcoin_rpc import BitcoinRpc


@asynccontextmanager
async def open_funds(config: Config) -> AsyncIterator[list[Funds]]:
    """The node's wallet and descriptors. What pays joins them with the payouts (`noncestr.payouts.Payouts.funds`)."""
    funds: list[Funds] = []
    async with AsyncExitStack() as stack:
        if config.treasury.wallet:
            funds.append(NodeWallet(await _rpc(stack, config, f"/wallet/{config.treasury.wallet}")))
        if config.treasury.descriptors:
            funds.append(DescriptorFunds(await _rpc(stack, config, ""), config.treasury.descriptors))
        yield funds


async def _rpc(stack: AsyncExitStack, config: Config, path: str) -> BitcoinRpc:
    node = node_addresses(config.node)[0]
    rpc = BitcoinRpc(f"{node.url.rstrip('/')}{path}", node.auth, ssl.create_default_context())
    stack.push_async_callback(rpc.close)
    return rpc
