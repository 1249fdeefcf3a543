"""Fakes of the ports: a pool of fixed answers and a relay gate that echoes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from client_web.ports import Place


class FakePage(NamedTuple):
    """A page of what was given."""

    items: Sequence[dict[str, Any]]
    next: Place | None = None


class FakeReadModel:
    """Answers what it was given. `healthy` may be changed while it serves."""

    def __init__(self, pool: dict[str, Any] | None = None, miners: Mapping[str, dict[str, Any]] | None = None) -> None:
        self._pool = {"hashrate": 0, "miners": 0} if pool is None else pool
        self._miners = dict(miners or {})
        self.healthy = True
        # By noun; a page's cursor counts entries from the front.
        self.lists: dict[str, Sequence[dict[str, Any]]] = {}
        self.terms_in_force: dict[str, Any] | None = None
        self.stock: dict[str, Any] | None = None

    def _list(self, noun: str) -> Sequence[dict[str, Any]]:
        return self.lists.get(noun, ())

    def _page(self, noun: str, before: Place | None, limit: int) -> FakePage:
        start = 0 if before is None else before[0]
        items = self._list(noun)[start : start + limit]
        end = start + len(items)
        return FakePage(items, (end, "0" * 64) if end < len(self._list(noun)) else None)

    async def pool(self) -> dict[str, Any]:
        return self._pool

    async def miner(self, pubkey_hex: str) -> dict[str, Any] | None:
        return self._miners.get(pubkey_hex)

    async def knows(self, pubkey_hex: str) -> bool:
        return pubkey_hex in self._miners

    async def hashrate(self, pubkey_hex: str | None, span: str) -> Sequence[dict[str, Any]]:
        return self._list(f"hashrate {span}" if pubkey_hex is None else f"miner hashrate {span}")

    async def miners(self, before: Place | None, limit: int) -> FakePage:
        return self._page("miners", before, limit)

    async def workers(self, pubkey_hex: str) -> Sequence[dict[str, Any]]:
        return self._list(f"workers {pubkey_hex}")

    async def blocks(self, before: Place | None, limit: int) -> FakePage:
        return self._page("blocks", before, limit)

    async def rewards(self, pubkey_hex: str | None, before: Place | None, limit: int) -> FakePage:
        return self._page("rewards" if pubkey_hex is None else "miner rewards", before, limit)

    async def payouts(self, pubkey_hex: str | None, before: Place | None, limit: int) -> FakePage:
        return self._page("payouts" if pubkey_hex is None else "miner payouts", before, limit)

    async def statements(self, before: Place | None, limit: int) -> FakePage:
        return self._page("statements", before, limit)

    async def statement(self, name: str) -> dict[str, Any] | None:
        return next(
            (each for each in self.lists.get("statement", ()) if name in (str(each["seq"]), each["event"])), None
        )

    async def terms(self) -> dict[str, Any] | None:
        return self.terms_in_force

    async def treasury(self) -> dict[str, Any] | None:
        return self.stock

    async def balances(self) -> Sequence[dict[str, Any]]:
        return self._list("balances")

    async def totals(self) -> Sequence[dict[str, Any]]:
        return self._list("totals")

    async def taxes(self, pubkey_hex: str, year: int) -> AsyncIterator[str]:
        yield "time,type,msat\r\n"
        for row in self._list(f"taxes {pubkey_hex} {year}"):
            yield f"{row['time']},{row['type']},{row['msat']}\r\n"

    async def live(self) -> dict[str, Any]:
        lists = {name: [*self._list(name)] for name in ("blocks", "statements", "payouts")}
        return {"pool": dict(self._pool), **lists}

    async def metrics(self) -> str:
        return "# EOF\n"

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
