"""An HTTP/1.1 server that answers as it is told to, one request a connection, in pieces if need be."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import msgspec

HUGE = 5 * 1024 * 1024
# What a server may do instead of answering; "lost": it does what it was asked to, and then not answer.
FAULTS = ("500", "garbage", "huge", "slow", "moved", "cut", "lost")
_PREIMAGE = re.compile(rb'(preimage":)"[0-9a-f]{64}"', re.IGNORECASE)
ORDERS = frozenset(("POST", path) for path in ("/v2/router/send", "/v1/xpay", "/api/v1/payments", "/payinvoice"))


@dataclass
class Asked:
    """A request. `query` and `form` have one value a name."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def json(self) -> dict:
        return msgspec.json.decode(self.body)


@dataclass
class Told:
    """An answer. `stays`: the connection stays open after it, as a stream with nothing new does."""

    status: int
    body: object
    stays: bool = False

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)


Answerer = Callable[[Asked], Awaitable[Told]]


@dataclass
class ScriptedHttp:
    """`mode`: "" as the answerer says, else one of FAULTS; if `only_orders`, only to orders to pay."""

    answerer: Answerer
    url: str = ""
    mode: str = ""
    only_orders: bool = False
    asked: list[Asked] = field(default_factory=list)

    async def answer(self, asked: Asked) -> Told | bytes:
        is_order = (asked.method, asked.path) in ORDERS
        match self.mode if is_order or not self.only_orders else "":
            case "500":
                # A server that quotes what it was sent.
                return b"HTTP/1.1 500 Oops\r\n\r\nbroken; you sent " + str(asked.headers).encode()
            case "garbage":
                return b"HTTP/1.1 200 OK\r\n\r\n{]\xff\x00"
            case "huge":
                return b'HTTP/1.1 200 OK\r\n\r\n{"a": "' + b"x" * HUGE + b'"}'
            case "slow":
                await asyncio.sleep(3600)
            case "moved":
                return b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n"
            case "cut":
                return b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
            case "lost":
                await self.answerer(asked)
                return b""
            case "lie":
                told = await self.answerer(asked)
                return Told(told.status, re.sub(_PREIMAGE, rb'\g<1>"' + b"11" * 32 + b'"', told.encoded()))
        return await self.answerer(asked)

    @staticmethod
    def wire(told: Told) -> bytes:
        head = f"HTTP/1.1 {told.status} X\r\nContent-Type: application/json\r\n"
        body = told.encoded()
        if told.stays:
            return f"{head}Transfer-Encoding: chunked\r\n\r\n{len(body) + 1:x}\r\n".encode() + body + b"\n\r\n"
        return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            parts = urlsplit(target)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            asked = Asked(method, parts.path, query, headers, body)
            self.asked.append(asked)
            told = await self.answer(asked)
            writer.write(told if isinstance(told, bytes) else self.wire(told))
            await writer.drain()
            if isinstance(told, Told) and told.stays:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serve(answerer: Answerer, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedHttp]:
    scripted = ScriptedHttp(answerer)
    tasks: set[asyncio.Task] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await scripted.handle(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    scripted.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield scripted
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
