"""`noncestr accounting rebuild`: the accounting's file anew, from relays and archives, and what differs from before.

Nothing that can't be had back is dropped: keys, journal and payouts.sqlite (the zapper's intents, its only file) are
not touched, and what the accounting signed and no source has yet is carried over: signed anew it would fork its chain.
"""

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import anyio
import msgspec

from accounting import ownchain
from accounting.adapters.database import StoreError, StoreFailed, StoreHeld
from accounting.adapters.intake import NAME as READER
from accounting.adapters.kept_fold import fold_path
from accounting.adapters.postgres_database import PostgresPlace
from accounting.adapters.salvage import salvage
from accounting.adapters.slots import remove_file, slots_of
from accounting.adapters.store import AccountingStore, open_store
from accounting.fold import Fold
from accounting.loading import load_fold
from nips.errors import InvalidEvent
from nips.nip01 import Event, VerifiedEvent, decode_event, make_filter, verify
from nips.nip57 import ZAP_RECEIPT
from nips.pool.address import PoolAddress
from nips.pool.kinds import LEDGER_KINDS, PAYOUT
from noncestr.books.archive import IDS_A_FILTER, read_archive
from noncestr.books.place import LEDGER
from noncestr.errors import NoncestrError
from relay_bridge.adapters.arrival_store import forget_reader
from relay_bridge.adapters.fetch import fetch_events

RELAY: Final = "relay.sqlite"
OUTBOX: Final = "outbox.sqlite"
# Events one commit.
GROUP: Final = 500
# Lines of difference shown.
SHOWN: Final = 10
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of it. `before`: the hash of the old books' dump, with what the old file had not read yet, None when it
    could not be read; `differences`: some lines that differ (- before, + now); `carried`: events of our own chain that
    only the old file had; `late`: events that the old file had not read, `lost`: those that only it has.
    """

    events: int
    carried: int
    late: int
    lost: int
    lines: int
    sha256: str
    before: str | None
    differences: tuple[str, ...]
    violations: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether nothing is lost and the books came out as they were, byte for byte."""
        return self.before == self.sha256 and not self.lost


def _groups(events: Iterable[VerifiedEvent]) -> Iterator[list[VerifiedEvent]]:
    left = iter(events)
    while group := list(islice(left, GROUP)):
        yield group


def _raw(path: Path, query: str, *values: object) -> Iterator[Event]:
    """Events as JSON in an SQLite file; nothing if there is no such file. Raises NoncestrError."""
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            for (text,) in database.execute(query, values):
                yield decode_event(text)
    except (sqlite3.Error, InvalidEvent) as error:
        raise NoncestrError(f"{path}: {error}") from None


def _verified(events: Iterable[Event], where: str) -> Iterator[VerifiedEvent]:
    for event in events:
        try:
            yield verify(event)
        except InvalidEvent as error:
            raise NoncestrError(f"{where}: event {event.id}: {error}") from None


def _from_own_relay(data: Path, kinds: Iterable[int]) -> Iterator[VerifiedEvent]:
    """What the pool's embedded relay has, read from its file since it is not running."""
    query = "SELECT json FROM event WHERE kind = ? ORDER BY created_at"
    for kind in sorted(kinds):
        yield from _verified(_raw(data / RELAY, query, kind), str(data / RELAY))


def _from_outbox(data: Path) -> Iterator[VerifiedEvent]:
    """What is on its way to the relays."""
    return _verified(_raw(data / OUTBOX, "SELECT json FROM entry"), str(data / OUTBOX))


class Rebuild:
    """One rebuild. The data folder must be held (noncestr.running.only_one)."""

    def __init__(
        self, data: Path, pool: PoolAddress, signer: str, say: Say, database: PostgresPlace | None = None
    ) -> None:
        """`database`: where the books are, if not in the data folder."""
        self._data = data
        self._pool = pool
        self._signer = signer
        self._say = say
        self._slots = slots_of(database or data / LEDGER)
        # Of our own chain, out of a damaged file.
        self._salvaged: list[VerifiedEvent] = []

    async def run(
        self, archives: Sequence[Path], relays: Sequence[str], *, timeout_s: float, force: bool = False
    ) -> Rebuilt:
        """Build the file anew and put it in the old one's place, if the books are the same, or `force`, or there was no
        old one that can be read; else it is left beside it. Raises NoncestrError, StoreError; the old file then stands.
        """
        await self._slots.discard()
        try:
            rebuilt = await self._build(archives, relays, timeout_s)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._slots.discard()
            raise
        if not (rebuilt.identical or force or rebuilt.before is None):
            await self._slots.lay_aside()
            return rebuilt
        # What the old file had read and the new one has not is to come again.
        forget_reader(self._data / OUTBOX, READER)
        await self._slots.take()
        # The fold that was kept is of the old file.
        remove_file(fold_path(self._data / LEDGER))
        return rebuilt

    async def _build(self, archives: Sequence[Path], relays: Sequence[str], timeout_s: float) -> Rebuilt:
        async with AsyncExitStack() as stack:
            old = await self._open_old(stack)
            store = await stack.enter_async_context(open_store(self._slots.draft, self._pool, self._signer))
            for path in archives:
                await self._take(store, read_archive(path), str(path))
            await self._take(store, _from_own_relay(self._data, LEDGER_KINDS), "the pool's own relay")
            for url in relays:
                await self._take(store, await self._fetch(url, timeout_s), url)
            await self._take(store, _from_outbox(self._data), "what is on its way to relays")
            await self._take_proofs(store)
            carried = await self._own_chain(store, old)
            fold = await self._fold(store)
            lines = list(fold.dump())
            before, late, lost = ([], 0, 0) if old is None else await self._before(old, store, fold)
            violations = (*fold.violations, *(f"{each.code}: {each.text}" for each in fold.log.findings))
            return Rebuilt(
                events=await store.count(),
                carried=carried,
                late=late,
                lost=lost,
                lines=len(lines),
                sha256=_hash(lines),
                before=_hash(before) if before else None,
                differences=_differences(before, lines) if before else (),
                violations=violations,
            )

    async def _open_old(self, stack: AsyncExitStack) -> AccountingStore | None:
        if not await self._slots.is_there():
            return None
        try:
            return await stack.enter_async_context(open_store(self._slots.ledger, self._pool, self._signer))
        except (StoreHeld, StoreFailed):
            # It may well be read once that is over.
            raise
        except StoreError as error:
            self._say(f"the old books can't be read, nothing is compared: {error}")
            if isinstance(self._slots.ledger, Path):
                self._salvaged = await salvage(self._slots.ledger)
                self._say(f"{len(self._salvaged)} events of our own chain were saved from them")
            return None

    async def _take(self, store: AccountingStore, events: Iterable[VerifiedEvent], where: str) -> None:
        before = await store.count()
        for group in _groups(events):
            await store.add_events(
                [event for event in group if event.kind == ZAP_RECEIPT or self._is_ours(event)],
            )
        self._say(f"{where}: {await store.count() - before} events")

    def _is_ours(self, event: Event) -> bool:
        return event.kind in LEDGER_KINDS and event.tag_values("a") == (str(self._pool),)

    async def _take_proofs(self, store: AccountingStore) -> None:
        """The zap receipts that payouts name, out of the pool's own files: anybody may publish others."""
        names = set(_proofs([stored.event async for stored in store.replay() if stored.event.kind == PAYOUT]))
        own = (_from_own_relay(self._data, [ZAP_RECEIPT]), _from_outbox(self._data))
        for events in own:
            await store.add_events([event for event in events if event.id in names])

    async def _fetch(self, url: str, timeout_s: float) -> list[VerifiedEvent]:
        asked = make_filter(kinds=LEDGER_KINDS, tags={"a": [str(self._pool)]})
        result = await fetch_events([url], [asked], timeout_s=timeout_s)
        for report in result.relays:
            if not report.complete:
                raise NoncestrError(f"{url} did not give a whole answer: {report.error}")
        names = _proofs(result.events)
        for at in range(0, len(names), IDS_A_FILTER):
            wanted = make_filter(ids=names[at : at + IDS_A_FILTER], kinds=[ZAP_RECEIPT])
            result.events += (await fetch_events([url], [wanted], timeout_s=timeout_s)).events
        return result.events

    async def _own_chain(self, store: AccountingStore, old: AccountingStore | None) -> int:
        """Lay out our own chain: what the sources have of it, then what only the old file has, to be sent again."""
        signer = self._signer
        found = [event async for event in _own(store, signer, self._pool)]
        kept = self._salvaged if old is None else [event async for event in _own(old, signer, self._pool)]
        known = {event.id for event in found}
        adoption = ownchain.adopt({}, [*found, *(event for event in kept if event.id not in known)])
        if adoption.fork is not None:
            raise NoncestrError(
                f"the accounting's own chain forks at {' and '.join(adoption.fork)}: one of them was signed by a copy"
            )
        if adoption.gap:
            raise NoncestrError(
                "a part of the accounting's own chain is on none of the relays and in no archive: give more of them"
            )
        stated: set[str] = set()
        for event in adoption.events:
            block, voids = ownchain.names_reward(event)
            # A second statement of one reward keeps its place, not the name.
            block = None if block in stated else block
            await store.add_own(event, block=block, voids=voids, published=event.id in known)
            stated = await store.stated()
        if old is not None:
            await store.add_archives(await old.archives())
        return sum(event.id not in known for event in adoption.events)

    async def _fold(self, store: AccountingStore) -> Fold:
        loaded = await load_fold(store, self._pool, trusted=False, in_thread=_directly)
        if loaded.trouble is not None:
            raise NoncestrError(f"the log does not settle: {loaded.trouble}")
        return loaded.fold

    async def _before(self, old: AccountingStore, store: AccountingStore, now: Fold) -> tuple[list[str], int, int]:
        """The dump of the old books, what the old file had not read taken in; how much that was, and how many events
        only the old file has.
        """
        lost = 0
        async for stored in old.replay():
            lost += stored.id not in now
        try:
            fold = (await load_fold(old, self._pool, trusted=True, in_thread=_directly)).fold
        except StoreFailed:
            raise
        except StoreError as error:
            self._say(f"the old books can't be folded, nothing is compared: {error}")
            return [], 0, lost
        late = 0
        async for stored in store.replay():
            if stored.id not in fold:
                fold.add(stored.event)
                late += 1
        fold.settle()
        return list(fold.dump()), late, lost


def _proofs(events: Iterable[VerifiedEvent]) -> list[str]:
    """The zap receipts that payouts name."""
    names = set()
    for event in events:
        if event.kind == PAYOUT:
            try:
                proof = msgspec.json.decode(event.content)["proof"]["receipt"]
            except (msgspec.DecodeError, LookupError, TypeError):
                continue
            if isinstance(proof, str) and len(proof) == 64:
                names.add(proof)
    return sorted(names)


async def _own(store: AccountingStore, signer: str, pool: PoolAddress) -> AsyncIterator[VerifiedEvent]:
    async for stored in store.replay():
        if not stored.is_archived and ownchain.is_own(stored.event, signer, pool):
            yield stored.event


async def _directly(work: Callable[[], None]) -> None:
    work()


def _differences(before: Sequence[str], now: Sequence[str]) -> tuple[str, ...]:
    gone = sorted(set(before) - set(now))
    new = sorted(set(now) - set(before))
    return tuple([f"- {line}" for line in gone[:SHOWN]] + [f"+ {line}" for line in new[:SHOWN]])


def _hash(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
