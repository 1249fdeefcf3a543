"""Submits a second through an edge's whole share path in one process, as a ratio to sha256d a second of the same run.

A submit is parsed, hashed, judged, journaled (one write per 16 submits, as one read brings them) and answered. No
socket is in it. For the figure from outside, serve with `--serve` and drive it with a load generator such as
stratumload (`cc -O2 -o stratumload stratumload.c; ./stratumload 127.0.0.1 PORT 100 10 8 USERS`, USERS a file with one
npub a line).

Usage: python -m bench.edge [--branches N ...] [--seconds S] [--serve [--port P]]
"""

import argparse
import gc
import json
import logging
import math
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import anyio
import uvloop

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.nip19 import encode_npub
from nips.pool import lanes
from nips.pool import terms as pool_terms
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST
from nips.pool.hashing import sha256d
from nips.pool.terms import Offer, Terms, TermsBody, build_terms, parse_terms
from noncestr.garbage import calm
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.config import EdgeConfig, Limits, PortConfig
from stratum_edge.desk import Desk, House
from stratum_edge.extranonce import Seats
from stratum_edge.framing import LineBuffer
from stratum_edge.jobs import Payout
from stratum_edge.lane import Lane
from stratum_edge.ports import Submitted, Template, Tip
from stratum_edge.service import Edge
from stratum_edge.session import Session
from stratum_edge.status import Counts
from stratum_edge.vardiff import EASIEST

POOL_KEY, EDGE_KEY, MINER = (SecretKey(bytes([n]) * 32) for n in (1, 2, 3))
POOL = PoolAddress(POOL_KEY.pubkey, "regtest")
# No hash of a bench is a block.
NO_BLOCK = 0x1800FFFF
SESSIONS = 100
LINES_A_READ = 16


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def make_terms() -> Terms:
    body = TermsBody(
        offers={"main": Offer()}, keys=((EDGE_KEY.pubkey, "edge"),), limits=pool_terms.Limits(block_bits=NO_BLOCK)
    )
    return parse_terms(POOL_KEY.sign(build_terms(POOL, FIRST, now_ms() // 1000, body)))


def make_template(branches: int) -> Template:
    """A template whose coinbase has that many branches: with 2^(n-1) transactions the tree is n deep."""
    txids = tuple(sha256d(n.to_bytes(4, "big")) for n in range(1 << (branches - 1))) if branches else ()
    now = now_ms() // 1000
    # The ids alone make the branches; no block is ever assembled here.
    return Template(200, 0x20000000, b"\xaa" * 32, 0x207FFFFF, now, now - 600, 100_000, txids, txids, None)


def baseline() -> float:
    """sha256d of 64 bytes a second, here and now."""
    count, data = 200_000, bytes(64)
    began = time.perf_counter()
    for _ in range(count):
        sha256d(data)
    return count / (time.perf_counter() - began)


def share_path(branches: int, seconds: float, directory: Path) -> float:
    """Accepted submits a second."""
    journal = JournalFile(directory)
    house = House(POOL, Payout(b"\x51", b"/bench/"))
    port = PortConfig(start_difficulty=EASIEST, fixed=True)
    desk = Desk(house, EDGE_KEY, journal, Lane(POOL, 0, now_ms()), Seats(b"\x07" * 32), Counts(0), [port.offer])
    desk.begin_segment()
    desk.renew(make_template(branches), make_terms(), now_ms())
    user = encode_npub(MINER.pubkey)
    peers = []
    for _ in range(SESSIONS):
        session = Session(desk, port, 0)
        login = [("mining.subscribe", []), ("mining.authorize", [user, "x"])]
        session.receive([json.dumps({"id": 1, "method": m, "params": p}).encode() for m, p in login], 0)
        notify = json.loads(session.take_output().splitlines()[-1])["params"]
        peers.append((session, LineBuffer(), notify[0], notify[7]))
    began = time.perf_counter()
    number = spent = 0
    while spent < seconds * 1e9:
        session, buffer, job, ntime = peers[number // LINES_A_READ % SESSIONS]
        read = b"".join(
            b'{"id":%d,"method":"mining.submit","params":["%s","%s","%016x","%s","%08x"]}\n'
            % (n, user.encode(), job.encode(), n, ntime.encode(), n)
            for n in range(number, number + LINES_A_READ)
        )
        number += LINES_A_READ
        start = time.perf_counter_ns()
        session.receive(buffer.feed(read), int((time.perf_counter() - began) * 1000))
        desk.turn.settle(now_ms(), int((time.perf_counter() - began) * 1000))
        desk.journal.flush()
        session.take_output()
        spent += time.perf_counter_ns() - start
        # What the service takes away as it is published.
        while desk.outbox:
            desk.published(desk.outbox.popleft())
    journal.close()
    return desk.counts.accepted / (spent / 1e9)


def together(processes: int, branches: int, seconds: float, directory: Path) -> float:
    """Accepted submits a second of several lanes, each a process with its own journal, at the same time."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        # One short round first, so that all are up when it counts.
        for rounds in (0.1, seconds):
            places = [Path(tempfile.mkdtemp(dir=directory)) for _ in range(processes)]
            rates = list(pool.map(share_path, [branches] * processes, [rounds] * processes, places))
    return sum(rates)


class BenchChain:
    """Templates on a tip that moves every `tip_every_s` (0: never)."""

    network = "regtest"

    def __init__(self, branches: int, tip_every_s: float) -> None:
        self._template = make_template(branches)
        self._tip_every_s = tip_every_s

    async def template(self) -> Template:
        return self._template

    async def wait_tip(self, known: bytes) -> Tip:  # noqa: ARG002 - the port's
        await anyio.sleep(self._tip_every_s or math.inf)
        self._template = replace(
            self._template, height=self._template.height + 1, prevhash=sha256d(self._template.prevhash)
        )
        return self.tip()

    async def quick_template(self) -> Template | None:
        return None

    def lost_s(self) -> float:
        return 0.0

    def tip(self) -> Tip:
        return Tip(self._template.height - 1, self._template.prevhash)

    async def submit(self, block: bytes) -> Submitted:
        return Submitted(False, f"{len(block)} bytes of a bench")

    async def confirmations(self, block_hash: bytes) -> int | None:
        raise LookupError(block_hash.hex())


def rss_mb() -> int:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


class BenchTerms:
    """One 4210 for ever."""

    def __init__(self) -> None:
        self._terms = make_terms()

    def current(self) -> Terms:
        return self._terms

    async def changed(self, known: str) -> Terms:
        await anyio.sleep_forever()
        raise AssertionError(known)


class Sink:
    """Takes events and forgets them."""

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        """Forget it."""


class Wall:
    """The machine's clock."""

    def now_ms(self) -> int:
        return now_ms()


async def serve(branches: int, port: int, tip_every_s: float, directory: Path) -> None:
    """An edge for a load generator, until interrupted; its figures every two seconds, and how long each job took to
    reach all miners.
    """
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("stratum_edge.service").setLevel(logging.DEBUG)
    edge = Edge(
        source=BenchChain(branches, tip_every_s),
        signer=EDGE_KEY,
        pool=POOL,
        terms=BenchTerms(),
        publisher=Sink(),
        journal_dir=directory,
        clock=Wall(),
        config=EdgeConfig(
            payout_script=b"\x51",
            ports=(PortConfig(port=port, start_difficulty=EASIEST, fixed=True),),
            limits=Limits(max_connections=100_000, max_per_address=100_000),
        ),
    )
    async with anyio.create_task_group() as group:
        await group.start(edge.run)
        calm()
        print(f"stratum+tcp://127.0.0.1:{edge.ports['main']} user {encode_npub(MINER.pubkey)}", flush=True)
        while True:
            await anyio.sleep(2)
            status = edge.status()
            rss = rss_mb()
            print(status.sessions, "sessions", status.accepted, "accepted", status.rejected, rss, "MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--branches", type=int, nargs="+", default=[0, 12])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--processes", type=int, default=1, help="so many lanes at the same time, beside one alone")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--port", type=int, default=3333)
    parser.add_argument("--tip-every", type=float, default=0.0, help="with --serve: a new tip every so many seconds")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        if args.serve:
            uvloop.run(serve(args.branches[0], args.port, args.tip_every, Path(directory)))
            return
        print(f"hash path: {lanes.implementation()}")
        print("| branches | submits/s | sha256d/s of the same run | ratio |\n|---|---|---|---|")
        for branches in args.branches:
            gc.collect()
            base = baseline()
            rate = share_path(branches, args.seconds, Path(directory) / str(branches))
            print(f"| {branches} | {rate:,.0f} | {base:,.0f} | {rate / base:.4f} |")
        if args.processes > 1:
            print(f"\n| branches | one lane | {args.processes} lanes at once | times |\n|---|---|---|---|")
            for branches in args.branches:
                alone = together(1, branches, args.seconds, Path(directory))
                sum_of_all = together(args.processes, branches, args.seconds, Path(directory))
                print(f"| {branches} | {alone:,.0f} | {sum_of_all:,.0f} | {sum_of_all / alone:.2f} |")


if __name__ == "__main__":
    main()
