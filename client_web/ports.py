"""What the web server asks of the rest of the pool. `client_web.fakes` has a fake of each."""

from typing import Any, Protocol

from starlette.responses import Response
from starlette.websockets import WebSocket


class ReadModel(Protocol):
    """What accounting knows, as JSON-ready dicts: money in integer msat, work as decimal strings, times in ms."""

    async def pool(self) -> dict[str, Any]:
        """The pool as a whole: hashrate, miners, rewards, totals."""

    async def miner(self, pubkey_hex: str) -> dict[str, Any] | None:
        """One miner's work, earnings and payouts; None if the pool has never heard of the key."""

    async def health(self) -> dict[str, Any]:
        """`{"ok": bool, "parts": {name: ...}}`."""


class RelayGate(Protocol):
    """The door of the pool's relay on the page's own origin."""

    async def information(self) -> Response:
        """The relay's NIP-11 document, or an error response that says why there is none."""

    async def carry(self, websocket: WebSocket) -> None:
        """Join a browser's WebSocket, not yet accepted, with the relay until either side leaves."""
