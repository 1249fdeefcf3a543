"""The node wallet that pays on chain: a wallet of the first node of [node], over its RPC."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import anyio

from noncestr.chains import node_addresses
from noncestr.config.chain import NodeConfig
from stratum_edge.adapters.bitcoin_rpc import BitcoinRpc, NodeRefused
from zapper.node_wallet import ChainBook, NodeRefusal
from zapper.onchain_rail import OnchainRail

# Less than the zapper's patience with a question (fetch_timeout_s); choosing among many coins takes seconds.
CALL_S = 9.0
# A transaction for MAX_PAYEES with its inputs, raw and decoded.
MAX_ANSWER = 16 * 1024 * 1024


class RpcWallet:
    """`zapper.onchain_rail.NodeWallet` over JSON-RPC."""

    def __init__(self, rpc: BitcoinRpc) -> None:
        self._rpc = rpc

    async def call(self, method: str, *params: Any) -> Any:
        """The decoded result, amounts as Decimal. Raises NodeRefusal, NodeAway."""
        try:
            raw = await self._rpc.call(method, *params, timeout_s=CALL_S, max_bytes=MAX_ANSWER)
        except NodeRefused as error:
            raise NodeRefusal(error.code, error.message) from None
        return json.loads(raw, parse_float=Decimal)


@asynccontextmanager
async def open_onchain(
    node: NodeConfig, wallet: str, book: ChainBook, *, by_operator: bool
) -> AsyncIterator[tuple[OnchainRail, RpcWallet]]:
    """The rail of that wallet, and the wallet, while the block runs. `by_operator`: never signs itself."""
    [address, *_] = node_addresses(node)
    url = f"{address.url.rstrip('/')}/wallet/{quote(wallet, safe='')}"
    rpc = BitcoinRpc(url, address.auth, ssl.create_default_context())
    try:
        rpc_wallet = RpcWallet(rpc)
        name = f"the node wallet {wallet}"
        rail = OnchainRail(rpc_wallet, book=book, one_at_a_time=anyio.Lock(), name=name, by_operator=by_operator)
        yield rail, rpc_wallet
    finally:
        await rpc.close()
