"""kill -9 under load, again and again: every acknowledged share is in exactly one published receipt.

The edge is a process of its own (crash_edge.py). Miners on sockets, several workers of one npub on each, hash and
remember what was acknowledged; batches close and jobs change all the time, every 256th share or so is a block. The
kill comes at a random moment, or the edge dies at a named step of its work. In the end the published log must hold, by
the verifier and by the miners' own books: chains unbroken, no share twice, none lost, and every block announced and
handed in. NONCESTR_KILLS sets how often it dies (25; `make crash`: 320); half of them at steps.
"""

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import anyio
import pytest

from accounting.findings import NOT_CHECKED
from accounting.verifier import audit
from nips.nip01 import decode_event, encode_event, verify
from nips.pool.binding import binding
from nips.pool.block import parse_block
from nips.pool.hashing import build_header, merkle_fold, sha256d
from nips.pool.job import parse_job
from nips.pool.receipt import parse_receipt

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]
KILLS = int(os.environ.get("NONCESTR_KILLS", "25"))
SCRIPT = Path(__file__).with_name("crash_edge.py")
STEPS = sorted(runpy.run_path(str(SCRIPT))["STEPS"])
ROOT = Path(__file__).parents[2]
MINERS = 3
WORKERS = ("left", "right")
IN_FLIGHT = 8
# A block every 256 shares or so.
BLOCK_TARGET_BITS = 0x2000FFFF
# A step that is not reached in this time (no block was found, say): the kill comes from outside then.
STEP_S = 1.5


class Miner:
    """A connection that keeps submits in flight; `sent` and `acknowledged` are header hashes."""

    def __init__(self, edge, npub, chance):
        self.edge, self.chance = edge, chance
        self.users = [f"{npub}.{worker}" for worker in WORKERS]
        self.sent: set[bytes] = set()
        self.acknowledged: list[bytes] = []

    async def run(self, port):
        try:
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await self._mine(stream)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            return  # the edge was killed

    async def _mine(self, stream):
        hello = b'{"id":1,"method":"mining.subscribe","params":["crash"]}\n'
        for id, user in enumerate(self.users, 2):
            hello += json.dumps({"id": id, "method": "mining.authorize", "params": [user, "x"]}).encode() + b"\n"
        await stream.send(hello)
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
                user = self.users[id % len(self.users)]
                params = [user, notify.job, en2.hex(), f"{notify.ntime:08x}", f"{nonce:08x}"]
                out += json.dumps({"id": id, "method": "mining.submit", "params": params}).encode() + b"\n"
            await stream.send(out)


async def start(directory, *step):
    """The process and its port; None when it died before it had one."""
    with (directory / "stderr.txt").open("ab") as stderr:
        process = await anyio.open_process(
            [sys.executable, str(SCRIPT), str(directory), *map(str, step)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    with anyio.fail_after(30):
        port = b""
        while not port.endswith(b"\n"):
            try:
                port += await process.stdout.receive()
            except anyio.EndOfStream:
                return process, None
    return process, int(port)


async def live_and_die(directory, miners, chance, step):
    """One life of the edge under load; it ends by SIGKILL, or by SIGTERM when `step` is "down"."""
    process, port = await start(directory, *step[:2]) if step and step != "down" else await start(directory)
    async with process, anyio.create_task_group() as group:
        if port is not None:
            for miner in miners:
                group.start_soon(miner.run, port)
            if step and step != "down":
                with anyio.move_on_after(STEP_S):
                    await process.wait()
            else:
                await anyio.sleep(chance.uniform(0.0, 0.4))
        came = process.returncode is not None
        if not came:
            # The last one goes down as an operator would take it down.
            process.send_signal(signal.SIGTERM if step == "down" else signal.SIGKILL)
        code = await process.wait()
        # It dies by our hand alone, never by its own fault.
        assert code == (0 if step == "down" else -signal.SIGKILL), (directory / "stderr.txt").read_text()[-3000:]
    return came


async def test_every_acknowledged_share_is_in_exactly_one_receipt(edge, tmp_path, capsys):
    began = time.monotonic()
    chance = random.Random(20)
    terms_event = edge.make_terms_event(batch_seconds=0, block_bits=BLOCK_TARGET_BITS)
    (tmp_path / "terms.json").write_bytes(encode_event(terms_event))
    npubs = [edge.NPUB, edge.NPUB, edge.OTHER_NPUB]
    miners = [Miner(edge, npub, random.Random(n)) for n, npub in enumerate(npubs[:MINERS])]
    died_at = Counter()
    for kill in range(KILLS):
        step = None
        if kill % 2:
            # Each step in its turn: the first, third, ninth ... time it comes there, at the start's own work, too.
            step = (STEPS[kill // 2 % len(STEPS)], chance.choice([1, 3, 9, 27]))
        if await live_and_die(tmp_path, miners, chance, step) and step:
            died_at[step[0]] += 1
    await live_and_die(tmp_path, miners, chance, "down")
    events = {}
    for line in (tmp_path / "events.jsonl").read_bytes().splitlines():
        # A line without its end is one the kill cut short: it was published again.
        if line.endswith(b"}"):
            event = verify(decode_event(line))
            events.setdefault(event.id, event)
    report = audit([terms_event, *events.values()], (), edge.POOL, now_ms=None)
    assert [found for found in report.findings if found.grade != NOT_CHECKED] == []
    found = shares_of(edge, events)
    hashes = [digest for _, digest in found]
    acknowledged = [digest for miner in miners for digest in miner.acknowledged]
    assert len(acknowledged) > 20 * KILLS
    assert len(set(hashes)) == len(hashes)
    assert set(acknowledged) <= set(hashes)
    assert set(hashes) <= set.union(*(miner.sent for miner in miners))
    blocks = check_blocks(edge, events, found, (tmp_path / "blocks.txt").read_text().split())
    receipts = sum(event.kind == edge.KINDS.RECEIPT for event in events.values())
    with capsys.disabled():
        sys.stdout.write(
            f"\n{KILLS} kills ({sum(died_at.values())} at {len(died_at)} of {len(STEPS)} steps), "
            f"{len(acknowledged)} shares acknowledged, {len(hashes)} in {receipts} receipts, {blocks} blocks, "
            f"{sum(event.kind == edge.KINDS.JOB for event in events.values())} jobs, "
            f"{time.monotonic() - began:.0f} s\n"
        )
    if len(STEPS) <= KILLS // 4:
        assert set(died_at) == set(STEPS)


def shares_of(edge, events):
    """(receipt id, header hash) of every record published."""
    jobs = {event.id: parse_job(event) for event in events.values() if event.kind == edge.KINDS.JOB}
    found = []
    for event in events.values():
        if event.kind != edge.KINDS.RECEIPT:
            continue
        receipt = parse_receipt(event)
        for record in receipt.records():
            job, session = jobs[receipt.jobs[record.job]], receipt.sessions[record.session]
            bound = binding(bytes.fromhex(job.id), bytes.fromhex(receipt.miners[session.miner]), session.share_bits)
            coinbase = job.coinb1 + bound + session.extranonce1 + record.extranonce2 + job.coinb2
            root = merkle_fold(sha256d(coinbase), job.merkle)
            header = build_header(record.version, job.prevhash, root, record.ntime, job.nbits, record.nonce)
            found.append((receipt.id, sha256d(header)))
    return found


def check_blocks(edge, events, found, handed_in):
    """Each share that met the block's mark is announced once, at its place, and was handed in; how many."""
    target = 0xFFFF << 232
    receipts = {e.id: parse_receipt(e) for e in events.values() if e.kind == edge.KINDS.RECEIPT}
    blocks = [parse_block(e) for e in events.values() if e.kind == edge.KINDS.BLOCK]
    wanted = {digest for _, digest in found if int.from_bytes(digest, "little") <= target}
    assert len(wanted) > 0
    assert {sha256d(block.header) for block in blocks} == wanted
    assert len(blocks) == len(wanted)
    assert wanted <= {sha256d(bytes.fromhex(header)) for header in handed_in}
    for block in blocks:
        receipt = receipts[block.receipt]
        assert block.index == receipt.count - 1, "the batch ends with the block's share"
    return len(wanted)
