"""Where our own chain stands while we run, and the one way an event gets into it: committed to disk, then shown."""

from typing import Final, Protocol

from accounting import ownchain
from accounting.fold import Fold
from nips.keys import AsyncSigner
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import Head, Link, next_link

# Why books that are only read (accounting.reading) sign nothing: no fault of theirs.
READS_ONLY: Final = "these books are read, the accounting signs elsewhere"


class ChainStore(Protocol):
    """The disk, as our chain needs it."""

    async def head(self) -> tuple[Head, int] | None:
        """The newest event and its created_at."""

    async def chain(self) -> dict[int, str]:
        """seq -> id."""

    async def stated(self) -> set[str]:
        """Blocks whose reward has a statement of ours that is not void."""

    async def of_kind(self, kind: int) -> list[VerifiedEvent]:
        """The stored events of one kind, whoever signed them."""

    async def add_own(
        self,
        event: VerifiedEvent,
        *,
        block: str | None = None,
        voids: str | None = None,
        archive: str | None = None,
        published: bool = False,
    ) -> None:
        """Commit the chain's next event."""


class OwnChain:
    """Our chain. `recovered`: the relays were asked for it; `forked`: why it must not be gone on with, if so."""

    def __init__(self, signer: AsyncSigner, pool: PoolAddress) -> None:
        self.signer = signer
        self.pool = pool
        self.head: Head | None = None
        self.recovered = False
        self.forked: str | None = None
        # Blocks whose reward has a statement of ours.
        self.stated: set[str] = set()
        self._second = 0
        self._ids: set[str] = set()

    async def load(self, store: ChainStore) -> None:
        """Take up what the file holds."""
        head = await store.head()
        self.head, self._second = head if head is not None else (None, 0)
        self._ids = set((await store.chain()).values())
        self.stated = await store.stated()

    def refusal(self, fold: Fold) -> str | None:
        """Why nothing may be signed now, or None."""
        if self.forked is not None:
            return self.forked
        if not self.recovered:
            return "the relays were not yet asked for our own chain"
        refusal = ownchain.refusal(fold.terms, self.signer.pubkey)
        chain = fold.log.accounting.get(self.signer.pubkey)
        if refusal is None and self.head != (None if chain is None else chain.head):
            # After a lost file the relays may have our statements, but not yet the batches they rest on.
            return "our own chain waits for events it names"
        return refusal

    def is_foreign(self, event: VerifiedEvent) -> bool:
        """Whether an event of our chain was signed elsewhere: by a copy of us, or a thief."""
        known = not self.recovered or event.id in self._ids
        return not known and ownchain.is_own(event, self.signer.pubkey, self.pool)

    async def follow(self, store: ChainStore, events: list[VerifiedEvent]) -> None:
        """Events of the log were read and are about to be stored; ours are there already."""

    @property
    def next_seq(self) -> int:
        """The number of the next event."""
        return 0 if self.head is None else self.head.seq + 1

    def next_place(self, now_ms: int) -> tuple[Link, int]:
        """The link and created_at of the next event: dates never fall along a chain."""
        return next_link(self.head), max(now_ms // 1000, self._second)

    async def append(
        self, store: ChainStore, event: VerifiedEvent, *, block: str | None = None, archive: str | None = None
    ) -> None:
        """Commit the next event, signed by our key. Raises StoreError when the disk refuses it."""
        _, voids = ownchain.names_reward(event)
        await store.add_own(event, block=block, voids=voids, archive=archive)
        self._advance(event, block)
        if voids is not None:
            self.stated = await store.stated()

    async def adopt(self, store: ChainStore, found: list[VerifiedEvent]) -> ownchain.Adoption:
        """Take over what the relays have of our chain and our file lacks."""
        own = [event for event in found if ownchain.is_own(event, self.signer.pubkey, self.pool)]
        adoption = ownchain.adopt(await store.chain(), own)
        for event in adoption.events:
            block, voids = ownchain.names_reward(event)
            if block in self.stated:
                # A second statement of one reward, signed before our file was lost: it keeps its place, not the name.
                block = None
            await store.add_own(event, block=block, voids=voids, published=True)
            self._advance(event, block)
            self.stated = await store.stated()
        if adoption.fork is not None:
            self.forked = f"our chain forks at {' and '.join(adoption.fork)}"
        self.recovered = not adoption.gap
        return adoption

    def _advance(self, event: VerifiedEvent, block: str | None) -> None:
        self.head = Head(self.next_seq, event.id)
        self._second = event.created_at
        self._ids.add(event.id)
        if block is not None:
            self.stated.add(block)
