"""Ecash in the pool: the treasury of its mints, the rails that pay from it, and the demo's own mint."""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import TaskStatus

from nips.keys import SecretKey
from nips.nut00 import normal_mint_url
from noncestr.config.mint import MINT
from noncestr.config.sections import Config
from noncestr.demo.mint_process import MintProcess
from noncestr.running import looping, running
from noncestr.terms.promises import REGTEST
from zapper.adapters.cashu_mint import open_mint
from zapper.adapters.http_client import HttpLimits, open_http_client
from zapper.adapters.proof_store import SqliteProofStore, open_proof_store
from zapper.adapters.relay_writer import RelayWriter
from zapper.adapters.wrapper import KeyWrapper
from zapper.cashu_rail import CashuRail
from zapper.errors import ZapperError
from zapper.nutzap_rail import NutzapRail
from zapper.ports import EventFeed
from zapper.rails import Rail
from zapper.treasury import Treasury

log = logging.getLogger("noncestr.ecash")

# The treasury's file in the data folder: whoever reads it can spend what is in it.
FILE: Final = "treasury.sqlite"
# What the demo's treasury is filled up to: as much as a day of its blocks.
DEMO_SAT: Final = 100_000_000
# The operator's invoices for ecash are asked about this often.
RECOVER_S: Final = 60.0
DAY_S: Final = 86_400

# What runs while the demo's mint answers at this URL.
Beside = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ecash:
    """`rails`: by method, none without mints. `mint`: the demo's own, if there is one. `store`: the treasuries'."""

    rails: dict[str, Rail]
    treasuries: tuple[Treasury, ...]
    mint: MintProcess | None
    store: SqliteProofStore | None = None


@asynccontextmanager
async def ecash_payouts(
    *,
    config: Config,
    data: Path,
    key: SecretKey,
    feed: EventFeed,
    relays: Sequence[str],
    clock: Callable[[], int],
    pool_up: Callable[[], Awaitable[None]],
    beside: Beside | None = None,
) -> AsyncIterator[Ecash]:
    """The rails while the block runs. The demo's mint is started once `pool_up` returns, and `beside` run with it."""
    is_demo = config.mint.enabled and config.pool.network == REGTEST
    process = MintProcess(data / "mint") if is_demo else None
    urls = [] if process is None else [process.url]
    urls += [normal_mint_url(url) for url in config.mint.urls]
    if not urls:
        yield Ecash({}, (), None)
        return
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(open_proof_store(data / FILE))
        for problem in await store.check():
            log.error("%s: %s", FILE, problem)
        treasuries = tuple(
            [
                Treasury(
                    await enter(open_mint(url)),
                    store,
                    key=store.key,
                    clock=clock,
                    random=os.urandom,
                    one_at_a_time=anyio.Lock(),
                )
                for url in dict.fromkeys(urls)
            ]
        )
        parts: dict[str, Any] = {
            "signer": key,
            "feed": feed,
            # The demo's miners read the pool's relays; no others of this machine are asked.
            "courier": RelayWriter(feed, relays),
            "clock": clock,
            "random": os.urandom,
            "return_after_s": config.mint.return_days * DAY_S,
        }
        poster = await enter(open_http_client(HttpLimits(tor_proxy=config.payouts.tor_proxy)))
        rails: dict[str, Rail] = {
            "nutzap": NutzapRail(treasuries, is_counted=config.payouts.backend != MINT, **parts),
            "cashu": CashuRail(treasuries, wrapper=KeyWrapper(key, clock), poster=poster, is_counted=False, **parts),
        }
        await enter(looping(_recover, treasuries))
        if process is not None:
            await enter(running(_run_demo, process, treasuries[0], pool_up, beside))
        yield Ecash(rails, treasuries, process, store)


async def _recover(treasuries: Sequence[Treasury]) -> None:
    """Take in what the operator has paid for."""
    while True:
        for treasury in treasuries:
            try:
                await treasury.recover()
            except ZapperError as error:
                log.warning("the treasury at %s: %s", treasury.url, error)
        await anyio.sleep(RECOVER_S)


async def _run_demo(
    process: MintProcess,
    treasury: Treasury,
    pool_up: Callable[[], Awaitable[None]],
    beside: Beside | None,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    task_status.started()
    await pool_up()

    async def with_mint(url: str) -> None:
        await fill(treasury, DEMO_SAT)
        log.info(
            "the demo mint is up at %s, the treasury holds %d sat of its ecash", url, (await treasury.totals()).free
        )
        if beside is not None:
            await beside(url)

    await process.run(with_mint)


async def fill(treasury: Treasury, amount: int) -> None:
    """Have a mint of play money fill the treasury up to `amount` sat, when less than half of it is left.

    Raises MintError.
    """
    await treasury.recover()
    free = (await treasury.totals()).free
    if free < amount // 2:
        await treasury.fund(amount - free)
        await treasury.recover()
