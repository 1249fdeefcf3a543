"""Miners: /miners and what belongs to one."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from client_web.api import book_models, miner_models, pool_models
from client_web.api.answers import PUBLIC, Refused, answer, headless, page, read_cursor, read_key
from client_web.api.parameters import DEFAULT_PAGE, Cursor, Limit, Miner
from client_web.api.routes import add, add_text
from client_web.ports import ReadModel
from nips.nip19 import encode_npub

Spans = Annotated[
    Literal["24h", "7d", "31d", "400d"],
    Query(
        description="How far back, in hours (`400d`: days), by the hourly summaries (4221) and what came since. A"
        " miner's hours are kept for 31 days, fewer in a pool of many miners (500,000 in all)."
    ),
]
CSV = "text/csv; charset=utf-8"
# Bitcoin's first, and one that dates can still be reckoned in.
FIRST_YEAR, LAST_YEAR = 2009, 9998
Year = Annotated[int, Query(ge=FIRST_YEAR, le=LAST_YEAR, description="The year, by UTC.")]
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
        return answer(request, found, ages=True)

    async def workers(request: Request, npub: Miner) -> Response:
        """A miner's active workers."""
        return answer(request, {"items": await model.workers(await known(npub))})

    async def hashrate(request: Request, npub: Miner, span: Spans = "24h") -> Response:
        """A miner's hashrate over time."""
        return answer(request, {"span": span, "points": await model.hashrate(await known(npub), span)})

    async def rewards(request: Request, npub: Miner, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Response:
        """The rewards a miner has a part of, the newest first."""
        before = read_cursor(cursor)
        return page(request, await model.rewards(await known(npub), before, limit))

    async def payouts(request: Request, npub: Miner, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Response:
        """A miner's payouts, the newest first."""
        before = read_cursor(cursor)
        return page(request, await model.payouts(await known(npub), before, limit))

    async def taxes(request: Request, npub: Miner, year: Year) -> Response:
        """A miner's year as a table (CSV): what it earned, what was taken back, what it was paid, by date and in msat,
        each with the event, block or payout that proves it.
        """
        pubkey = await known(npub)
        headers = {**PUBLIC, "content-disposition": f'attachment; filename="{encode_npub(pubkey)}-{year}.csv"'}
        if request.method == "HEAD":
            return headless(Response(media_type=CSV, headers=headers))
        return StreamingResponse(model.taxes(pubkey, year), media_type=CSV, headers=headers)

    add(router, "/miners", miners, miner_models.Miners, 400)
    add(router, "/miners/{npub}", miner, miner_models.MinerDetail, 400, 404)
    add(router, "/miners/{npub}/workers", workers, miner_models.Workers, 400, 404)
    add(router, "/miners/{npub}/hashrate", hashrate, pool_models.Series, 400, 404)
    add(router, "/miners/{npub}/rewards", rewards, book_models.MinerRewards, 400, 404)
    add(router, "/miners/{npub}/payouts", payouts, book_models.Payouts, 400, 404)
    add_text(router, "/miners/{npub}/taxes.csv", taxes, CSV, 400, 404)
    return router
