"""The year of `bench.year` as a signed log, from terms to statuses, judged by the stranger's audit.

A pool with four offers (pplns, prop, solo, pps), two terms changes (fees), donations by settings that change, orphans
of which some come back, and statements that are taken back and made again. The pool's own fold makes each statement; in
the end its ledger, the sums of the statements that stand, and what the audit reckons must be the same to the msat.
The log is a file, and the fold and the audit keep theirs on disk: memory does not hold the year.
Hourly summaries are left out, and that they lack is not asked about.

Usage: python -m bench.year_log [--blocks N] [--seed N]
"""

import argparse
import hashlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import msgspec

from accounting.adapters.kept_shelves import KeptShelves
from accounting.adapters.shelf import SqliteShelves
from accounting.checkpoint import CODEC
from accounting.findings import NOT_CHECKED, Code
from accounting.fold import Fold, codec_of, form
from accounting.report import Report
from accounting.rewards import NotYet, with_donations
from accounting.schemes.donations import Pledge
from accounting.verifier import Audit
from bench.year import Drift
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event
from nips.pool.address import PoolAddress
from nips.pool.binding import BoundWork
from nips.pool.block import BlockBody, build_block
from nips.pool.chain import Head, next_link
from nips.pool.coinbase import Output, build_coinb1, build_coinb2, push_height
from nips.pool.hashing import display, hash_value, sha256d
from nips.pool.job import Job, JobBody, build_job, parse_job
from nips.pool.receipt import ReceiptBody, Session, ShareRecord, build_receipt
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.settings_part import build_settings_part
from nips.pool.statement import MATURED, ORPHANED, VOID, StatementBody, build_statement, build_status
from nips.pool.statement_rows import build_statement_part, split_statement
from nips.pool.targets import target_from_bits, work_from_bits
from nips.pool.terms import Limits, Offer, TermsBody, build_terms

T0 = 1_700_000_000_000
# Every second hash is a share, one in 32 a block.
SHARE_BITS, BLOCK_BITS = 0x207FFFFF, 0x2007FFFF
SHARERS, MINERS, BLOCK_MS, MATURITY = 8, 40, 60_000, 6
# The part of a batch's window in which its shares come.
SHARES_MS = 16_000
ORPHANED_EACH, VOIDED_EACH = 17, 40
# The fold's file takes up what it changed after so many blocks.
KEEP_BLOCKS = 1000
OFFERS = ("main", "round", "lonely", "steady")


def key(name: str) -> SecretKey:
    """A key of the pool that is simulated."""
    return SecretKey(hashlib.sha256(f"noncestr year {name}".encode()).digest())


POOL_KEY, EDGE, ACCOUNTING, CHEST = key("pool"), key("edge"), key("accounting"), key("chest")
POOL = PoolAddress(POOL_KEY.pubkey, "regtest")


def terms_of(fee_ppm: int) -> TermsBody:
    """What the pool promises at some fee."""
    return TermsBody(
        offers={
            "main": Offer("pplns", fee_ppm, 1, 4 * SHARERS),
            "round": Offer("prop", fee_ppm),
            "lonely": Offer("solo", fee_ppm // 2),
            "steady": Offer("pps", fee_ppm, period_s=600),
        },
        keys=((EDGE.pubkey, "edge"), (ACCOUNTING.pubkey, "accounting")),
        limits=Limits(maturity_blocks=MATURITY, block_bits=BLOCK_BITS),
        donate_to=CHEST.pubkey,
    )


@dataclass
class Figures:
    """What a run came to."""

    events: int = 0
    statements: int = 0
    periods: int = 0
    donations: int = 0
    orphaned: int = 0
    void: int = 0
    miners: int = 0
    parts: int = 0
    earned_msat: int = 0
    pending_msat: int = 0


@dataclass
class YearLog:
    """The log as it grows, `length` in blocks, in files of a folder, with the pool's fold beside it. `stands`: of each
    statement that may get another status its body and status; `sums`: what statements give, by (miner, status).
    """

    folder: Path
    length: int
    seed: int
    miners_in_all: int = MINERS
    sharers: int = SHARERS
    heads: dict[str, Head] = field(default_factory=dict)
    figures: Figures = field(default_factory=Figures)
    stands: dict[str, tuple[StatementBody, str]] = field(default_factory=dict)
    sums: Counter[tuple[str, str]] = field(default_factory=Counter)
    terms: list[VerifiedEvent] = field(default_factory=list)
    pledges: dict[str, tuple[int, Pledge]] = field(default_factory=dict)
    pending: list[tuple[int, str]] = field(default_factory=list)
    now: int = T0
    nonce: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.miners = [key(f"miner {number}") for number in range(self.miners_in_all)]

    def sign(self, signer: SecretKey, unsigned: UnsignedEvent, chain: str = "") -> VerifiedEvent:
        """Sign the next event, and let the pool's fold have it."""
        event = signer.sign(unsigned)
        if chain:
            self.heads[chain] = Head(next_link(self.heads.get(chain)).seq, event.id)
        self.log.write(encode_event(event) + b"\n")
        self.figures.events += 1
        self.fold.add(event)
        return event

    def run(self) -> Figures:
        """Raises Drift."""
        shelves = KeptShelves(self.folder / "fold", codec_of, form())
        with closing(shelves):
            self.fold = Fold(POOL, shelves)
            with (self.folder / "log").open("wb") as self.log:
                for height in range(self.length):
                    self._block(height)
                    # What a running accounting would store.
                    self.fold.take_changes()
                    if height % KEEP_BLOCKS == KEEP_BLOCKS - 1:
                        shelves.keep(height, "", b"")
            self.report = self._audit()
            wrong = [*self.fold.check(), *self.fold.violations]
            if wrong:
                raise Drift("; ".join(wrong[:5]))
            self.compare()
        return self.figures

    def _block(self, height: int) -> None:
        third = self.length // 3
        if height in (0, third, 2 * third):
            body = terms_of(10_000 * (1 + height // max(third, 1)))
            link = next_link(self.heads.get("terms"))
            self.terms.append(self.sign(POOL_KEY, build_terms(POOL, link, self.now // 1000, body), "terms"))
        self._settings()
        self._mine(height)
        self._state(height)

    @property
    def second(self) -> int:
        return self.now // 1000

    def _settings(self) -> None:
        """Now and then somebody changes what it gives; the log has it before a statement names it."""
        if self.dice.randrange(5):
            return
        miner = self.dice.choice(self.miners)
        body = SettingsBody(donation_ppm=self.dice.choice((0, 5_000, 15_000)))
        event = miner.sign(build_settings(POOL.pubkey, body, self.second))
        link = next_link(self.heads.get("accounting"))
        self.sign(ACCOUNTING, build_settings_part(POOL, link, event, self.second), "accounting")
        self.pledges[miner.pubkey] = (self.now, Pledge(event.id, body.donation_ppm))

    def _job(self, offer: str, height: int) -> Job:
        body = JobBody(
            ms=self.now + 1000,
            terms=self.heads["terms"].id,
            offer=offer,
            heads={0: self.heads["0"].id if "0" in self.heads else ""},
            height=101 + height,
            version=0x20000000,
            prevhash=sha256d(b"tip %d" % height),
            nbits=0x207FFFFF,
            ntime=self.now // 1000 + 1,
            coinb1=build_coinb1(2, push_height(101 + height)),
            coinb2=build_coinb2((Output(self.dice.randrange(90_000, 110_000), b"\x51"),)),
            merkle=(),
            version_mask=0,
        )
        return parse_job(self.sign(EDGE, build_job(POOL, body)))

    def _mine(self, height: int) -> None:
        """A block's worth of work in a batch, and an empty one that passes it."""
        jobs = {offer: self._job(offer, height) for offer in OFFERS}
        miners = sorted({miner.pubkey for miner in self.dice.sample(self.miners, self.sharers)})
        sessions = tuple(Session(number, "rig", number.to_bytes(4, "big"), SHARE_BITS) for number in range(len(miners)))
        placed = [(self.dice.choice(OFFERS), self.dice.randrange(len(miners))) for _ in range(2 * self.sharers)]
        used = list(dict.fromkeys(jobs[offer].id for offer, _ in placed))
        records: list[ShareRecord] = []
        for number, (offer, session) in enumerate(placed):
            work = BoundWork(jobs[offer], miners[session], SHARE_BITS, sessions[session].extranonce1)
            last = number + 1 == len(placed)
            extra = self._hash(work, jobs[offer], block=last)
            ms, at = 2000 + SHARES_MS * number // len(placed), used.index(jobs[offer].id)
            records.append(ShareRecord(session, at, 0, ms, jobs[offer].ntime, 0, jobs[offer].version, extra))
        body = ReceiptBody(
            lane=0,
            link=next_link(self.heads.get("0")),
            from_ms=self.now,
            to_ms=self.now + BLOCK_MS - 10_000,
            jobs=tuple(used),
            miners=tuple(miners),
            sessions=sessions,
            shares=b"".join(record.pack() for record in records),
            rejects=(),
            work=work_from_bits(SHARE_BITS) * len(records),
        )
        receipt = self.sign(EDGE, build_receipt(POOL, body, -(-body.to_ms // 1000)), "0")
        offer, session = placed[-1]
        job, bound = jobs[offer], BoundWork(jobs[offer], miners[session], SHARE_BITS, sessions[session].extranonce1)
        extra = records[-1].extranonce2
        found = BlockBody(
            height=job.height,
            header=bound.header(extra, job.ntime, 0, job.version),
            coinbase=bound.coinbase(extra),
            merkle=(),
            finder=miners[session],
            receipt=receipt.id,
            index=len(records) - 1,
        )
        self.sign(EDGE, build_block(POOL, found, body.to_ms // 1000))
        self.now += BLOCK_MS
        empty = replace(body, link=next_link(self.heads["0"]), from_ms=body.to_ms, to_ms=self.now, jobs=(), miners=())
        empty = replace(empty, sessions=(), shares=b"", work=0)
        self.sign(EDGE, build_receipt(POOL, empty, self.second), "0")
        self.fold.settle()
        self.block = display(sha256d(found.header))

    def _hash(self, work: BoundWork, job: Job, *, block: bool) -> bytes:
        while True:
            self.nonce += 1
            extra = self.nonce.to_bytes(8, "big")
            value = hash_value(work.hash(extra, job.ntime, 0, job.version))
            if value <= target_from_bits(SHARE_BITS) and block == (value <= target_from_bits(BLOCK_BITS)):
                return extra

    def _state(self, height: int) -> None:
        """Statements that are due, then statuses."""
        statement = self._split(self.block)
        if height % VOIDED_EACH == 3:
            self._status(statement, VOID)
            self.figures.void += 1
            statement = self._split(self.block)
        self.pending.append((height, statement))
        for body in list(self.fold.log.statements.due_periods(ACCOUNTING.pubkey, self.second)):
            if not isinstance(body, NotYet):
                self._publish(body, "")
                self.figures.periods += 1
        waiting = []
        for found, known in self.pending:
            orphan = found % ORPHANED_EACH == 5
            if orphan and height - found == found % (2 * MATURITY):
                self._status(known, ORPHANED)
                self.figures.orphaned += 1
                if found % 4 == 0:
                    self._status(known, MATURED)
            elif not orphan and height - found >= MATURITY:
                self._status(known, MATURED)
            else:
                waiting.append((found, known))
        self.pending = waiting

    def _split(self, block: str) -> str:
        body = self.fold.log.expected(self.fold.log.blocks[block], ACCOUNTING.pubkey, self.second)
        if isinstance(body, NotYet):
            raise Drift(body.reason)
        return self._publish(body, self.fold.log.blocks[block].block.id)

    def _publish(self, body: StatementBody, announced: str) -> str:
        # Settings dated later count from the next reward on.
        known = {miner: pledge for miner, (at, pledge) in self.pledges.items() if at <= body.reward.end_ms}
        body = with_donations(body, CHEST.pubkey, known)
        parts = split_statement(body.rows, body.donations)
        count = len(parts) if len(parts) > 1 else 0
        for number, part in enumerate(parts[:count]):
            link = next_link(self.heads.get("accounting"))
            self.sign(ACCOUNTING, build_statement_part(POOL, link, number, part, self.second), "accounting")
        link = next_link(self.heads.get("accounting"))
        unsigned = build_statement(POOL, link, body, self.second, announced, parts=count)
        event = self.sign(ACCOUNTING, unsigned, "accounting")
        self.figures.parts += count
        status = MATURED if not body.reward.block else "pending"
        if body.reward.block:
            self.stands[event.id] = (body, status)
        self.sums.update({(row.miner, status): row.msat for row in body.rows})
        self.figures.statements += 1
        self.figures.donations += len(body.donations)
        self.fold.settle()
        return event.id

    def _status(self, statement: str, status: str) -> None:
        link = next_link(self.heads["accounting"])
        self.sign(ACCOUNTING, build_status(POOL, link, statement, status, self.second), "accounting")
        body, before = self.stands.pop(statement)
        self.sums.subtract({(row.miner, before): row.msat for row in body.rows})
        self.sums.update({(row.miner, status): row.msat for row in body.rows})
        if status == ORPHANED:
            # The only one that may be taken back.
            self.stands[statement] = (body, status)
        self.fold.settle()

    def _events(self) -> Iterator[VerifiedEvent]:
        """All terms, then the log as it was signed: here, so that its signatures are good."""
        yield from self.terms
        with (self.folder / "log").open("rb") as lines:
            for line in lines:
                yield msgspec.json.decode(line, type=VerifiedEvent)

    def _audit(self) -> Report:
        """Raises Drift."""
        with SqliteShelves(self.folder / "audit", CODEC) as shelves:
            judge = Audit(POOL, shelves=shelves)
            for event in self._events():
                judge.add(event)
            report = judge.finish(self.now)
        if report is None:
            raise Drift(f"the audit is to be begun again: {judge.reopened}")
        asked = (found for found in report.findings if found.code is not Code.SUMMARY_OVERDUE)
        wrong = [f"{found.code}: {found.text}" for found in asked if found.grade != NOT_CHECKED]
        if wrong:
            raise Drift("; ".join(wrong[:5]))
        return report

    def compare(self) -> None:
        """Ledger, statements and the audit's own reckoning. Raises Drift."""
        seen = {row.miner: row for row in self.report.miners}
        for miner in sorted({name for name, _ in self.sums}):
            balance, read = self.fold.ledger.balance(miner, None), seen[miner]
            told = (self.sums[miner, "pending"], self.sums[miner, MATURED])
            if not told == (balance.pending_msat, balance.earned_msat) == (read.pending_msat, read.earned_msat):
                raise Drift(f"{miner}: statements {told}, ledger {balance}, audit {read}")
            self.figures.pending_msat += told[0]
            self.figures.earned_msat += told[1]
            self.figures.miners += 1


def main() -> None:
    """Run it and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--miners", type=int, default=MINERS, help="how many there are in all")
    parser.add_argument("--sharers", type=int, default=SHARERS, help="how many of them share in a block")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="noncestr-year-") as folder:
        figures = YearLog(Path(folder), options.blocks, options.seed, options.miners, options.sharers).run()
    for name, value in asdict(figures).items():
        print(f"{name:13} {value:>20,}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
