"""The API as an application of its own, mounted at /api/v1, with its OpenAPI document."""

from typing import Any, Final, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from client_web.api.answers import EVENT_STREAM, Refused, answer, headless, refusal
from client_web.api.attest import attest_router
from client_web.api.books import books_router
from client_web.api.fields import Error
from client_web.api.miners import miners_router
from client_web.api.pool import pool_router
from client_web.ports import Attestations, ReadModel

PATH: Final = "/api/v1"
_METHOD_NOT_ALLOWED: Final = 405
# What the framework says in two words.
_SAYINGS: Final = {
    "Not Found": "there is nothing here; /api/ shows what can be asked",
    "Method Not Allowed": "it is not asked in this way: Allow names the methods",
}
DESCRIPTION: Final = """What a pool's signed log says, as JSON. It is a convenience: everything here can be computed
from the log by anybody, and `noncestr verify` does.

Money is in integer millisatoshi (msat); sums of the whole pool may pass 2^53, which JavaScript's numbers round. Times
are Unix milliseconds, hashrates (hashes a second) and work (hashes) decimal strings. Errors are `{"error": text}`."""


class Live(Protocol):
    """Whoever tells readers what changes (client_web.adapters.live)."""

    def response(self, address: str) -> Response:
        """The answer to one more reader. Raises Refused."""


def create_api(
    model: ReadModel, config: dict[str, Any], live: Live, attestations: Attestations | None = None
) -> FastAPI:
    """The API of one pool; `config` is what the site says of itself."""
    api = FastAPI(
        title="noncestr",
        version="1",
        description=DESCRIPTION,
        # A route of our own below: as every answer it has an ETag and is open to other origins.
        openapi_url=None,
        # The usual pages load their scripts from other hosts; ours is static/api/.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": PATH}],
        root_path_in_servers=False,
    )
    api.add_exception_handler(HTTPException, on_http_error)
    api.add_exception_handler(RequestValidationError, _on_bad_question)
    api.add_exception_handler(Refused, _on_refused)
    api.add_exception_handler(Exception, on_failure)
    routers = (pool_router(model, config), miners_router(model), books_router(model), attest_router(attestations))
    for router in routers:
        api.include_router(router)

    async def tell(request: Request) -> Response:
        """Server-Sent Events, for as long as the asker reads: `pool` (hashrate, miners, effort, height) at once and on
        change, then `block`, `statement` and `payout` as they come or their fate changes; comments in between.
        """
        if request.method == "HEAD":
            return headless(Response(headers=EVENT_STREAM))
        return live.response(request.state.address)

    api.add_api_route(
        "/live",
        tell,
        methods=["GET"],
        tags=["live"],
        response_model=None,
        responses={
            200: {"description": "The events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            429: {"model": Error, "description": "Too many readers of this address."},
            503: {"model": Error, "description": "Too many readers."},
        },
    )
    api.add_api_route("/live", tell, methods=["HEAD"], response_model=None, include_in_schema=False)
    document = _without_422(api.openapi())

    async def openapi(request: Request) -> Response:
        return answer(request, document)

    api.add_api_route("/openapi.json", openapi, methods=["GET", "HEAD"], response_model=None, include_in_schema=False)
    return api


def _without_422(document: dict[str, Any]) -> dict[str, Any]:
    """Questions that can't be read are answered 400, in the API's own form."""
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(name, None)
    return document


async def on_http_error(request: Request, error: Exception) -> Response:
    """Unknown paths and methods, told in the API's own form."""
    assert isinstance(error, HTTPException)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == _METHOD_NOT_ALLOWED:
        # A path has a route a method, and names that of the first; HEAD goes wherever GET does.
        allowed = headers.get("allow", "GET")
        headers["allow"] = "GET, HEAD" if "GET" in allowed else allowed
    return refusal(request, _SAYINGS.get(error.detail, error.detail), error.status_code, headers)


async def on_failure(request: Request, _error: Exception) -> Response:
    """A failure of ours: the server logs it with its trace, the asker learns nothing of the inside."""
    return refusal(request, "the pool could not answer this; its operator finds the reason in the log", 500)


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    headers = {"retry-after": str(error.retry_s)} if error.retry_s else {}
    return refusal(request, error.reason, error.status, headers)


async def _on_bad_question(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
    return refusal(request, told, 400)
