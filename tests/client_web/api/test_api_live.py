"""Server-Sent Events: what is told, to how many, and who is let go."""

import json
from collections import deque
from typing import Any

import anyio
import pytest
from fastapi import FastAPI

from client_web.adapters.live import LiveFeed
from client_web.fakes import FakeReadModel

pytestmark = pytest.mark.anyio


class Reader:
    """A client of the ASGI application that reads one answer part by part."""

    def __init__(self, app: FastAPI, address: str = "198.51.100.1", reads: bool = True) -> None:
        self._app = app
        self._address = address
        self._reads = reads
        self.left = anyio.Event()
        self.ended = anyio.Event()
        self._messages: deque[dict[str, Any]] = deque()
        self._came = anyio.Event()

    async def run(self) -> None:
        scope = {
            "type": "http", "method": "GET", "path": "/api/v1/live", "raw_path": b"/api/v1/live", "query_string": b"",
            "headers": [], "client": (self._address, 1), "server": ("pool.test", 80), "scheme": "http",
            "http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"},
        }  # fmt: skip
        first = True

        async def receive() -> dict[str, Any]:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": b"", "more_body": False}
            await self.left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body" and not self._reads:
                await anyio.sleep_forever()
            self._messages.append(message)
            self._came.set()

        await self._app(scope, receive, send)
        self.ended.set()

    async def next(self) -> dict[str, Any]:
        with anyio.fail_after(5):
            while not self._messages:
                self._came = anyio.Event()
                await self._came.wait()
        return self._messages.popleft()

    async def start(self) -> dict[str, Any]:
        message = await self.next()
        assert message["type"] == "http.response.start"
        return message

    async def until(self, text: str) -> str:
        seen = ""
        while text not in seen:
            seen += (await self.next())["body"].decode()
        return seen


async def test_a_reader_is_told_the_pool_at_once_then_what_changes(app: FastAPI, model: FakeReadModel) -> None:
    reader = Reader(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.run)
        start = await reader.start()
        headers = dict(start["headers"])
        assert start["status"] == 200
        assert headers[b"content-type"] == b"text/event-stream"
        assert headers[b"access-control-allow-origin"] == b"*"
        first = await reader.until("event: pool")
        assert first.startswith("retry: ")
        assert "event: block" not in first
        await reader.until(": still here\n\n")
        (await model.pool())["height"] = 131
        assert '"height":131' in await reader.until("event: pool")
        old = model.lists["blocks"]
        model.lists["blocks"] = [{**old[0], "event": "ff" * 32, "height": 104}, *old]
        told = await reader.until("event: block")
        assert json.loads(told.split("data: ")[-1])["height"] == 104
        # A changed fate is news, a changed count of blocks to go is not.
        model.lists["blocks"] = [{**each, "blocks_to_maturity": 9} for each in model.lists["blocks"]]
        model.lists["payouts"] = [{**model.lists["payouts"][0], "proof": "refuted"}, *model.lists["payouts"][1:]]
        told = await reader.until("event: payout")
        assert "event: block" not in told
        reader.left.set()
        with anyio.fail_after(5):
            await reader.ended.wait()


async def test_readers_are_bounded_in_all_and_by_address(app: FastAPI, feed: LiveFeed) -> None:
    readers = [Reader(app), Reader(app), Reader(app, "198.51.100.2")]
    async with anyio.create_task_group() as tasks:
        for reader in readers[:2]:
            tasks.start_soon(reader.run)
            assert (await reader.start())["status"] == 200
        third = Reader(app)
        await third.run()
        refused = await third.start()
        assert refused["status"] == 429
        assert dict(refused["headers"])[b"retry-after"] == b"5"
        tasks.start_soon(readers[2].run)
        assert (await readers[2].start())["status"] == 200
        fourth = Reader(app, "198.51.100.3")
        await fourth.run()
        assert (await fourth.start())["status"] == 503
        assert feed.readers == 3
        readers[0].left.set()
        with anyio.fail_after(5):
            await readers[0].ended.wait()
        assert feed.readers == 2
        feed.close()
        with anyio.fail_after(5):
            for reader in readers[1:]:
                await reader.ended.wait()
    assert feed.readers == 0


async def test_who_does_not_read_is_let_go(app: FastAPI, feed: LiveFeed) -> None:
    reader = Reader(app, reads=False)
    with anyio.fail_after(5):
        await reader.run()
    assert feed.readers == 0


async def test_a_closed_feed_takes_nobody(app: FastAPI, feed: LiveFeed) -> None:
    feed.close()
    reader = Reader(app)
    await reader.run()
    assert (await reader.start())["status"] == 503
