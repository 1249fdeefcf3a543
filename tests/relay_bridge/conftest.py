"""Signed events, our relay, an independent relay, and a relay that says what a test tells it to."""

import fcntl
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import nostr_sdk
import pytest
import websockets
from websockets.legacy.server import WebSocketServerProtocol

from nips.keys import SecretKey
from nips.nip01 import Event, UnsignedEvent, VerifiedEvent, parse_event, parse_filter
from nips.nip11 import RelayInformation, encode_information
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.messages import event_frame, event_json
from relay_bridge.policy import OpenPolicy
from relay_bridge.service import RelayBridge

Sign = Callable[..., VerifiedEvent]
Script = Callable[[WebSocketServerProtocol], Awaitable[None]]
# A fixed day in the past: relays refuse dates ahead of their clock, not old ones.
DAY = 1_700_000_000
HERE = Path(__file__).parent
NPM = HERE / "npm"
STRFRY = os.environ.get("NONCESTR_STRFRY", "")
_BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def sign() -> Sign:
    """sign(kind=1, at=0, tags=(), content="", who=1): a signed event, `at` seconds into DAY."""
    keys = {who: SecretKey(bytes([who]) * 32) for who in range(1, 9)}

    def make(
        kind: int = 1, at: int = 0, tags: tuple[tuple[str, ...], ...] = (), content: str = "", who: int = 1
    ) -> VerifiedEvent:
        return keys[who].sign(UnsignedEvent(kind, DAY + at, tags, content))

    return make


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayServer]:
    """Our relay, open to everybody."""
    async with (
        SqliteEventStore(tmp_path / "events.db") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy()) as server,
    ):
        yield server


@pytest.fixture
async def other_relay(tmp_path: Path) -> AsyncIterator[RelayServer]:
    """A second one of ours."""
    async with (
        SqliteEventStore(tmp_path / "other-events.db") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy()) as server,
    ):
        yield server


@pytest.fixture
async def sdk_relay() -> AsyncIterator[str]:
    """The URL of rust-nostr's relay: written by others, in memory."""
    rate = nostr_sdk.RateLimit(max_reqs=1_000, notes_per_minute=1_000_000)
    running = nostr_sdk.LocalRelayBuilder().addr("127.0.0.1").rate_limit(rate).build()
    await running.run()
    yield str(await running.url())
    running.shutdown()


@pytest.fixture
def scripted() -> Callable[[Script], AbstractAsyncContextManager[str]]:
    """scripted(script): a relay that runs `script(socket)` for every connection; gives its URL."""

    @asynccontextmanager
    async def serve(script: Script) -> AsyncIterator[str]:
        async def handle(socket: WebSocketServerProtocol) -> None:
            try:
                await script(socket)
            except websockets.ConnectionClosed:
                return

        async with websockets.serve(handle, "127.0.0.1", 0, close_timeout=0.2) as server:
            yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"

    return serve


@pytest.fixture
def now_s() -> int:
    """Now, for what depends on the wall clock of a relay."""
    return int(time.time())


@pytest.fixture
def running() -> Callable[[RelayBridge], AbstractAsyncContextManager[RelayBridge]]:
    """running(bridge): the bridge, started and in the end cancelled."""

    @asynccontextmanager
    async def run(bridge: RelayBridge) -> AsyncIterator[RelayBridge]:
        async with anyio.create_task_group() as tasks:
            await tasks.start(bridge.run)
            yield bridge
            tasks.cancel_scope.cancel()

    return run


@pytest.fixture
def telling() -> Callable[..., AbstractAsyncContextManager[str]]:
    """telling(document, script): a scripted relay with an information document."""

    @asynccontextmanager
    async def serve(told: RelayInformation, script: Callable[..., Awaitable[None]]) -> AsyncIterator[str]:
        async def process(path, headers):
            if headers.get("Upgrade"):
                return None
            return 200, [("Content-Type", "application/nostr+json")], encode_information(told)

        async def handle(socket) -> None:
            try:
                await script(socket)
            except websockets.ConnectionClosed:
                return

        async with websockets.serve(handle, "127.0.0.1", 0, process_request=process, close_timeout=0.2) as server:
            yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"

    return serve


@pytest.fixture
def keeper() -> Callable[..., Script]:
    """keeper(kept, asked=None, counts=False): the script of a relay that keeps events in `kept`, by id, and serves
    them; filters asked for go into `asked`, ids served into `served`. It passes nothing on live."""

    def make(
        kept: dict[str, Event],
        asked: list[dict[str, object]] | None = None,
        *,
        counts: bool = False,
        served: list[str] | None = None,
    ) -> Script:
        def matching(item: dict[str, object]) -> list[Event]:
            if asked is not None:
                asked.append(item)
            found = [event for event in kept.values() if parse_filter(item).matches(event)]
            newest = sorted(found, key=lambda event: (-event.created_at, event.id))
            return newest[: item.get("limit", 500)]

        async def script(socket: WebSocketServerProtocol) -> None:
            async for text in socket:
                name, *items = json.loads(text)
                if name == "EVENT":
                    event = parse_event(items[0])
                    kept[event.id] = event
                    await socket.send(json.dumps(["OK", event.id, True, ""]))
                elif name == "REQ":
                    for item in items[1:]:
                        for event in matching(item):
                            if served is not None:
                                served.append(event.id)
                            await socket.send(event_frame(items[0], event_json(event)))
                    await socket.send(json.dumps(["EOSE", items[0]]))
                elif name == "COUNT" and counts:
                    item = {**items[1], "limit": len(kept)}
                    await socket.send(json.dumps(["COUNT", items[0], {"count": len(matching(item))}]))

        return script

    return make


# Relays in processes of their own


@functools.cache
def installed_npm(folder: Path = NPM) -> str:
    """Why what is in this folder's package.json can't run, "" if it can: it is installed by its lock file."""
    node, npm = (shutil.which(name, path=f"{_BIN}{os.pathsep}{os.environ['PATH']}") for name in ("node", "npm"))
    if node is None or npm is None:
        return "node or npm is not installed"
    with (folder / "package.json").open() as locked:
        # One of several test processes installs, the others wait for it.
        fcntl.flock(locked, fcntl.LOCK_EX)
        marker = folder / "node_modules" / ".installed"
        lock = (folder / "package-lock.json").read_bytes()
        if marker.exists() and marker.read_bytes() == lock:
            return ""
        path = f"{_BIN}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return f"npm ci failed: {done.stderr.strip().splitlines()[-1:]}"
        marker.write_bytes(lock)
    return ""


def command(kind: str, folder: Path, port: int) -> list[str]:
    if kind == "npm":
        reason = installed_npm()
        if reason:
            pytest.skip(reason)
        node = shutil.which("node", path=f"{_BIN}{os.pathsep}{os.environ['PATH']}")
        return [str(node), str(NPM / "server.mjs"), str(port)]
    if kind == "strfry":
        (folder / "strfry-db").mkdir(exist_ok=True)
        (folder / "strfry.conf").write_text(
            f'db = "{folder}/strfry-db/"\ndbParams {{ mapsize = 1073741824 }}\n'
            f'relay {{ bind = "127.0.0.1" port = {port} nofiles = 0 }}\n'
            "events { rejectEventsOlderThanSeconds = 946080000 }\n"
        )
        return [STRFRY, "--config", str(folder / "strfry.conf"), "relay"]
    return [sys.executable, str(HERE / "peer_processes.py"), kind, str(folder), str(port)]


@dataclass
class Peer:
    """A relay in a process."""

    url: str
    process: subprocess.Popen


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(kind: str, folder: Path, port: int = 0) -> Peer:
    if kind == "strfry":
        port = port or free_port()
    process = subprocess.Popen(
        command(kind, folder, port),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if kind != "strfry" else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
    )
    if process.stdout is not None:
        return Peer(process.stdout.readline().strip().rstrip("/"), process)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return Peer(f"ws://127.0.0.1:{port}", process)
        time.sleep(0.05)
    raise AssertionError("strfry does not listen")


def stop(peer: Peer) -> None:
    peer.process.kill()
    peer.process.wait()
    for pipe in (peer.process.stdin, peer.process.stdout):
        if pipe is not None:
            pipe.close()


@pytest.fixture
def peer(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Peer]]:
    @asynccontextmanager
    async def run(kind: str, port: int = 0) -> AsyncIterator[Peer]:
        folder = tmp_path / f"peer-{kind}"
        folder.mkdir(exist_ok=True)
        started = await anyio.to_thread.run_sync(start, kind, folder, port)
        try:
            yield started
        finally:
            await anyio.to_thread.run_sync(stop, started)

    return run
