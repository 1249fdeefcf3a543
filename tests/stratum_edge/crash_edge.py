"""An edge as a process of its own, for test_crash.py to kill: its outbox and its chain are files.

Usage: crash_edge.py DIRECTORY, which holds terms.json. Prints its port, then serves until SIGTERM or worse.
"""

import asyncio
import os
import signal
import sys
import time
from fractions import Fraction
from pathlib import Path

import anyio
import uvloop

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent, decode_event, encode_event, verify
from nips.pool.hashing import sha256d
from nips.pool.terms import Terms, parse_terms
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.ports import Submitted, Template, Tip
from stratum_edge.service import Edge

EASIEST = Fraction(1, 1 << 32)


class Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class FileChain:
    """Takes every block, on the disk first; its tip is the last block taken."""

    network = "regtest"

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._height = 200
        self._tip = os.urandom(32)
        self._moved = anyio.Event()

    async def template(self) -> Template:
        now = int(time.time())
        return Template(self._height, 0x20000000, self._tip, 0x207FFFFF, now, now - 600, 100_000, (), (), None)

    async def wait_tip(self, known: bytes) -> Tip:
        while self._tip == known:
            await self._moved.wait()
        return self.tip()

    async def quick_template(self) -> Template | None:
        return None

    def lost_s(self) -> float:
        return 0.0

    def tip(self) -> Tip:
        return Tip(self._height - 1, self._tip)

    async def submit(self, block: bytes) -> Submitted:
        self._file.write(block[:80].hex().encode() + b"\n")
        if block[4:36] != self._tip:
            return Submitted(False, "inconclusive")
        self._height += 1
        self._tip = sha256d(block[:80])
        moved, self._moved = self._moved, anyio.Event()
        moved.set()
        return Submitted(True, "")

    async def confirmations(self, block_hash: bytes) -> int | None:
        return None


class FixedTerms:
    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def current(self) -> Terms:
        return self._terms

    async def changed(self, known: str) -> Terms:
        await anyio.sleep_forever()
        raise AssertionError


class FilePublisher:
    """One line an event, on the disk before it returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        # Another process may have been killed in the middle of its line.
        self._file.write(b"\n" + encode_event(event) + b"\n")
        os.fsync(self._file.fileno())


async def main(directory: Path) -> None:
    edge = Edge(
        source=FileChain(directory / "blocks.txt"),
        signer=SecretKey(b"\x02" * 32),
        pool=(terms := parse_terms(verify(decode_event((directory / "terms.json").read_bytes())))).pool,
        terms=FixedTerms(terms),
        publisher=FilePublisher(directory / "events.jsonl"),
        journal_dir=directory / "journal",
        clock=Clock(),
        config=EdgeConfig(payout_script=b"\x51", ports=(PortConfig(port=0, start_difficulty=EASIEST, fixed=True),)),
    )
    async with anyio.create_task_group() as group:
        await group.start(edge.run)
        sys.stdout.write(f"{edge.ports['main']}\n")
        sys.stdout.flush()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, group.cancel_scope.cancel)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
