"""The books' lists: /blocks, /rewards, /payouts, /statements."""

import re
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from client_web.api import book_models
from client_web.api.answers import Refused, answer, page, read_cursor
from client_web.api.parameters import DEFAULT_PAGE, Cursor, Limit
from client_web.api.routes import add
from client_web.ports import ReadModel

# A number of the accounting's chain, or an event's id.
STATEMENT = r"^(0|[1-9][0-9]{0,14}|[0-9a-fA-F]{64})$"
Seq = Annotated[
    str,
    Path(
        description="A statement's number in its chain, or its event's id. Where a pool had several accounting keys a"
        " number means the newest statement of that number.",
        json_schema_extra={"pattern": STATEMENT},
    ),
]


def books_router(model: ReadModel) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["books"])

    async def blocks(request: Request, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Response:
        """The pool's blocks, the highest first: finder, effort, luck, and when their rewards mature."""
        return page(request, await model.blocks(read_cursor(cursor), limit))

    async def rewards(request: Request, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Response:
        """The rewards that were split, of blocks and of periods, the newest first."""
        return page(request, await model.rewards(None, read_cursor(cursor), limit))

    async def payouts(request: Request, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Response:
        """Everybody's payouts, the newest first."""
        return page(request, await model.payouts(None, read_cursor(cursor), limit))

    async def statements(request: Request, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Response:
        """The statements, the newest first, without their rows."""
        return page(request, await model.statements(read_cursor(cursor), limit))

    async def statement(request: Request, seq: Seq) -> Response:
        """A statement with every miner's row."""
        if not re.fullmatch(STATEMENT, seq):
            raise Refused(400, "a statement is asked for by its number or its id")
        found = await model.statement(seq.lower())
        if found is None:
            raise Refused(404, "there is no statement of that number or id")
        return answer(request, found)

    add(router, "/blocks", blocks, book_models.Blocks, 400)
    add(router, "/rewards", rewards, book_models.Rewards, 400)
    add(router, "/payouts", payouts, book_models.Payouts, 400)
    add(router, "/statements", statements, book_models.Statements, 400)
    add(router, "/statements/{seq}", statement, book_models.StatementDetail, 400, 404)
    return router
