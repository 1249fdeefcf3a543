"""Fakes of the ports: a pool of fixed answers and a relay gate that echoes."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket


class FakeReadModel:
    """Answers what it was given. `healthy` may be changed while it serves."""

    def __init__(self, pool: dict[str, Any] | None = None, miners: Mapping[str, dict[str, Any]] | None = None) -> None:
        self._pool = {"hashrate": 0, "miners": 0} if pool is None else pool
        self._miners = dict(miners or {})
        self.healthy = True

    async def pool(self) -> dict[str, Any]:
        return self._pool

    async def miner(self, pubkey_hex: str) -> dict[str, Any] | None:
        return self._miners.get(pubkey_hex)

    async def health(self) -> dict[str, Any]:
        return {"ok": self.healthy, "parts": {"relay": "up" if self.healthy else "down"}}


class FakeRelayGate:
    """A gate with no relay behind it: it sends every text back."""

    async def information(self) -> Response:
        return JSONResponse({"name": "fake relay"}, media_type="application/nostr+json")

    async def carry(self, websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)
