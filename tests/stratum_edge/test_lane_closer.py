"""A journal that nobody goes on with: its shares are published, then `fin`, once, however often it is interrupted."""

import json
import shutil
import time
from fractions import Fraction
from pathlib import Path

import anyio
import pytest

from nips.pool.receipt import parse_receipt
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.adapters.lane_closer import finish_lane
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.errors import ForeignJournal
from stratum_edge.service import Edge

pytestmark = pytest.mark.anyio
EASY = Fraction(1, 1 << 32)


class WallClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


async def leave_journal(edge, folder: Path, killed: Path) -> int:
    """An edge takes three shares; `killed` is its journal as a kill then would leave it. How many were acknowledged."""
    publisher = edge.MemoryPublisher()
    running = Edge(
        source=edge.FakeSource(lambda: int(time.time())),
        signer=edge.EDGE_KEY,
        pool=edge.POOL,
        terms=edge.FakeTerms(edge.make_terms(batch_seconds=600)),
        publisher=publisher,
        journal_dir=folder,
        clock=WallClock(),
        config=EdgeConfig(
            payout_script=b"\x51", lane=3, ports=(PortConfig(port=0, start_difficulty=EASY, max_difficulty=EASY),)
        ),
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(running.run)
        async with await anyio.connect_tcp("127.0.0.1", running.ports["main"]) as stream:
            calls = [("mining.subscribe", ["t"]), ("mining.authorize", [edge.NPUB, "x"])]
            for number, (method, params) in enumerate(calls):
                line = json.dumps({"id": number, "method": method, "params": params})
                await stream.send(line.encode() + b"\n")
            text = b""
            while b"mining.notify" not in text or not text.endswith(b"\n"):
                text += await stream.receive()
            messages = [json.loads(line) for line in text.splitlines()]
            extranonce1 = bytes.fromhex(messages[0]["result"][1])
            notify = edge.read_notify(next(m for m in messages if m.get("method") == "mining.notify")["params"])
            for start in range(3):
                found = edge.mine(notify, extranonce1, 0x7FFFFF << 232, start=start * 1000)
                line = json.dumps({"id": 9, "method": "mining.submit", "params": found.params(edge.NPUB, notify.job)})
                await stream.send(line.encode() + b"\n")
                assert b"true" in await stream.receive()
        shutil.copytree(folder, killed)
        tasks.cancel_scope.cancel()
    return running.status().accepted


def finishing(edge, folder: Path, publisher) -> dict:
    return {
        "journal_dir": folder, "pool": edge.POOL, "signer": edge.EDGE_KEY, "publisher": publisher,
        "source": edge.FakeSource(lambda: int(time.time())), "clock": WallClock(),
    }  # fmt: skip


async def test_what_the_journal_holds_is_published_and_the_lane_ends(edge, tmp_path: Path) -> None:
    accepted = await leave_journal(edge, tmp_path / "journal", tmp_path / "killed")
    assert accepted == 3
    publisher = edge.MemoryPublisher()
    assert await finish_lane(**finishing(edge, tmp_path / "killed", publisher)) == 3
    receipts = [parse_receipt(event) for event in publisher.of(edge.KINDS.RECEIPT)]
    assert sum(receipt.count for receipt in receipts) == 3
    assert [receipt.fin for receipt in receipts] == [False] * (len(receipts) - 1) + [True]
    assert {receipt.lane for receipt in receipts} == {3}
    assert [receipt.link.prev for receipt in receipts[1:]] == [receipt.id for receipt in receipts[:-1]]


async def test_an_interrupted_end_sends_the_same_last_batch_again(edge, tmp_path: Path) -> None:
    await leave_journal(edge, tmp_path / "journal", tmp_path / "killed")
    held = edge.MemoryPublisher()
    tried = anyio.Event()

    async def no_disk(event, *, chain: str = "") -> None:
        tried.set()
        raise OSError("the disk is full")

    held.publish = no_disk
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: finish_lane(**finishing(edge, tmp_path / "killed", held)))
        await tried.wait()
        tasks.cancel_scope.cancel()
    publisher = edge.MemoryPublisher()
    assert await finish_lane(**finishing(edge, tmp_path / "killed", publisher)) == 3
    receipts = [parse_receipt(event) for event in publisher.of(edge.KINDS.RECEIPT)]
    assert [receipt.fin for receipt in receipts].count(True) == 1
    assert receipts[-1].fin
    assert sum(receipt.count for receipt in receipts) == 3


async def test_an_empty_journal_has_no_lane_and_a_foreign_one_is_left_alone(edge, tmp_path: Path) -> None:
    publisher = edge.MemoryPublisher()
    assert await finish_lane(**finishing(edge, tmp_path / "none", publisher)) is None
    await leave_journal(edge, tmp_path / "journal", tmp_path / "killed")
    with pytest.raises(ForeignJournal):
        await finish_lane(**{**finishing(edge, tmp_path / "killed", publisher), "signer": edge.POOL_KEY})
    assert not publisher.events
    JournalFile(tmp_path / "killed").close()
