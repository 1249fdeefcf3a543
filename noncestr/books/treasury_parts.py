"""The places of the pool's money that the configuration names, opened; and the treasury of a pool in parts."""

import ssl
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from accounting.adapters.bitcoin_funds import DescriptorFunds, NodeWallet
from accounting.ports import Funds
from accounting.service import Accounting
from nips.keys import AsyncSigner
from nips.nip19 import parse_pubkey
from nips.pool.address import PoolAddress
from nips.pool.terms import Terms
from noncestr.books.funds_reports import FundsReports
from noncestr.books.holders import Holders
from noncestr.books.treasury import Treasurer
from noncestr.chains import node_addresses
from noncestr.clock import WallClock
from noncestr.config.sections import Config
from noncestr.feed import BridgeFeed
from noncestr.outpost import Outpost
from noncestr.running import running
from relay_bridge.service import RelayBridge
from stratum_edge.adapters.bitcoin_rpc import BitcoinRpc


@asynccontextmanager
async def open_funds(config: Config) -> AsyncIterator[list[Funds]]:
    """The node's wallet and descriptors. What pays joins them with the payouts (`Payouts.funds`)."""
    funds: list[Funds] = []
    async with AsyncExitStack() as stack:
        if config.treasury.wallet:
            funds.append(NodeWallet(await _rpc(stack, config, f"/wallet/{config.treasury.wallet}")))
        if config.treasury.descriptors:
            funds.append(DescriptorFunds(await _rpc(stack, config, ""), config.treasury.descriptors))
        yield funds


async def open_part_funds(stack: AsyncExitStack, config: Config, part: str, say: Callable[[str], None]) -> list[Funds]:
    """As `open_funds`, in one part of a pool: only the part that is to ask does, so that no coin is counted twice."""
    treasury = config.treasury
    if part != treasury.part:
        if treasury.wallet or treasury.descriptors:
            say(f"treasury: wallet and descriptors are asked by the {treasury.part}, not here ([treasury] part)")
        return []
    return await stack.enter_async_context(open_funds(config))


def holder_keys(config: Config, terms: Callable[[], Terms], own: Collection[str] = ()) -> dict[str, str]:
    """Whose reports count, and what each is called: the zappers of the terms and [treasury] holders, but not `own`.

    Edges are not heard by their role alone: an edge's host may be anybody's, and its word would hide missing money.
    """
    try:
        roles = {key: role for role in ("edge", "accounting", "zapper") for key in terms().body.keys_of(role)}
    except LookupError:
        roles = {}
    holders = [parse_pubkey(holder) for holder in config.treasury.holders]
    heard = {key: roles.get(key, "holder") for key in holders} | {
        k: role for k, role in roles.items() if role == "zapper"
    }
    return {key: role for key, role in heard.items() if key not in own}


async def start_treasury(
    stack: AsyncExitStack,
    treasurer: Treasurer,
    funds: Sequence[Funds],
    *,
    config: Config,
    data: Path,
    pool: PoolAddress,
    bridge: RelayBridge,
    terms: Callable[[], Terms],
    own: Collection[str],
    books: Accounting,
    clock: WallClock,
    signer: AsyncSigner | None = None,
) -> None:
    """Ask `funds`, and count what holders on other hosts report, until the stack closes; with a `signer`, report too.

    `own`: the keys (hex) that sign here; `terms` gives those in force, or raises LookupError.
    """
    holders = Holders(data, pool, BridgeFeed(bridge), lambda: holder_keys(config, terms, own), clock.now_ms)
    await stack.enter_async_context(running(holders.run))
    treasurer.hear(holders.holdings)
    treasurer.keep(books)
    for each in funds:
        treasurer.add(each)
    await stack.enter_async_context(running(treasurer.run))
    if signer is not None:
        await stack.enter_async_context(running(FundsReports(pool, signer, bridge, treasurer.held, clock.now_ms).run))


async def start_part_treasury(
    stack: AsyncExitStack,
    treasurer: Treasurer,
    funds: Sequence[Funds],
    outpost: Outpost,
    books: Accounting,
    *,
    reports: bool = False,
) -> None:
    """As `start_treasury`, in one part of a pool."""
    await start_treasury(
        stack,
        treasurer,
        funds,
        config=outpost.config,
        data=outpost.data,
        pool=outpost.pool,
        bridge=outpost.bridge,
        terms=outpost.terms.current,
        own=() if outpost.signer is None else (outpost.signer.pubkey,),
        books=books,
        clock=outpost.clock,
        signer=outpost.signer if reports else None,
    )


async def report_edge_funds(stack: AsyncExitStack, outpost: Outpost) -> None:
    """An edge's host has no books: it asks what it is to ask, and tells the others."""
    treasurer = Treasurer(outpost.clock.now_ms)
    funds = await open_part_funds(stack, outpost.config, "edge", outpost.say)
    for each in funds:
        treasurer.add(each)
    if funds:
        await stack.enter_async_context(running(treasurer.run))
        assert outpost.signer is not None
        reports = FundsReports(outpost.pool, outpost.signer, outpost.bridge, treasurer.held, outpost.clock.now_ms)
        await stack.enter_async_context(running(reports.run))


async def _rpc(stack: AsyncExitStack, config: Config, path: str) -> BitcoinRpc:
    node = node_addresses(config.node)[0]
    rpc = BitcoinRpc(f"{node.url.rstrip('/')}{path}", node.auth, ssl.create_default_context())
    stack.push_async_callback(rpc.close)
    return rpc
