"""Server-Sent Events: what changes, told as it does, to a bounded number of readers who keep up."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import anyio
import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from client_web.api.answers import EVENT_STREAM, Refused
from client_web.ports import ReadModel

# The books take in batches every few seconds: looking more often would find nothing new.
LOOK_S: Final = 2.0
# Proxies close a connection on which nothing comes for 30 s or 60 s.
HEARTBEAT_S: Final = 15.0
# Whoever does not take a few hundred bytes within this time is let go.
SEND_S: Final = 10.0
# Who has not taken its answer's end by then when the server stops does not get it: all parts stop within some seconds.
CLOSE_S: Final = 1.0
# Each holds a connection of the 512 that the server takes, and costs a look at what changed.
MAX_READERS: Final = 128
# Some pages of one household.
MAX_READERS_PER_ADDRESS: Final = 8
# What a browser waits before it comes again.
RETRY_MS: Final = 5_000
_LISTS: Final = {"blocks": "block", "statements": "statement", "payouts": "payout"}
# What of an entry, once told, is worth telling again when it changes.
_FATE: Final = ("status", "proof")


def now_ms() -> int:
    """Milliseconds of a clock that only goes on."""
    return time.monotonic_ns() // 1_000_000


def _name(entry: dict[str, Any]) -> str:
    return str(entry.get("event") or entry.get("statement"))


def _event(name: str, value: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(value) + b"\n\n"


class _Told:
    """What one reader has been told."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._fates: dict[str, dict[str, Any]] | None = None

    def news(self, live: dict[str, Any]) -> Iterator[bytes]:
        """What it has not been told of; entries of before its coming are known to it, by the lists."""
        if live["pool"] != self._pool:
            self._pool = live["pool"]
            yield _event("pool", self._pool)
        known, fates = self._fates, {}
        for plural, single in _LISTS.items():
            fates[plural] = {_name(entry): [entry.get(field) for field in _FATE] for entry in live[plural]}
            if known is not None:
                for entry in reversed(live[plural]):
                    if known[plural].get(_name(entry)) != fates[plural][_name(entry)]:
                        yield _event(single, entry)
        self._fates = fates


class LiveFeed:
    """The readers of one pool. They share one look at the books every `LOOK_S`."""

    def __init__(
        self,
        model: ReadModel,
        *,
        look_s: float = LOOK_S,
        heartbeat_s: float = HEARTBEAT_S,
        send_s: float = SEND_S,
        max_readers: int = MAX_READERS,
        max_per_address: int = MAX_READERS_PER_ADDRESS,
    ) -> None:
        self._model = model
        self._look_s, self._heartbeat_s, self._send_s = look_s, heartbeat_s, send_s
        self._max_readers, self._max_per_address = max_readers, max_per_address
        self._readers: Counter[str] = Counter()
        self._closing = anyio.Event()
        self._looked_ms = 0
        self._seen: dict[str, Any] | None = None
        self._looking = anyio.Lock()

    @property
    def readers(self) -> int:
        """How many read now."""
        return self._readers.total()

    def close(self) -> None:
        """End every reader's answer: the server is about to stop."""
        self._closing.set()

    def response(self, address: str) -> Response:
        """The answer to one more reader. Raises Refused when there are too many."""
        if self.readers >= self._max_readers or self._closing.is_set():
            raise Refused(503, "too many readers; come again later", RETRY_MS // 1000)
        if self._readers[address] >= self._max_per_address:
            raise Refused(429, "too many readers of this address", RETRY_MS // 1000)
        return _LiveResponse(self, address)

    async def look(self) -> dict[str, Any]:
        """What there is, at most `LOOK_S` old."""
        async with self._looking:
            now = now_ms()
            if self._seen is None or now - self._looked_ms >= self._look_s * 1000:
                self._seen, self._looked_ms = await self._model.live(), now
            return self._seen

    async def serve(self, address: str, receive: Receive, send: Send, drop: Callable[[], object] | None = None) -> None:
        """Tell one reader until it leaves, falls behind or the server stops. `drop` lets go of a connection that takes
        nothing any more, not even the answer's end.
        """
        self._readers[address] += 1
        try:
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    tasks.cancel_scope.cancel()

                async def end() -> None:
                    await self._closing.wait()
                    await anyio.sleep(CLOSE_S)
                    if drop is not None:
                        drop()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                tasks.start_soon(end)
                if not await self._tell(send) and drop is not None:
                    drop()
                    with anyio.move_on_after(self._send_s):
                        # Until it is gone, which is at once.
                        await anyio.sleep_forever()
                tasks.cancel_scope.cancel()
        finally:
            self._readers[address] -= 1
            if not self._readers[address]:
                del self._readers[address]

    async def _tell(self, send: Send) -> bool:
        """Whether the reader took all that it was told, the end included."""
        headers = [(name.encode(), value.encode()) for name, value in EVENT_STREAM.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        told, quiet_since = _Told(), now_ms()
        pending = b"retry: %d\n\n" % RETRY_MS
        while True:
            pending += b"".join(told.news(await self.look()))
            if not pending and now_ms() - quiet_since >= self._heartbeat_s * 1000:
                pending = b": still here\n\n"
            if pending:
                if not await self._send(send, pending, more=True):
                    return False
                pending, quiet_since = b"", now_ms()
            with anyio.move_on_after(self._look_s):
                await self._closing.wait()
            if self._closing.is_set():
                return await self._send(send, b"", more=False)

    async def _send(self, send: Send, body: bytes, *, more: bool) -> bool:
        with anyio.move_on_after(self._send_s) as patience:
            await send({"type": "http.response.body", "body": body, "more_body": more})
        return not patience.cancelled_caught


class _LiveResponse(Response):
    def __init__(self, feed: LiveFeed, address: str) -> None:
        super().__init__()
        self._feed = feed
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._feed.serve(self._address, receive, send, scope.get("state", {}).get("drop"))
