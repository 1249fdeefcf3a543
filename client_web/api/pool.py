"""The pool as a whole: /pool, /terms, /config, and the flat lists /balance and /total."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from client_web.api import pool_models
from client_web.api.answers import Refused, answer
from client_web.api.routes import add
from client_web.ports import ReadModel

Spans = Annotated[
    Literal["1h", "24h", "7d", "31d", "400d"],
    Query(
        description="How far back: `1h` in half minutes by the shares' own times, `24h`, `7d` and `31d` in hours,"
        " `400d` in days by the hourly summaries (4221), with the time since the last one as the newest point. It"
        " begins where the summaries do."
    ),
]


def pool_router(model: ReadModel, config: dict[str, Any]) -> APIRouter:
    """The routes; `config` is what the site says of the pool."""
    router = APIRouter(tags=["pool"])

    async def pool(request: Request) -> Response:
        """The pool now: hashrate, miners, effort and luck, totals, the newest blocks, statements and payouts."""
        return answer(request, await model.pool(), ages=True)

    async def hashrate(request: Request, span: Spans = "24h") -> Response:
        """The pool's hashrate over time."""
        return answer(request, {"span": span, "points": await model.hashrate(None, span)})

    async def terms(request: Request) -> Response:
        """The terms in force."""
        found = await model.terms()
        if found is None:
            raise Refused(404, "the pool has no terms yet")
        return answer(request, found)

    async def treasury(request: Request) -> Response:
        """What the pool owes its miners beside what its wallets say they hold: the pool's word, told every hour in its
        summaries (4221), too.
        """
        found = await model.treasury()
        if found is None:
            raise Refused(404, "the books are not read whole yet")
        return answer(request, found, ages=True)

    async def public_config(request: Request) -> Response:
        """Keys, relays and the Stratum URL."""
        return answer(request, config)

    async def balance(request: Request) -> Response:
        """What is owed and pending, one row a miner, the most first; at most 20,000 rows."""
        return answer(request, await model.balances())

    async def total(request: Request) -> Response:
        """What was earned and paid, ever, one row a miner, the most first; at most 20,000 rows."""
        return answer(request, await model.totals())

    add(router, "/pool", pool, pool_models.Pool)
    add(router, "/pool/hashrate", hashrate, pool_models.Series, 400)
    add(router, "/terms", terms, pool_models.Terms, 404)
    add(router, "/treasury", treasury, pool_models.Treasury, 404)
    add(router, "/config", public_config, pool_models.Config)
    add(router, "/balance", balance, list[pool_models.Owed])
    add(router, "/total", total, list[pool_models.Earned])
    return router
