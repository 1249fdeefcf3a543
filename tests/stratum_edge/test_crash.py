"""kill -9 under load, again and again: every acknowledged share is in exactly one published receipt.

The edge is a process of its own (crash_edge.py). Miners on sockets hash and remember what was acknowledged; the kill
comes at a random moment. In the end the published log must hold: chains unbroken, no share twice, none lost, and every
block's share announced and handed in. NONCESTR_KILLS sets how often (25).
"""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from nips.nip01 import decode_event, encode_event, verify
from nips.pool.block import parse_block
from nips.pool.hashing import build_header, merkle_fold, sha256d
from nips.pool.receipt import parse_receipt
from nips.pool.terms import parse_terms

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]
KILLS = int(os.environ.get("NONCESTR_KILLS", "25"))
SCRIPT = Path(__file__).with_name("crash_edge.py")
ROOT = Path(__file__).parents[2]
MINERS = 3
IN_FLIGHT = 8
# A block every 256 shares or so.
BLOCK_TARGET_BITS = 0x2000FFFF


class Miner:
    """A connection that keeps submits in flight; `sent` and `acknowledged` are header hashes."""

    def __init__(self, edge, user, chance):
        self.edge, self.user, self.chance = edge, user, chance
        self.sent: set[bytes] = set()
        self.acknowledged: list[bytes] = []

    async def run(self, port):
        try:
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await self._mine(stream)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            return  # the edge was killed

    async def _mine(self, stream):
        await stream.send(
            b'{"id":1,"method":"mining.subscribe","params":["crash"]}\n'
            + json.dumps({"id": 2, "method": "mining.authorize", "params": [self.user, "x"]}).encode()
            + b"\n"
        )
        buffer, notify, extranonce1, flying, id = b"", None, b"", {}, 10
        while True:
            buffer += await stream.receive()
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message.get("method") == "mining.notify":
                    notify = self.edge.read_notify(message["params"])
                elif message.get("id") == 1:
                    extranonce1 = bytes.fromhex(message["result"][1])
                elif message.get("id") in flying:
                    digest = flying.pop(message["id"])
                    if message["result"] is True:
                        self.acknowledged.append(digest)
            out = b""
            while notify is not None and len(flying) < IN_FLIGHT:
                id += 1
                en2, nonce = self.chance.randbytes(8), self.chance.getrandbits(32)
                root = merkle_fold(sha256d(notify.coinb1 + extranonce1 + en2 + notify.coinb2), notify.merkle)
                header = build_header(notify.version, notify.prevhash, root, notify.ntime, notify.nbits, nonce)
                flying[id] = sha256d(header)
                self.sent.add(flying[id])
                params = [self.user, notify.job, en2.hex(), f"{notify.ntime:08x}", f"{nonce:08x}"]
                out += json.dumps({"id": id, "method": "mining.submit", "params": params}).encode() + b"\n"
            await stream.send(out)


async def start(directory):
    process = await anyio.open_process(
        [sys.executable, str(SCRIPT), str(directory)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with anyio.fail_after(30):
        port = b""
        while not port.endswith(b"\n"):
            port += await process.stdout.receive()
    return process, int(port)


async def test_every_acknowledged_share_is_in_exactly_one_receipt(edge, tmp_path):
    chance = random.Random(20)
    terms_event = edge.make_terms_event(batch_seconds=0, block_bits=BLOCK_TARGET_BITS)
    (tmp_path / "terms.json").write_bytes(encode_event(terms_event))
    miners = [Miner(edge, f"{edge.NPUB}.w{n}", random.Random(n)) for n in range(MINERS)]
    for kill in range(KILLS + 1):
        process, port = await start(tmp_path)
        async with process, anyio.create_task_group() as group:
            for miner in miners:
                group.start_soon(miner.run, port)
            await anyio.sleep(chance.uniform(0.0, 0.4))
            # The last one goes down as an operator would take it down.
            process.send_signal(signal.SIGKILL if kill < KILLS else signal.SIGTERM)
            code = await process.wait()
            assert code == (-signal.SIGKILL if kill < KILLS else 0)
    events = {}
    for line in (tmp_path / "events.jsonl").read_bytes().splitlines():
        # A line without its end is one the kill cut short: it was published again.
        if line.endswith(b"}"):
            event = verify(decode_event(line))
            events.setdefault(event.id, event)
    terms = parse_terms(terms_event)
    found = edge.good_shares(list(events.values()), terms)
    hashes = [digest for _, _, digest in found]
    acknowledged = [digest for miner in miners for digest in miner.acknowledged]
    assert len(acknowledged) > 20 * KILLS
    assert len(set(hashes)) == len(hashes)
    assert set(acknowledged) <= set(hashes)
    assert set(hashes) <= set.union(*(miner.sent for miner in miners))
    check_blocks(edge, events, found, (tmp_path / "blocks.txt").read_text().split())


def check_blocks(edge, events, found, handed_in):
    """Each share that met the block's mark is announced once, at its place, and was handed in."""
    target = 0xFFFF << 232
    receipts = {e.id: parse_receipt(e) for e in events.values() if e.kind == edge.KINDS.RECEIPT}
    blocks = [parse_block(e) for e in events.values() if e.kind == edge.KINDS.BLOCK]
    wanted = {digest for _, _, digest in found if int.from_bytes(digest, "little") <= target}
    assert len(wanted) > 0
    assert {sha256d(block.header) for block in blocks} == wanted
    assert len(blocks) == len(wanted)
    assert wanted <= {sha256d(bytes.fromhex(header)) for header in handed_in}
    for block in blocks:
        receipt = receipts[block.receipt]
        assert block.index == receipt.count - 1, "the batch ends with the block's share"
