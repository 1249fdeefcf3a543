"""The web application: the page, the read API, health, NIP-05 and the relay's door.

    GET /                               the page and its files
    GET /config.json                    what the page must know of the pool
    GET /api/v1/pool                    the pool as a whole
    GET /api/v1/miners/{npub}           one miner, by npub, nprofile or hex
    GET /healthz                        200 or 503
    GET /.well-known/nostr.json         NIP-05
    GET /relay                          the relay's NIP-11 document
    WebSocket /relay                    the relay

Errors of the API are `{"error": text}` with the status that fits.
"""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI, Request, WebSocket
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from client_web.headers import SecurityHeaders
from client_web.ports import ReadModel, RelayGate
from client_web.site import RELAY_PATH, Site
from nips.errors import InvalidKey
from nips.nip19 import parse_pubkey

STATIC = Path(__file__).parent / "static"
_READ = ["GET", "HEAD"]
_PUBLIC = {"access-control-allow-origin": "*"}


def create_app(site: Site, read_model: ReadModel, relay_gate: RelayGate) -> FastAPI:
    """The ASGI application of one pool's site. It holds no state of its own."""
    app = FastAPI(
        title="noncestr",
        # The interactive documentation loads its scripts from other hosts, which the page's policy forbids.
        openapi_url=None,
        middleware=[Middleware(SecurityHeaders, relays=site.relays)],
    )
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_failure)

    async def config(request: Request) -> Response:
        return _json(request, site.config())

    async def pool(request: Request) -> Response:
        return _json(request, await read_model.pool())

    async def miner(request: Request, npub: str) -> Response:
        try:
            pubkey = parse_pubkey(npub)
        except InvalidKey as error:
            return _json(request, {"error": str(error)}, status=400)
        found = await read_model.miner(pubkey)
        if found is None:
            return _json(request, {"error": "this pool has credited no share to this key"}, status=404)
        return _json(request, found)

    async def healthz(request: Request) -> Response:
        health = await read_model.health()
        return _json(request, health, status=200 if health["ok"] else 503)

    async def nostr_json(request: Request, name: str | None = None) -> Response:
        return _json(request, site.nostr_json(name))

    async def relay_information(request: Request) -> Response:
        if "application/nostr+json" not in request.headers.get("accept", ""):
            return _json(
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
        ("/api/v1/pool", pool),
        ("/api/v1/miners/{npub}", miner),
        ("/healthz", healthz),
        ("/.well-known/nostr.json", nostr_json),
        (RELAY_PATH, relay_information),
    ):
        app.add_api_route(path, endpoint, methods=_READ, response_model=None)
    app.add_api_websocket_route(RELAY_PATH, relay)
    app.mount("/", _PageFiles(directory=STATIC, html=True), name="page")
    return app


class _PageFiles(StaticFiles):
    """The page's files; a WebSocket asked for at one of their paths is refused (403)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


def _json(
    request: Request, value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """`value` as JSON with a weak ETag of its bytes; 304 if the asker has them."""
    body = msgspec.json.encode(value)
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    answered = {**_PUBLIC, "etag": etag, **(headers or {})}
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if status == 200 and (etag in known or "*" in known):
        return Response(status_code=304, headers=answered)
    return Response(body, status_code=status, media_type="application/json", headers=answered)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """Unknown paths and methods, told in the API's own form."""
    assert isinstance(error, HTTPException)
    return _json(request, {"error": error.detail}, error.status_code, dict(error.headers or {}))


async def _on_failure(request: Request, _error: Exception) -> Response:
    """A failure of ours: the server logs it with its trace, the asker learns nothing of the inside."""
    return _json(request, {"error": "the pool could not answer this; its operator finds the reason in the log"}, 500)
