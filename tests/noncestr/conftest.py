"""The citizen's surroundings without a pool: books of fixed facts, a feed that keeps what it gets, a clock by hand."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from nips.keys import AtHand, SecretKey
from nips.nip01 import Filter, UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from noncestr.citizen_facts import BlockFacts, DayFacts, MinerNow, PoolNow
from noncestr.citizen_ports import Identity
from relay_bridge.errors import RelayUnavailable

DAY_MS = 86_400_000


def key(name: str) -> SecretKey:
    return SecretKey(hashlib.sha256(f"noncestr test key {name}".encode()).digest())


@dataclass
class FakeClock:
    ms: int = 20_000 * DAY_MS + 3_600_000

    def now_ms(self) -> int:
        return self.ms


@dataclass
class FakeBooks:
    found: list[BlockFacts] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    miners: dict[str, MinerNow] = field(default_factory=dict)
    facts: DayFacts | None = None
    total: int = 0
    is_synced: bool = True
    asked_days: list[int] = field(default_factory=list)

    def synced(self) -> bool:
        return self.is_synced

    def work(self) -> int:
        return self.total

    def blocks(self, since_ms: int) -> Sequence[BlockFacts]:
        return [block for block in self.found if block.found_ms >= since_ms]

    async def in_chain(self, block: str) -> bool:
        return block in self.accepted

    def pool(self, _now_ms: int) -> PoolNow:
        return PoolNow(1_230_000_000_000_000, 1_100_000_000_000_000, 14, len(self.found))

    def miner(self, pubkey: str, _now_ms: int) -> MinerNow | None:
        return self.miners.get(pubkey)

    async def day(self, start_ms: int) -> DayFacts | None:
        self.asked_days.append(start_ms)
        return self.facts


@dataclass
class FakeFeed:
    published: list[VerifiedEvent] = field(default_factory=list)
    stored: list[VerifiedEvent] = field(default_factory=list)
    away: bool = False

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        assert chain == ""
        if self.away:
            raise RelayUnavailable({})
        self.published.append(event)

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        assert timeout_s <= 10
        if self.away:
            raise RelayUnavailable({})
        return [event for event in self.stored if any(wanted.matches(event) for wanted in filters)]

    @asynccontextmanager
    async def subscribe(self, filters: Sequence[Filter], *, name: str) -> AsyncIterator[AsyncIterator[object]]:
        assert name

        async def none() -> AsyncIterator[object]:
            for _ in filters[:0]:
                yield

        yield none()

    def of(self, kind: int) -> list[VerifiedEvent]:
        return [event for event in self.published if event.kind == kind]


@dataclass
class CitizenRig:
    """Everything around a citizen."""

    path: Path
    clock: FakeClock = field(default_factory=FakeClock)
    books: FakeBooks = field(default_factory=FakeBooks)
    feed: FakeFeed = field(default_factory=FakeFeed)

    @property
    def who(self) -> Identity:
        pool = key("pool")
        return Identity(
            key=AtHand(pool),
            secret=pool,
            name="Example",
            pool=PoolAddress(pool.pubkey, "regtest"),
            own=frozenset({pool.pubkey, key("edge").pubkey}),
            stratum_url="stratum+tcp://pool.example.com:3333",
            web="https://pool.example.com",
            relay="wss://pool.example.com/relay",
        )

    def block(self, number: int, *, accepted: bool = True) -> BlockFacts:
        """A new block of Alice's, found now."""
        block = BlockFacts(
            f"{number:064x}", f"{number + 9:064x}", number, key("alice").pubkey, self.clock.ms, 5, 1 << 240
        )
        self.books.found.append(block)
        if accepted:
            self.books.accepted.add(block.block)
        return block

    def day(self, start_ms: int) -> DayFacts:
        """A day with some work."""
        return DayFacts("", start_ms + DAY_MS, (), 1000, 1000, 1, None, 0, 0)

    def key(self, name: str) -> SecretKey:
        return key(name)

    def store(self, author: str, unsigned: UnsignedEvent) -> VerifiedEvent:
        """An event that the relays have."""
        self.feed.stored.append(key(author).sign(unsigned))
        return self.feed.stored[-1]

    def with_miner(self, name: str) -> MinerNow:
        """A miner of the books."""
        miner = MinerNow(12 * 10**12, 11 * 10**12, self.clock.ms - 8_000, 1_234_567, 56_000, 7_890_000)
        self.books.miners[key(name).pubkey] = replace(miner)
        return miner


@pytest.fixture
def citizen(tmp_path: Path) -> CitizenRig:
    return CitizenRig(tmp_path / "citizen.sqlite")
