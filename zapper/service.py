"""The zapper at work: rounds of payouts, the questions about unknown ones, and what becomes of each.

Every step is on disk before the act it names. Payees are paid side by side, a bounded number at a time; nothing of one
payee's failure reaches another's payout.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict

import anyio
from anyio.abc import TaskStatus

from nips.errors import NipError
from nips.keys import Signer
from nips.nip01 import make_filter
from nips.nip61 import NUTZAP_INFO
from zapper.config import ZapperConfig, ZapperStatus
from zapper.errors import Conflict, HttpFailed, PaymentBlocked, StoreBehind
from zapper.payout import Intent, State, Step
from zapper.plan import Plan, Planned, after_failure, due_msat, make_plan
from zapper.ports import EventFeed, IntentStore, Owed, OwedSource
from zapper.profile import PROFILE
from zapper.rails import Kept, Order, Rail, Returned, ReturningRail
from zapper.recorder import Recorder
from zapper.teller import Teller
from zapper.wishes import Wish, wishes_of

log = logging.getLogger("zapper")

_OPEN_REASONS = {
    State.INTENT: "a payout is under way",
    State.INVOICED: "a payout is under way",
    State.SENDING: "a payout is under way",
    State.UNKNOWN: "the outcome of a payment is not known yet; the wallet is asked about it",
}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _random_id() -> str:
    return os.urandom(16).hex()


class Zapper:
    """Pays what is owed, exactly once. `rails`: by 4215's word for the method; `clock` gives Unix ms, `new_id` a payout
    id never given before.
    """

    def __init__(
        self,
        config: ZapperConfig,
        *,
        signer: Signer,
        owed: OwedSource,
        store: IntentStore,
        rails: Mapping[str, Rail],
        feed: EventFeed,
        clock: Callable[[], int] = _now_ms,
        new_id: Callable[[], str] = _random_id,
    ) -> None:
        if not config.relays:
            raise ValueError("zap receipts need a relay to go to")
        self._config = config
        self._signer = signer
        self._owed = owed
        self._store = store
        self._rails = rails
        self._feed = feed
        self._clock = clock
        self._new_id = new_id
        self._teller = Teller(config, store=store, rails=rails, clock=clock, deadline=anyio.fail_after)
        self._recorder = Recorder(
            config,
            signer=signer,
            store=store,
            rails=rails,
            feed=feed,
            clock=clock,
            one_at_a_time=anyio.Lock(),
            patience=anyio.move_on_after,
        )
        self.status = ZapperStatus()
        # Miners some task is working for right now: nobody else touches their payouts.
        self._busy: set[str] = set()
        self._slots = anyio.CapacityLimiter(config.concurrency)
        self._begun = False
        self._returning = [method for method, rail in rails.items() if isinstance(rail, ReturningRail)]

    def why_unpaid(self, miner: str) -> str | None:
        """Why a miner with something due was not paid when last looked at; None when nothing stands against it."""
        return self.status.blocked or self.status.why_unpaid.get(miner)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled. Nothing that payees, relays or the backend do ends it."""
        task_status.started()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._repeat, self.reconcile, self._config.reconcile_interval_s)
            while True:
                # A round that waits for a slow payee does not keep the next one waiting.
                tasks.start_soon(self._guarded, self.pay_round)
                await anyio.sleep(self._config.payout_interval_s)

    async def _repeat(self, work: Callable[[], Awaitable[object]], interval_s: float) -> None:
        while True:
            await self._guarded(work)
            await anyio.sleep(interval_s)

    async def _guarded(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except Exception:
            log.exception("the zapper's round failed; the next one tries again")

    # Rounds

    async def pay_round(self) -> Plan:
        """Plan and make one round of payouts; returns when each has come to an end or to a wait.

        Raises what the accounting or the store raise.
        """
        await self._begin()
        if self.status.blocked:
            return Plan((), {})
        rows = {owed.miner: owed for owed in await self._owed.owed()}
        busy = dict.fromkeys(self._busy, "a payout is under way")
        busy |= {intent.miner: _OPEN_REASONS[intent.state] for intent in await self._store.open_intents()}
        due, payees = {}, {}
        for miner, owed in rows.items():
            due[miner] = due_msat(owed, await self._store.holds(miner))
            payee = await self._store.payee(miner)
            if payee is not None:
                payees[miner] = payee
        plan = make_plan(
            due,
            payees=payees,
            busy=busy,
            limits=self._config.limits,
            balance_msat=await self._balance(),
            now_ms=self._clock(),
        )
        self.status.why_unpaid = dict(plan.waiting)
        self.status.rounds += 1
        async with anyio.create_task_group() as tasks:
            for planned in plan.payouts:
                tasks.start_soon(self._pay_one, planned, rows[planned.miner])
        return plan

    async def _balance(self) -> int | None:
        """What the Lightning wallet can spend."""
        rail = self._rails.get("zap")
        if rail is None:
            return None
        try:
            with anyio.fail_after(self._config.fetch_timeout_s):
                return await rail.balance_msat()
        except Exception as error:  # any backend's own errors: not knowing the balance stops nothing
            log.warning("the balance of %s is not known: %s", rail.name, error)
            return None

    async def _pay_one(self, planned: Planned, owed: Owed) -> None:
        """One payee, from the plan to the payout record. Never raises."""
        if planned.miner in self._busy:
            return
        self._busy.add(planned.miner)
        try:
            async with self._slots:
                # Rounds may overlap: what is due is asked again by the only task that works for this miner.
                if due_msat(owed, await self._store.holds(planned.miner)) < planned.amount_msat:
                    return
                intent = await self._teller.send(await self._prepared(planned, owed))
            await self._conclude(intent)
        except (PaymentBlocked, HttpFailed, NipError, Conflict) as error:
            await self._failed(planned.miner, str(error))
        except Exception:
            log.exception("paying %s failed", planned.miner)
            await self._failed(planned.miner, "an error of the pool's own; its log tells more")
        finally:
            self._busy.discard(planned.miner)

    async def _failed(self, miner: str, reason: str) -> None:
        payee = after_failure(
            await self._store.payee(miner),
            miner,
            reason,
            now_ms=self._clock(),
            first_ms=self._config.backoff_first_s * 1000,
            cap_ms=self._config.backoff_cap_s * 1000,
        )
        await self._store.set_payee(payee)
        self.status.failed += 1
        self.status.why_unpaid[miner] = reason
        log.warning("%s is not paid: %s", miner, reason)

    # The steps of one payout

    async def _wishes(self, miner: str) -> list[Wish]:
        """The ways to pay this miner, best first. Raises PaymentBlocked."""
        wanted = make_filter(authors=[miner], kinds=[PROFILE, NUTZAP_INFO])
        try:
            events = await self._feed.fetch([wanted], timeout_s=self._config.fetch_timeout_s)
        except Exception as error:  # each bridge has its own; all mean that no relay answered
            raise PaymentBlocked(f"no relay could be asked for the profile ({error})") from None
        wishes = wishes_of(events, miner, order=self._config.methods, now_s=self._clock() // 1000)
        payable = [wish for wish in wishes if wish.method in self._rails]
        if not payable:
            raise PaymentBlocked(f"this pool does not pay by {', '.join(wish.method for wish in wishes)}")
        return payable

    async def _prepared(self, planned: Planned, owed: Owed) -> Intent:
        """A payout with all that sending needs, by the first way that can be prepared.

        Raises PaymentBlocked, HttpFailed, NipError, Conflict with the reasons of all.
        """
        reasons: list[str] = []
        failure: Exception | None = None
        for wish in await self._wishes(planned.miner):
            intent = await self._intend(planned, wish)
            try:
                return await self._prepare(intent, wish, owed)
            except (PaymentBlocked, HttpFailed, NipError, Conflict) as error:
                await self._teller.fail(intent, Step.REJECT, str(error))
                failure = error
                reasons.append(f"{wish.method}: {error}")
        if failure is None or len(reasons) > 1:
            raise PaymentBlocked("; ".join(reasons))
        raise failure

    async def _intend(self, planned: Planned, wish: Wish) -> Intent:
        """Set the amount aside. Raises Conflict."""
        now_ms = self._clock()
        fee_msat = planned.amount_msat * self._config.max_fee_ppm // 1_000_000
        intent = Intent(
            payout_id=self._new_id(),
            miner=planned.miner,
            amount_msat=planned.amount_msat,
            max_fee_msat=max(self._config.max_fee_floor_msat, fee_msat),
            state=State.INTENT,
            created_ms=now_ms,
            step_ms=now_ms,
            to=wish.named_by.id,
            destination=wish.destination,
            method=wish.method,
        )
        await self._store.create(intent)
        return intent

    async def _prepare(self, intent: Intent, wish: Wish, owed: Owed) -> Intent:
        """All that sending needs, stored. Raises PaymentBlocked, HttpFailed, NipError, Conflict."""
        prepared = await self._rails[wish.method].prepare(
            Order(
                payout_id=intent.payout_id,
                miner=intent.miner,
                amount_msat=intent.amount_msat,
                max_fee_msat=intent.max_fee_msat,
                destination=wish.destination,
                named_by=wish.named_by,
                line=self._line(intent, owed),
            )
        )
        return await self._store.advance(intent, Step.INVOICE, self._clock(), **asdict(prepared))

    def _line(self, intent: Intent, owed: Owed) -> str:
        """What the payee reads with the zap."""
        line = f"{self._config.pool_name}: {intent.amount_msat // 1000} sat for your mining"
        return f"{line}, statement {owed.statements[0]}" if owed.statements else line

    async def _conclude(self, intent: Intent) -> None:
        """After the money: the receipt and the record of a settled payout, the word about any other."""
        if intent.state is State.SETTLED:
            self.status.settled += 1
            self.status.why_unpaid.pop(intent.miner, None)
            await self._record(await self._recorder.with_receipt(intent))
        elif intent.state is State.FAILED:
            await self._failed(intent.miner, intent.reason)
        else:
            self.status.why_unpaid[intent.miner] = _OPEN_REASONS[intent.state]

    async def _record(self, intent: Intent) -> None:
        await self._recorder.record(intent)
        self.status.records += 1

    # What a crash, a timeout or a slow wallet left open

    async def reconcile(self) -> None:
        """Bring every payout nobody works on as far as it can be brought. Run at start and from time to time.

        Raises what the store raises.
        """
        await self._begin()
        if self.status.blocked:
            return
        await self._recorder.publish()
        slots = anyio.CapacityLimiter(self._config.concurrency)
        async with anyio.create_task_group() as tasks:
            for intent in await self._store.open_intents() + await self._store.unrecorded():
                if intent.miner not in self._busy:
                    self._busy.add(intent.miner)
                    tasks.start_soon(self._resume, intent, slots)
            for intent in await self._store.returnable(self._returning):
                if intent.miner not in self._busy:
                    self._busy.add(intent.miner)
                    tasks.start_soon(self._see_whether_kept, intent, slots)
        unknown = [intent for intent in await self._store.open_intents() if intent.state is State.UNKNOWN]
        late_ms = self._clock() - self._config.unknown_alert_s * 1000
        self.status.unknown = tuple(intent.payout_id for intent in unknown)
        self.status.alerts = tuple(intent.payout_id for intent in unknown if intent.step_ms < late_ms)
        for payout_id in self.status.alerts:
            log.error("payout %s has been unknown for too long: look into the wallet", payout_id)

    async def _resume(self, stale: Intent, slots: anyio.CapacityLimiter) -> None:
        """One payout found lying; its miner is marked busy. Never raises."""
        try:
            async with slots:
                # Between the listing and now its own task may have brought it on.
                if stale in await self._store.open_intents() + await self._store.unrecorded():
                    await self._resume_from(stale)
        except Exception:
            log.exception("payout %s cannot be brought on", stale.payout_id)
        finally:
            self._busy.discard(stale.miner)

    async def _resume_from(self, intent: Intent) -> None:
        match intent.state:
            case State.INTENT:
                # Nothing to send was stored, so nothing was sent.
                await self._teller.fail(intent, Step.REJECT, "interrupted before it was prepared")
            case State.INVOICED:
                await self._conclude(await self._teller.send(intent))
            case State.SENDING | State.UNKNOWN:
                await self._conclude(await self._teller.resolve(intent))
            case State.SETTLED:
                await self._conclude(intent)
            case State.RETURNED:
                await self._record(intent)
            case State.DUE | State.FAILED:
                pass

    async def _see_whether_kept(self, intent: Intent, slots: anyio.CapacityLimiter) -> None:
        """Money that waits to be taken: kept, waiting, or back with us. The miner is marked busy. Never raises."""
        rail = self._rails[intent.method]
        assert isinstance(rail, ReturningRail)
        try:
            async with slots:
                with anyio.fail_after(self._config.pay_timeout_s):
                    outcome = await rail.outcome(intent)
            if isinstance(outcome, Kept):
                await self._store.set_kept(intent.payout_id, self._clock())
            elif isinstance(outcome, Returned):
                log.warning("payout %s came back: nobody took it in time", intent.payout_id)
                returned = await self._store.advance(
                    intent, Step.RETURN, self._clock(), evidence=outcome.evidence, reason="nobody took it in time"
                )
                await self._record(returned)
        except Exception as error:  # mints and wallets have their own: asked again later
            log.warning("whether payout %s was taken is not known: %s", intent.payout_id, error)
        finally:
            self._busy.discard(intent.miner)

    async def _begin(self) -> None:
        """Once a start: an intent store older than our own records on the relays must not pay."""
        if self._begun:
            return
        try:
            await self._recorder.compare()
        except StoreBehind as error:
            if self.status.blocked != str(error):
                log.error("%s", error)
            self.status.blocked = str(error)
            return
        except Exception as error:  # each bridge has its own; all mean that no relay answered
            self.status.blocked = f"no relay could be asked for our own payout records ({error})"
            return
        unfinished = await self._store.open_intents()
        for rail in {id(rail): rail for rail in self._rails.values()}.values():
            await rail.begin(unfinished)
        self.status.blocked = ""
        self._begun = True
