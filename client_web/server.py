"""The web application: the page, the read API, health, NIP-05 and the relay's door.

    GET /                               the page and its files
    GET /config.json                    what the page must know of the pool
    GET /api/                           the API's questions and answers, to read and to try
    GET /api/v1/...                     the read API (client_web.api), /api/v1/openapi.json its document
    GET /healthz                        200 or 503
    GET /metrics                        OpenMetrics
    GET /.well-known/nostr.json         NIP-05
    GET /relay                          the relay's NIP-11 document
    WebSocket /relay                    the relay

Errors of the API are `{"error": text}` with the status that fits.
"""

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, Request, WebSocket
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from client_web.adapters.live import LiveFeed, now_ms
from client_web.api.answers import PUBLIC, answer
from client_web.api.application import PATH, create_api, on_failure, on_http_error
from client_web.api.limits import ApiGate
from client_web.askers import Askers
from client_web.doors import Doors
from client_web.headers import SecurityHeaders
from client_web.ports import Attestations, ReadModel, RelayGate
from client_web.site import RELAY_PATH, Site

STATIC = Path(__file__).parent / "static"
_READ = ["GET", "HEAD"]
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def create_app(
    site: Site,
    read_model: ReadModel,
    relay_gate: RelayGate,
    *,
    live: LiveFeed | None = None,
    doors: Doors | None = None,
    clock_ms: Callable[[], int] = now_ms,
    attestations: Attestations | None = None,
) -> FastAPI:
    """The ASGI application of one pool's site. `live` is closed by whoever gave it; `doors`: who may hold how many
    connections, and whose X-Forwarded-For tells who asks; `clock_ms`: what the API's limits go by.
    """
    doors = Doors() if doors is None else doors
    app = FastAPI(
        title="noncestr",
        openapi_url=None,
        middleware=[
            Middleware(SecurityHeaders, relays=site.relays),
            Middleware(Askers, doors=doors),
            Middleware(ApiGate, now_ms=clock_ms, refused=doors.tally.refused),
        ],
    )
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_failure)

    async def config(request: Request) -> Response:
        return answer(request, site.config())

    async def healthz(request: Request) -> Response:
        health = await read_model.health()
        return answer(request, health, status=200 if health["ok"] else 503)

    async def metrics(_request: Request) -> Response:
        return Response(await read_model.metrics(), media_type=OPENMETRICS, headers=PUBLIC)

    async def nostr_json(request: Request, name: str | None = None) -> Response:
        return answer(request, site.nostr_json(name))

    async def relay_information(request: Request) -> Response:
        if "application/nostr+json" not in request.headers.get("accept", ""):
            return answer(
                request,
                {"error": "this is a Nostr relay: open it as a WebSocket, or ask with Accept: application/nostr+json"},
                status=426,
                headers={"upgrade": "websocket", "connection": "upgrade"},
            )
        return await relay_gate.information()

    async def relay(websocket: WebSocket) -> None:
        await relay_gate.carry(websocket)

    for path, endpoint in (
        ("/config.json", config),
        ("/healthz", healthz),
        ("/metrics", metrics),
        ("/.well-known/nostr.json", nostr_json),
        (RELAY_PATH, relay_information),
    ):
        app.add_api_route(path, endpoint, methods=_READ, response_model=None)
    app.add_api_websocket_route(RELAY_PATH, relay)
    app.mount(PATH, create_api(read_model, site.config(), live or LiveFeed(read_model), attestations), name="api")
    app.mount("/", _PageFiles(directory=STATIC, html=True), name="page")
    return app


class _PageFiles(StaticFiles):
    """The page's files; a WebSocket asked for at one of their paths is refused (403)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        await super().__call__(scope, receive, send)
