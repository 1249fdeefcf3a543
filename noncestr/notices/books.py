"""What the notices are made of, read from the running pool: books, settings, payees that fail."""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Final, Protocol

from accounting.service import Accounting
from accounting.settings_book import Known
from nips.pool.payout import Payout
from noncestr.books.settings_follower import SettingsFollower
from noncestr.citizen.books import AccountingBooks
from noncestr.citizen.facts import BlockFacts
from noncestr.citizen.limits import HOUR_MS
from noncestr.notices.news import Measured
from zapper.ports import Payee
from zapper.said import Move

# Payouts are booked in the order of their chain, whose dates never fall, but for several zappers' one after another.
DISORDER_MS: Final = HOUR_MS


class Payees(Protocol):
    """`zapper.ports.IntentStore`, as far as this goes."""

    async def payees(self) -> list[Payee]:
        """Every payee whose last payouts failed."""

    async def moves(self, since_ms: int) -> list[Move]:
        """What was changed of where money goes."""


class NoticeBooks:
    """`payees`: what the zapper keeps of them."""

    def __init__(
        self,
        accounting: Accounting,
        books: AccountingBooks,
        settings: SettingsFollower,
        payees: Payees,
    ) -> None:
        self._accounting = accounting
        self._books = books
        self._settings = settings
        self._payees = payees

    def synced(self) -> bool:
        """Whether all that the relays had at start is in the books."""
        return self._books.synced()

    def log_ms(self) -> int:
        """How far the shares' log goes, Unix ms."""
        return self._accounting.fold.statistics.log_ms

    def is_miner(self, key: str) -> bool:
        """Whether this key (hex) has mined here."""
        return self._accounting.knows(key)

    def settings(self) -> Iterable[Known]:
        """Of everybody who has mined here. O(settings)."""
        return [known for known in self._settings.all() if self._accounting.knows(known.settings.miner)]

    def settings_of(self, miner: str) -> Known | None:
        """Of one."""
        return self._settings.of(miner)

    def payouts(self, since_ms: int) -> Sequence[Payout]:
        """Signed since then. O(payouts since then)."""
        newest = (booked.payout for booked in reversed(self._accounting.fold.ledger.payouts.values()))
        late = takewhile(lambda payout: payout.created_at * 1000 >= since_ms - DISORDER_MS, newest)
        return [payout for payout in late if payout.created_at * 1000 >= since_ms][::-1]

    async def failing(self) -> Sequence[Payee]:
        """Payees whose last payouts failed."""
        return await self._payees.payees()

    async def moves(self, since_ms: int) -> Sequence[Move]:
        """What profiles and nutzap infos changed of where money goes, seen since then; oldest first."""
        return await self._payees.moves(since_ms)

    def blocks(self, since_ms: int) -> Sequence[BlockFacts]:
        """Proven ones found since then."""
        return self._books.blocks(since_ms)

    async def in_chain(self, block: str) -> bool:
        """Whether the chain has it."""
        return await self._books.in_chain(block)

    def measured(self, miner: str, now_ms: int) -> Measured:
        """Rates and last shares now."""
        statistics = self._accounting.fold.statistics
        told = statistics.miner_statistics(miner, now_ms)
        known = self._settings.of(miner)
        named = () if known is None else known.settings.body.workers
        return Measured(
            hashrate=0 if told is None else told.hashrate["5m"],
            workers={
                name: (rate.hashrate, rate.last_share_ms) for name, rate in statistics.workers(miner, now_ms).items()
            },
            shown={self._settings.names.in_log(miner, name): name for name in named},
        )

    def owed_msat(self, miner: str) -> int:
        """What it is owed."""
        return self._accounting.balance(miner).owed_msat

    def statement(self, miner: str) -> str | None:
        """The id of its newest statement."""
        return next(iter(self._accounting.statements_of(miner)), None)
