"""Who asks, for whatever follows: by its own connection, or as a reverse proxy of ours tells it."""

from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from client_web.api.limits import address_of, is_within
from client_web.doors import Doors


def asker_of(scope: Scope) -> str:
    """Who asks, as `Askers` noted it; without it the peer."""
    noted: dict[str, Any] = scope.get("state", {})
    client = scope.get("client")
    return str(noted.get("address") or (client[0] if client else ""))


class Askers:
    """Notes who asks in the scope's state, and bounds what a proxy brings from one address at once."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        client, proxies = scope.get("client"), self._doors.proxies
        peer = client[0] if client else ""
        forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for")) if proxies else ""
        address = address_of(peer, forwarded, proxies)
        scope["state"] = {**scope.get("state", {}), "address": address}
        # Who came by a connection of its own was counted when it was made; a proxy asks for itself as it likes.
        if not is_within(peer, proxies) or address == address_of(peer, "", ()):
            await self._app(scope, receive, send)
            return
        refusal = self._doors.admit(address)
        if refusal is None:
            try:
                await self._app(scope, receive, send)
            finally:
                self._doors.dismiss(address)
            return
        answer = Response(refusal.body(), refusal.status, refusal.headers())
        if scope["type"] == "http":
            await answer(scope, receive, send)
        else:
            await WebSocket(scope, receive, send).send_denial_response(answer)
