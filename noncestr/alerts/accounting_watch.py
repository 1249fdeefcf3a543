"""The watch over a pool in parts, kept by its accounting: what the books, the relays and the treasury show there."""

from contextlib import AsyncExitStack
from pathlib import Path

from accounting.service import Accounting
from noncestr.alerts.parts import make_watch
from noncestr.books.place import ledger_place
from noncestr.books.treasury import Treasurer
from noncestr.outpost import Outpost
from noncestr.running import looping
from noncestr.web.parts import no_edge, open_read_api
from zapper.config import ZapperStatus


async def watch_pool(stack: AsyncExitStack, outpost: Outpost, accounting: Accounting, treasurer: Treasurer) -> None:
    """Watch until the stack closes. Miners' connections, the edges' disks and what keeps a payout are seen by no other
    host than theirs. Raises NoncestrError for a bad file of services.
    """
    # The zapper's own file is on its host: there is none here.
    payouts: Path = outpost.data / "payouts.sqlite"

    def zapper() -> ZapperStatus:
        return ZapperStatus(settled=len(accounting.fold.ledger.payouts))

    read_api = await open_read_api(
        stack,
        accounting,
        ledger=ledger_place(outpost.config.accounting, outpost.data),
        payouts=payouts,
        edge=None,
        bridge=outpost.bridge,
        zapper=zapper,
        relay_counts=dict,
        lanes=list,
        payability=None,
        treasury=treasurer.told,
        data=outpost.data,
    )
    watch = make_watch(
        outpost.config,
        outpost.data,
        model=read_api,
        edge=no_edge,
        zapper=zapper,
        payouts=payouts,
        clock=outpost.clock,
    )
    await stack.enter_async_context(looping(watch.run))
