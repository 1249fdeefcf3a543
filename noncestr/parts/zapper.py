"""`noncestr zapper run`: the zapper of a pool on a host of its own. What is owed it reads from the log, as anybody can.

It folds the log with the accounting's own code, signing none of it: so the accounting's host, which signs statements,
can not have it pay what the shares do not bear out. It also tells miners what they asked to be told: of all parts it
alone can read the private parts of their settings.
"""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import anyio.lowlevel

from nips.pool.address import PoolAddress
from noncestr.addresses import Bound, free_port
from noncestr.alerts.part_watch import watch_part
from noncestr.books.lone import open_books
from noncestr.books.settings_follower import SettingsFollower
from noncestr.books.treasury import Treasurer
from noncestr.books.treasury_parts import open_part_funds, start_part_treasury
from noncestr.config.sections import Config
from noncestr.edge.control import CONTROL, serve_services
from noncestr.errors import NoncestrError
from noncestr.feed import BridgeFeed
from noncestr.garbage import calm, collect_calmly
from noncestr.keys.files import load_or_create
from noncestr.lifetime import run_until_signal
from noncestr.notices.parts import make_lone_notifier
from noncestr.outpost import Outpost, Say, Stopped
from noncestr.parts.accounting import no_reload
from noncestr.payouts.ecash import ecash_payouts
from noncestr.payouts.wiring import open_payouts, pays
from noncestr.places import LOOPBACK
from noncestr.running import looping, only_one, running


class LoneZapper:
    """The zapper in a data folder of its own. `users`: on regtest, names at the demo wallet and their keys (hex)."""

    def __init__(
        self,
        config: Config,
        data: Path,
        *,
        pool: PoolAddress,
        relays: tuple[str, ...],
        users: Mapping[str, str],
        say: Say,
    ) -> None:
        """Raises NoncestrError when there is no wallet to pay from."""
        if not pays(config, pool.network):
            raise NoncestrError("[payouts] backend names no wallet that `noncestr zapper run` can pay from")
        self._config = config
        self._data = data
        self._users = users
        self._outpost = Outpost(config, data, pool=pool, relays=relays, role="zapper", say=say)

    async def run(self, stopped: Stopped) -> None:
        """Pay until `stopped` returns. Raises NoncestrError when the terms leave our key out."""
        await self._outpost.serve_while_named(stopped, self._serve)

    async def _serve(self, stack: AsyncExitStack) -> None:
        calm()
        await stack.enter_async_context(looping(collect_calmly))
        await stack.enter_async_context(looping(self._pay_by_the_books))

    async def _pay_by_the_books(self) -> None:
        """Pay by the books of the accounting that the terms name, and by another's when they name another."""
        lightning = free_port(LOOPBACK, self._config.demo.lightning_port)
        if self._config.payouts.backend != "demo":
            lightning.let_go()
        while True:
            accounting = await self._outpost.accounting_key()
            async with AsyncExitStack() as stack:
                await self._pay(stack, accounting, lightning)
                await self._outpost.until_other_accounting(accounting)

    async def _pay(self, stack: AsyncExitStack, accounting: str, lightning: Bound) -> None:
        outpost = self._outpost
        assert outpost.key is not None
        settings = SettingsFollower(self._data, outpost.pool.pubkey, outpost.feed, outpost.clock.now_ms)
        await stack.enter_async_context(running(settings.run))
        books = await open_books(stack, self._data, outpost.pool, accounting, outpost.feed, settings=settings)
        ecash = await stack.enter_async_context(
            ecash_payouts(
                config=self._config,
                data=self._data,
                key=outpost.key,
                feed=BridgeFeed(outpost.bridge),
                relays=outpost.relays,
                clock=outpost.clock.now_ms,
                pool_up=anyio.lowlevel.checkpoint,
            )
        )
        payouts = await stack.enter_async_context(
            open_payouts(
                config=self._config,
                data=self._data,
                signer=outpost.key,
                wallet_key=load_or_create(self._data / "keys", "wallet"),
                pool=outpost.pool,
                lightning=lightning,
                relays=outpost.relays,
                bridge=outpost.bridge,
                accounting=books,
                users=self._users,
                clock=outpost.clock,
                ecash=ecash,
            )
        )
        held = await open_part_funds(stack, self._config, "zapper", outpost.say)
        treasurer = Treasurer(outpost.clock.now_ms)
        await start_part_treasury(stack, treasurer, (*payouts.funds, *held), outpost, books, reports=True)
        notifier = await make_lone_notifier(stack, outpost, books, accounting, settings, payouts.store)
        await stack.enter_async_context(running(notifier.run))
        await watch_part(
            stack,
            "zapper",
            self._config,
            self._data,
            outpost.bridge,
            outpost.clock,
            zapper=lambda: payouts.zapper.status,
        )
        if self._config.edge.control:
            services = {
                "treasury": treasurer.told,
                **payouts.desk(outpost.clock.now_ms).services(),
                **payouts.psbts().services(),
            }
            await stack.enter_async_context(running(partial(serve_services, self._data / CONTROL, services)))
        if self._config.payouts.backend == "demo":
            outpost.say(f"demo wallet: {lightning.host}:{lightning.port}")
        outpost.say("zapper: it reads the log and pays what is owed")


async def run_zapper(
    config: Config,
    data: Path,
    *,
    pool: PoolAddress,
    relays: tuple[str, ...],
    users: Mapping[str, str],
    say: Say,
    reread: Callable[[], Config],
) -> None:
    """Run until SIGINT or SIGTERM. Raises NoncestrError, also when the terms leave its key out."""
    with only_one(data):
        zapper = LoneZapper(config, data, pool=pool, relays=relays, users=users, say=say)
        await run_until_signal(zapper.run, no_reload, reread)
