"""Records what a real miner says to a session on fixed keys and a fixed clock, so that the suite can say it again.

A job's id comes of its content, its time and its signer, all of which are fixed here: a recorded submit is a good share
of the very job that a replay hands out. After some shares the stage finds a new block, and after as many more the
recording ends.

Usage: python -m tests.stratum_edge.record_dialogue FILE --client NAME [--branches N] [--shares N] -- COMMAND...
({port} and {user} in the command are replaced: minerd -a sha256d -t 1 -o stratum+tcp://127.0.0.1:{port} -u {user} -p x)
"""

import argparse
import asyncio
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from nips.nip19 import encode_npub
from nips.pool.hashing import sha256d
from stratum_edge.extranonce import Seat, Seats
from stratum_edge.framing import LineBuffer
from stratum_edge.ports import Template
from stratum_edge.session import Session
from stratum_edge.states import State
from tests.stratum_edge.conftest import MINER, NOW, Bench, make_template

NPUB = encode_npub(MINER.pubkey)
USER = f"{NPUB}.laptop"
# Some four million hashes a share: a second of one core, so that each is found after its job was heard of.
DIFFICULTY = Fraction(1, 1 << 10)
# Nobody listens to a recording that does not end.
LONGEST_S = 120.0


def template_of(height: int, branches: int, now_s: int) -> Template:
    """A block of so many merkle branches on top of a made-up one."""
    count = (1 << branches) - 1 if branches else 0
    txids = tuple(sha256d(height.to_bytes(4, "big") + number.to_bytes(4, "big")) for number in range(count))
    return make_template(height, sha256d(b"block %d" % height), now_s, txids=txids, transactions=(b"",) * count)


class OneSeat(Seats):
    """Always the same seat, whatever seats are made of."""

    def __init__(self) -> None:
        super().__init__(b"\x07" * 32)
        self.seat = Seat("06a9ac2490d56658", bytes.fromhex("00070708"))

    def take(self, now: int, session_id: str | None = None) -> Seat:
        return self.seat

    def leave(self, seat: Seat, now: int) -> None:
        pass


class Stage:
    """A desk, one session and a clock that the script sets."""

    def __init__(self, branches: int) -> None:
        self.branches = branches
        self.height = 200
        self.bench = Bench(start=DIFFICULTY, min_difficulty=Fraction(1, 1 << 32))
        self.bench.desk.seats = OneSeat()
        self.bench.desk.renew(template_of(self.height, branches, NOW // 1000), self.bench.terms, NOW)
        self.session = Session(self.bench.desk, self.bench.port, 0)
        self.lines = LineBuffer()

    def read(self, data: bytes, at: int) -> bytes:
        """What the session answers to a read at `at` ms after the start."""
        self.session.receive(self.lines.feed(data), at)
        self.bench.desk.turn.settle(NOW + at, at)
        self.bench.journal.flush()
        return self.session.take_output()

    def find_block(self, at: int) -> bytes:
        """A new block: what the session says of it."""
        self.height += 1
        now = NOW + at
        clean = self.bench.desk.renew(template_of(self.height, self.branches, now // 1000), self.bench.terms, now)
        live = self.bench.desk.current("main")
        assert live is not None
        if self.session.state is State.MINING:
            self.session.assign(live, clean)
        return self.session.take_output()


class Recorder(asyncio.Protocol):
    """One connection to the stage, written down."""

    def __init__(self, stage: Stage, shares: int) -> None:
        self.stage = stage
        self.shares = shares
        self.events: list[dict[str, Any]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._began = asyncio.get_running_loop().time()

    def _now(self) -> int:
        return int((asyncio.get_running_loop().time() - self._began) * 1000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        at = self._now()
        self._say({"at": at, "in": data.decode()}, self.stage.read(data, at))
        accepted = self.stage.session.accepted
        if accepted >= self.shares and self.stage.height == 200:
            at = self._now()
            self._say({"at": at, "block": 201}, self.stage.find_block(at))
        elif accepted >= 2 * self.shares and not self.done.done():
            self.done.set_result(None)

    def _say(self, event: dict[str, Any], output: bytes) -> None:
        self.events.append({**event, "out": output.decode()})
        self._transport.write(output)


async def record(client: str, branches: int, shares: int, command: list[str]) -> str:
    """Let the command mine on the stage; the recording as JSON."""
    stage = Stage(branches)
    recorder = Recorder(stage, shares)
    server = await asyncio.get_running_loop().create_server(lambda: recorder, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    words = [word.replace("{port}", str(port)).replace("{user}", USER) for word in command]
    process = await asyncio.create_subprocess_exec(*words)
    try:
        await asyncio.wait_for(recorder.done, LONGEST_S)
    finally:
        process.terminate()
        await process.wait()
        server.close()
    found = {"client": client, "user": USER, "branches": branches, "accepted": stage.session.accepted}
    return json.dumps({**found, "events": recorder.events}, indent=1) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--client", required=True, help="what it is, for people")
    parser.add_argument("--branches", type=int, default=0)
    parser.add_argument("--shares", type=int, default=4, help="before the new block, and after it")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    recording = asyncio.run(record(arguments.client, arguments.branches, arguments.shares, arguments.command))
    arguments.file.write_text(recording, "utf-8")


if __name__ == "__main__":
    main()
