"""An edge as a process of its own, for test_crash.py to kill: its outbox and its chain are files.

Usage: crash_edge.py DIRECTORY [STEP COUNT]. The directory holds terms.json. Prints its port, then serves until SIGTERM
or worse; with a step (a key of STEPS) it kills itself when it comes there for the count-th time.
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
from stratum_edge import desk, service
from stratum_edge.adapters import journal_file
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.config import EdgeConfig, PortConfig
from stratum_edge.desk import Desk
from stratum_edge.lane import Lane
from stratum_edge.ports import Submitted, Template, Tip
from stratum_edge.service import Edge

EASIEST = Fraction(1, 1 << 32)


# What would take minutes in a real edge happens within a tenth of a second here.
SEGMENT_BYTES = 48 << 10
SEAL_LOOK_S = 0.03
REFRESH_S = 0.15


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_write(call):
    """The kernel was stopped in the middle of a write."""

    def write(fd, parts, at):
        data = b"".join(parts)
        os.pwrite(fd, data[: len(data) // 2], at)
        die()

    return call, write


def before(call):
    def killed(*_args, **_named):
        die()

    return call, killed


def after(call):
    def killed(*args, **named):
        call(*args, **named)
        die()

    return call, killed


def after_await(call):
    async def killed(*args, **named):
        await call(*args, **named)
        die()

    return call, killed


class FilePublisher:
    """One line an event, on the disk before it returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        # Another process may have been killed in the middle of its line.
        self._file.write(b"\n" + encode_event(event) + b"\n")
        os.fsync(self._file.fileno())


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


# Where to die: what is called there, and how it ends.
STEPS = {
    "before a write": (os, "pwritev", before),
    "in a write": (os, "pwritev", half_a_write),
    "written, before the reply": (os, "pwritev", after),
    "before a sync": (os, "fsync", before),
    "after a sync": (os, "fsync", after),
    "before a rotation": (JournalFile, "rotate", before),
    "after a rotation": (JournalFile, "rotate", after),
    "next segment made": (journal_file, "begin_segment", after),
    "before old segments go": (journal_file, "discard", before),
    "signed, not journaled": (Lane, "close", after),
    "sealed": (Desk, "_close", after),
    "before publishing": (FilePublisher, "publish", before),
    "published, not noted": (FilePublisher, "publish", after_await),
    "publication noted": (Desk, "published", after),
    "block handed in, no outcome": (FileChain, "submit", after_await),
    "outcome noted": (Desk, "resolved", after),
}


def die_at(step: str, count: int) -> None:
    """Have a step end the process when it is reached for the count-th time."""
    owner, name, how = STEPS[step]
    call, killed = how(getattr(owner, name))
    left = [count]

    def counted(*args, **named):
        left[0] -= 1
        return killed(*args, **named) if left[0] <= 0 else call(*args, **named)

    setattr(owner, name, counted)


async def main(directory: Path) -> None:
    edge = Edge(
        source=FileChain(directory / "blocks.txt"),
        signer=SecretKey(b"\x02" * 32),
        pool=(terms := parse_terms(verify(decode_event((directory / "terms.json").read_bytes())))).pool,
        terms=FixedTerms(terms),
        publisher=FilePublisher(directory / "events.jsonl"),
        journal_dir=directory / "journal",
        clock=Clock(),
        config=EdgeConfig(
            payout_script=b"\x51",
            ports=(PortConfig(port=0, start_difficulty=EASIEST, fixed=True),),
            refresh_s=REFRESH_S,
        ),
    )
    async with anyio.create_task_group() as group:
        await group.start(edge.run)
        sys.stdout.write(f"{edge.ports['main']}\n")
        sys.stdout.flush()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, group.cancel_scope.cancel)


if __name__ == "__main__":
    desk.SEGMENT_BYTES = SEGMENT_BYTES
    service.SEAL_LOOK_S = SEAL_LOOK_S
    if len(sys.argv) > 2:
        die_at(sys.argv[2], int(sys.argv[3]))
    uvloop.run(main(Path(sys.argv[1])))
