"""What the embedded relay and its client do a second, in one process on one loop: `python -m bench.relay [events]`.

Each row is also given as a ratio to a WebSocket echo of the same frames in the same run, which travels between
machines. The relay verifies every signature and answers OK after a synced commit; the echo does nothing at all.
"""

import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import uvloop
import websockets
from websockets.legacy.client import WebSocketClientProtocol
from websockets.legacy.server import WebSocketServerProtocol

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, make_filter
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.messages import ClientEvent, encode_client_message
from relay_bridge.policy import OpenPolicy
from relay_bridge.service import EndOfStored, RelayBridge, fetch_events

KEY = SecretKey(b"\x01" * 32)
DAY = 1_700_000_000
# A receipt of ten seconds with some ten shares: 1 KB.
CONTENT = "x" * 500
READERS = 20
FAN_OUT_EVENTS = 1_000
CHAIN_EVENTS = 500


def sign(kind: int, at: int) -> VerifiedEvent:
    tags = (("a", f"34210:{KEY.pubkey}:regtest"), ("p", "ab" * 32))
    return KEY.sign(UnsignedEvent(kind, DAY + at, tags, CONTENT))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[WebSocketClientProtocol]:
    async with websockets.connect(url, compression=None, max_queue=None) as socket:
        yield socket


async def exchange(url: str, frames: list[str], *, skip: int) -> float:
    """Seconds to send all frames and hear as many answers; `skip` answers come before."""
    async with connected(url) as socket:
        for _ in range(skip):
            await socket.recv()
        started = time.perf_counter()

        async def send() -> None:
            for frame in frames:
                await socket.send(frame)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            for _ in frames:
                await socket.recv()
        return time.perf_counter() - started


async def echo(frames: list[str]) -> float:
    async def answer(socket: WebSocketServerProtocol) -> None:
        async for message in socket:
            await socket.send(message)

    async with websockets.serve(answer, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        return await exchange(f"ws://127.0.0.1:{port}", frames, skip=0)


async def fan_out(server: RelayServer, frames: list[str]) -> tuple[float, float]:
    """Seconds for all events to reach all readers, and the 99th percentile of one event's way in ms."""
    waits: list[float] = []
    sent_at: list[float] = []

    async def read(socket: WebSocketClientProtocol) -> None:
        for number in range(len(frames)):
            await socket.recv()
            waits.append(time.perf_counter() - sent_at[number])

    async with anyio.create_task_group() as sockets:
        ready = [anyio.Event() for _ in range(READERS)]

        async def reader(number: int) -> None:
            async with connected(server.url) as socket:
                await socket.send('["REQ","s",{"kinds":[7],"limit":1}]')
                while not str(await socket.recv()).startswith('["EOSE"'):
                    pass
                ready[number].set()
                await read(socket)

        for number in range(READERS):
            sockets.start_soon(reader, number)
        for event in ready:
            await event.wait()
        started = time.perf_counter()
        async with connected(server.url) as writer:
            await writer.recv()
            for frame in frames:
                sent_at.append(time.perf_counter())
                await writer.send(frame)
                await writer.recv()
    return time.perf_counter() - started, sorted(waits)[len(waits) * 99 // 100] * 1_000


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def main(count: int) -> None:
    events = [sign(1, at) for at in range(count)]
    frames = [encode_client_message(ClientEvent(event)) for event in events]
    base = count / await echo(frames)
    rows = [("echo of the same frames", base, "")]
    with tempfile.TemporaryDirectory() as folder:
        async with (
            SqliteEventStore(Path(folder) / "events.db") as store,
            RelayServer("127.0.0.1", 0, store, OpenPolicy()) as server,
        ):
            rows.append(("publishes, pipelined", count / await exchange(server.url, frames, skip=1), ""))
            live = [encode_client_message(ClientEvent(sign(7, at))) for at in range(FAN_OUT_EVENTS)]
            seconds, p99 = await fan_out(server, live)
            total = FAN_OUT_EVENTS * READERS
            rows.append((f"fan-out to {READERS} readers", total / seconds, f"p99 {p99:.1f} ms"))
            seconds = await timed(lambda: fetch_events([server.url], [make_filter(kinds=[1])], timeout_s=10))
            rows.append(("fetch_events, verified", count / seconds, ""))
            rows += await bridge_rows(Path(folder), server, count)
    print(f"{'':28} {'a second':>10} {'ratio':>6}")
    for name, rate, note in rows:
        print(f"{name:28} {rate:10,.0f} {rate / base:6.2f}  {note}")


async def bridge_rows(folder: Path, server: RelayServer, count: int) -> list[tuple[str, float, str]]:
    """The bridge: outbox to OK, chained and not, and a subscription's stored events."""
    rows = []
    async with anyio.create_task_group() as tasks:
        bridge = RelayBridge([server.url], outbox_path=folder / "outbox.db")
        await tasks.start(bridge.run)

        async def publish(events: list[VerifiedEvent], chain: str) -> None:
            await bridge.publish_many(events, chain=chain)
            if not await bridge.flush(120):
                raise RuntimeError("the relay did not take the events")

        loose, chained = [sign(2, at) for at in range(count)], [sign(8, at) for at in range(CHAIN_EVENTS)]
        rows.append(("outbox to OK, no order", count / await timed(lambda: publish(loose, "")), ""))
        rows.append(("outbox to OK, one chain", CHAIN_EVENTS / await timed(lambda: publish(chained, "c")), ""))
        started = time.perf_counter()
        async with bridge.subscribe([make_filter(kinds=[1])], name="bench") as subscription:
            async for delivered in subscription:
                if isinstance(delivered, EndOfStored):
                    break
        rows.append(("subscription, stored part", count / (time.perf_counter() - started), ""))
        tasks.cancel_scope.cancel()
    return rows


if __name__ == "__main__":
    uvloop.install()
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, backend_options={"use_uvloop": True})
