"""The citizen's surroundings without a pool: books of fixed facts, a feed that keeps what it gets, a clock by hand."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from accounting.settings_book import Known, destination
from nips.keys import AtHand, SecretKey
from nips.nip01 import Filter, UnsignedEvent, VerifiedEvent
from nips.nip44 import KeyCipher
from nips.nip59 import unwrap
from nips.pool.address import PoolAddress
from nips.pool.chain import Link
from nips.pool.payout import Payout
from nips.pool.settings import SettingsBody, build_settings, parse_settings
from noncestr.citizen.facts import BlockFacts, DayFacts, MinerNow, PoolNow
from noncestr.citizen.ports import Identity
from noncestr.notices.memory import FILE, open_notice_memory
from noncestr.notices.news import Measured, NoticeLimits
from noncestr.notices.notifier import Notifier
from noncestr.notices.texts import Speaker
from relay_bridge.errors import RelayUnavailable
from zapper.ports import Payee
from zapper.said import Move

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


@dataclass
class FakeNoticeBooks:
    """`notifier.Books` of what a test put in."""

    clock: FakeClock
    all_settings: dict[str, Known] = field(default_factory=dict)
    paid: list[Payout] = field(default_factory=list)
    found: list[BlockFacts] = field(default_factory=list)
    payees: list[Payee] = field(default_factory=list)
    moved: list[Move] = field(default_factory=list)
    rates: dict[str, Measured] = field(default_factory=dict)
    orphans: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    is_synced: bool = True
    behind_ms: int = 0

    def synced(self) -> bool:
        return self.is_synced

    def log_ms(self) -> int:
        return self.clock.ms - self.behind_ms

    def is_miner(self, pubkey: str) -> bool:
        return pubkey in self.all_settings

    def settings(self) -> list[Known]:
        return list(self.all_settings.values())

    def settings_of(self, miner: str) -> Known | None:
        return self.all_settings.get(miner)

    def payouts(self, since_ms: int) -> list[Payout]:
        return [payout for payout in self.paid if payout.created_at * 1000 >= since_ms]

    def blocks(self, since_ms: int) -> list[BlockFacts]:
        return [block for block in self.found if block.found_ms >= since_ms]

    async def in_chain(self, block: str) -> bool:
        self.asked.append(block)
        return block not in self.orphans

    async def failing(self) -> list[Payee]:
        return self.payees

    async def moves(self, since_ms: int) -> list[Move]:
        return [move for move in self.moved if move.seen_ms >= since_ms]

    def measured(self, miner: str, _now_ms: int) -> Measured:
        return self.rates.get(miner, Measured(0, {}))

    def owed_msat(self, _miner: str) -> int:
        return 56_000

    def statement(self, _miner: str) -> str | None:
        return "5" * 64


@dataclass
class FakeLine:
    """Messages, or a kind of channel: what it got, and whether it works."""

    got: list[tuple[str, str, str]] = field(default_factory=list)
    wraps: list[VerifiedEvent] = field(default_factory=list)
    works: bool = True

    async def send(self, to: str, *told: Any, **_rest: Any) -> bool:
        if isinstance(told[0], str):
            self.got.append((to, told[0], told[1]))
        else:
            self.wraps.append(told[0])
        return self.works


@dataclass
class NoticeRig:
    """Everything around a notifier, with its memory in a file."""

    path: Path
    clock: FakeClock = field(default_factory=FakeClock)
    feed: FakeFeed = field(default_factory=FakeFeed)
    messages: FakeLine = field(default_factory=FakeLine)
    mail: FakeLine = field(default_factory=FakeLine)
    pool: PoolAddress = field(default_factory=lambda: PoolAddress(key("pool").pubkey, "regtest"))

    def __post_init__(self) -> None:
        self.books = FakeNoticeBooks(self.clock)

    def key(self, name: str) -> SecretKey:
        return key(name)

    def settle(self, name: str, *, private: Mapping[str, object] | None = None, **body: Any) -> Known:
        """New settings of a miner, at the pool's relays and in its books."""
        sealed = ""
        if private is not None:
            sealed = KeyCipher(key(name)).encrypt(key("zapper").pubkey, json.dumps({"v": 1, **private}), bytes(32))
        unsigned = build_settings(self.pool.pubkey, SettingsBody(**body, private=sealed), self.clock.ms // 1000)
        event = key(name).sign(unsigned)
        self.feed.stored.append(event)
        settings, before = parse_settings(event), self.books.all_settings.get(event.pubkey)
        since_ms = self.clock.ms
        if before is not None and destination(before.settings.body) == destination(settings.body):
            since_ms = before.destination_ms
        known = self.books.all_settings[event.pubkey] = Known(settings, since_ms)
        return known

    def pay(self, name: str, msat: int = 1_234_000, **more: Any) -> Payout:
        """A payout record, signed now."""
        number = len(self.books.paid)
        payout = Payout(
            payout_id=f"pay{number}",
            miner=key(name).pubkey,
            amount_msat=msat,
            network_fee_msat=0,
            to="",
            method="zap",
            proof={},
            id=f"{number:064x}",
            signer=key("zapper").pubkey,
            pool=self.pool,
            link=Link(number, None),
            created_at=self.clock.ms // 1000,
            **more,
        )
        self.books.paid.append(payout)
        return payout

    @asynccontextmanager
    async def notifier(self, **limits: Any) -> AsyncIterator[Notifier]:
        """A notifier that has looked once, begun on the file there is."""
        allowed = {"per_day": 24, "per_day_all": 1000, "messages": True, "kinds": frozenset({"email"}), **limits}
        notifier = Notifier(
            Speaker("Example", self.pool, "wss://pool.example.com/relay"),
            NoticeLimits(**allowed),
            self.books,
            voice=key("pool"),
            reader=key("zapper"),
            feed=self.feed,
            messages=self.messages,
            lines={"email": self.mail},
            clock=self.clock,
            data=self.path,
        )
        async with open_notice_memory(self.path / FILE, self.clock.ms) as memory:
            notifier.begin(memory)
            await notifier.look()
            yield notifier

    def read(self, name: str) -> list[str]:
        """The private messages of a miner."""
        found = []
        for wrap in self.messages.wraps:
            if wrap.tag_value("p") == key(name).pubkey:
                rumor = unwrap(wrap, KeyCipher(key(name)))
                assert rumor.pubkey == key("pool").pubkey
                found.append(rumor.content)
        return found


@pytest.fixture
def notices(tmp_path: Path) -> NoticeRig:
    return NoticeRig(tmp_path)
