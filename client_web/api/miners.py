"""Miners: /miners and what belongs to one."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from client_web.api import models
from client_web.api.answers import Refused, answer, page, read_cursor, read_key
from client_web.api.parameters import DEFAULT_PAGE, Cursor, Limit, Miner
from client_web.api.routes import add
from client_web.ports import ReadModel

Spans = Annotated[
    Literal["24h", "7d", "31d", "400d"],
    Query(
        description="How far back, in hours (`400d`: days), by the hourly summaries (4221) and what came since. A"
        " miner's hours are kept for 31 days, fewer in a pool of many miners (500,000 in all)."
    ),
]
UNKNOWN = "this pool has credited no share to this key"


def miners_router(model: ReadModel) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["miners"])

    async def known(npub: str) -> str:
        pubkey = read_key(npub)
        if not await model.knows(pubkey):
            raise Refused(404, UNKNOWN)
        return pubkey

    async def miners(request: Request, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Response:
        """Everybody who ever sent a share or has a place in the books, by key."""
        return page(request, await model.miners(read_cursor(cursor), limit))

    async def miner(request: Request, npub: Miner) -> Response:
        """One miner: hashrate, workers, shares, what is owed, pending and paid, and what a block now would bring."""
        found = await model.miner(read_key(npub))
        if found is None:
            raise Refused(404, UNKNOWN)
        return answer(request, found)

    async def workers(request: Request, npub: Miner) -> Response:
        """A miner's active workers."""
        return answer(request, {"items": await model.workers(await known(npub))})

    async def hashrate(request: Request, npub: Miner, span: Spans = "24h") -> Response:
        """A miner's hashrate over time."""
        return answer(request, {"span": span, "points": await model.hashrate(await known(npub), span)})

    async def rewards(request: Request, npub: Miner, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Response:
        """The rewards a miner has a part of, the highest block first."""
        before = read_cursor(cursor)
        return page(request, await model.rewards(await known(npub), before, limit))

    async def payouts(request: Request, npub: Miner, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Response:
        """A miner's payouts, the newest first."""
        before = read_cursor(cursor)
        return page(request, await model.payouts(await known(npub), before, limit))

    add(router, "/miners", miners, models.Miners, 400)
    add(router, "/miners/{npub}", miner, models.MinerDetail, 400, 404)
    add(router, "/miners/{npub}/workers", workers, models.Workers, 400, 404)
    add(router, "/miners/{npub}/hashrate", hashrate, models.Series, 400, 404)
    add(router, "/miners/{npub}/rewards", rewards, models.MinerRewards, 400, 404)
    add(router, "/miners/{npub}/payouts", payouts, models.Payouts, 400, 404)
    return router
