"""The zapper at work: rounds of payouts, withdrawals, the questions about unknown payments, and what becomes of each.

Every step is on disk before the act it names. Payees are paid side by side, a bounded number at a time; nothing of one
payee's failure reaches another's payout.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
from anyio.abc import TaskStatus

from nips.keys import Signer
from zapper.config import ZapperConfig
from zapper.desk import OPEN_REASONS, Desk
from zapper.inquiry import Inquiry
from zapper.payer import Job, NotPrepared, NotYet, Payer, told
from zapper.payout import Intent
from zapper.plan import DAY_MS, OURS, Plan, Planned, due_msat, make_plan
from zapper.ports import EventFeed, IntentStore, MinersRelays, Owed, OwedSource
from zapper.rails import Rail, ReturningRail
from zapper.recorder import Recorder
from zapper.request_reader import RequestReader
from zapper.teller import Teller
from zapper.timetable import Timetable
from zapper.withdrawals import Request, open_requests

log = logging.getLogger("zapper")

NOT_WHOLE = "the log is not read whole yet: payouts could be missing in it"
OUR_ERROR = f"{OURS}an error of the pool's own; its log tells more"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _random_id() -> str:
    return os.urandom(16).hex()


class Zapper:
    """Pays what is owed, exactly once. `rails`: by 4215's word for the method; `miners_relays`: None asks the pool's
    alone; `clock` gives Unix ms, `new_id` a payout id never given before.
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
        miners_relays: MinersRelays | None = None,
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
        self._clock = clock
        self._teller = Teller(config, store=store, rails=rails, clock=clock, deadline=anyio.fail_after)
        self._payer = Payer(
            config,
            store=store,
            rails=rails,
            teller=self._teller,
            inquiry=Inquiry(feed, miners_relays, fetch_timeout_s=config.fetch_timeout_s, clock=clock),
            clock=clock,
            new_id=new_id,
            one_at_a_time=anyio.Lock(),
        )
        self._requests = RequestReader(feed, signer.pubkey, fetch_timeout_s=config.fetch_timeout_s, clock=clock)
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
        self._desk = Desk(config, store=store, rails=rails, teller=self._teller, recorder=self._recorder, clock=clock)
        self.status = self._desk.status
        self._timetable = Timetable(
            config, store=store, status=self.status, make_round=self._round, clock=clock, sleep=anyio.sleep
        )
        # Miners some task is working for right now: nobody else touches their payouts.
        self._busy: set[str] = set()
        self._beginning = anyio.Lock()
        self._tidying = anyio.Lock()
        # Whether what an earlier run left open was looked at once.
        self._tidied = False
        self._slots = anyio.CapacityLimiter(config.concurrency)
        self._returning = [method for method, rail in rails.items() if isinstance(rail, ReturningRail)]

    def why_unpaid(self, miner: str) -> str | None:
        """Why a miner with something due was not paid when last looked at; None when nothing stands against it."""
        return self.status.blocked or self.status.why_unpaid.get(miner)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled. Nothing that payees, relays or the backend do ends it."""
        task_status.started()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._repeat, self._tidy, self._config.reconcile_interval_s)
            tasks.start_soon(self._repeat, self.serve_requests, self._config.reconcile_interval_s)
            await self._timetable.run(tasks.start_soon)

    async def _round(self) -> bool:
        """Whether a round was made: not one that had to be held. Raises what `pay_round` raises."""
        if not self._tidied:
            # Who was being paid when the pool was killed would be left out as still under way.
            await self._guarded(self._tidy)
        # What miners ask for by themselves goes first: after the round nothing would be due.
        await self._guarded(self.serve_requests)
        self.status.held = (await self.pay_round()).held
        return not self.status.held

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

    async def plan(self) -> Plan:
        """What a round would pay now, and whom it would not pay for which reason. Pays nothing.

        Raises what the accounting or the store raise.
        """
        return (await self._planned())[0]

    async def _planned(self) -> tuple[Plan, dict[str, Owed], frozenset[str]]:
        found = await self._owed.owed()
        if found is None:
            return Plan((), {}, NOT_WHOLE), {}, frozenset()
        rows = {owed.miner: owed for owed in found}
        now_ms = self._clock()
        idle = frozenset(miner for miner, owed in rows.items() if self._config.limits.is_idle(owed.active_ms, now_ms))
        busy = {**self._desk.held_back, **dict.fromkeys(self._busy, "a payout is under way")}
        busy |= {intent.miner: OPEN_REASONS[intent.state] for intent in await self._store.open_intents()}
        due = {miner: due_msat(owed, await self._store.holds(miner)) for miner, owed in rows.items()}
        plan = make_plan(
            due,
            payees={payee.miner: payee for payee in await self._store.payees()},
            busy=busy,
            limits=self._config.limits,
            balance_msat=await self._teller.balance_msat(),
            now_ms=now_ms,
            idle=idle,
            sent_today_msat=await self._store.sent_since(now_ms - DAY_MS),
        )
        return plan, rows, idle

    async def pay_round(self) -> Plan:
        """Plan and make one round of payouts; returns when each has come to an end or to a wait.

        Raises what the accounting or the store raise.
        """
        await self._begin()
        if self.status.blocked:
            return Plan((), {}, self.status.blocked)
        plan, rows, idle = await self._planned()
        if plan.held:
            return plan
        self.status.why_unpaid = dict(plan.waiting)
        self.status.rounds += 1
        batch: list[Job] = []
        undecided = len(plan.payouts)
        decided = anyio.Event()
        if not undecided:
            return plan

        def count(job: Job | None) -> None:
            nonlocal undecided
            undecided -= 1
            if job is not None:
                batch.append(job)
            if not undecided:
                decided.set()

        async with anyio.create_task_group() as tasks:
            for planned in plan.payouts:
                tasks.start_soon(self._pay_one, planned, rows[planned.miner], planned.miner in idle, count)
            await decided.wait()
            await self._pay_together(batch)
        return plan

    async def _begin(self) -> None:
        # One at a time: a rail that begins must not let go of what another task has just prepared.
        async with self._beginning:
            await self._desk.begin()

    async def _pay_one(self, planned: Planned, owed: Owed, idle: bool, count: Callable[[Job | None], None]) -> None:
        """One payee, from the plan to the payout record; `count` hears of jobs that go in a batch. Never raises."""
        if planned.miner in self._busy:
            count(None)
            return
        self._busy.add(planned.miner)
        job: Job | None = None
        counted = False
        try:
            async with self._slots:
                # Rounds may overlap: what is due is asked again by the only task that works for this miner.
                if due_msat(owed, await self._store.holds(planned.miner)) < planned.amount_msat:
                    return
                job = await self._payer.job(planned, owed, idle=idle)
                if not await self._desk.is_news(job):
                    return
                if self._payer.is_batched(job):
                    counted = True
                    count(job)
                    return
                counted = True
                count(None)
                intent = await self._payer.pay(job)
            await self._desk.conclude(intent)
        except NotYet as error:
            self.status.why_unpaid[planned.miner] = str(error)
        except NotPrepared as error:
            await self._desk.failed(planned.miner, told(error), job)
        except Exception:
            log.exception("paying %s failed", planned.miner)
            await self._desk.failed(planned.miner, OUR_ERROR, job)
        finally:
            if not counted:
                count(None)
            self._busy.discard(planned.miner)

    async def _pay_together(self, jobs: list[Job]) -> None:
        """The payouts of a round that go in one batch. Never raises."""
        jobs = [job for job in jobs if job.planned.miner not in self._busy]
        if not jobs:
            return
        miners = {job.planned.miner for job in jobs}
        self._busy |= miners
        try:
            due = [
                job
                for job in jobs
                if due_msat(job.owed, await self._store.holds(job.planned.miner)) >= job.planned.amount_msat
            ]
            if due:
                for intent in await self._payer.pay_together(due):
                    await self._desk.conclude(intent)
        except NotYet as error:
            self.status.why_unpaid |= dict.fromkeys(miners, str(error))
        except NotPrepared as error:
            for job in jobs:
                await self._desk.failed(job.planned.miner, told(error), job)
        except Exception:
            log.exception("paying %d miners together failed", len(jobs))
            for job in jobs:
                await self._desk.failed(job.planned.miner, OUR_ERROR, job)
        finally:
            self._busy -= miners

    # Withdrawals

    async def serve_requests(self) -> None:
        """Meet the miners' open withdrawal requests (4217), the oldest of each first; those on chain in one batch.

        Raises what the accounting or the store raise.
        """
        await self._begin()
        if self.status.blocked:
            return
        now_s = self._clock() // 1000
        events = await self._requests.read_if_it_can(self._unpaid)
        served = await self._store.served()
        found = open_requests(events, pool=self._config.pool, zapper=self._signer.pubkey, served=served, now_s=now_s)
        if not found:
            return
        rows = {owed.miner: owed for owed in await self._owed.owed() or ()}
        batch: list[Job] = []
        async with anyio.create_task_group() as tasks:
            for miner, requests in found.items():
                if miner in rows:
                    tasks.start_soon(self._serve, requests, rows[miner], batch)
        await self._pay_together(batch)

    async def _unpaid(self) -> list[str]:
        """Who may have something due, by the ledger alone."""
        rows = await self._owed.owed() or ()
        return [owed.miner for owed in rows if owed.earned_msat > sum(owed.applied.values())]

    async def _serve(self, requests: list[Request], owed: Owed, batch: list[Job]) -> None:
        """One miner's requests: the first that can be met, by itself or in the batch. Never raises."""
        miner = owed.miner
        if miner in self._busy:
            return
        self._busy.add(miner)
        job: Job | None = None
        try:
            async with self._slots:
                payee = await self._store.payee(miner)
                if payee is not None and self._clock() < payee.not_before_ms:
                    # What failed a moment ago waits; another way than that is tried at once.
                    requests = [request for request in requests if request.asked.id not in payee.named.split()]
                if any(intent.miner == miner for intent in await self._store.open_intents()):
                    return
                job = await self._desk.requested(requests, owed)
                if job is None:
                    return
                if self._payer.is_batched(job):
                    batch.append(job)
                    return
                intent = await self._payer.pay(job)
            await self._desk.conclude(intent)
        except NotYet as error:
            self.status.why_unpaid[miner] = str(error)
        except NotPrepared as error:
            await self._desk.failed(miner, told(error), job)
        except Exception:
            log.exception("a withdrawal of %s failed", miner)
            await self._desk.failed(miner, OUR_ERROR, job)
        finally:
            self._busy.discard(miner)

    # What a crash, a timeout or a slow wallet left open

    async def _tidy(self) -> None:
        async with self._tidying:
            await self.reconcile()
            self._tidied = not self.status.blocked

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
            waiting: dict[str, list[Intent]] = {}
            for intent in await self._store.returnable(self._returning):
                waiting.setdefault(intent.miner, []).append(intent)
            for miner, intents in waiting.items():
                if miner not in self._busy:
                    self._busy.add(miner)
                    tasks.start_soon(self._see_what_is_kept, miner, intents, slots)
        await self._desk.look_around()

    async def _resume(self, stale: Intent, slots: anyio.CapacityLimiter) -> None:
        """One payout found lying; its miner is marked busy. Never raises."""
        try:
            async with slots:
                # Between the listing and now its own task may have brought it on.
                if stale in await self._store.open_intents() + await self._store.unrecorded():
                    await self._desk.resume(stale)
        except Exception:
            log.exception("payout %s cannot be brought on", stale.payout_id)
        finally:
            self._busy.discard(stale.miner)

    async def _see_what_is_kept(self, miner: str, intents: Sequence[Intent], slots: anyio.CapacityLimiter) -> None:
        """A miner's money that waits to be taken, oldest first; the miner is marked busy. Never raises."""
        try:
            async with slots:
                for intent in intents:
                    await self._see_whether_kept(intent)
        finally:
            self._busy.discard(miner)

    async def _see_whether_kept(self, intent: Intent) -> None:
        """Kept, waiting, or back with us."""
        rail = self._rails[intent.method]
        assert isinstance(rail, ReturningRail)
        try:
            with anyio.fail_after(self._config.pay_timeout_s):
                outcome = await rail.outcome(intent)
            await self._desk.came_back(intent, outcome)
        except Exception as error:  # mints and wallets have their own: asked again later
            log.warning("whether payout %s was taken is not known: %s", intent.payout_id, error)
