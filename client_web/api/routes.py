"""Adding a route with what it answers."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from client_web.api.fields import Error

REASONS = {
    400: "The question can't be read; `error` says why.",
    404: "There is nothing of that name.",
    429: "Asked too often; `Retry-After` says how many seconds to wait.",
    500: "The pool failed; its operator finds the reason in the log.",
}


def add(
    router: APIRouter, path: str, endpoint: Callable[..., Coroutine[Any, Any, Response]], model: Any, *errors: int
) -> None:
    """GET and HEAD of a path. Answers are JSON already: `model` is for the document, and the tests hold them to it."""
    responses: dict[int | str, dict[str, Any]] = {
        200: {"model": model, "headers": {"ETag": {"schema": {"type": "string"}}}},
        304: {"description": "As the `ETag` in `If-None-Match` says."},
        **{status: {"model": Error, "description": REASONS[status]} for status in (*errors, 429, 500)},
    }
    _get(router, path, endpoint, responses)


def add_text(
    router: APIRouter, path: str, endpoint: Callable[..., Coroutine[Any, Any, Response]], media: str, *errors: int
) -> None:
    """GET and HEAD of a path that answers with a text, not JSON."""
    responses: dict[int | str, dict[str, Any]] = {
        200: {"description": "The text.", "content": {media.partition(";")[0]: {"schema": {"type": "string"}}}},
        **{status: {"model": Error, "description": REASONS[status]} for status in (*errors, 429, 500)},
    }
    _get(router, path, endpoint, responses)


def _get(
    router: APIRouter,
    path: str,
    endpoint: Callable[..., Coroutine[Any, Any, Response]],
    responses: dict[int | str, dict[str, Any]],
) -> None:
    # Without a class of answers FastAPI would document JSON as well.
    router.add_api_route(
        path, endpoint, methods=["GET"], response_model=None, responses=responses, response_class=Response
    )
    router.add_api_route(path, endpoint, methods=["HEAD"], response_model=None, include_in_schema=False)
