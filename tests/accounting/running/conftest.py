"""A small real log (shares are mined, in microseconds) and fakes of the accounting's ports."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from accounting.adapters.postgres_database import PostgresPlace
from accounting.adapters.store import StorePlace
from accounting.ports import Held
from accounting.service import Accounting, AccountingConfig
from nips.keys import AtHand, SecretKey
from nips.nip01 import Filter, UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.binding import BoundWork
from nips.pool.block import BlockBody, build_block, parse_block
from nips.pool.chain import Head, next_link
from nips.pool.coinbase import Output, build_coinb1, build_coinb2, push_height
from nips.pool.hashing import from_display, hash_value
from nips.pool.job import Job, JobBody, build_job, parse_job
from nips.pool.payout import PayoutBody, build_payout
from nips.pool.receipt import ReceiptBody, Rejects, Session, ShareRecord, build_receipt
from nips.pool.targets import target_from_bits, work_from_bits
from nips.pool.terms import Limits, Offer, TermsBody, build_terms

START_MS = 1_700_000_000_000
# Every second hash is a share, every 32nd a block.
SHARE_BITS, BLOCK_BITS = 0x207FFFFF, 0x2007FFFF
GROSS_SAT = 100_000
MATURITY = 6


def key(number: int) -> SecretKey:
    return SecretKey(number.to_bytes(32, "big"))


@dataclass
class LogBuilder:
    """Signs a pool's log step by step; `events` holds all of it in the order it was made."""

    pool_key: SecretKey = field(default_factory=lambda: key(1))
    edge: SecretKey = field(default_factory=lambda: key(2))
    accounting: SecretKey = field(default_factory=lambda: key(3))
    zapper: SecretKey = field(default_factory=lambda: key(4))
    alice: str = field(default_factory=lambda: key(11).pubkey)
    bob: str = field(default_factory=lambda: key(12).pubkey)
    now_ms: int = START_MS
    height: int = 100
    events: list[VerifiedEvent] = field(default_factory=list)
    _lane: Head | None = None
    _lane_ms: int = START_MS
    _terms: Head | None = None
    _payouts: Head | None = None
    _job: Job | None = None
    _mined: int = 0

    @property
    def pool(self) -> PoolAddress:
        return PoolAddress(self.pool_key.pubkey, "regtest")

    @property
    def head(self) -> Head:
        """The lane's newest batch."""
        assert self._lane is not None
        return self._lane

    def sign(self, signer: SecretKey, unsigned: UnsignedEvent) -> VerifiedEvent:
        event = signer.sign(unsigned)
        self.events.append(event)
        return event

    def terms(
        self,
        *,
        scheme: str = "pplns",
        offers: Mapping[str, str] | None = None,
        closed: dict[str, Head] | None = None,
        donate_to: str | None = None,
    ) -> VerifiedEvent:
        """`offers`: schemes by name, instead of one by the name of main."""
        link = next_link(self._terms)
        body = TermsBody(
            offers={
                name: Offer(scheme=of, window_min_work=1000, period_s=60 if "pps" in of else 0)
                for name, of in (offers or {"main": scheme}).items()
            },
            keys=((self.edge.pubkey, "edge"), (self.accounting.pubkey, "accounting"), (self.zapper.pubkey, "zapper")),
            closed=closed or {},
            limits=Limits(maturity_blocks=MATURITY, block_bits=BLOCK_BITS),
            donate_to=donate_to,
        )
        event = self.sign(self.pool_key, build_terms(self.pool, link, self.now_ms // 1000, body))
        self._terms = Head(link.seq, event.id)
        return event

    def job(self, offer: str = "main") -> Job:
        assert self._terms is not None
        body = JobBody(
            ms=self.now_ms,
            terms=self._terms.id,
            offer=offer,
            heads={0: "" if self._lane is None else self._lane.id},
            height=self.height,
            version=0x20000000,
            prevhash=self.height.to_bytes(32, "little"),
            nbits=0x207FFFFF,
            ntime=self.now_ms // 1000,
            coinb1=build_coinb1(2, push_height(self.height)),
            coinb2=build_coinb2((Output(GROSS_SAT, b"\x51"),)),
            merkle=(),
            version_mask=0,
        )
        self._job = parse_job(self.sign(self.edge, build_job(self.pool, body)))
        return self._job

    def batch(
        self,
        shares: Sequence[str],
        *,
        block: bool = False,
        seconds: int = 10,
        rejects: int = 0,
        offer: str = "main",
    ) -> VerifiedEvent | None:
        """A batch with a share of each miner named, in that order; the last is a block if asked. Returns the 4213."""
        job = self.job(offer)
        miners = tuple(dict.fromkeys(shares))
        sessions = [Session(number, "rig", bytes([0, 0, 0, number]), SHARE_BITS) for number in range(len(miners))]
        records, work = [], work_from_bits(SHARE_BITS)
        bound = [BoundWork(job, miner, SHARE_BITS, sessions[number].extranonce1) for number, miner in enumerate(miners)]
        for index, miner in enumerate(shares):
            session = miners.index(miner)
            wanted = block and index == len(shares) - 1
            ms = self.now_ms - self._lane_ms + index
            records.append(self._mine(bound[session], job, session, ms, wanted))
        from_ms, to_ms = self._lane_ms, self.now_ms + seconds * 1000
        link = next_link(self._lane)
        body = ReceiptBody(
            lane=0,
            link=link,
            from_ms=from_ms,
            to_ms=to_ms,
            jobs=(job.id,) if shares else (),
            miners=miners,
            sessions=tuple(sessions),
            shares=b"".join(record.pack() for record in records),
            rejects=(Rejects(0, 23, rejects),) if rejects else (),
            work=work * len(records),
        )
        receipt = self.sign(self.edge, build_receipt(self.pool, body, -(-to_ms // 1000)))
        self._lane, self._lane_ms, self.now_ms = Head(link.seq, receipt.id), to_ms, to_ms
        if not block:
            return None
        last = records[-1]
        bound_work = bound[last.session]
        self.height += 1
        found = BlockBody(
            height=job.height,
            header=bound_work.header(last.extranonce2, last.ntime, last.nonce, last.version),
            coinbase=bound_work.coinbase(last.extranonce2),
            merkle=(),
            finder=shares[-1],
            receipt=receipt.id,
            index=len(records) - 1,
        )
        return self.sign(self.edge, build_block(self.pool, found, self.now_ms // 1000))

    def _mine(self, bound: BoundWork, job: Job, session: int, ms: int, block: bool) -> ShareRecord:
        while True:
            self._mined += 1
            extranonce2 = self._mined.to_bytes(8, "big")
            value = hash_value(bound.hash(extranonce2, job.ntime, 0, job.version))
            is_block = value <= target_from_bits(BLOCK_BITS)
            if value <= target_from_bits(SHARE_BITS) and is_block == block:
                return ShareRecord(session, 0, 0, ms, job.ntime, 0, job.version, extranonce2)

    def payout(
        self, name: str, miner: str, msat: int, reverses: str | None = None, zap: dict[str, Any] | None = None
    ) -> VerifiedEvent:
        """A payout record; `zap`: the proof of one by zap, otherwise of a token that shows nothing."""
        link = next_link(self._payouts)
        body = PayoutBody(
            payout_id=name,
            miner=miner,
            amount_msat=msat,
            network_fee_msat=10,
            to="aa" * 32,
            method="cashu" if zap is None else "zap",
            proof={"token": "bb" * 32, "y": []} if zap is None else zap,
            reverses=reverses,
        )
        event = self.sign(self.zapper, build_payout(self.pool, link, body, self.now_ms // 1000))
        self._payouts = Head(link.seq, event.id)
        return event

    def block_hash(self, event: VerifiedEvent) -> bytes:
        return from_display(parse_block(event).block)


class FakeClock:
    def __init__(self, ms: int = START_MS) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms


class FakeChain:
    """Confirmations by block hash; what is not named was never seen."""

    def __init__(self) -> None:
        self.tip = 100
        self.seen: dict[bytes, int] = {}

    async def confirmations(self, block_hash: bytes) -> int | None:
        return self.seen.get(block_hash)

    def height(self) -> int:
        return self.tip


@dataclass(frozen=True)
class Delivered:
    event: VerifiedEvent
    relay: "FakeRelay"

    def stored(self) -> None:
        self.relay.stored.append(self.event.id)


class EndOfStored:
    """No event: all that was stored has been delivered."""


class FakeSubscription:
    def __init__(self, relay: "FakeRelay", filters: Sequence[Filter]) -> None:
        self.relay = relay
        self.filters = filters

    async def __aenter__(self) -> "FakeSubscription":
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def __aiter__(self) -> AsyncIterator[object]:
        at, ended = 0, False
        while True:
            while at < len(self.relay.order):
                event = self.relay.order[at]
                at += 1
                if any(wanted.matches(event) for wanted in self.filters):
                    yield Delivered(event, self.relay)
            if not ended:
                ended = True
                yield EndOfStored()
            await self.relay.changed.wait()


class FakeRelay:
    """A feed that keeps everything in memory and outlives the accountings that use it."""

    def __init__(self) -> None:
        self.order: list[VerifiedEvent] = []
        self.ids: set[str] = set()
        self.changed = anyio.Event()
        self.published: list[VerifiedEvent] = []
        self.refuse_publish = False
        self.refuse_fetch = False
        # What each subscriber said to hold, and the ids that were said to be on its disk.
        self.held: list[Held] = []
        self.stored: list[str] = []

    def put(self, *events: VerifiedEvent) -> None:
        for event in events:
            if event.id not in self.ids:
                self.ids.add(event.id)
                self.order.append(event)
        self.changed.set()
        self.changed = anyio.Event()

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        if self.refuse_publish:
            raise ConnectionError("the relay is away")
        self.published.append(event)
        self.put(event)

    def subscribe(self, filters: Sequence[Filter], *, name: str, held: Held | None = None) -> FakeSubscription:
        # What miners attest is read anew at each start, by nobody else.
        assert held is not None or name == "attestations"
        if held is not None:
            self.held.append(held)
        return FakeSubscription(self, filters)

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        if self.refuse_fetch:
            raise ConnectionError("no relay answers")
        return [event for event in self.order if any(wanted.matches(event) for wanted in filters)]

    def of_kind(self, kind: int) -> list[VerifiedEvent]:
        return [event for event in self.order if event.kind == kind]


@dataclass
class Pool:
    """Everything an accounting needs, and a way to start one after another on the same file."""

    log: LogBuilder
    relay: FakeRelay
    chain: FakeChain
    clock: FakeClock
    path: Path
    # Where the ledger is, if not in the file.
    database: PostgresPlace | None = None

    def place(self, path: Path | None = None) -> StorePlace:
        """Where the ledger is; with `path` the one of another start, which knows nothing yet."""
        if self.database is None:
            return path or self.path
        return self.database if path is None else self.database.beside(path.stem)

    def accounting(self, path: Path | None = None) -> Accounting:
        place = self.place(path)
        return Accounting(
            pool=self.log.pool,
            signer=AtHand(self.log.accounting),
            feed=self.relay,
            chain=self.chain,
            store_path=path or self.path,
            clock=self.clock,
            database=None if isinstance(place, Path) else place,
            config=AccountingConfig(balance_interval_s=15, statistics_interval_s=15, tick_s=0.01),
        )

    def tell(self) -> None:
        """Give the relay what was logged so far, and let the clock stand where the log does."""
        self.relay.put(*self.log.events)
        self.clock.ms = max(self.clock.ms, self.log.now_ms)


async def eventually(holds: Callable[[], object]) -> None:
    """Wait until it holds; a failure is the test's timeout."""
    with anyio.fail_after(20):
        while not holds():  # noqa: ASYNC110  what is waited for is another's state, of which no event tells
            await anyio.sleep(0.005)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[[Callable[[], object]], object]:
    return eventually


@pytest.fixture
def new_log() -> Callable[[], LogBuilder]:
    return LogBuilder


@pytest.fixture
def pool(store_place: StorePlace, tmp_path: Path) -> Pool:
    database = None if isinstance(store_place, Path) else store_place
    return Pool(LogBuilder(), FakeRelay(), FakeChain(), FakeClock(), tmp_path / "ledger.sqlite", database)
