"""What the notices ask of the pool, and the ways they go."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from accounting.settings_book import Known
from nips.nip01 import Filter, VerifiedEvent
from nips.pool.payout import Payout
from noncestr.citizen.facts import BlockFacts
from noncestr.notices.news import Measured
from zapper.ports import Payee
from zapper.said import Move


class Books(Protocol):
    """`noncestr.notices.books.NoticeBooks`."""

    def synced(self) -> bool:
        """Whether the books are whole."""

    def log_ms(self) -> int:
        """How far the log goes."""

    def is_miner(self, key: str) -> bool:
        """Whether it has mined here."""

    def settings(self) -> Iterable[Known]:
        """Of miners."""

    def settings_of(self, miner: str) -> Known | None:
        """Of one."""

    def payouts(self, since_ms: int) -> Sequence[Payout]:
        """Signed since then."""

    async def failing(self) -> Sequence[Payee]:
        """Payees whose last payouts failed."""

    async def moves(self, since_ms: int) -> Sequence[Move]:
        """What profiles and nutzap infos changed of where money goes, seen since then; oldest first."""

    def blocks(self, since_ms: int) -> Sequence[BlockFacts]:
        """Found since then."""

    async def in_chain(self, block: str) -> bool:
        """Whether the chain has it."""

    def measured(self, miner: str, now_ms: int) -> Measured:
        """Now."""

    def owed_msat(self, miner: str) -> int:
        """Owed."""

    def statement(self, miner: str) -> str | None:
        """The newest."""


class Feed(Protocol):
    """The pool's relays."""

    async def fetch(self, filters: Sequence[Filter], *, timeout_s: float = 10) -> list[VerifiedEvent]:
        """What they have stored."""


class Messages(Protocol):
    """`noncestr.notices.lines.MessageLine`."""

    async def send(self, miner: str, wrap: VerifiedEvent, *, now_s: int, last: bool) -> bool:
        """Whether it got there. Raises RelayBridgeError."""


class Line(Protocol):
    """A kind of channel."""

    async def send(self, address: str, title: str, text: str) -> bool:
        """Whether it was taken."""


class Clock(Protocol):
    """The time."""

    def now_ms(self) -> int:
        """Unix ms."""
