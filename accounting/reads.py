"""What the read API shows beyond the summary of `accounting.readmodel`: one miner whole, every miner, and by way of
`pages`, `hashrates`, `odds` and `flat` the lists, series, expectations and flat lists.

JSON-ready: money in integer msat, times in Unix ms, hashrates (hashes a second) and work (hashes) as decimal strings.
Everything here can be computed from the log by anybody.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

from accounting.book_pages import BookPages, RewardHistory
from accounting.entries import BookEntries, read_entries
from accounting.flat_lists import FlatLists, npub_of
from accounting.hashrates import Hashrates, Summaries
from accounting.ledger import miner_account
from accounting.odds import Odds
from accounting.paging import Page, Place
from accounting.readmodel import AccountingReadModel, shown_workers
from accounting.service import Accounting
from accounting.settings_book import told
from accounting.standing_view import StandingView
from accounting.tax_csv import tax_csv, year_bounds
from nips.pool.targets import bits_at_least, difficulty_from_bits

# Stratum's error codes in words; an edge may have others of its own.
REASONS = {21: "stale", 22: "duplicate", 23: "low difficulty", 24: "unauthorized", 25: "not subscribed"}
OTHER = "other"


class History(RewardHistory, Summaries, Protocol):
    """The stored log and books."""

    @property
    def entries(self) -> BookEntries:
        """The books entry by entry."""


async def _go_on() -> None:
    return


class Reads:
    """Everything the read API asks of a running Accounting."""

    def __init__(
        self, accounting: Accounting, history: History, pause: Callable[[], Awaitable[object]] = _go_on
    ) -> None:
        """`pause`: gives others their turn amid a long answer."""
        self._accounting = accounting
        self._history = history
        self._books = AccountingReadModel(accounting)
        self.hashrates = Hashrates(accounting, history)
        self.pages = BookPages(accounting, history, self.hashrates.hours)
        self.odds = Odds(accounting, self.pages)
        self.flat = FlatLists(accounting, pause)
        self._standings = StandingView(accounting, pause)

    async def pool(self) -> dict[str, Any]:
        """The pool as a whole, and how it does against chance."""
        await self.hashrates.read()
        return {**await self._books.pool(), **self.odds.of_pool()}

    async def health(self) -> dict[str, Any]:
        """See `accounting.readmodel`."""
        return await self._books.health()

    async def miner(self, pubkey: str) -> dict[str, Any] | None:
        """One miner: the books, a day's hashrate, rejects by code, the best share, and what it may expect."""
        found = await self._books.miner(pubkey)
        if found is None:
            return None
        await self.hashrates.read()
        now = self._accounting.clock.now_ms()
        count = self.hashrates.count(pubkey)
        best = None if not count.best else difficulty_from_bits(bits_at_least(count.best))
        stats = self._accounting.fold.statistics.miner_statistics(pubkey, now)
        rate = 0 if stats is None else stats.hashrate["1h"]
        return {
            **found,
            "hashrate_hs": self.hashrates.of(pubkey, now),
            "rejects_by_code": {str(code): times for code, times in sorted(count.rejects.items()) if times},
            "rejects_by_reason": _by_reason(count.rejects),
            "best_share_difficulty": None if best is None else f"{float(best):.10g}",
            "estimates": self.odds.estimates(pubkey, rate),
            "loyalty": await self.loyalty(pubkey),
            "settings": told(self._accounting.settings.of(pubkey)),
        }

    async def loyalty(self, pubkey: str) -> list[dict[str, Any]]:
        """By offer that pays it: what a bonus of the miner goes by (accounting.standing_view)."""
        return await self._standings.of(pubkey, *self.odds.now())

    async def miners(self, before: Place | None, limit: int) -> Page[dict[str, Any]]:
        """Everybody who ever sent a share or was owed, by key from the highest down."""
        await self.hashrates.read()
        names = sorted(self._names(), reverse=True)
        below = [name for name in names if before is None or name < before.id][: limit + 1]
        items = [self._listed(name) for name in below[:limit]]
        return Page(items, Place(0, below[limit - 1]) if len(below) > limit else None)

    def workers(self, pubkey: str) -> list[dict[str, Any]] | None:
        """A miner's active workers by name; None if nobody has heard of the miner."""
        fold, now = self._accounting.fold, self._accounting.clock.now_ms()
        if not self.knows(pubkey):
            return None
        return shown_workers(self._accounting.settings.of(pubkey), pubkey, fold.statistics.workers(pubkey, now))

    def knows(self, pubkey: str) -> bool:
        """Whether this miner ever sent a share or has a place in the books."""
        fold = self._accounting.fold
        in_books = any(miner_account(pubkey, part) in fold.ledger.accounts for part in ("pending", "owed", "paid"))
        return in_books or pubkey in fold.statistics.miners()

    def taxes(self, pubkey: str, year: int) -> AsyncIterator[str]:
        """A miner's year as CSV (accounting.tax_csv). Raises ValueError for a year that is none."""
        from_s, before_s = year_bounds(year)
        entries = read_entries(self._history.entries, miner=pubkey, from_s=from_s, before_s=before_s)
        return tax_csv(entries, pubkey)

    def terms(self) -> dict[str, Any] | None:
        """The terms in force, whole; None before the first were read."""
        terms = self._accounting.fold.terms
        if terms is None:
            return None
        return {
            "id": terms.id,
            "seq": terms.link.seq,
            "created_ms": terms.created_at * 1000,
            "signer": terms.signer,
            "content": {"v": 1, **terms.body.to_json()},
        }

    # The parts

    def _names(self) -> set[str]:
        fold = self._accounting.fold
        return {*fold.statistics.miners(), *fold.ledger.miners()}

    def _listed(self, name: str) -> dict[str, Any]:
        fold, now = self._accounting.fold, self._accounting.clock.now_ms()
        stats = fold.statistics.miner_statistics(name, now)
        balance = self._accounting.balance(name)
        return {
            "pubkey": name,
            "npub": npub_of(name),
            "hashrate_hs": self.hashrates.of(name, now),
            "workers": 0 if stats is None else len(stats.workers),
            "shares": 0 if stats is None else stats.shares,
            "rejects": 0 if stats is None else stats.rejects,
            "last_share_ms": 0 if stats is None else stats.last_share_ms,
            "pending_msat": balance.pending_msat,
            "owed_msat": balance.owed_msat,
            "paid_msat": balance.paid_msat,
        }


def _by_reason(rejects: Mapping[int, int]) -> dict[str, int]:
    """How many shares were refused for what, in the order of the codes."""
    told: dict[str, int] = {}
    for code, times in sorted(rejects.items()):
        if times:
            reason = REASONS.get(code, OTHER)
            told[reason] = told.get(reason, 0) + times
    return told
