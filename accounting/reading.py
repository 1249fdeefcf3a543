"""Books that are only read: the fold of a log whose statements another process signs, with the same answers.

What is paid out, shown or watched on another host than the accounting's is asked of such books: they are folded from
the relays as the accounting's are, and take nobody's word either.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from accounting import ownchain
from accounting.fold import Fold
from accounting.ports import ChainView, EventFeed
from accounting.service import Accounting, AccountingConfig, Clock
from accounting.settings_book import MinersSettings
from accounting.signing import READS_ONLY, ChainStore, OwnChain
from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import link_of
from nips.pool.kinds import ARCHIVE, STATEMENT, STATEMENT_PART, STATUS, SUMMARY

_KINDS: Final = (STATEMENT, STATEMENT_PART, STATUS, ARCHIVE, SUMMARY)


class _Reader:
    """In a signer's place: it has the accounting's public key and no other."""

    def __init__(self, pubkey: str) -> None:
        self.pubkey = pubkey

    async def sign(self, unsigned: UnsignedEvent) -> VerifiedEvent:
        """Never: READS_ONLY is why."""
        raise PermissionError(f"kind {unsigned.kind}: {READS_ONLY}")


class CopiedChain(OwnChain):
    """In the place of our own chain: a copy of the accounting's, laid out as its own file has it, as it is read."""

    def __init__(self, signer: _Reader, pool: PoolAddress, fold: Callable[[], Fold]) -> None:
        super().__init__(signer, pool)
        self.recovered = True
        self._fold = fold
        # Read before the one that goes before, by number.
        self._early: dict[int, list[VerifiedEvent]] = {}

    def refusal(self, fold: Fold) -> str | None:  # noqa: ARG002  whatever the fold says
        """Always: this process reads."""
        return READS_ONLY

    def is_foreign(self, event: VerifiedEvent) -> bool:  # noqa: ARG002  whatever it is
        """Never: all of it is signed elsewhere."""
        return False

    async def load(self, store: ChainStore) -> None:
        """Take up what the file holds; events that it has and the copy lacks came out of order before a stop."""
        await super().load(store)
        told = self._fold().log.accounting.get(self.signer.pubkey)
        if told is not None and told.head is not None and told.head != self.head:
            for kind in _KINDS:
                await self.follow(store, await store.of_kind(kind))

    async def follow(self, store: ChainStore, events: list[VerifiedEvent]) -> None:
        """Take over what comes next in the chain. Called before the events are stored, so that none is left out."""
        for read in events:
            if ownchain.is_own(read, self.signer.pubkey, self.pool):
                try:
                    self._early.setdefault(link_of(read).seq, []).append(read)
                except InvalidPoolEvent:
                    continue
        while (event := self._next()) is not None:
            block, voids = ownchain.names_reward(event)
            if block in self.stated:
                block = None
            await store.add_own(event, block=block, voids=voids, published=True)
            self._advance(event, block)
            if voids is not None:
                self.stated = await store.stated()

    def _next(self) -> VerifiedEvent | None:
        # Of a fork, which the fold tells of, the branch that goes on from what is here.
        before = None if self.head is None else self.head.id
        events = self._early.pop(self.next_seq, [])
        return next((event for event in events if link_of(event).prev == before), None)


def reading(
    *,
    pool: PoolAddress,
    accounting: str,
    feed: EventFeed,
    chain: ChainView,
    store_path: Path,
    clock: Clock,
    config: AccountingConfig | None = None,
    settings: MinersSettings | None = None,
) -> Accounting:
    """The books of a pool whose accounting has the key `accounting` (hex). They sign and publish nothing."""
    signer = _Reader(accounting)
    books = Accounting(
        pool=pool,
        signer=signer,
        feed=feed,
        chain=chain,
        store_path=store_path,
        clock=clock,
        config=config,
        settings=settings,
    )
    books.own = CopiedChain(signer, pool, lambda: books.fold)
    return books
