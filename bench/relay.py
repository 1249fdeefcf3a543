"""What the embedded relay and its client do a second, in one process on one loop: `python -m bench.relay [events]`.

Each row is also given as a ratio to a WebSocket echo of the same frames in the same run, which travels between
machines. The relay verifies every signature and answers OK after a synced commit; the echo does nothing at all.
"Publish to delivery" is the way of one event: an outbox (synced), the relay (verified, synced), another bridge's
subscription (verified, watched for gaps), its reader. "Publish to ledger" ends at an accounting that has the event
committed (synced) and folded.
"""

import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import uvloop
import websockets
from websockets.legacy.client import WebSocketClientProtocol
from websockets.legacy.server import WebSocketServerProtocol

from accounting.service import Accounting
from nips.keys import AtHand, SecretKey
from nips.negentropy import Initiator, RecordSet, Responder
from nips.nip01 import Event, Filter, UnsignedEvent, VerifiedEvent, make_filter
from nips.pool.address import PoolAddress
from nips.pool.kinds import STATUS
from noncestr.clock import WallClock
from noncestr.feed import BridgeFeed, Delivery
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.fetch import fetch_events
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.adapters.subscription import EndOfStored
from relay_bridge.chains import Place
from relay_bridge.inbox import Inbox, check_all
from relay_bridge.messages import ClientEvent, encode_client_message
from relay_bridge.policy import OpenPolicy
from relay_bridge.service import RelayBridge

KEY = SecretKey(b"\x01" * 32)
DAY = 1_700_000_000
# A receipt of ten seconds with some ten shares: 1 KB.
CONTENT = "x" * 500
READERS = 20
FAN_OUT_EVENTS = 1_000
CHAIN_EVENTS = 500
# One at a time, as the batches of a lane come.
LATENCY_EVENTS = 300
RECONCILED = 100_000
MISSING = 100


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
            rows.append(await latency(Path(folder), server))
            rows.append(await to_ledger(Path(folder), server))
    rows += inbox_rows(events)
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


async def latency(folder: Path, server: RelayServer) -> tuple[str, float, str]:
    """Events that go from one bridge to the other, one after the other."""
    waits: list[float] = []

    def place(event: Event) -> Place | None:
        seq = event.tag_value("seq")
        return None if seq is None else Place("lane", int(seq), event.tag_value("prev"))

    async with anyio.create_task_group() as tasks:
        writer = RelayBridge([server.url], outbox_path=folder / "writer.db")
        reader = RelayBridge([server.url], outbox_path=folder / "reader.db", chain_of=place)
        await tasks.start(writer.run)
        await tasks.start(reader.run)
        async with reader.subscribe([make_filter(kinds=[9])], name="bench", ordered=True) as subscription:
            await anext(subscription)
            prev: tuple[tuple[str, ...], ...] = ()
            for seq in range(LATENCY_EVENTS):
                event = KEY.sign(UnsignedEvent(9, DAY + seq, (("seq", str(seq)), *prev), CONTENT))
                prev = (("prev", event.id),)
                started = time.perf_counter()
                await writer.publish(event, chain="lane")
                await anext(subscription)
                waits.append(time.perf_counter() - started)
        tasks.cancel_scope.cancel()
    waits.sort()
    note = f"median {waits[len(waits) // 2] * 1000:.1f} ms, p99 {waits[len(waits) * 99 // 100] * 1000:.1f} ms"
    return "publish to delivery", LATENCY_EVENTS / sum(waits), note


class _Told(BridgeFeed):
    """Says when a delivery is stored."""

    def __init__(self, bridge: RelayBridge) -> None:
        super().__init__(bridge)
        self.stored = anyio.Event()

    @asynccontextmanager
    async def subscribe(
        self, filters: Sequence[Filter], *, name: str, held: tuple[int, int] | None = None
    ) -> AsyncIterator[AsyncIterator[object]]:
        async with super().subscribe(filters, name=name, held=held) as items:

            async def told() -> AsyncIterator[object]:
                async for item in items:
                    yield Delivery(item.event, partial(self._note, item)) if isinstance(item, Delivery) else item

            yield told()

    def _note(self, item: Delivery) -> None:
        item.stored()
        self.stored.set()


class _NoChain:
    async def confirmations(self, block_hash: bytes) -> int | None:  # noqa: ARG002  there is none
        return None

    def height(self) -> int:
        return 0


async def to_ledger(folder: Path, server: RelayServer) -> tuple[str, float, str]:
    """Events that a part publishes until another's accounting has them committed and folded, one after the other."""
    waits: list[float] = []
    pool = PoolAddress(KEY.pubkey, "regtest")
    writer = RelayBridge([server.url], outbox_path=folder / "part.db")
    reader = RelayBridge([server.url], outbox_path=folder / "accounting.db")
    feed = _Told(reader)
    accounting = Accounting(
        pool=pool, signer=AtHand(SecretKey(b"\x02" * 32)), feed=feed, chain=_NoChain(), clock=WallClock(),
        store_path=folder / "ledger.sqlite",
    )  # fmt: skip
    async with anyio.create_task_group() as tasks:
        await tasks.start(writer.run)
        await tasks.start(reader.run)
        await tasks.start(accounting.run)
        for at in range(-1, LATENCY_EVENTS):
            event = KEY.sign(UnsignedEvent(STATUS, DAY + 10 + at, (("a", str(pool)), ("n", str(at))), CONTENT))
            feed.stored = anyio.Event()
            started = time.perf_counter()
            await writer.publish(event)
            await feed.stored.wait()
            # The first waits until the accounting has asked.
            waits += [time.perf_counter() - started] if at >= 0 else []
        tasks.cancel_scope.cancel()
    waits.sort()
    note = f"median {waits[len(waits) // 2] * 1000:.1f} ms, p99 {waits[len(waits) * 99 // 100] * 1000:.1f} ms"
    return "publish to ledger", LATENCY_EVENTS / sum(waits), note


def inbox_rows(events: list[VerifiedEvent]) -> list[tuple[str, float, str]]:
    """Verification and reconciliation without a socket."""
    raw = [Event(e.id, e.pubkey, e.created_at, e.kind, e.tags, e.content, e.sig) for e in events]
    inbox = Inbox()
    started = time.perf_counter()
    inbox.admit("relay", check_all(inbox.unseen("relay", raw)))
    verified = len(raw) / (time.perf_counter() - started)
    started = time.perf_counter()
    inbox.unseen("other", raw)
    repeats = len(raw) / (time.perf_counter() - started)
    records = [(DAY + at // 10, f"{at:064x}") for at in range(RECONCILED)]
    theirs = Responder(RecordSet(records))
    started = time.perf_counter()
    ours = Initiator(RecordSet(records[: RECONCILED // 2] + records[RECONCILED // 2 + MISSING :]))
    message: bytes | None = ours.open()
    need, moved = 0, 0
    while message is not None:
        answer = theirs.answer(message)
        turn = ours.receive(answer)
        moved += len(message) + len(answer)
        need += len(turn.need)
        message = turn.reply
    if need != MISSING:
        raise RuntimeError("negentropy found something else")
    note = f"{MISSING} missing of {RECONCILED}, {moved / 1000:.0f} KB moved"
    return [
        ("inbox: verified", verified, ""),
        ("inbox: repeats", repeats, ""),
        ("records reconciled", RECONCILED / (time.perf_counter() - started), note),
    ]


if __name__ == "__main__":
    uvloop.install()
    # The accounting finds fault with each of the made-up events, and says so.
    logging.disable(logging.WARNING)
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, backend_options={"use_uvloop": True})
