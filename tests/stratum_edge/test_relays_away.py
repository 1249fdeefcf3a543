"""The relay is killed under load, again and again: mining goes on, all is signed, and published later in its order."""

import json
import sqlite3
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import anyio
import pytest

from accounting.findings import NOT_CHECKED
from accounting.verifier import audit
from nips.nip01 import decode_event, verify
from nips.pool.receipt import parse_receipt
from relay_bridge.service import RelayBridge
from stratum_edge import service
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.service import Edge

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
RELAY = """
import sys, anyio, uvloop
from pathlib import Path
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy

async def main():
    async with SqliteEventStore(Path(sys.argv[1])) as store:
        async with RelayServer("127.0.0.1", int(sys.argv[2]), store, OpenPolicy()) as server:
            print(server.port, flush=True)
            await anyio.sleep_forever()

uvloop.run(main())
"""
ABSENCES = 4


class WallClock:
    def now_ms(self):
        return time.time_ns() // 1_000_000


class RelayProcess:
    """Our relay as a process, on one store and one port through all its lives."""

    def __init__(self, store):
        self._store = store
        self.port = 0

    async def start(self):
        self._process = await anyio.open_process(
            [sys.executable, "-c", RELAY, str(self._store), str(self.port)], cwd=ROOT, stdout=subprocess.PIPE
        )
        line = b""
        with anyio.fail_after(30):
            while not line.endswith(b"\n"):
                line += await self._process.stdout.receive()
        self.port = int(line)

    async def kill(self):
        self._process.kill()
        await self._process.aclose()


class Miner:
    """Hands in without a pause; `acknowledged` are header hashes."""

    def __init__(self, edge):
        self._edge = edge
        self.acknowledged = []
        self._more = anyio.Event()

    async def run(self, port):
        notify, extranonce1, flying, id = None, b"", {}, 10
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            hello = [("mining.subscribe", ["away"]), ("mining.authorize", [self._edge.NPUB, "x"])]
            for number, (method, params) in enumerate(hello, 1):
                await stream.send(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n")
            buffer = b""
            while True:
                buffer += await stream.receive()
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    if message.get("method") == "mining.notify":
                        notify = self._edge.read_notify(message["params"])
                    elif message.get("id") == 1:
                        extranonce1 = bytes.fromhex(message["result"][1])
                    elif message.get("id") in flying:
                        digest = flying.pop(message["id"])
                        if message["result"] is True:
                            self.acknowledged.append(digest)
                            more, self._more = self._more, anyio.Event()
                            more.set()
                while notify is not None and len(flying) < 4:
                    id += 1
                    found = self._edge.mine(notify, extranonce1, (1 << 256) - 1, start=id)
                    flying[id] = found.hash
                    request = {"id": id, "method": "mining.submit", "params": found.params(self._edge.NPUB, notify.job)}
                    await stream.send(json.dumps(request).encode() + b"\n")

    async def reach(self, count):
        with anyio.fail_after(30):
            while len(self.acknowledged) < count:
                await self._more.wait()


def stored(path):
    """The relay's events in the order it stored them."""
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT json FROM event ORDER BY row").fetchall()
    db.close()
    return [verify(decode_event(text.encode())) for (text,) in rows]


async def test_relays_may_come_and_go(edge, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "SEAL_LOOK_S", 0.01)
    terms_event = edge.make_terms_event(batch_seconds=0)
    relay = RelayProcess(tmp_path / "relay.sqlite")
    await relay.start()
    bridge = RelayBridge([f"ws://127.0.0.1:{relay.port}"], outbox_path=tmp_path / "outbox.sqlite")
    async with anyio.create_task_group() as outer:
        await outer.start(bridge.run)
        rig = Edge(
            source=edge.FakeSource(lambda: int(time.time())),
            signer=edge.EDGE_KEY,
            pool=edge.POOL,
            terms=edge.FakeTerms(edge.make_terms(batch_seconds=0)),
            publisher=bridge,
            journal_dir=tmp_path / "journal",
            clock=WallClock(),
            config=EdgeConfig(
                payout_script=b"\x51",
                ports=(PortConfig(port=0, start_difficulty=Fraction(1, 1 << 32), fixed=True),),
                refresh_s=0.1,
            ),
        )
        miner = Miner(edge)
        async with anyio.create_task_group() as group:
            await group.start(rig.run)
            group.start_soon(miner.run, rig.ports["main"])
            for _ in range(ABSENCES):
                await miner.reach(len(miner.acknowledged) + 200)
                await relay.kill()
                waiting = bridge.status()[0].backlog
                await miner.reach(len(miner.acknowledged) + 400)
                assert bridge.status()[0].backlog > waiting, "batches are signed while nobody takes them"
                assert not rig.status().stalled
                await relay.start()
            group.cancel_scope.cancel()
        assert await bridge.flush(30)
        outer.cancel_scope.cancel()
    await relay.kill()
    events = stored(tmp_path / "relay.sqlite")
    report = audit([terms_event, *events], (), edge.POOL, now_ms=None)
    assert [found for found in report.findings if found.grade != NOT_CHECKED] == []
    receipts = [parse_receipt(event) for event in events if event.kind == edge.KINDS.RECEIPT]
    assert [receipt.link.seq for receipt in receipts] == list(range(len(receipts))), "in order, nothing twice"
    hashes = [digest for _, _, digest in edge.good_shares(events, edge.make_terms(batch_seconds=0))]
    assert len(set(hashes)) == len(hashes)
    assert set(miner.acknowledged) <= set(hashes)
    assert len(miner.acknowledged) > ABSENCES * 600
