"""`noncestr web run`: the page and the read API of a pool on a host of its own, out of books it folds itself.

It has no key. What only the edges' or the zapper's own processes know (connections, why a payout waits) it can't show.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from client_web.adapters.relay_proxy import RelayProxy
from client_web.site import RELAY_PATH, Site
from nips.nip05 import ROOT
from nips.pool.address import PoolAddress
from noncestr.addresses import free_port
from noncestr.books.attestations import WebAttestations
from noncestr.books.lone import books_path, open_books
from noncestr.books.settings_follower import SettingsFollower
from noncestr.books.treasury import Treasurer
from noncestr.books.treasury_parts import start_part_treasury
from noncestr.config.sections import Config
from noncestr.garbage import calm, collect_calmly
from noncestr.lifetime import run_until_signal
from noncestr.outpost import Outpost, Say, Stopped
from noncestr.parts.accounting import no_reload
from noncestr.payouts.payability import RelayPayability
from noncestr.places import ANYWHERE, reachable
from noncestr.running import first_of, looping, only_one, running
from noncestr.terms.promises import REGTEST
from noncestr.web.parts import open_read_api, start_web
from zapper.config import ZapperStatus


class LoneWeb:
    """The page in a data folder of its own. `stratum`: what a miner enters."""

    def __init__(
        self,
        config: Config,
        data: Path,
        *,
        pool: PoolAddress,
        relays: tuple[str, ...],
        stratum: str,
        lan: bool,
        say: Say,
    ) -> None:
        self._config = config
        self._data = data
        self._stratum = stratum
        self._outpost = Outpost(config, data, pool=pool, relays=relays, role="", say=say)
        self._place = free_port(ANYWHERE if lan else config.web.host, config.web.port)

    async def run(self, stopped: Stopped) -> None:
        """Serve until `stopped` returns."""
        async with self._outpost.reached():
            await first_of(stopped, self._serve_by_the_books)
            self._outpost.say("stopping ...")

    async def _serve_by_the_books(self) -> None:
        while True:
            accounting = await self._outpost.accounting_key()
            async with AsyncExitStack() as stack:
                await self._serve(stack, accounting)
                await self._outpost.until_other_accounting(accounting)

    async def _serve(self, stack: AsyncExitStack, accounting: str) -> None:
        outpost, pool = self._outpost, self._outpost.pool
        settings = SettingsFollower(self._data, pool.pubkey, outpost.feed, outpost.clock.now_ms)
        await stack.enter_async_context(running(settings.run))
        books = await open_books(stack, self._data, pool, accounting, outpost.feed, settings=settings)
        treasurer = Treasurer(outpost.clock.now_ms)
        await start_part_treasury(stack, treasurer, (), outpost, books)
        api = await open_read_api(
            stack,
            books,
            ledger=books_path(self._data, accounting),
            # There is none: this host pays nobody.
            payouts=self._data / "payouts.sqlite",
            edge=None,
            bridge=outpost.bridge,
            zapper=ZapperStatus,
            relay_counts=dict,
            lanes=list,
            payability=RelayPayability(
                outpost.bridge, outpost.relays, outpost.clock.now_ms, allow_http_loopback=pool.network == REGTEST
            ),
            treasury=treasurer.told,
            data=self._data,
        )
        attestations = WebAttestations(pool, outpost.bridge, api.knows, outpost.clock.now_ms)
        relay = RelayProxy(outpost.relays[0])
        await start_web(stack, self._site(), api, relay, self._config.web, self._place, attestations)
        calm()
        await stack.enter_async_context(looping(collect_calmly))
        outpost.say(f"web: http://{reachable(self._place.host)}:{self._place.port}")

    def _site(self) -> Site:
        outpost = self._outpost
        edges, accounting, zappers = (tuple(sorted(outpost.keys(role))) for role in ("edge", "accounting", "zapper"))
        named = [("edge", edges), ("accounting", accounting), ("zapper", zappers)]
        keys = {
            name if number == 1 else f"{name}{number}": key
            for name, found in named
            for number, key in enumerate(found, 1)
        }
        return Site(
            pool=outpost.pool.pubkey,
            network=outpost.pool.network,
            stratum_url=self._stratum,
            edges=edges,
            accounting=accounting,
            zappers=zappers,
            relays=(RELAY_PATH,),
            names={ROOT: outpost.pool.pubkey, "pool": outpost.pool.pubkey, **keys},
            name_relays=outpost.relays,
        )


async def run_web(
    config: Config,
    data: Path,
    *,
    pool: PoolAddress,
    relays: tuple[str, ...],
    stratum: str,
    lan: bool,
    say: Say,
    reread: Callable[[], Config],
) -> None:
    """Run until SIGINT or SIGTERM. Raises NoncestrError."""
    with only_one(data):
        web = LoneWeb(config, data, pool=pool, relays=relays, stratum=stratum, lan=lan, say=say)
        await run_until_signal(web.run, no_reload, reread)
