"""The way of one payout from what is planned to a payment: the miner's wishes, one by one, until one can go."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Any

from nips.errors import NipError
from nips.nip01 import VerifiedEvent
from zapper.config import ZapperConfig
from zapper.errors import Conflict, DayFull, HttpFailed, PaymentBlocked, PoolFault
from zapper.inquiry import Inquiry
from zapper.payout import Intent, State, Step
from zapper.plan import OURS, Planned, below_minimum, sat_text
from zapper.ports import IntentStore, Owed
from zapper.rails import BatchRail, Order, Prepared, Rail, Unsigned
from zapper.said import counting, moves_of, news_of
from zapper.teller import Teller
from zapper.wishes import Wish, settings_of, wishes_of

log = logging.getLogger("zapper")

# What preparing a payout fails with when it is the miner's, its provider's or a server's doing.
NotPrepared = (PaymentBlocked, HttpFailed, NipError, Conflict)

# Why nobody else goes on chain for now.
SIGNING = "an earlier batch waits for the operator's signature"


def is_ours(error: Exception) -> bool:
    """Whether nothing that the payee does could have helped."""
    return isinstance(error, PoolFault | Conflict)


def told(error: Exception) -> str:
    """What a payee is told of why nothing was prepared."""
    text = str(error)
    return OURS + text if is_ours(error) and not text.startswith(OURS) else text


class NotYet(Exception):
    """No failure of the payee's: it asks for more to come together first, or the pool's day is full."""


@dataclass(frozen=True, slots=True)
class Job:
    """One payout of a round: how much, out of what, and the ways to pay it that are left, best first."""

    planned: Planned
    owed: Owed
    wishes: tuple[Wish, ...]

    @property
    def named(self) -> str:
        """The events that said how, as `Payee.named` keeps them."""
        return " ".join(sorted({wish.named_by.id for wish in self.wishes}))


def _step(prepared: Prepared) -> Step:
    return Step.ASK if isinstance(prepared, Unsigned) else Step.INVOICE


class Payer:
    """`clock` gives Unix ms, `new_id` a payout id never given before; `one_at_a_time`: an async lock."""

    def __init__(
        self,
        config: ZapperConfig,
        *,
        store: IntentStore,
        rails: Mapping[str, Rail],
        teller: Teller,
        inquiry: Inquiry,
        clock: Callable[[], int],
        new_id: Callable[[], str],
        one_at_a_time: AbstractAsyncContextManager[object],
    ) -> None:
        self._config = config
        self._store = store
        self._rails = rails
        self._teller = teller
        self._inquiry = inquiry
        self._clock = clock
        self._new_id = new_id
        self._lock = one_at_a_time

    async def job(self, planned: Planned, owed: Owed, *, idle: bool = False) -> Job:
        """The planned payout with the miner's ways to be paid. Raises PaymentBlocked, NotYet."""
        events = await self._with_kept(planned.miner, await self._inquiry.about(planned.miner))
        pool, now_s = self._config.pool.pubkey, self._clock() // 1000
        settings = settings_of(events, planned.miner, pool=pool, now_s=now_s)
        if settings is not None and planned.amount_msat < settings.body.minimum_msat and not idle:
            minimum = settings.body.minimum_msat
            raise NotYet(below_minimum(planned.amount_msat, minimum, "the minimum of the miner's settings"))
        wishes = self._payable(events, planned)
        return Job(planned, owed, tuple(wishes))

    async def _with_kept(self, miner: str, found: Sequence[VerifiedEvent]) -> list[VerifiedEvent]:
        """What was found, and what the miner is known to have said after it.

        A relay that replays an old address, or holds back the new one, brings the old one not back. A change is kept
        in one transaction with what is to be told of it, before anything is paid by it.
        """
        kept = await self._store.said(miner)
        events = list({event.id: event for event in (*found, *kept)}.values())
        now_ms, pool = self._clock(), self._config.pool.pubkey
        before = {event.kind: event for event in kept}
        after = counting(events, miner, pool=pool, now_s=now_ms // 1000)
        news = news_of(before, after)
        if news:
            settings = settings_of(events, miner, pool=pool, now_s=now_ms // 1000)
            body = None if settings is None else settings.body
            await self._store.keep_said(news, moves_of(before, news, body, order=self._config.methods, now_ms=now_ms))
        return events

    def _payable(self, events: Sequence[VerifiedEvent], planned: Planned) -> list[Wish]:
        wishes = wishes_of(
            events,
            planned.miner,
            pool=self._config.pool.pubkey,
            order=self._config.methods,
            now_s=self._clock() // 1000,
        )
        large = planned.amount_msat >= self._config.limits.onchain_msat
        fitting = [wish for wish in wishes if wish.method != "onchain" or large]
        if not fitting:
            raise PaymentBlocked(f"{sat_text(self._config.limits.onchain_msat)} are the least that goes on chain")
        payable = [wish for wish in fitting if wish.method in self._rails]
        if not payable:
            raise PaymentBlocked(f"this pool does not pay by {' or '.join(wish.method for wish in fitting)}")
        return payable

    def is_batched(self, job: Job) -> bool:
        """Whether the best way left goes together with others'."""
        return isinstance(self._rails[job.wishes[0].method], BatchRail)

    async def pay(self, job: Job) -> Intent:
        """The payout by the first way that can be prepared, handed over.

        Raises PaymentBlocked, HttpFailed, NipError, Conflict, NotYet: nothing was sent.
        """
        failures: list[Exception] = []
        for wish in job.wishes:
            if isinstance(self._rails[wish.method], BatchRail) and await self._waits_for_signature():
                failures.append(PoolFault(OURS + SIGNING))
                continue
            intent = await self._intend(job, wish)
            try:
                prepared = await self._rails[wish.method].prepare(self._order(intent, job, wish))
                changes = self._made(intent, prepared)
                intent = await self._store.advance(intent, _step(prepared), self._clock(), **changes)
            except NotPrepared as error:
                await self._teller.fail(intent, Step.REJECT, str(error))
                failures.append(error)
                continue
            except Exception:
                await self._teller.fail(intent, Step.REJECT, "an error of the pool's own; its log tells more")
                raise
            return await self._send(intent)
        if len(failures) == 1:
            raise failures[0]
        reasons = [
            f"{wish.method}: {str(error).removeprefix(OURS)}" for wish, error in zip(job.wishes, failures, strict=True)
        ]
        if any(map(is_ours, failures)):
            # With the pool's part in order it could have been paid.
            raise PoolFault(OURS + "; ".join(reasons))
        raise PaymentBlocked("; ".join(reasons))

    def _made(self, intent: Intent, prepared: Prepared) -> dict[str, Any]:
        """What is kept of it; the rest of a payout that the payee takes a part of stays due."""
        made = asdict(prepared)
        part = made.pop("amount_msat")
        if part is not None and part != intent.amount_msat:
            made |= {"amount_msat": part, "max_fee_msat": self._config.limits.max_fee_msat(part)}
        return made

    async def pay_together(self, jobs: Sequence[Job]) -> list[Intent]:
        """The payouts of one batch, each by its best way left: prepared as one; FAILED is who can't be in it, and
        left out who has another payout open or finds the day full.

        Raises PaymentBlocked, HttpFailed, NipError, Conflict, NotYet: nothing was sent.
        """
        async with self._lock:
            # A person signs one batch at a time; whoever is due meanwhile goes in the next one.
            if await self._waits_for_signature():
                raise NotYet(SIGNING)
            pairs = await self._prepare_together(jobs)
        done: list[Intent] = []
        for intent, made in pairs:
            if isinstance(made, PaymentBlocked):
                done.append(await self._teller.fail(intent, Step.REJECT, made.reason))
                continue
            stored = await self._store.get(intent.payout_id)
            assert stored is not None
            done.append(await self._send(stored))
        return done

    async def _waits_for_signature(self) -> bool:
        return any(intent.state is State.AWAITING for intent in await self._store.open_intents())

    async def _prepare_together(self, jobs: Sequence[Job]) -> list[tuple[Intent, Prepared | PaymentBlocked]]:
        """The payouts of one batch as they were prepared, which is stored."""
        rail = self._rails[jobs[0].wishes[0].method]
        assert isinstance(rail, BatchRail)
        intents: list[Intent] = []
        try:
            orders: list[Order] = []
            for job in jobs:
                try:
                    intents.append(await self._intend(job, job.wishes[0]))
                except (Conflict, NotYet) as error:
                    log.warning("%s is not in the batch: %s", job.planned.miner, error)
                    continue
                orders.append(self._order(intents[-1], job, job.wishes[0]))
            if not orders:
                return []
            pairs = list(zip(intents, await rail.prepare_all(orders), strict=True))
            ready = [(intent, made) for intent, made in pairs if not isinstance(made, PaymentBlocked)]
            if ready:
                # All or none: a batch handed over for one pays everybody in it.
                changes = [(intent, self._made(intent, made)) for intent, made in ready]
                await self._store.advance_all(changes, _step(ready[0][1]), self._clock())
        except NotPrepared as error:
            for intent in intents:
                await self._teller.fail(intent, Step.REJECT, str(error))
            raise
        return pairs

    async def _send(self, intent: Intent) -> Intent:
        """Hand over what nobody else has to sign first."""
        return intent if intent.state is State.AWAITING else await self._teller.send(intent)

    async def _intend(self, job: Job, wish: Wish) -> Intent:
        """Set the amount aside. Raises Conflict, NotYet."""
        now_ms = self._clock()
        limits = self._config.limits
        intent = Intent(
            payout_id=self._new_id(),
            miner=job.planned.miner,
            amount_msat=job.planned.amount_msat,
            max_fee_msat=limits.max_fee_msat(job.planned.amount_msat),
            state=State.INTENT,
            created_ms=now_ms,
            step_ms=now_ms,
            to=wish.named_by.id,
            destination=wish.destination,
            method=wish.method,
            once=wish.once,
            fee_borne=limits.fee_borne,
        )
        try:
            await self._store.create(intent, per_day_msat=limits.per_day_msat)
        except DayFull as error:
            raise NotYet(str(error)) from None
        return intent

    def _order(self, intent: Intent, job: Job, wish: Wish) -> Order:
        return Order(
            payout_id=intent.payout_id,
            miner=intent.miner,
            amount_msat=intent.amount_msat,
            max_fee_msat=intent.max_fee_msat,
            destination=wish.destination,
            named_by=wish.named_by,
            line=self._line(intent, job.owed),
            least_msat=min(self._config.limits.minimum_msat, intent.amount_msat) if wish.once is None else None,
        )

    def _line(self, intent: Intent, owed: Owed) -> str:
        """What the payee reads with the payment."""
        line = f"{self._config.pool_name}: {intent.amount_msat // 1000} sat for your mining"
        return f"{line}, statement {owed.statements[0]}" if owed.statements else line
