"""A small pool's log, told event by event: real work at toy difficulty, real keys, the split by a naive reading of
SPEC.md. `change` alters the body of any event before it is signed, by its label ("batch 0/1", "job A", "payout 0");
all that follows is then signed on top of the altered event, as a pool that cheats would. `tamper` alters the event's
own tags and content right before it is signed; work stays what it was, done on the job as it was.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, NamedTuple

import bolt11
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event
from nips.nip57 import build_zap_receipt, build_zap_request, check_zap_request, zap_request_text
from nips.pool.address import PoolAddress
from nips.pool.binding import BoundWork
from nips.pool.block import BlockBody, build_block
from nips.pool.chain import Head, next_link
from nips.pool.coinbase import Output, build_coinb1, build_coinb2, push_data, push_height
from nips.pool.hashing import sha256d
from nips.pool.job import Job, JobBody, build_job, parse_job
from nips.pool.payout import PayoutBody, build_payout
from nips.pool.receipt import ReceiptBody, Rejects, Session, ShareRecord, build_receipt, receipt_second
from nips.pool.statement import BlockReward, Row, StatementBody, Window, build_statement, build_status
from nips.pool.targets import share_bits_from_difficulty, target_from_bits, work_from_bits
from nips.pool.terms import Limits, Offer, TermsBody, build_terms

T0 = 1_700_000_000_000
# A share in 64 hashes, a block in 512.
SHARE_BITS = share_bits_from_difficulty(Fraction(1, 1 << 26))
BLOCK_BITS = share_bits_from_difficulty(Fraction(1, 1 << 23))
HARD_BITS = share_bits_from_difficulty(Fraction(1, 1 << 25))
VERSION, MASK = 0x20000000, 0x1FFFE000
GROSS_SAT = (2_499_999_871, 31)

Change = Mapping[str, Callable[[Any], Any]]


def key(name: str) -> SecretKey:
    return SecretKey(hashlib.sha256(f"accounting test {name}".encode()).digest())


class Keys(NamedTuple):
    pool: SecretKey = key("pool")
    edge: SecretKey = key("edge")
    accounting: SecretKey = key("accounting")
    zapper: SecretKey = key("zapper")
    provider: SecretKey = key("provider")
    stranger: SecretKey = key("stranger")
    alice: SecretKey = key("alice")
    bob: SecretKey = key("bob")


KEYS = Keys()
POOL = PoolAddress(KEYS.pool.pubkey, "regtest")
LIMITS = Limits(easiest_bits=SHARE_BITS, block_bits=BLOCK_BITS, statement_ms=600_000)
OFFER = Offer(fee_ppm=10_000, window_min_work=400)
TERMS = TermsBody(
    offers={"main": OFFER, "lunch": Offer(fee_ppm=25_000, window_min_work=100_000)},
    keys=((KEYS.edge.pubkey, "edge"), (KEYS.accounting.pubkey, "accounting"), (KEYS.zapper.pubkey, "zapper")),
    limits=LIMITS,
)


class Mined(NamedTuple):
    """A share to be put into a batch: whose, on which job, at which time, and what was hashed."""

    job: Job
    session: Session
    miner: str
    t: int
    record: ShareRecord


class Told(NamedTuple):
    """A credited share as the log tells it, in the order of S."""

    t: int
    edge: str
    lane: int
    seq: int
    index: int
    miner: str
    work: int
    offer: str
    height: int


@dataclass
class LogBuilder:
    """Signs the events of a pool's log, in chains. `events` maps labels to events; times are ms since T0."""

    change: Change = field(default_factory=dict)
    tamper: Mapping[str, Callable[[UnsignedEvent], UnsignedEvent]] = field(default_factory=dict)
    # The jobs as miners had them, by the id of what was signed instead.
    honest: dict[str, Job] = field(default_factory=dict)
    signers: Mapping[str, SecretKey] = field(default_factory=dict)
    events: dict[str, VerifiedEvent] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    bodies: dict[str, Any] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    windows: dict[int, list[tuple[int, int, Head]]] = field(default_factory=dict)
    offers: dict[str, TermsBody] = field(default_factory=dict)
    nonce: int = 0

    keys = KEYS
    pool = POOL
    t0 = T0

    def body(self, label: str, body: Any) -> Any:
        """The body as it is to be signed, altered if a test asks so."""
        self.bodies[label] = self.change.get(label, lambda same: same)(body)
        return self.bodies[label]

    def sign(self, label: str, signer: SecretKey, unsigned: UnsignedEvent, chain: str | None = None) -> VerifiedEvent:
        event = self.signers.get(label, signer).sign(self.tamper.get(label, lambda same: same)(unsigned))
        self.events[label] = event
        if chain is not None:
            head = self.heads.get(chain)
            self.heads[chain] = Head(0 if head is None else head.seq + 1, event.id)
            self.newest[chain] = event.created_at
        return event

    def terms(self, ms: int, body: TermsBody) -> VerifiedEvent:
        label = f"terms {len(self.offers)}"
        body = self.body(label, body)
        link = next_link(self.heads.get("terms"))
        event = self.sign(label, self.keys.pool, build_terms(POOL, link, (T0 + ms) // 1000, body), "terms")
        self.offers[event.id] = body
        return event

    def job(self, name: str, ms: int, lanes: tuple[int, ...], *, offer: str = "main", tip: int = 0) -> Job:
        """A job on block `tip` + 100, naming the lanes' newest batches."""
        height = 101 + tip
        body = JobBody(
            ms=T0 + ms,
            terms=self.heads["terms"].id,
            offer=offer,
            heads={lane: self.heads[str(lane)].id if str(lane) in self.heads else "" for lane in lanes},
            height=height,
            version=VERSION,
            prevhash=sha256d(f"block {tip}".encode()),
            nbits=0x207FFFFF,
            ntime=(T0 + ms) // 1000,
            coinb1=build_coinb1(2, push_height(height) + push_data(b"/noncestr/")),
            coinb2=build_coinb2(tuple(Output(value, b"\x51") for value in GROSS_SAT)),
            merkle=(sha256d(b"left"), sha256d(b"right")),
            version_mask=MASK,
        )
        label = f"job {name}"
        unsigned = build_job(POOL, self.body(label, body))
        event = self.sign(label, self.keys.edge, unsigned)
        job = parse_job(self.keys.edge.sign(unsigned) if label in self.tamper else event)
        self.honest[event.id] = job
        self.jobs[name] = replace(job, id=event.id)
        return self.jobs[name]

    def mine(
        self,
        job: Job,
        miner: SecretKey,
        ms: int,
        *,
        worker: str = "rig",
        bits: int = SHARE_BITS,
        block: bool = False,
        status: int = 0,
        extranonce1: bytes = bytes(4),
    ) -> Mined:
        """A real share; it is a block only if asked to be."""
        work = BoundWork(self.honest.get(job.id, job), miner.pubkey, bits, extranonce1)
        share, solved = target_from_bits(bits), target_from_bits(BLOCK_BITS)
        low, high = (0, solved) if block else (solved + 1, share)
        ntime, version = job.ntime + 1, VERSION | 0x2000
        while True:
            self.nonce += 1
            extra = self.nonce.to_bytes(8, "big")
            if low <= int.from_bytes(work.hash(extra, ntime, self.nonce, version), "little") <= high:
                break
        record = ShareRecord(0, 0, status, 0, ntime, self.nonce, version, extra)
        return Mined(job, Session(0, worker, extranonce1, bits), miner.pubkey, T0 + ms, record)

    def batch(
        self,
        lane: int,
        from_ms: int,
        to_ms: int,
        shares: list[Mined] | None = None,
        *,
        fin: bool = False,
        rejects: tuple[Rejects, ...] = (),
    ) -> VerifiedEvent:
        """A receipt with these shares, which are put in time order."""
        ordered = sorted(shares or [], key=lambda share: share.t)
        jobs = list(dict.fromkeys(share.job.id for share in ordered))
        miners = sorted({share.miner for share in ordered})
        sessions = list(dict.fromkeys(share.session._replace(miner=miners.index(share.miner)) for share in ordered))
        records = [
            share.record._replace(
                session=sessions.index(share.session._replace(miner=miners.index(share.miner))),
                job=jobs.index(share.job.id),
                ms=share.t - T0 - from_ms,
            )
            for share in ordered
        ]
        body = ReceiptBody(
            lane=lane,
            link=next_link(self.heads.get(str(lane))),
            from_ms=T0 + from_ms,
            to_ms=T0 + to_ms,
            jobs=tuple(jobs),
            miners=tuple(miners),
            sessions=tuple(sessions),
            shares=b"".join(record.pack() for record in records),
            rejects=rejects,
            work=sum(work_from_bits(sessions[record.session].share_bits) for record in records if record.status < 2),
            fin=fin,
        )
        label = f"batch {lane}/{body.link.seq}"
        body = self.body(label, body)
        second = receipt_second(body.to_ms, self.newest.get(str(lane), 0))
        event = self.sign(label, self.keys.edge, build_receipt(POOL, body, second), str(lane))
        self._tell(body, event)
        return event

    def _tell(self, body: ReceiptBody, event: VerifiedEvent) -> None:
        by_id = {job.id: job for job in self.jobs.values()}
        for index in range(len(body.shares) // 28):
            row = body.shares[28 * index : 28 * index + 28]
            session, number, status = body.sessions[int.from_bytes(row[:2], "little")], row[2], row[3]
            job = by_id.get(body.jobs[number])
            if status > 1 or job is None:
                continue
            t = body.from_ms + int.from_bytes(row[4:8], "little")
            miner, work = body.miners[session.miner], work_from_bits(session.share_bits)
            place = (t, event.pubkey, body.lane, body.link.seq, index)
            self.told.append(Told(*place, miner, work, job.offer, job.height))
        self.windows.setdefault(body.lane, []).append((body.from_ms, body.to_ms, Head(body.link.seq, event.id)))

    def block(self, receipt: str, share: Mined, index: int) -> VerifiedEvent:
        """Announce a share of a labelled receipt as a block."""
        job = self.honest.get(share.job.id, share.job)
        work = BoundWork(job, share.miner, share.session.share_bits, share.session.extranonce1)
        record = share.record
        body = BlockBody(
            height=share.job.height,
            header=work.header(record.extranonce2, record.ntime, record.nonce, record.version),
            coinbase=work.coinbase(record.extranonce2),
            merkle=share.job.merkle,
            finder=share.miner,
            receipt=self.events[receipt].id,
            index=index,
        )
        label = f"block {sum(name.startswith('block ') for name in self.events)}"
        return self.sign(label, self.keys.edge, build_block(POOL, self.body(label, body), share.t // 1000))

    def counted(self, offer: Offer, block: Mined) -> tuple[dict[str, int], int]:
        """Work by miner and the oldest share's time, of a pplns window."""
        job, found = block.job, block.t
        limit = max(offer.window_milli * work_from_bits(job.nbits) // 1000, offer.window_min_work)
        counted: dict[str, int] = {}
        from_ms = found
        for told in sorted(self.told, reverse=True):
            past = not offer.window_max_ms or told.t >= found - offer.window_max_ms
            if told.offer == job.offer and told.t <= found and told.height <= job.height and past and limit:
                part = min(limit, told.work)
                limit -= part
                counted[told.miner] = counted.get(told.miner, 0) + part
                from_ms = told.t
        return counted, from_ms

    def cuts(self, end: int) -> dict[str, Head]:
        """Where a statement cuts the lanes."""
        heads = {}
        for lane, windows in self.windows.items():
            past = [head for _, to_ms, head in windows if to_ms > end]
            if windows[0][0] <= end:
                heads[f"{self.keys.edge.pubkey}/{lane}"] = past[0] if past else windows[-1][2]
        return heads

    def statement(self, block: str, share: Mined, ms: int) -> VerifiedEvent:
        """Split a labelled block's reward, as SPEC.md reads."""
        job, found = share.job, share.t
        offer = self.offers[job.terms].offers[job.offer]
        counted, from_ms = self.counted(offer, share)
        gross, total = sum(GROSS_SAT) * 1000, sum(counted.values())
        pot = gross - gross * offer.fee_ppm // 1_000_000
        rows = tuple(Row(miner, work, pot * work // total) for miner, work in sorted(counted.items()))
        heads = self.cuts(found)
        body = StatementBody(
            reward=BlockReward(self.bodies[block].block, job.height, found, gross),
            terms=job.terms,
            offer=job.offer,
            window=Window(from_ms, total, heads),
            fee_msat=gross - sum(row.msat for row in rows),
            rows=rows,
        )
        label = f"statement {sum(name.startswith('statement ') for name in self.events)}"
        body, link = self.body(label, body), next_link(self.heads.get("accounting"))
        unsigned = build_statement(POOL, link, body, (T0 + ms) // 1000, self.events[block].id)
        return self.sign(label, self.keys.accounting, unsigned, "accounting")

    def status(self, statement: str, status: str, ms: int) -> VerifiedEvent:
        label = f"status {sum(name.startswith('status ') for name in self.events)}"
        named, said = self.body(label, (self.events[statement].id, status))
        link = next_link(self.heads.get("accounting"))
        unsigned = build_status(POOL, link, named, said, (T0 + ms) // 1000)
        return self.sign(label, self.keys.accounting, unsigned, "accounting")

    def zap(self, miner: SecretKey, amount_msat: int, ms: int, *, receipt: bool = True) -> VerifiedEvent:
        """A payout by zap, its invoice signed by the miner's wallet provider."""
        number = sum(name.startswith("payout ") for name in self.events)
        label, second = f"payout {number}", (T0 + ms) // 1000
        asked = build_zap_request(
            recipient=miner.pubkey,
            amount_msat=amount_msat,
            lnurl="lnurl1test",
            relays=("ws://127.0.0.1",),
            content="",
            created_at=second,
        )
        request = self.keys.zapper.sign(asked)
        text, preimage = zap_request_text(request), hashlib.sha256(label.encode()).digest()
        invoice = make_invoice(self.keys.provider, amount_msat, preimage, text, second)
        proof: dict[str, Any] = {
            "bolt11": invoice,
            "preimage": preimage.hex(),
            "zap_request": json.loads(encode_event(request)),
        }
        if receipt:
            told = build_zap_receipt(check_zap_request(text), bolt11=invoice, preimage=preimage.hex(), paid_at=second)
            proof["provider"] = self.keys.provider.pubkey
            proof["receipt"] = self.sign(f"receipt {number}", self.keys.provider, told).id
        body = PayoutBody(
            payout_id=f"{miner.pubkey[:8]}-{number}",
            miner=miner.pubkey,
            amount_msat=amount_msat,
            network_fee_msat=0,
            to="00" * 32,
            method="zap",
            proof=proof,
        )
        unsigned = build_payout(POOL, next_link(self.heads.get("payouts")), self.body(label, body), second)
        return self.sign(label, self.keys.zapper, unsigned, "payouts")

    def row_msat(self, statement: str, miner: SecretKey) -> int:
        """What a labelled statement gives a miner."""
        return sum(row.msat for row in self.bodies[statement].rows if row.miner == miner.pubkey)

    def all(self, *without: str) -> list[VerifiedEvent]:
        """Every event, in the order told, less some by label."""
        assert set(without) <= set(self.events)
        return [event for label, event in self.events.items() if label not in without]


def make_invoice(signer: SecretKey, amount_msat: int, preimage: bytes, text: str, second: int) -> str:
    """A BOLT 11 invoice of regtest that commits to a zap request's text."""
    tags = bolt11.Tags()
    tags.add(bolt11.TagChar.payment_hash, hashlib.sha256(preimage).hexdigest())
    tags.add(bolt11.TagChar.payment_secret, hashlib.sha256(preimage + b"secret").hexdigest())
    tags.add(bolt11.TagChar.description_hash, hashlib.sha256(text.encode()).hexdigest())
    invoice = bolt11.Bolt11(currency="bcrt", date=second, tags=tags, amount_msat=bolt11.MilliSatoshi(amount_msat))
    return str(bolt11.encode(invoice, signer.secret_bytes().hex()))


def tell_story(
    change: Change | None = None,
    signers: Mapping[str, SecretKey] | None = None,
    tamper: Mapping[str, Callable[[UnsignedEvent], UnsignedEvent]] | None = None,
) -> LogBuilder:
    """Two lanes, miners, offers and terms; three blocks, one orphaned; zaps."""
    log = LogBuilder(change=change or {}, signers=signers or {}, tamper=tamper or {})
    alice, bob = log.keys.alice, log.keys.bob
    log.terms(0, TERMS)
    log.batch(0, 0, 10_000)
    log.batch(1, 0, 10_000)
    a = log.job("A", 10_500, (0, 1))
    times = (11_000, 12_000, 13_000, 14_500)
    log.batch(0, 10_000, 20_000, [log.mine(a, alice, t) for t in times] + [log.mine(a, bob, t + 7) for t in times[:3]])
    log.batch(1, 10_000, 20_000, [log.mine(a, bob, 11_000, worker="attic", bits=HARD_BITS), log.mine(a, alice, 19_000)])
    b = log.job("B", 20_500, (0, 1))
    first = log.mine(b, bob, 25_299, block=True)
    log.batch(0, 20_000, 25_300, [log.mine(b, alice, t) for t in (21_000, 22_000, 23_000)] + [first])
    c = log.job("C", 25_400, (0, 1), tip=1)
    log.batch(
        1, 20_000, 30_000, [log.mine(b, bob, 24_000), log.mine(b, alice, 25_299), log.mine(c, alice, 28_000, status=2)]
    )
    log.batch(0, 25_300, 35_000, [log.mine(c, alice, 27_000), log.mine(c, bob, 28_000)])
    log.batch(1, 30_000, 40_000, [log.mine(c, alice, 31_000)])
    log.block("batch 0/2", first, 3)
    log.statement("block 0", first, 41_000)
    log.terms(40_000, replace(TERMS, offers={**TERMS.offers, "main": replace(OFFER, fee_ppm=0, window_max_ms=15_000)}))
    d = log.job("D", 41_000, (0, 1), tip=1)
    e = log.job("E", 41_100, (1,), tip=1, offer="lunch")
    second, third = log.mine(d, alice, 44_000, block=True), log.mine(e, bob, 49_000, block=True)
    log.batch(0, 35_000, 44_001, [log.mine(d, bob, 42_000), log.mine(d, bob, 43_000), second])
    log.batch(1, 40_000, 49_001, [log.mine(e, bob, 42_000), log.mine(e, alice, 45_000), third])
    f = log.job("F", 44_500, (0,), tip=2)
    log.batch(0, 44_001, 60_000, [log.mine(f, alice, 46_000)])
    log.batch(1, 49_001, 60_000, fin=True)
    log.block("batch 0/4", second, 2)
    log.block("batch 1/4", third, 2)
    log.status("statement 0", "matured", 60_000)
    log.statement("block 1", second, 61_000)
    log.statement("block 2", third, 61_000)
    log.zap(alice, log.row_msat("statement 0", alice), 62_000)
    log.zap(bob, 1_000_000, 63_000)
    log.status("statement 2", "orphaned", 64_000)
    log.status("statement 1", "matured", 65_000)
    if log.row_msat("statement 1", bob):
        log.zap(bob, log.row_msat("statement 1", bob), 66_000)
    return log


@pytest.fixture(scope="session")
def tell() -> Callable[..., LogBuilder]:
    """`tell(change, signers)`: the story, with bodies altered and keys swapped by label."""
    return tell_story


@pytest.fixture(scope="session")
def story() -> LogBuilder:
    """The story as an honest pool tells it; not to be altered."""
    return tell_story()


@pytest.fixture
def builder() -> LogBuilder:
    """An empty log to build on."""
    return LogBuilder()


@pytest.fixture(scope="session")
def build() -> Callable[[], LogBuilder]:
    """`build()`: an empty log with its terms."""

    def built() -> LogBuilder:
        log = LogBuilder()
        log.terms(0, TERMS)
        return log

    return built


@pytest.fixture(scope="session")
def invoice() -> Callable[[SecretKey, int, bytes, str, int], str]:
    """`invoice(signer, amount_msat, preimage, text, second)`: a regtest invoice."""
    return make_invoice
