"""A long pool log that is valid to the last hash, at toy difficulty: `python -m bench.synthetic_log FILE SHARES`.

Terms, two lanes, a job every 30 s, batches of 10 s, real shares, blocks (one share in 2^18), statements, statuses and
payouts. Its parts depend on the seed alone, so that a file once made serves again.
"""

import hashlib
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

from accounting.facts import BatchChecked
from accounting.log import PoolLog
from accounting.rewards import NotYet
from accounting.summaries import SummaryBook
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event
from nips.pool import lanes
from nips.pool.address import PoolAddress
from nips.pool.binding import BoundWork
from nips.pool.block import BlockBody, build_block
from nips.pool.chain import FIRST, Head, next_link
from nips.pool.coinbase import Output, build_coinb1, build_coinb2, push_height
from nips.pool.hashing import sha256d
from nips.pool.job import Job, JobBody, build_job, parse_job
from nips.pool.payout import PayoutBody, build_payout
from nips.pool.receipt import ReceiptBody, Session, ShareRecord, build_receipt, receipt_second
from nips.pool.statement import MATURED, build_statement, build_status
from nips.pool.summary import build_summary, build_summary_part, parse_summary, split_rows
from nips.pool.targets import share_bits_from_difficulty, target_from_bits, work_from_bits
from nips.pool.terms import Limits, Offer, TermsBody, build_terms

T0 = 1_700_000_000_000
# One hash in two is a share, one share in 2^18 a block: making the log takes little more than checking it.
BITS = share_bits_from_difficulty(Fraction(1, 1 << 31))
BLOCK_BITS = share_bits_from_difficulty(Fraction(1, 1 << 13))
JOB_MS, TIP_MS = 30_000, 600_000
# The window reaches back over some millions of shares: over a part of the log, however long that is.
OFFER = Offer(window_min_work=2 * 2_000_000, window_milli=1)
_SHARE = struct.Struct("<8sIII")


@dataclass(frozen=True, slots=True)
class Shape:
    """A pool: its lanes, how many sessions a batch of each has, whose they are, and how long a batch lasts."""

    lanes: int = 2
    miners: int = 50
    sessions: int = 100
    batch_ms: int = 10_000
    # Each lane has miners of its own, else they wander from batch to batch over all lanes.
    apart: bool = False
    block_bits: int = BLOCK_BITS

    def miner(self, lane: int, batch: int, session: int) -> int:
        """The number of the miner behind a session."""
        return (lane * self.sessions + session if self.apart else batch + session) % self.miners


# 10,000 miners at six shares a minute, lanes and batches as SPEC.md's "Size and privacy" would have them, no blocks.
NO_BLOCKS = share_bits_from_difficulty(1 << 32)
LARGE = Shape(lanes=59, miners=10_000, sessions=170, batch_ms=60_000, apart=True, block_bits=NO_BLOCKS)


def key(name: str) -> SecretKey:
    """A key of the synthetic pool."""
    return SecretKey(hashlib.sha256(f"noncestr bench {name}".encode()).digest())


POOL_KEY, EDGE, ACCOUNTING, ZAPPER = key("pool"), key("edge"), key("accounting"), key("zapper")
POOL = PoolAddress(POOL_KEY.pubkey, "regtest")


@cache
def payee(number: int) -> str:
    """The key of a synthetic miner."""
    return key(f"miner {number}").pubkey


class Maker:
    """Signs the log, event by event, with the pool's own fold beside it to say what each statement must be."""

    def __init__(self, shares: int, branches: int, per_batch: int = 1500, shape: Shape | None = None) -> None:
        self.shape = shape or Shape()
        self.left = shares
        self.per_batch = per_batch
        self.merkle = tuple(sha256d(bytes([n])) for n in range(branches))
        self.fold = PoolLog(POOL)
        self.book = SummaryBook()
        self.heads: dict[str, Head] = {}
        self.newest: dict[str, int] = {}
        self.nonce = 0
        self.paid = 0

    def _sign(self, signer: SecretKey, unsigned: UnsignedEvent, chain: str = "") -> VerifiedEvent:
        event = signer.sign(unsigned)
        if chain:
            self.heads[chain] = Head(next_link(self.heads.get(chain)).seq, event.id)
            self.newest[chain] = event.created_at
        self.fold.add(event)
        return event

    def events(self) -> Iterator[VerifiedEvent]:
        """The whole log, in order."""
        roles = ((EDGE.pubkey, "edge"), (ACCOUNTING.pubkey, "accounting"), (ZAPPER.pubkey, "zapper"))
        limits = Limits(easiest_bits=BITS, block_bits=self.shape.block_bits)
        body = TermsBody(offers={"main": OFFER}, keys=roles, limits=limits)
        terms = self._sign(POOL_KEY, build_terms(POOL, FIRST, T0 // 1000, body), "terms")
        yield terms
        now, job, blocks = T0, None, dict[str, int]()
        while self.left > 0 or blocks:
            if job is None or now - job.ms >= JOB_MS:
                event = self._sign(EDGE, build_job(POOL, self._job_body(terms.id, now)))
                job = parse_job(event)
                yield event
            for lane in range(self.shape.lanes):
                yield self._receipt(lane, now, job, min(self.per_batch, self.left))
                self.left = max(0, self.left - self.per_batch)
            now += self.shape.batch_ms
            self._settle()
            yield from self._announce(blocks)
            yield from self._state(blocks, now)
            yield from self._sum_up(now)

    def _job_body(self, terms: str, now: int) -> JobBody:
        height = 101 + (now - T0) // TIP_MS
        return JobBody(
            ms=now,
            terms=terms,
            offer="main",
            heads={
                lane: self.heads[str(lane)].id if str(lane) in self.heads else "" for lane in range(self.shape.lanes)
            },
            height=height,
            version=0x20000000,
            prevhash=sha256d(b"tip %d" % height),
            nbits=0x207FFFFF,
            ntime=now // 1000,
            coinb1=build_coinb1(2, push_height(height)),
            coinb2=build_coinb2((Output(5_000_000_000, b"\x51" * 34), Output(0, b"\x6a" * 38))),
            merkle=self.merkle,
            version_mask=0,
        )

    def _receipt(self, lane: int, from_ms: int, job: Job, shares: int) -> VerifiedEvent:
        """A batch of real shares of 100 sessions."""
        number = self.heads[str(lane)].seq if str(lane) in self.heads else 0
        count = min(self.shape.sessions, shares)
        miners = sorted({payee(self.shape.miner(lane, number, n)) for n in range(count)})
        sessions = tuple(
            Session(n % len(miners), f"rig{n}", struct.pack(">I", n | lane << 16), BITS) for n in range(count)
        )
        body = ReceiptBody(
            lane=lane,
            link=next_link(self.heads.get(str(lane))),
            from_ms=from_ms,
            to_ms=from_ms + self.shape.batch_ms,
            jobs=(job.id,) if shares else (),
            miners=tuple(miners),
            sessions=sessions,
            shares=b"".join(self._records(job, sessions, miners, shares)),
            rejects=(),
            work=work_from_bits(BITS) * shares,
        )
        second = receipt_second(body.to_ms, self.newest.get(str(lane), 0))
        return self._sign(EDGE, build_receipt(POOL, body, second), str(lane))

    def _records(self, job: Job, sessions: tuple[Session, ...], miners: list[str], shares: int) -> Iterator[bytes]:
        target = target_from_bits(BITS)
        works = [BoundWork(job, miners[session.miner], BITS, session.extranonce1) for session in sessions]
        found = 0
        while found < shares:
            tries = 2 * (shares - found) + 64
            first = self.nonce
            self.nonce += tries
            packed = b"".join(
                _SHARE.pack(nonce.to_bytes(8, "big"), job.ntime, nonce & 0xFFFFFFFF, job.version)
                for nonce in range(first, first + tries)
            )
            bounds = [works[nonce % len(works)].bound for nonce in range(first, first + tries)]
            hashes = lanes.hash_shares(bounds, packed)
            for at in range(tries):
                if found < shares and int.from_bytes(hashes[32 * at : 32 * at + 32], "little") <= target:
                    nonce = first + at
                    ms = found * self.shape.batch_ms // shares
                    extra = nonce.to_bytes(8, "big")
                    number = nonce % len(works)
                    yield ShareRecord(number, 0, 0, ms, job.ntime, nonce & 0xFFFFFFFF, job.version, extra).pack()
                    found += 1

    def _announce(self, blocks: dict[str, int]) -> Iterator[VerifiedEvent]:
        """A 4213 for each share that solved its block and has none."""
        for place, solved in list(self.fold.mining.announced.solutions.scan()):
            solution = solved.solution
            job = self.fold.mining.judged_job(solution.job)
            assert job is not None
            body = BlockBody(
                height=job.job.height,
                header=solution.header,
                coinbase=solution.coinbase,
                merkle=job.job.merkle,
                finder=solution.miner,
                receipt=place.partition("/")[0],
                index=solution.number,
            )
            if body.block in self.fold.blocks or body.block in blocks:
                continue
            yield self._sign(EDGE, build_block(POOL, body, solution.t // 1000))
            blocks[body.block] = solution.t
        self._settle()

    def _settle(self) -> None:
        for fact in self.fold.settle():
            if isinstance(fact, BatchChecked):
                self.book.add(fact.receipt, fact.shares)

    def _sum_up(self, now: int) -> Iterator[VerifiedEvent]:
        """The hours that are over."""
        while (body := self.book.due(self.fold.ready)) is not None:
            second = max(-(-max(now, body.to_ms) // 1000), self.newest.get("accounting", 0))
            parts = split_rows(body.rows)
            parts = parts if len(parts) > 1 else []
            for number, rows in enumerate(parts):
                link = next_link(self.heads.get("accounting"))
                yield self._sign(ACCOUNTING, build_summary_part(POOL, link, number, rows, second), "accounting")
            link = next_link(self.heads.get("accounting"))
            event = self._sign(ACCOUNTING, build_summary(POOL, link, body, second, parts=len(parts)), "accounting")
            self.book.trust(parse_summary(event))
            yield event

    def _state(self, blocks: dict[str, int], now: int) -> Iterator[VerifiedEvent]:
        """The statement of each block that can have one, matured at once, and a payout a row."""
        for name in sorted(blocks, key=lambda name: blocks[name]):
            expected = self.fold.expected(self.fold.blocks[name])
            if isinstance(expected, NotYet):
                continue
            del blocks[name]
            second = max(now // 1000, self.newest.get("accounting", 0))
            link = next_link(self.heads.get("accounting"))
            block = self.fold.blocks[name].block.id
            statement = self._sign(ACCOUNTING, build_statement(POOL, link, expected, second, block), "accounting")
            yield statement
            link = next_link(self.heads.get("accounting"))
            yield self._sign(ACCOUNTING, build_status(POOL, link, statement.id, MATURED, second), "accounting")
            self._settle()
            for row in expected.rows:
                self.paid += 1
                y, sat = "02" + hashlib.sha256(b"%d" % self.paid).hexdigest(), row.msat // 1000
                proof = {"mint": "https://mint", "unit": "sat", "ys": [y], "amount": sat}
                body = PayoutBody(f"{self.paid}", row.miner, 1000 * sat, 0, "00" * 32, "cashu", proof)
                yield self._sign(
                    ZAPPER, build_payout(POOL, next_link(self.heads.get("payouts")), body, second), "payouts"
                )


def write_log(path: Path, shares: int, branches: int, per_batch: int = 1500, shape: Shape | None = None) -> None:
    """Write the log as JSON lines, unless the file is there."""
    if path.exists():
        return
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for event in Maker(shares, branches, per_batch, shape).events():
            file.write(encode_event(event) + b"\n")
    part.replace(path)


if __name__ == "__main__":
    write_log(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 12)
