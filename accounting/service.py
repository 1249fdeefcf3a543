"""The accounting as a running service: it follows the relays, keeps the books and signs what they say.

Every fact comes out of the signed log (accounting.fold); the service adds when to look, what to sign and where to keep
it. Order of acts: an event is stored, then folded; what we sign is committed, then folded, then published, so that a
kill at any point re-sends the very same event.
"""

import functools
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio.abc import TaskStatus

from accounting.adapters.database import StoreError, reason_of
from accounting.adapters.desk import OpenDesk
from accounting.adapters.gate import Gate
from accounting.adapters.intake import RETRY_S, Intake
from accounting.adapters.kept_fold import KeptFold
from accounting.adapters.postgres_database import PostgresPlace
from accounting.adapters.publishing import Publisher
from accounting.adapters.store import AccountingStore, StorePlace, open_store
from accounting.attestation_book import AttestationBook
from accounting.fold import Fold
from accounting.health import Condition, Health
from accounting.issuing import Issuer
from accounting.loading import load_fold
from accounting.ports import ChainView, EventFeed
from accounting.rewards import check_offers
from accounting.schemes.loyalty import REACH_MS
from accounting.settings_book import MinersSettings, NoSettings
from accounting.signing import OwnChain
from accounting.views import View, Views
from nips.keys import AsyncSigner
from nips.nip01 import UnsignedEvent, VerifiedEvent, make_filter
from nips.pool.address import PoolAddress
from nips.pool.kinds import LEDGER_KINDS
from nips.pool.views import Balance

logger = logging.getLogger(__name__)


class Clock(Protocol):
    """Unix time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class AccountingConfig:
    """How often things are done, seconds. Balances and statistics go out on change only, per miner at most once in
    their interval: the more miners are busy the rarer (accounting.views.interval_ms).
    """

    balance_interval_s: float = 15.0
    statistics_interval_s: float = 15.0
    # How long a step waits for events, and how often the chain's tip is looked at.
    tick_s: float = 0.5
    # How often the books are checked as a whole.
    audit_interval_s: float = 60.0


class Accounting:
    """The books of one pool. Run it, then ask."""

    def __init__(
        self,
        *,
        pool: PoolAddress,
        signer: AsyncSigner,
        feed: EventFeed,
        chain: ChainView,
        store_path: Path,
        clock: Clock,
        config: AccountingConfig | None = None,
        database: PostgresPlace | None = None,
        settings: MinersSettings | None = None,
        treasury: Callable[[], Mapping[str, Any] | None] = lambda: None,
    ) -> None:
        """`store_path`: the ledger's file, the kept fold's beside it; with a `database` the ledger itself is there.
        `settings`: what miners ask for, nothing when not given. `treasury`: what an hourly summary says of the funds.
        """
        self._treasury = treasury
        self.settings: MinersSettings = NoSettings() if settings is None else settings
        self.pool = pool
        self.clock = clock
        self.chain = chain
        self.fold = Fold(pool)
        self._signer = signer
        self._feed = feed
        self._store_path = store_path
        self._store_place: StorePlace = database or store_path
        self._config = config or AccountingConfig()
        self.own = OwnChain(signer, pool)
        self.attestations = AttestationBook(pool, self.knows)
        self._retry_ms = 0
        self._issuer: Issuer | None = None
        self._all_stored = False
        # Amid a step.
        self._amid = False
        self._synced = anyio.Event()
        self._health = Health(round(self._config.audit_interval_s * 1000))
        self._trouble = self._health.trouble
        self._views = Views(
            pool,
            round(self._config.balance_interval_s * 1000),
            round(self._config.statistics_interval_s * 1000),
            self.settings,
        )
        self._publisher = Publisher(feed, self.own, self._trouble)
        self._gate = Gate()
        self._kept = KeptFold(store_path, self._trouble)

    @property
    def pubkey(self) -> str:
        """The key that signs our chain, in hex."""
        return self._signer.pubkey

    # Asking

    async def balances(self) -> dict[str, Balance]:
        """Every miner's balance, by key in hex. Waits until all that the relays had at start is in the books, since
        half a log would show earnings without what was paid on them.
        """
        await self._synced.wait()
        return {miner: self.balance(miner) for miner in self.fold.ledger.miners()}

    def balance(self, miner: str) -> Balance:
        """One miner's balance, as the books stand."""
        return self.fold.ledger.balance(miner, self.own.head)

    def applied_payouts(self, miner: str) -> Mapping[str, int]:
        """payout_id -> msat that left the miner's balance by it. Taken without an await after `balances`, both are of
        one moment.
        """
        return dict(self.fold.ledger.applied(miner))

    def statements_of(self, miner: str) -> tuple[str, ...]:
        """The ids of the statements with a row of this miner, newest first."""
        return tuple(reward.statement.id for reward in reversed(self.fold.ledger.rewards_of(miner)))

    def last_earned_s(self, miner: str) -> int | None:
        """When the newest statement with a row of this miner was signed, Unix seconds; None before the first."""
        rewards = self.fold.ledger.rewards_of(miner)
        return rewards[-1].statement.created_at if rewards else None

    def condition(self) -> Condition:
        """How it stands now."""
        return self._health.condition(
            self.fold,
            synced=self._synced.is_set(),
            may_sign=self.refusal(),
            waiting={} if self._issuer is None else dict(self._issuer.waiting),
            unpublished=self._publisher.unpublished,
        )

    def knows(self, miner: str) -> bool:
        """Whether this key ever sent a share."""
        return self.fold.statistics.has(miner)

    def heed_settings(self, miner: str) -> None:
        """A miner's settings changed: its balance and statistics say so."""
        if self.knows(miner):
            self._views.touched([miner], [miner])

    # Running

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Started once the stored log is folded.

        Raises StoreError for a file that can't be used, UnsupportedOffer for stored terms this version can't account.
        """
        async with open_store(self._store_place, self.pool, self._signer.pubkey) as store:
            with self._kept.open():
                self._issuer = Issuer(self.pool, OpenDesk(self, store), self.chain, self._treasury)
                await self._load(store, trusted=True)
                if self.fold.terms is not None:
                    check_offers(self.fold.terms.body)
                self._views.known(await store.views())
                await self._gate.load(store)
                try:
                    await self._run_tasks(store, task_status)
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._keep(store)

    async def _run_tasks(self, store: AccountingStore, task_status: TaskStatus[None]) -> None:
        intake = Intake(self._feed, self.pool, self._trouble, self._config.tick_s)
        with intake:
            async with anyio.create_task_group() as tasks:
                task_status.started()
                tasks.start_soon(
                    intake.follow, functools.partial(self._gate.held, store), functools.partial(self._gate.begun, store)
                )
                tasks.start_soon(intake.seek_receipts, self._due_receipts)
                tasks.start_soon(intake.follow_attestations, self._attested_since, self._attested)
                tasks.start_soon(self._work, store, intake)
                tasks.start_soon(self._publisher.publish_chain, store)
                tasks.start_soon(self._publisher.publish_views, store, self._due_views, self._config.tick_s)

    def _due_receipts(self) -> list[str]:
        if self._kept.keeping or not self._all_stored:
            return []
        return self.fold.wanted.due(self.clock.now_ms())

    def _attested_since(self) -> int | None:
        """From when on attestations are wanted (Unix s); None if no statement of ours is to have bonuses."""
        loyal = any(
            offer.loyalty is not None
            for terms in self.fold.log.terms_by_id.values()
            for offer in terms.body.offers.values()
        )
        return (self.clock.now_ms() - REACH_MS) // 1000 if loyal and self.refusal() is None else None

    def _attested(self, event: VerifiedEvent | None) -> None:
        if event is None:
            self.attestations.is_whole = True
        else:
            self.attestations.take(event, self.clock.now_ms())

    async def _keep(self, store: AccountingStore) -> None:
        if not self._amid:
            await self._kept.keep(store, self.fold)

    async def _load(self, store: AccountingStore, *, trusted: bool, go_on: bool = True) -> None:
        # In a thread, so that Stratum and relays go on beside a long replay; nobody else knows this fold yet.
        # Whoever asks meanwhile is told that nothing is known, not half of it.
        self.fold = Fold(self.pool)
        fold, changes, trouble = await load_fold(
            store,
            self.pool,
            trusted=trusted,
            in_thread=anyio.to_thread.run_sync,
            shelves=self._kept.shelves,
            go_on=go_on,
        )
        if trouble is not None:
            self._trouble(f"the log does not settle: {trouble}")
        self.fold = fold
        self._kept.loaded(fold)
        self._health.replaced(fold)
        # Who has stopped since the fold was kept did nothing that would show here.
        self._views.touched(
            {*changes.balances, *fold.ledger.miners()}, {*changes.statistics, *fold.statistics.miners()}
        )
        await self.own.load(store)

    async def _work(self, store: AccountingStore, intake: Intake) -> None:
        # Whether what is kept of the fold may be gone on from.
        go_on = True
        while True:
            items = await intake.next_items()
            events = [event for event in (getattr(item, "event", None) for item in items) if event is not None]
            while True:
                try:
                    if self._amid:
                        # A step ended half done: what the disk has is taken up again, once it answers.
                        await store.ready()
                        await self._load(store, trusted=True, go_on=go_on)
                        go_on = True
                    events = await self._gate.sift(store, self.fold.log, events)
                    await self._step(store, events)
                    if await self._gate.asks_again(store, self.fold.log):
                        intake.follow_anew()
                    break
                except (sqlite3.Error, StoreError) as error:
                    # A file with damage in it, not one that is busy or full: a fold made anew may not need it.
                    go_on = go_on and type(error) is not sqlite3.DatabaseError
                    self._trouble(f"the disk failed, or the database: {reason_of(error)}")
                except Exception as error:  # whatever it was, the next event is still to be booked
                    self._trouble(f"a step failed: {error!r}")
                    logger.exception("a step failed")
                    if all(event.id in self.fold for event in events):
                        break
                await anyio.sleep(RETRY_S)
            # Whatever the step came to, these are on the disk: they need not come again.
            for item in items:
                stored = getattr(item, "stored", None)
                if stored is not None:
                    stored()
            if any(getattr(item, "event", None) is None for item in items):
                self._all_stored = True
            if self._kept.is_due(self.fold):
                await self._keep(store)
            if self._all_stored and self.own.recovered and not self._synced.is_set():
                self._synced.set()

    async def _step(self, store: AccountingStore, events: list[VerifiedEvent]) -> None:
        fresh = [event for event in events if event.id not in self.fold]
        with self._unbroken():
            if fresh:
                await self.own.follow(store, fresh)
                await store.add_events(fresh)
                for event in fresh:
                    self._watch_own(event)
                    self.fold.add(event)
            await self._settle(store)
        if not self.own.recovered:
            await self._recover(store)
        if self._issuer is not None and self._all_stored and self.refusal() is None:
            await self._issuer.issue()
        self._health.look(self.fold, self.clock.now_ms())

    @contextmanager
    def _unbroken(self) -> Iterator[None]:
        """File and fold go from one state that fits to the next: a stop waits for that, a failure leaves them amid."""
        self._amid = True
        with anyio.CancelScope(shield=True):
            yield
        self._amid = False

    async def _settle(self, store: AccountingStore) -> None:
        self.fold.settle()
        if self.fold.reopened is not None:
            logger.warning("folding the log anew: %s", self.fold.reopened)
            trusted = not self.fold.rehash
            if not trusted:
                await store.forget_checked()
            await self._load(store, trusted=trusted, go_on=False)
        changes = self.fold.take_changes()
        self._views.touched(changes.balances, changes.statistics)
        if changes.checked:
            await store.add_checked(changes.checked)
        if changes.spans:
            await store.add_spans(changes.spans)
        if changes.transactions:
            await store.add_books(changes.transactions, self.fold.ledger)

    # Our chain

    def refusal(self) -> str | None:
        """Why nothing may be signed now, or None."""
        return self.own.refusal(self.fold)

    def _watch_own(self, event: VerifiedEvent) -> None:
        if self.own.forked is None and self.own.is_foreign(event):
            self.own.forked = f"event {event.id} of our chain was not signed here: does a second accounting run?"
            self._trouble(f"signing stops: {self.own.forked}")

    async def _recover(self, store: AccountingStore) -> None:
        """Ask the relays for our chain, once at start, and take over what our file lacks."""
        now = self.clock.now_ms()
        if now < self._retry_ms:
            return
        asked = make_filter(authors=[self._signer.pubkey], kinds=LEDGER_KINDS, tags={"a": [str(self.pool)]})
        try:
            found = await self._feed.fetch([asked])
        except Exception as error:  # no relay answers: nothing is signed until one does
            self._retry_ms = now + round(RETRY_S * 1000)
            self._trouble(f"our own chain could not be asked for: {error!r}")
            return
        with self._unbroken():
            adoption = await self.own.adopt(store, found)
            for event in adoption.events:
                self.fold.add(event)
            await self._settle(store)
        if adoption.gap:
            self._retry_ms = now + round(RETRY_S * 1000)
            self._trouble("the relays lack a part of our own chain: nothing is signed until it is found")
            return
        if self.own.forked is not None:
            self._trouble(f"signing stops: {self.own.forked}")
        self._publisher.wake()

    async def sign(
        self, store: AccountingStore, unsigned: UnsignedEvent, *, block: str | None = None, archive: str | None = None
    ) -> None:
        """Sign the next event of our chain: committed, then folded, then published. Raises what the signer does."""
        # Before the step that nothing may interrupt: a signer elsewhere takes its time, and may be away.
        event = await self._signer.sign(unsigned)
        with self._unbroken():
            await self.own.append(store, event, block=block, archive=archive)
            self.fold.add(event)
            self._publisher.wake(more=1)
            await self._settle(store)

    async def find(self, event: str, kind: int) -> VerifiedEvent | None:
        """An event by id, from the relays; None if none has it, or none answers."""
        try:
            found = await self._feed.fetch([make_filter(ids=[event], kinds=[kind])])
        except Exception as error:  # a relay that is away costs a donation, not the statement
            self._trouble(f"event {event} could not be asked for: {error!r}")
            return None
        return next((known for known in found if known.id == event), None)

    def _due_views(self) -> list[View]:
        if not self._synced.is_set() or self.refusal() is not None:
            return []
        return self._views.due(self.fold, self.clock.now_ms(), head=self.own.head, height=self.chain.height())
