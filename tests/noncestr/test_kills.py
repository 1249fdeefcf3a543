"""A reader that is killed, again and again, amid reading: nothing of the log is lost.

Run as a program this file is the reader: an accounting over a real bridge, in a process of its own.
"""

import hashlib
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from accounting.service import Accounting
from nips.keys import AtHand, SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.kinds import STATUS
from noncestr.clock import WallClock
from noncestr.feed import BridgeFeed
from noncestr.running import running
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy
from relay_bridge.service import RelayBridge

POOL, ACCOUNTING, STRANGER = (
    SecretKey(hashlib.sha256(f"noncestr test key kills {n}".encode()).digest()) for n in range(3)
)
ADDRESS = PoolAddress(POOL.pubkey, "regtest")
# A fixed day. The events are a stranger's statuses: stored as all of the log is, and of no meaning.
DAY = 1_700_000_000
EVENTS = 2_000
KILLS = 4
# Generous: waiting ends as soon as what is awaited is there.
WAIT_S = 120


def told(number: int, second: int) -> VerifiedEvent:
    return STRANGER.sign(UnsignedEvent(STATUS, second, (("a", str(ADDRESS)),), f'{{"v":1,"number":{number}}}'))


class NoChain:
    """Nothing is asked of it: there is no reward."""

    async def confirmations(self, block_hash: bytes) -> int | None:
        return None

    def height(self) -> int:
        return 0


async def read(url: str, folder: Path) -> None:
    bridge = RelayBridge([url], outbox_path=folder / "outbox.sqlite")
    accounting = Accounting(
        pool=ADDRESS, signer=AtHand(ACCOUNTING), feed=BridgeFeed(bridge), chain=NoChain(), clock=WallClock(),
        store_path=folder / "ledger.sqlite",
    )  # fmt: skip
    async with running(bridge.run), running(accounting.run):
        await anyio.sleep_forever()


def stored(folder: Path) -> set[str]:
    try:
        with closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True)) as ledger:
            return {event for (event,) in ledger.execute("SELECT id FROM events")}
    except sqlite3.OperationalError:  # not there yet
        return set()


async def read_until(url: str, folder: Path, count: int, *, kill: bool) -> None:
    """Run the reader until so many events are in its file."""
    with (folder / "log").open("ab") as log:
        child = subprocess.Popen(  # noqa: ASYNC220 - it is waited for in a thread
            [sys.executable, __file__, url, str(folder)], stdout=log, stderr=log
        )
    try:
        with anyio.fail_after(WAIT_S):
            while len(await anyio.to_thread.run_sync(stored, folder)) < count:
                assert child.poll() is None, (folder / "log").read_text()
                await anyio.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        await anyio.to_thread.run_sync(child.wait)


@pytest.mark.anyio
async def test_nothing_is_lost_by_kills(tmp_path: Path) -> None:
    """The log grows meanwhile, by events of today and by old ones; the file may then lose its end, as after a backup
    was put back, and is filled again.
    """
    first = [told(number, DAY + number) for number in range(EVENTS // 2)]
    late = [told(EVENTS + number, DAY - 86_400 + number) for number in range(EVENTS // 2)]
    log = [*first, *late]
    async with (
        SqliteEventStore(tmp_path / "events.db") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy()) as server,
    ):
        writer = RelayBridge([server.url], outbox_path=tmp_path / "writer.sqlite")
        folder = tmp_path / "reader"
        folder.mkdir()
        async with running(writer.run):
            await writer.publish_many(first)
            assert await writer.flush(WAIT_S)
            for kill in range(1, KILLS + 1):
                await writer.publish_many(late[len(late) * (kill - 1) // KILLS : len(late) * kill // KILLS])
                # What is in the file after a kill stays; the reader goes on from there.
                before = stored(folder)
                await read_until(server.url, folder, len(before) + 1, kill=True)
                assert before < stored(folder)
            assert await writer.flush(WAIT_S)
        await read_until(server.url, folder, EVENTS, kill=True)
        assert stored(folder) == {event.id for event in log}
        await read_until(server.url, folder, EVENTS, kill=False)
        with closing(sqlite3.connect(folder / "ledger.sqlite")) as ledger, ledger:
            ledger.execute("DELETE FROM events WHERE created_at >= ?", (DAY + EVENTS // 4,))
        assert len(stored(folder)) < EVENTS
        await read_until(server.url, folder, EVENTS, kill=True)
        assert stored(folder) == {event.id for event in log}


if __name__ == "__main__":
    anyio.run(read, sys.argv[1], Path(sys.argv[2]))
