"""`noncestr accounting run`: the accounting of a pool on a host of its own. It shares nothing with it but relays."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NoReturn

from accounting.service import Accounting, AccountingConfig
from nips.pool.address import PoolAddress
from noncestr.alerts.accounting_watch import watch_pool
from noncestr.books.place import LEDGER, find_database
from noncestr.books.settings_follower import SettingsFollower
from noncestr.books.treasury import Treasurer
from noncestr.books.treasury_parts import open_part_funds, start_part_treasury
from noncestr.config.sections import Config
from noncestr.edge.control import CONTROL, serve_services
from noncestr.errors import NoncestrError
from noncestr.garbage import calm, collect_calmly
from noncestr.joints import ChainHeights
from noncestr.lifetime import run_until_signal
from noncestr.outpost import Outpost, Say, reach_chain
from noncestr.running import looping, only_one, running


async def no_reload(_config: Config) -> NoReturn:
    """What SIGHUP does to a part that reads its configuration once. Raises NoncestrError."""
    raise NoncestrError("this process reads its configuration at its start: restart it")


async def run_accounting(
    config: Config,
    data: Path,
    *,
    pool: PoolAddress,
    relays: tuple[str, ...],
    chain_of: Path | None,
    say: Say,
    reread: Callable[[], Config],
) -> None:
    """Run until SIGINT or SIGTERM. Raises NoncestrError, also when the terms leave its key out."""
    outpost = Outpost(config, data, pool=pool, relays=relays, role="accounting", say=say)

    async def serve(stack: AsyncExitStack) -> None:
        assert outpost.signer is not None
        treasurer = Treasurer(outpost.clock.now_ms)
        settings = SettingsFollower(data, pool.pubkey, outpost.feed, outpost.clock.now_ms)
        await stack.enter_async_context(running(settings.run))
        accounting = Accounting(
            pool=pool,
            signer=outpost.signer,
            feed=outpost.feed,
            chain=ChainHeights(await stack.enter_async_context(reach_chain(config, data, pool, chain_of))),
            store_path=data / LEDGER,
            database=find_database(config.accounting),
            clock=outpost.clock,
            config=AccountingConfig(),
            settings=settings,
            treasury=treasurer.summary,
        )
        settings.serve(accounting.knows, accounting.heed_settings)
        await stack.enter_async_context(running(accounting.run))
        funds = await open_part_funds(stack, config, "accounting", say)
        await start_part_treasury(stack, treasurer, funds, outpost, accounting, reports=bool(funds))
        await watch_pool(stack, outpost, accounting, treasurer)
        if config.edge.control:
            services = {"treasury": treasurer.told}
            await stack.enter_async_context(running(partial(serve_services, data / CONTROL, services)))
        calm()
        await stack.enter_async_context(looping(collect_calmly))
        say("accounting: it reads the log and signs statements")

    async def run(stopped: Callable[[], Awaitable[None]]) -> None:
        await outpost.serve_while_named(stopped, serve)

    with only_one(data):
        await run_until_signal(run, no_reload, reread)
