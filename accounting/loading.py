"""The books out of the stored log: what a start does, and a rebuild."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from accounting.bonuses import BonusSum
from accounting.checks import Known
from accounting.fold import Changes, Fold
from accounting.freeze import Unreadable
from accounting.ledger import Ledger, Transaction
from accounting.shelves import Shelves
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.kinds import SUMMARY, TERMS
from nips.pool.summary import parse_summary

logger = logging.getLogger(__name__)
# What waits for its turn is held in memory.
SETTLE_EVENTS = 40
InThread = Callable[[Callable[[], None]], Awaitable[None]]


class Stored(Protocol):
    """An event of the stored log."""

    @property
    def event(self) -> VerifiedEvent:
        """The event."""

    @property
    def known(self) -> Known | None:
        """If it was a batch and is checked: as it was kept."""


class LogStore(Protocol):
    """The disk, as a start needs it."""

    def replay(self, position: int = 0) -> AsyncIterator[Stored]:
        """The log in the order it came, from what follows a position on."""

    async def at(self, position: int) -> str | None:
        """The id of the event at a position."""

    async def of_kind(self, kind: int) -> list[VerifiedEvent]:
        """The stored events of one kind, whoever signed them."""

    async def own_of_kind(self, kind: int) -> list[VerifiedEvent]:
        """The events of our own chain of one kind, in the chain's order."""

    async def forget_checked(self) -> None:
        """Have every batch checked again at the next replay."""

    async def add_checked(self, checked: Mapping[str, bytes | None]) -> None:
        """Keep what the check of batches came to."""

    async def add_spans(self, spans: Mapping[str, bytes]) -> None:
        """Keep what spans of batches came to, by the receipt they end with."""

    async def account_sums(self) -> dict[str, int]:
        """account -> msat by the stored postings."""

    async def bonus_sums(self) -> dict[str, BonusSum]:
        """miner -> what it got out of fees, as stored; who got nothing is left out."""

    async def add_books(self, transactions: Sequence[Transaction], ledger: Ledger) -> None:
        """Write transactions that the ledger has booked; known ones stay as they are."""

    async def rebuild_books(self, transactions: Sequence[Transaction], ledger: Ledger) -> None:
        """Put the books' tables in the place of what stands there."""


class Keeping(Shelves, Protocol):
    """Shelves that outlive a restart, with the rest of the fold that stands on them."""

    def kept(self) -> tuple[int, str, bytes] | None:
        """The log's position, the id of the event there, and the fold's state when they were kept last."""

    def keep(self, position: int, newest: str, state: bytes) -> None:
        """Keep them as they stand now."""

    def rewind(self) -> None:
        """Go back to what was kept last."""

    def clear(self) -> None:
        """Throw everything away."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What is raised when the disk fails."""


class Loaded(NamedTuple):
    """The books, what changed since nothing was there (or since they were kept), and why the log does not settle."""

    fold: Fold
    changes: Changes
    trouble: str | None


async def load_fold(
    store: LogStore,
    pool: PoolAddress,
    *,
    trusted: bool,
    in_thread: InThread,
    shelves: Keeping | None = None,
    go_on: bool = True,
) -> Loaded:
    """Take up the fold that was kept, and fold what the log has since; else the whole log from its beginning, and the
    books' tables are put right if they say otherwise.

    `trusted`: go by what was kept and by the stored checks, so that no share is hashed again; without `go_on` by the
    checks alone. `in_thread` runs the long parts beside whatever else goes on.
    """
    if trusted and go_on and shelves is not None:
        try:
            kept = await _load_kept(store, pool, in_thread, shelves)
        except shelves.failures as error:
            # A damaged file, say: it is only a copy. A disk that fails will say so again below.
            logger.warning("the fold that was kept can't be read, the log is folded anew: %s", error)
            kept = None
        if kept is not None:
            return kept
    if shelves is not None:
        shelves.clear()
    fold = _fold(pool, shelves)
    if trusted:
        for event in await store.own_of_kind(SUMMARY):
            fold.trust_summary(parse_summary(event))
    # Terms judge what was read before them, too: known from the start, they make nothing fold anew.
    for event in await store.of_kind(TERMS):
        fold.add(event)
    fold.begin_replay()
    fold.settle()
    changes = await _fold_log(store, fold, 0, trusted, in_thread)
    await in_thread(fold.end_replay)
    await _take_changes(store, fold, changes)
    if trusted and fold.reopened is not None:
        await store.forget_checked()
        return await load_fold(store, pool, trusted=False, in_thread=in_thread, shelves=shelves)
    trouble, fold.reopened = fold.reopened, None
    if not await _agree(store, fold):
        await store.rebuild_books(changes.transactions, fold.ledger)
    fold.ledger.take_touched()
    return Loaded(fold, changes, trouble)


async def _load_kept(store: LogStore, pool: PoolAddress, in_thread: InThread, shelves: Keeping) -> Loaded | None:
    """What was kept and what the log has since; None if it can't be used."""
    # Whatever a fold did there that came to no end.
    shelves.rewind()
    kept = shelves.kept()
    if kept is None:
        return None
    position, newest, state = kept
    # What was kept of an empty log names no event, and fits any.
    if newest and await store.at(position) != newest:
        logger.warning("the fold that was kept is another log's, as when an old ledger was put back: folding anew")
        return None
    fold = _fold(pool, shelves)
    try:
        await in_thread(lambda: fold.thaw(state))
    except Unreadable as error:
        logger.warning("the fold that was kept can't be read, the log is folded anew: %s", error)
        return None
    changes = await _fold_log(store, fold, position, True, in_thread)
    await in_thread(fold.log.mining.hash_known)
    if fold.reopened is not None:
        if fold.rehash:
            await store.forget_checked()
        return None
    # What was folded since may have reached the tables or not.
    await store.add_books(changes.transactions, fold.ledger)
    if not await _agree(store, fold):
        logger.warning("the books' tables are not what the kept fold says: the log is folded anew")
        return None
    return Loaded(fold, changes, None)


async def _fold_log(store: LogStore, fold: Fold, position: int, trusted: bool, in_thread: InThread) -> Changes:
    """Fold what the log has from a position on, some events at a time; what that changed, less the checks, which are
    stored.
    """
    changes, waiting = Changes(), 0
    async for stored in store.replay(position):
        known = stored.known if trusted else None
        if known is None:
            fold.add(stored.event)
        else:
            fold.add_known(known)
        waiting += 1
        if waiting % SETTLE_EVENTS == 0:
            await in_thread(fold.settle)
            await _take_changes(store, fold, changes)
    await in_thread(fold.settle)
    await _take_changes(store, fold, changes)
    return changes


async def _take_changes(store: LogStore, fold: Fold, changes: Changes) -> None:
    """Store what is to be kept of batches, and add the rest to earlier changes."""
    fresh = fold.take_changes()
    if fresh.checked:
        await store.add_checked(fresh.checked)
    if fresh.spans:
        await store.add_spans(fresh.spans)
    changes.transactions += fresh.transactions
    changes.balances |= fresh.balances
    changes.statistics |= fresh.statistics


def _fold(pool: PoolAddress, shelves: Keeping | None) -> Fold:
    return Fold(pool) if shelves is None else Fold(pool, shelves, shelves.failures)


async def _agree(store: LogStore, fold: Fold) -> bool:
    """Whether the books' tables say what the fold does."""
    sums = {account: msat for account, msat in fold.ledger.accounts.items() if msat}
    return await store.account_sums() == sums and await store.bonus_sums() == fold.ledger.bonuses.sums
