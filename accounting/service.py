"""The accounting as a running service: it follows the relays, keeps the books and signs what they say.

Every fact comes out of the signed log (accounting.fold); the service adds when to look, what to sign and where to keep
it. Order of acts: an event is stored, then folded; what we sign is committed, then folded, then published, so that a
kill at any point re-sends the very same event.
"""

import logging
import sqlite3
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import anyio
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from accounting import ownchain
from accounting.adapters.store import AccountingStore, StoredView, StoreError, open_store
from accounting.errors import UnsupportedOffer
from accounting.facts import BlockSeen
from accounting.fold import MAX_TROUBLES, Fold
from accounting.ledger import PENDING, replay
from accounting.maturity import UNSEEN_MATURITIES, due_status
from accounting.ports import ChainView, EventFeed
from accounting.rewards import NotYet, check_offers
from accounting.signing import OwnChain
from accounting.views import Views
from nips.errors import InvalidPoolEvent
from nips.keys import Signer
from nips.nip01 import UnsignedEvent, VerifiedEvent, make_filter
from nips.pool.address import PoolAddress
from nips.pool.hashing import from_display
from nips.pool.kinds import LEDGER_KINDS, SUMMARY
from nips.pool.statement import build_statement, build_status
from nips.pool.summary import build_summary, build_summary_part, parse_summary, split_rows
from nips.pool.views import Balance

logger = logging.getLogger(__name__)

# Deliveries read ahead of the fold: more would only wait in memory instead of at the relay.
QUEUE = 1000
# A step takes events up to about one full receipt's bytes, so that hashing never holds the loop for long.
STEP_BYTES = 64 * 1024
STEP_EVENTS = 200
# Receipts are dated and published within minutes of their shares; an edge that was cut off brings its sealed batches
# later. What is older than this, and came while we were down, is had by dropping the file and replaying.
OVERLAP_S = 3 * 24 * 3600
# A step signs so many summaries: a day's, so that a long pause is caught up with while events go on being read.
MAX_SUMMARIES = 24
# After a failure of disk or relays.
RETRY_S = 2.0


class Clock(Protocol):
    """Unix time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class AccountingConfig:
    """How often things are done, seconds. Balances and statistics go out on change only, per miner at most once in
    their interval: at 15 s and 10,000 busy miners that is 1,300 events a second, so a large pool sets 300 (67).
    """

    balance_interval_s: float = 15.0
    statistics_interval_s: float = 15.0
    # How long a step waits for events, and how often the chain's tip is looked at.
    tick_s: float = 0.5
    # How often the books are checked as a whole.
    audit_interval_s: float = 60.0


class Condition(NamedTuple):
    """How the accounting stands. `may_sign` is None when it signs, else why not; `waiting`: block -> why its statement
    has to wait.
    """

    synced: bool
    may_sign: str | None
    waiting: Mapping[str, str]
    violations: tuple[str, ...]
    troubles: tuple[str, ...]
    findings: Mapping[str, int]
    unpublished: int


class Accounting:
    """The books of one pool. Run it, then ask."""

    def __init__(
        self,
        *,
        pool: PoolAddress,
        signer: Signer,
        feed: EventFeed,
        chain: ChainView,
        store_path: Path,
        clock: Clock,
        config: AccountingConfig | None = None,
    ) -> None:
        self.pool = pool
        self.clock = clock
        self.chain = chain
        self.fold = Fold(pool)
        self._signer = signer
        self._feed = feed
        self._store_path = store_path
        self._config = config or AccountingConfig()
        self._own = OwnChain(signer, pool)
        self._retry_ms = 0
        self._waiting: dict[str, str] = {}
        self._whole: list[str] = []
        self._audit_ms = 0
        self._findings_said = 0
        self._tip = -1
        self._unpublished = 0
        self._troubles: deque[str] = deque(maxlen=MAX_TROUBLES)
        self._all_stored = False
        self._synced = anyio.Event()
        self._unsent = anyio.Event()
        self._views = Views(
            pool,
            round(self._config.balance_interval_s * 1000),
            round(self._config.statistics_interval_s * 1000),
        )

    # Asking

    async def balances(self) -> dict[str, Balance]:
        """Every miner's balance, by key in hex. Waits until all that the relays had at start is in the books, since
        half a log would show earnings without what was paid on them.
        """
        await self._synced.wait()
        return {miner: self.balance(miner) for miner in self.fold.ledger.miners()}

    def balance(self, miner: str) -> Balance:
        """One miner's balance, as the books stand."""
        return self.fold.ledger.balance(miner, self._own.head)

    def applied_payouts(self, miner: str) -> Mapping[str, int]:
        """payout_id -> msat that left the miner's balance by it. Taken without an await after `balances`, both are of
        one moment.
        """
        return dict(self.fold.ledger.applied(miner))

    def statements_of(self, miner: str) -> tuple[str, ...]:
        """The ids of the statements with a row of this miner, newest first."""
        return tuple(reward.statement.id for reward in reversed(self.fold.ledger.rewards_of(miner)))

    def condition(self) -> Condition:
        """How it stands now."""
        grades: dict[str, int] = {}
        for found in self.fold.log.findings:
            grades[found.grade] = grades.get(found.grade, 0) + 1
        return Condition(
            synced=self._synced.is_set(),
            may_sign=self._refusal(),
            waiting=dict(self._waiting),
            violations=(*self._whole, *self.fold.violations),
            troubles=tuple(self._troubles),
            findings=grades,
            unpublished=self._unpublished,
        )

    # Running

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Started once the stored log is folded.

        Raises StoreError for a file that can't be used, UnsupportedOffer for stored terms this version can't account.
        """
        async with open_store(self._store_path, self.pool, self._signer.pubkey) as store:
            await self._load(store, trusted=True)
            if self.fold.terms is not None:
                check_offers(self.fold.terms.body)
            self._views.known(await store.views())
            send, receive = anyio.create_memory_object_stream[object](QUEUE)
            async with send, receive, anyio.create_task_group() as tasks:
                task_status.started()
                # Others choose the dates they sign: one from the future must not hide what comes before it.
                newest = min(await store.newest_second(), self.clock.now_ms() // 1000)
                tasks.start_soon(self._follow, send, newest)
                tasks.start_soon(self._work, store, receive)
                tasks.start_soon(self._publish_chain, store)
                tasks.start_soon(self._publish_views, store)

    async def _load(self, store: AccountingStore, *, trusted: bool) -> None:
        """Fold the stored log from its beginning; the books' tables are put right if they say otherwise."""
        fold = Fold(self.pool)
        if trusted:
            for event in await store.own_of_kind(SUMMARY):
                fold.trust_summary(parse_summary(event))
        async for stored in store.replay():
            fold.add(stored.event, stored.checked if trusted else None)
        # In a thread, so that Stratum and relays go on beside a long replay; nobody else knows this fold yet.
        await anyio.to_thread.run_sync(fold.settle)
        if trusted and fold.reopened is not None:
            await store.forget_checked()
            await self._load(store, trusted=False)
            return
        if fold.reopened is not None:
            self._trouble(f"the log does not settle: {fold.reopened}")
            fold.reopened = None
        changes = fold.take_changes()
        await store.add_checked(changes.checked)
        if await store.account_sums() != replay(changes.transactions):
            await store.rebuild_books(changes.transactions, fold.ledger)
        fold.ledger.take_touched()
        self.fold = fold
        self._whole = fold.check()
        self._views.touched(changes.balances, changes.statistics)
        await self._own.load(store)

    async def _follow(self, send: MemoryObjectSendStream[object], newest: int) -> None:
        asked = make_filter(
            kinds=LEDGER_KINDS, tags={"a": [str(self.pool)]}, since=newest - OVERLAP_S if newest > OVERLAP_S else None
        )
        while True:
            try:
                async with self._feed.subscribe([asked], name="accounting") as deliveries:
                    async for item in deliveries:
                        await send.send(item)
                self._trouble("the subscription ended")
            except Exception as error:  # relays come and go: the books outlive every one of them
                self._trouble(f"the subscription broke: {error!r}")
            await anyio.sleep(RETRY_S)

    async def _work(self, store: AccountingStore, receive: MemoryObjectReceiveStream[object]) -> None:
        while True:
            items = await self._next_items(receive)
            events = [event for event in (getattr(item, "event", None) for item in items) if event is not None]
            while True:
                try:
                    await self._step(store, events)
                    break
                except (sqlite3.Error, StoreError) as error:
                    self._trouble(f"the disk failed: {error}")
                except Exception as error:  # whatever it was, the next event is still to be booked
                    self._trouble(f"a step failed: {error!r}")
                    logger.exception("a step failed")
                    if all(event.id in self.fold for event in events):
                        break
                await anyio.sleep(RETRY_S)
            if len(events) < len(items):
                self._all_stored = True
            if self._all_stored and self._own.recovered and not self._synced.is_set():
                self._synced.set()

    async def _next_items(self, receive: MemoryObjectReceiveStream[object]) -> list[object]:
        items: list[object] = []
        size = 0
        with anyio.move_on_after(self._config.tick_s):
            items.append(await receive.receive())
        while items and len(items) < STEP_EVENTS:
            event = getattr(items[-1], "event", None)
            size += len(event.content) if event is not None else STEP_BYTES
            if size >= STEP_BYTES:
                break
            try:
                items.append(receive.receive_nowait())
            except anyio.WouldBlock:
                break
        return items

    async def _step(self, store: AccountingStore, events: list[VerifiedEvent]) -> None:
        fresh = [event for event in events if event.kind in LEDGER_KINDS and event.id not in self.fold]
        if fresh:
            await store.add_events(fresh)
            for event in fresh:
                self._watch_own(event)
                self.fold.add(event)
        await self._settle(store)
        if not self._own.recovered:
            await self._recover(store)
        if self._all_stored and self._refusal() is None:
            await self._issue_statements(store)
            await self._issue_statuses(store)
            await self._issue_summaries(store)
        self._audit()

    async def _settle(self, store: AccountingStore) -> None:
        self.fold.settle()
        if self.fold.reopened is not None:
            logger.warning("folding the log anew: %s", self.fold.reopened)
            await store.forget_checked()
            await self._load(store, trusted=False)
        changes = self.fold.take_changes()
        self._views.touched(changes.balances, changes.statistics)
        if changes.checked:
            await store.add_checked(changes.checked)
        if changes.transactions:
            await store.add_books(changes.transactions, self.fold.ledger)

    # Our chain

    def _refusal(self) -> str | None:
        return self._own.refusal(self.fold)

    def _watch_own(self, event: VerifiedEvent) -> None:
        if self._own.forked is None and self._own.is_foreign(event):
            self._own.forked = f"event {event.id} of our chain was not signed here: does a second accounting run?"
            self._trouble(f"signing stops: {self._own.forked}")

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
        adoption = await self._own.adopt(store, found)
        for event in adoption.events:
            self.fold.add(event)
        if adoption.gap:
            self._retry_ms = now + round(RETRY_S * 1000)
            self._trouble("the relays lack a part of our own chain: nothing is signed until it is found")
            return
        if self._own.forked is not None:
            self._trouble(f"signing stops: {self._own.forked}")
        await self._settle(store)
        self._unsent.set()

    async def _sign(self, store: AccountingStore, unsigned: UnsignedEvent, block: str | None = None) -> None:
        self.fold.add(await self._own.sign(store, unsigned, block))
        self._unpublished += 1
        self._unsent.set()
        await self._settle(store)

    async def _issue_statements(self, store: AccountingStore) -> None:
        waiting: dict[str, str] = {}
        for block in self.fold.unsettled():
            if block.block.block in self._own.stated:
                continue
            reason = await self._issue_statement(store, block)
            if reason is not None:
                waiting[block.block.block] = reason
        self._waiting = waiting

    async def _issue_statement(self, store: AccountingStore, block: BlockSeen) -> str | None:
        """Sign the statement of a block's reward, or say why it has to wait."""
        link, second = self._own.next_place(self.clock.now_ms())
        try:
            body = self.fold.log.expected(block)
            if isinstance(body, NotYet):
                return body.reason
            unsigned = build_statement(self.pool, link, body, second, block.block.id)
        except (UnsupportedOffer, ValueError, InvalidPoolEvent) as error:
            return str(error)
        await self._sign(store, unsigned, block.block.block)
        logger.info("split block %s: %d msat in %d rows", body.reward.block, body.reward.gross_msat, len(body.rows))
        return None

    async def _issue_statuses(self, store: AccountingStore) -> None:
        tip = self.chain.height()
        if tip == self._tip:
            return
        for statement in list(self.fold.ledger.rewards):
            # Looked up each time: what is signed here may fold the books anew.
            booked = self.fold.ledger.rewards.get(statement)
            if booked is None or self._refusal() is not None or not self._answers_for(booked.statement.signer):
                continue
            reward = booked.statement.reward
            terms = self.fold.log.terms_by_id.get(booked.statement.terms)
            if terms is None:
                # Not a statement that the log bears out: one of a stolen key, say.
                continue
            maturity = terms.body.limits.maturity_blocks
            # What matured or was orphaned long ago is no longer looked at, what pends always is.
            if booked.state != PENDING and tip > reward.height + 2 * UNSEEN_MATURITIES * maturity:
                continue
            confirmations = await self.chain.confirmations(from_display(reward.block))
            status = due_status(booked.state, confirmations, height=reward.height, tip=tip, maturity_blocks=maturity)
            if status is not None:
                link, second = self._own.next_place(self.clock.now_ms())
                await self._sign(store, build_status(self.pool, link, booked.statement.id, status, second))
                logger.info("the reward of block %s is %s", reward.block, status)
        self._tip = tip

    async def _issue_summaries(self, store: AccountingStore) -> None:
        """Sign the hours that are over, some at a time: after a long pause there may be many."""
        for _ in range(MAX_SUMMARIES):
            body = self.fold.due_summary()
            if body is None or self._refusal() is not None or not self._is_first_heir():
                return
            parts = split_rows(body.rows)
            if len(parts) > 1:
                for number, rows in enumerate(parts):
                    link, second = self._own.next_place(self.clock.now_ms())
                    await self._sign(store, build_summary_part(self.pool, link, number, rows, second))
            link, second = self._own.next_place(self.clock.now_ms())
            count = len(parts) if len(parts) > 1 else 0
            await self._sign(store, build_summary(self.pool, link, body, second, parts=count))
            logger.info("summed up %d ms to %d: %d rows", body.from_ms, body.to_ms, len(body.rows))

    def _is_first_heir(self) -> bool:
        """Whether of the accounting keys whose chains are open ours is the first: one of them acts for all."""
        terms = self.fold.terms
        heirs = set() if terms is None else set(terms.body.keys_of("accounting"))
        open_heirs = [key for key in sorted(heirs) if self.fold.log.terms.end_of(f"{key}/{ownchain.NAME}") is None]
        return open_heirs[:1] == [self._signer.pubkey]

    def _answers_for(self, signer: str) -> bool:
        """Whether the statuses of a key's statements are ours to give: our own, and of a key whose chain the terms
        have closed, else its rewards would pend for good. Of several heirs one acts, the first by key.
        """
        if signer == self._signer.pubkey:
            return True
        chain = self.fold.log.accounting.get(signer)
        return chain is not None and chain.is_ended and self._is_first_heir()

    async def _publish_chain(self, store: AccountingStore) -> None:
        """Hand our chain's events to the feed, in order, until it has taken each."""
        while True:
            self._unsent = anyio.Event()
            try:
                unpublished = await store.unpublished() if self._own.recovered else []
                self._unpublished = len(unpublished)
                for event in unpublished:
                    await self._feed.publish(event, chain=f"{self._signer.pubkey}/{ownchain.NAME}")
                    await store.mark_published(event)
                    self._unpublished -= 1
            except Exception as error:  # the events stay where they are and are tried again
                self._trouble(f"publishing failed: {error!r}")
                await anyio.sleep(RETRY_S)
                continue
            await self._unsent.wait()

    # Views and audits

    async def _publish_views(self, store: AccountingStore) -> None:
        while True:
            await anyio.sleep(self._config.tick_s)
            if not self._synced.is_set() or self._refusal() is not None:
                continue
            now = self.clock.now_ms()
            due = self._views.due(self.fold, now, head=self._own.head, height=self.chain.height())
            try:
                for view in due:
                    await self._feed.publish(self._signer.sign(view.unsigned))
                await store.add_views({view.address: StoredView(view.created_at, view.says) for view in due})
            except Exception as error:  # views only repeat the log: the next ones say the same and more
                self._trouble(f"publishing a view failed: {error!r}")

    def _audit(self) -> None:
        """Say what is newly found in the log, and now and then go through the whole books."""
        findings = self.fold.log.findings
        for found in findings[self._findings_said :]:
            logger.warning("%s: %s: %s %s", found.grade, found.code, found.text, " ".join(found.events))
        self._findings_said = len(findings)
        now = self.clock.now_ms()
        if now >= self._audit_ms:
            self._audit_ms = now + round(self._config.audit_interval_s * 1000)
            whole = self.fold.check()
            for text in whole:
                if text not in self._whole:
                    logger.error("the books: %s", text)
            self._whole = whole

    def _trouble(self, text: str) -> None:
        logger.warning("%s", text)
        self._troubles.append(text)
