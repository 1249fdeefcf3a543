"""The edge's test bench: keys, terms, a source of templates, a publisher, a journal in memory, a miner that hashes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.binding import binding
from nips.pool.chain import FIRST
from nips.pool.coinbase import check_shape
from nips.pool.hashing import build_header, merkle_fold, sha256d
from nips.pool.job import parse_job
from nips.pool.kinds import BLOCK, JOB, RECEIPT
from nips.pool.receipt import parse_receipt
from nips.pool.targets import target_from_bits, work_from_bits
from nips.pool.terms import Limits, Offer, Terms, TermsBody, build_terms, parse_terms
from stratum_edge.config import PortConfig, TlsFiles
from stratum_edge.desk import Desk, House
from stratum_edge.extranonce import Seats
from stratum_edge.jobs import Payout
from stratum_edge.lane import Lane
from stratum_edge.ports import Privacy, Submitted, Template, Tip
from stratum_edge.session import Session
from stratum_edge.status import Counts
from stratum_edge.vardiff import EASIEST

POOL_KEY = SecretKey(b"\x01" * 32)
EDGE_KEY = SecretKey(b"\x02" * 32)
MINER = SecretKey(b"\x03" * 32)
OTHER_MINER = SecretKey(b"\x04" * 32)
POOL = PoolAddress(POOL_KEY.pubkey, "regtest")
REGTEST_NBITS = 0x207FFFFF
# A mark hardly any hash of a test meets.
HARD_BITS = 0x1900FFFF
NOW = 1_700_000_000_000
# 256 hashes a share.
EASY = Fraction(1, 1 << 24)


def make_terms_event(offers: tuple[str, ...] = ("main",), **limits: Any) -> VerifiedEvent:
    """Terms of the test pool; by default no hash of a test is a block."""
    body = TermsBody(
        offers={name: Offer() for name in offers},
        keys=((EDGE_KEY.pubkey, "edge"),),
        limits=Limits(**{"block_bits": HARD_BITS, **limits}),
    )
    return POOL_KEY.sign(build_terms(POOL, FIRST, 1_600_000_000, body))


def make_terms(offers: tuple[str, ...] = ("main",), **limits: Any) -> Terms:
    """The same, parsed."""
    return parse_terms(make_terms_event(offers, **limits))


def make_template(
    height: int = 200, prevhash: bytes = b"\xaa" * 32, now_s: int = NOW // 1000, **fields: Any
) -> Template:
    """A template without transactions."""
    values = {
        "height": height,
        "version": 0x20000000,
        "prevhash": prevhash,
        "nbits": REGTEST_NBITS,
        "curtime": now_s,
        "mintime": now_s - 600,
        "coinbase_sat": 100_000,
        "transactions": (),
        "txids": (),
        "witness_commitment": None,
    }
    return Template(**{**values, **fields})


class MemoryJournal:
    """A journal that keeps its records; `full` makes it refuse to write."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.stored = bytearray()
        self.full = False
        self.failed = False

    @property
    def size(self) -> int:
        return len(self.stored) + sum(map(len, self.records))

    def put(self, record: bytes) -> None:
        self.records.append(record)

    def flush(self) -> bool:
        self.failed = self.full
        if not self.full:
            self.stored += b"".join(self.records)
            self.records.clear()
        return not self.full

    def rotate(self, checkpoint: bytes) -> bool:
        self.flush()
        self.stored = bytearray(checkpoint)
        return True


class FakeClock:
    """A settable wall clock."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def now_ms(self) -> int:
        return self.now


class FakeSource:
    """Templates on a tip the test moves."""

    network = "regtest"

    def __init__(self, now_s: Callable[[], int]) -> None:
        self._now_s = now_s
        self.height = 200
        self.prevhash = b"\xaa" * 32
        self.blocks: list[bytes] = []
        self.answers: list[Submitted | Exception] = []
        self.quick: Template | None = None
        self.lost = 0.0
        self._moved = anyio.Event()

    def move(self) -> None:
        self.height += 1
        self.prevhash = sha256d(self.prevhash)
        moved, self._moved = self._moved, anyio.Event()
        moved.set()

    async def template(self) -> Template:
        return make_template(self.height, self.prevhash, self._now_s())

    async def wait_tip(self, known: bytes) -> Tip:
        while self.prevhash == known:
            await self._moved.wait()
        return self.tip()

    async def quick_template(self) -> Template | None:
        return self.quick

    def lost_s(self) -> float:
        return self.lost

    def tip(self) -> Tip:
        return Tip(self.height - 1, self.prevhash)

    async def submit(self, block: bytes) -> Submitted:
        answer = self.answers.pop(0) if self.answers else Submitted(True, "")
        if isinstance(answer, Exception):
            raise answer
        self.blocks.append(block)
        return answer

    async def confirmations(self, block_hash: bytes) -> int | None:
        return None


class FakeTerms:
    """Terms the test changes."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._changed = anyio.Event()

    def current(self) -> Terms:
        return self._terms

    def change(self, terms: Terms) -> None:
        self._terms = terms
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def changed(self, known: str) -> Terms:
        while self._terms.id == known:
            await self._changed.wait()
        return self._terms


class MemoryPublisher:
    """Keeps what is published; `failures` are raised first."""

    def __init__(self) -> None:
        self.events: list[tuple[VerifiedEvent, str]] = []
        self.failures: list[Exception] = []
        self._came = anyio.Event()

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.events.append((event, chain))
        came, self._came = self._came, anyio.Event()
        came.set()

    def of(self, kind: int) -> list[VerifiedEvent]:
        return [event for event, _ in self.events if event.kind == kind]

    async def wait(self, ready: Callable[[], bool]) -> None:
        with anyio.fail_after(10):
            while not ready():
                await self._came.wait()


@dataclass
class Notify:
    """A `mining.notify` as a miner reads it."""

    job: str
    prevhash: bytes
    coinb1: bytes
    coinb2: bytes
    merkle: list[bytes]
    version: int
    nbits: int
    ntime: int
    clean: bool


def read_notify(params: list[Any]) -> Notify:
    job, prevhash, coinb1, coinb2, merkle, version, nbits, ntime, clean = params
    raw = bytes.fromhex(prevhash)
    return Notify(
        job,
        b"".join(raw[i : i + 4][::-1] for i in range(0, 32, 4)),
        bytes.fromhex(coinb1),
        bytes.fromhex(coinb2),
        [bytes.fromhex(branch) for branch in merkle],
        int(version, 16),
        int(nbits, 16),
        int(ntime, 16),
        clean,
    )


@dataclass
class Found:
    """A share as a miner found it."""

    extranonce2: bytes
    ntime: int
    nonce: int
    bits: int
    hash: bytes

    def params(self, user: str, job: str, rolled: bool = False) -> list[str]:
        out = [user, job, self.extranonce2.hex(), f"{self.ntime:08x}", f"{self.nonce:08x}"]
        return [*out, f"{self.bits:08x}"] if rolled else out


def mine(
    notify: Notify,
    extranonce1: bytes,
    target: int,
    *,
    start: int = 0,
    above: int = -1,
    bits: int = 0,
    ntime: int | None = None,
) -> Found:
    """Hash until a value at or below `target` (and above `above`), from nonce `start`."""
    en2 = start.to_bytes(8, "big")
    when = notify.ntime if ntime is None else ntime
    root = merkle_fold(sha256d(notify.coinb1 + extranonce1 + en2 + notify.coinb2), notify.merkle)
    for nonce in range(1 << 32):
        digest = sha256d(build_header(notify.version | bits, notify.prevhash, root, when, notify.nbits, nonce))
        if above < int.from_bytes(digest, "little") <= target:
            return Found(en2, when, nonce, bits, digest)
    raise AssertionError("no nonce")


def good_shares(events: list[VerifiedEvent], terms: Terms) -> list[tuple[str, str, bytes]]:
    """Check a lane's published events by each rule of SPEC.md, "A share credited at t is good if".

    Returns (receipt id, miner, header hash) of each record, credited or not, in order.
    """
    jobs, receipts, order = {}, [], []
    for event in events:
        if event.kind == JOB:
            jobs.setdefault(event.id, parse_job(event))
            order.append(event.id)
        elif event.kind == RECEIPT and event.id not in {r.id for r in receipts}:
            receipts.append(parse_receipt(event))
            order.append(event.id)
    closed = {"": (-1, receipts[0].from_ms if receipts else 0)}
    seen: dict[bytes, set[bytes]] = {}
    found = []
    newest = 0
    for number, receipt in enumerate(receipts):
        assert receipt.link.seq == number
        assert receipt.link.prev == (receipts[number - 1].id if number else None)
        assert receipt.created_at >= newest
        assert receipt.created_at * 1000 >= receipt.to_ms
        newest = receipt.created_at
        if number:
            assert receipt.from_ms == receipts[number - 1].to_ms
        work = 0
        for job_id in receipt.jobs:
            assert order.index(job_id) < order.index(receipt.id), "a job precedes its batch"
        for record in receipt.records():
            t = receipt.from_ms + record.ms
            session = receipt.sessions[record.session]
            job = jobs[receipt.jobs[record.job]]
            assert (job.signer, job.pool) == (receipt.signer, receipt.pool)
            assert job.terms == terms.id
            assert job.offer in terms.body.offers
            head_seq, head_to = closed[job.heads[receipt.lane]]
            assert head_seq < receipt.link.seq
            assert job.ms - head_to <= terms.body.limits.anchor_ms
            check_shape(job.coinb1, job.coinb2, job.height)
            bound = binding(bytes.fromhex(job.id), bytes.fromhex(receipt.miners[session.miner]), session.share_bits)
            coinbase = job.coinb1 + bound + session.extranonce1 + record.extranonce2 + job.coinb2
            root = merkle_fold(sha256d(coinbase), job.merkle)
            digest = sha256d(build_header(record.version, job.prevhash, root, record.ntime, job.nbits, record.nonce))
            found.append((receipt.id, receipt.miners[session.miner], digest))
            assert receipt.from_ms <= t < receipt.to_ms
            if record.status != 0:
                continue
            work += work_from_bits(session.share_bits)
            assert int.from_bytes(digest, "little") <= target_from_bits(session.share_bits)
            assert target_from_bits(session.share_bits) <= target_from_bits(terms.body.limits.easiest_bits)
            assert (record.version ^ job.version) & ~job.version_mask & 0xFFFFFFFF == 0
            assert job.ntime <= record.ntime <= min(job.ntime, t // 1000) + 7200
            ends = [other.ms for other in jobs.values() if other.ms > job.ms and other.prevhash != job.prevhash]
            assert job.ms <= t <= job.ms + terms.body.limits.job_ms
            assert all(t < end + terms.body.limits.stale_ms for end in ends)
            assert digest not in seen.setdefault(job.prevhash, set())
            seen[job.prevhash].add(digest)
        assert receipt.work == work
        closed[receipt.id] = (receipt.link.seq, receipt.to_ms)
    return found


@dataclass
class Peer:
    """A miner's end of a session in memory."""

    session: Session
    desk: Desk
    now: int = NOW
    mono: int = 0
    id: int = 0
    extranonce1: bytes = b""
    notifies: list[Notify] = field(default_factory=list)
    difficulty: Fraction = Fraction(0)

    def raw(self, *lines: bytes | None) -> list[dict[str, Any]]:
        self.session.receive(lines, self.mono)
        self.desk.turn.settle(self.now, self.mono)
        self.desk.journal.flush()
        return self.read()

    def read(self) -> list[dict[str, Any]]:
        out = []
        for line in self.session.take_output().splitlines():
            message = json.loads(line)
            out.append(message)
            if message.get("method") == "mining.set_difficulty":
                self.difficulty = Fraction(message["params"][0])
            elif message.get("method") == "mining.notify":
                self.notifies.append(read_notify(message["params"]))
        return out

    def call(self, method: str, *params: Any) -> dict[str, Any]:
        """The reply to a request; notifications that came with it are kept."""
        self.id += 1
        out = self.raw(json.dumps({"id": self.id, "method": method, "params": list(params)}).encode())
        replies = [message for message in out if message.get("id") == self.id]
        assert len(replies) == 1, out
        return replies[0]

    def login(self, user: str, password: str = "x", session_id: str | None = None) -> None:
        reply = self.call("mining.subscribe", "test/1", *([session_id] if session_id else []))
        self.extranonce1 = bytes.fromhex(reply["result"][1])
        assert self.call("mining.authorize", user, password)["result"] is True

    def find(self, start: int = 0, **wanted: Any) -> Found:
        target = (0xFFFF << 208) * self.difficulty.denominator // self.difficulty.numerator
        return mine(self.notifies[-1], self.extranonce1, wanted.pop("target", target), start=start, **wanted)

    def submit(self, user: str, found: Found, job: str | None = None, rolled: bool = False) -> dict[str, Any]:
        return self.call("mining.submit", *found.params(user, job or self.notifies[-1].job, rolled))


class Bench:
    """A desk with a first job, and peers on it."""

    def __init__(
        self, terms: Terms | None = None, start: Fraction = EASY, privacy: Privacy | None = None, **port: Any
    ) -> None:
        self.terms = terms or make_terms()
        self.clock = FakeClock()
        self.journal = MemoryJournal()
        house = House(POOL, Payout(b"\x00\x14" + b"\x55" * 20, b"/noncestr/"))
        self.port = PortConfig(start_difficulty=start, **port)
        self.desk = Desk(
            house,
            EDGE_KEY,
            self.journal,
            Lane(POOL, 0, NOW),
            Seats(b"\x07" * 32),
            Counts(0),
            [self.port.offer],
            privacy,
        )
        self.desk.begin_segment()
        self.template = make_template()
        self.desk.renew(self.template, self.terms, NOW)
        self.peers: list[Peer] = []

    def peer(self, **port: Any) -> Peer:
        peer = Peer(Session(self.desk, replace(self.port, **port), 0), self.desk)
        self.peers.append(peer)
        return peer

    def renew(self, template: Template, now: int) -> bool:
        self.template = template
        clean = self.desk.renew(template, self.terms, now)
        for peer in self.peers:
            peer.now = now
            live = self.desk.current("main")
            assert live is not None
            peer.session.assign(live, clean)
            peer.read()
        return clean

    def events(self) -> list[VerifiedEvent]:
        return [event for publication in self.desk.outbox for event in publication.events]


class Authority:
    """Makes certificates for 127.0.0.1, each its own issuer, as PEM files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def make(self, *, from_days: float = -1, to_days: float = 365, passphrase: bytes | None = None) -> TlsFiles:
        """Valid between so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pool {self._made}")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=from_days))
            .not_valid_after(now + timedelta(days=to_days))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(key, hashes.SHA256())
        )
        locked = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        self._made += 1
        files = TlsFiles(self._folder / f"{self._made}.crt", self._folder / f"{self._made}.key")
        files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
        return files


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Certificates for TLS ports."""
    return Authority(tmp_path)


@pytest.fixture(scope="session")
def edge() -> SimpleNamespace:
    """Everything above, since test modules can't import each other."""
    return SimpleNamespace(
        POOL_KEY=POOL_KEY,
        EDGE_KEY=EDGE_KEY,
        MINER=MINER,
        NPUB=encode_npub(MINER.pubkey),
        OTHER=OTHER_MINER,
        OTHER_NPUB=encode_npub(OTHER_MINER.pubkey),
        POOL=POOL,
        NOW=NOW,
        EASY_BLOCK=REGTEST_NBITS,
        HARD_BITS=HARD_BITS,
        KINDS=SimpleNamespace(JOB=JOB, RECEIPT=RECEIPT, BLOCK=BLOCK),
        EASIEST=EASIEST,
        EASY=EASY,
        make_terms=make_terms,
        make_terms_event=make_terms_event,
        make_template=make_template,
        MemoryJournal=MemoryJournal,
        MemoryPublisher=MemoryPublisher,
        FakeClock=FakeClock,
        FakeSource=FakeSource,
        FakeTerms=FakeTerms,
        Bench=Bench,
        Peer=Peer,
        read_notify=read_notify,
        mine=mine,
        good_shares=good_shares,
        replace=replace,
    )
