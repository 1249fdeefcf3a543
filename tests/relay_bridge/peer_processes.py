"""Relays as processes of their own: `python peer_processes.py ours|rust-nostr FOLDER PORT` writes its URL to stdout and
ends with its stdin. The npm relay is `npm/server.mjs`."""

import sys
from pathlib import Path

import anyio
import anyio.to_thread

from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy


async def until_stdin_ends() -> None:
    await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


async def ours(folder: Path, port: int) -> None:
    async with (
        SqliteEventStore(folder / "events.db") as store,
        RelayServer("127.0.0.1", port, store, OpenPolicy()) as server,
    ):
        print(server.url, flush=True)  # noqa: T201 - how the test learns it
        await until_stdin_ends()


async def rust_nostr(_folder: Path, port: int) -> None:
    import nostr_sdk

    rate = nostr_sdk.RateLimit(max_reqs=1_000, notes_per_minute=1_000_000)
    builder = nostr_sdk.LocalRelayBuilder().addr("127.0.0.1").rate_limit(rate)
    relay = (builder.port(port) if port else builder).build()
    await relay.run()
    print(str(await relay.url()), flush=True)  # noqa: T201 - how the test learns it
    await until_stdin_ends()


if __name__ == "__main__":
    _, kind, folder, port = sys.argv
    anyio.run({"ours": ours, "rust-nostr": rust_nostr}[kind], Path(folder), int(port))
