"""The books out of the stored log: what a start does, and a rebuild."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from accounting.fold import Changes, Fold
from accounting.ledger import Ledger, Transaction, replay
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.kinds import SUMMARY
from nips.pool.summary import parse_summary


class Stored(Protocol):
    """An event of the stored log."""

    @property
    def event(self) -> VerifiedEvent:
        """The event."""

    @property
    def checked(self) -> bytes | None:
        """What the check of its shares came to, if it was a batch and is checked."""


class LogStore(Protocol):
    """The disk, as a start needs it."""

    def replay(self) -> AsyncIterator[Stored]:
        """The log in the order it came."""

    async def own_of_kind(self, kind: int) -> list[VerifiedEvent]:
        """The events of our own chain of one kind, in the chain's order."""

    async def forget_checked(self) -> None:
        """Have every batch checked again at the next replay."""

    async def add_checked(self, checked: Mapping[str, bytes | None]) -> None:
        """Keep what the check of batches came to."""

    async def account_sums(self) -> dict[str, int]:
        """account -> msat by the stored postings."""

    async def rebuild_books(self, transactions: Sequence[Transaction], ledger: Ledger) -> None:
        """Put the books' tables in the place of what stands there."""


class Loaded(NamedTuple):
    """The books, what changed since nothing was there, and why the log does not settle, if so."""

    fold: Fold
    changes: Changes
    trouble: str | None


async def load_fold(
    store: LogStore,
    pool: PoolAddress,
    *,
    trusted: bool,
    in_thread: Callable[[Callable[[], None]], Awaitable[None]],
) -> Loaded:
    """Fold the stored log from its beginning; the books' tables are put right if they say otherwise. `trusted`: go by
    the stored checks, so that no share is hashed again. `in_thread` runs the long part beside whatever else goes on.
    """
    fold = Fold(pool)
    if trusted:
        for event in await store.own_of_kind(SUMMARY):
            fold.trust_summary(parse_summary(event))
    async for stored in store.replay():
        fold.add(stored.event, stored.checked if trusted else None)
    await in_thread(fold.settle)
    if trusted and fold.reopened is not None:
        await store.forget_checked()
        return await load_fold(store, pool, trusted=False, in_thread=in_thread)
    trouble, fold.reopened = fold.reopened, None
    changes = fold.take_changes()
    await store.add_checked(changes.checked)
    if await store.account_sums() != replay(changes.transactions):
        await store.rebuild_books(changes.transactions, fold.ledger)
    fold.ledger.take_touched()
    return Loaded(fold, changes, trouble)
