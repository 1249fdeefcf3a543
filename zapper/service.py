"""The zapper at work: rounds of payouts, the questions about unknown ones, and the chain of payout records.

Every step is on disk before the act it names. Payees are paid side by side, a bounded number at a time; nothing of one
payee's failure reaches another's payout.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
from anyio.abc import TaskStatus

from nips.errors import NipError
from nips.keys import Signer
from nips.lnurl import PayParams
from nips.nip01 import VerifiedEvent, make_filter
from nips.nip57 import ZAP_RECEIPT
from nips.pool.kinds import PAYOUT
from zapper.config import ZapperConfig, ZapperStatus
from zapper.errors import Conflict, HttpFailed, PaymentBlocked, StoreBehind
from zapper.lnurlpay import ask_for_invoice, fetch_invoice, pay_params
from zapper.payout import Intent, State, Step
from zapper.plan import Plan, Planned, after_failure, due_msat, make_plan
from zapper.ports import (
    EventFeed,
    Http,
    IntentStore,
    LightningBackend,
    Owed,
    OwedSource,
)
from zapper.profile import PROFILE, Destination, destination_of, newest_profile
from zapper.record import check_chain, is_receipt, payout_record
from zapper.teller import Teller

log = logging.getLogger("zapper")

# The chain of payout records, by its name in the protocol.
CHAIN = "payouts"
# A relay may hand out a receipt dated a little before our clock's time of the request.
RECEIPT_SKEW_S = 600
# How many of our newest records are compared with the store: what one query to any relay brings.
COMPARED_RECORDS = 500

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
    """Pays what is owed, exactly once. `clock` gives Unix ms, `new_id` a payout id never given before."""

    def __init__(
        self,
        config: ZapperConfig,
        *,
        signer: Signer,
        owed: OwedSource,
        store: IntentStore,
        backend: LightningBackend,
        feed: EventFeed,
        http: Http,
        clock: Callable[[], int] = _now_ms,
        new_id: Callable[[], str] = _random_id,
    ) -> None:
        if not config.relays:
            raise ValueError("zap receipts need a relay to go to")
        self._config = config
        self._signer = signer
        self._owed = owed
        self._store = store
        self._backend = backend
        self._feed = feed
        self._http = http
        self._clock = clock
        self._new_id = new_id
        self._teller = Teller(config, store=store, backend=backend, clock=clock, deadline=anyio.fail_after)
        self.status = ZapperStatus()
        # Miners some task is working for right now: nobody else touches their payouts.
        self._busy: set[str] = set()
        self._slots = anyio.CapacityLimiter(config.concurrency)
        self._chain = anyio.Lock()
        self._compared = False

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
        await self._compare_chain()
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
        try:
            with anyio.fail_after(self._config.fetch_timeout_s):
                return await self._backend.balance_msat()
        except Exception as error:  # any backend's own errors: not knowing the balance stops nothing
            log.warning("the balance of %s is not known: %s", self._backend.name, error)
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
                destination = destination_of(
                    await self._profile(planned.miner), allow_http_loopback=self._config.allow_http_loopback
                )
                params = await pay_params(
                    self._http,
                    destination,
                    planned.amount_msat,
                    allow_http_loopback=self._config.allow_http_loopback,
                )
                intent = await self._intend(planned, destination)
                intent = await self._invoice(intent, destination, params, owed)
                intent = await self._teller.send(intent)
            await self._conclude(intent, wait_s=self._config.receipt_wait_s)
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

    async def _profile(self, miner: str) -> VerifiedEvent | None:
        try:
            events = await self._feed.fetch(
                [make_filter(authors=[miner], kinds=[PROFILE])], timeout_s=self._config.fetch_timeout_s
            )
        except Exception as error:  # each bridge has its own; all mean that no relay answered
            raise PaymentBlocked(f"no relay could be asked for the profile ({error})") from None
        return newest_profile(events, miner, now_s=self._clock() // 1000)

    async def _intend(self, planned: Planned, destination: Destination) -> Intent:
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
            to=destination.to,
            destination=destination.text,
            provider=None,
        )
        await self._store.create(intent)
        return intent

    async def _invoice(self, intent: Intent, destination: Destination, params: PayParams, owed: Owed) -> Intent:
        """Ask for the invoice and store it; with none worth paying, what was set aside is due again.

        Raises HttpFailed, NipError, Conflict.
        """
        asked = ask_for_invoice(
            params,
            destination,
            miner=intent.miner,
            amount_msat=intent.amount_msat,
            relays=self._config.relays,
            content=self._line(intent, owed),
            signer=self._signer,
            now_s=self._clock() // 1000,
        )
        try:
            invoice = await fetch_invoice(
                self._http,
                asked,
                amount_msat=intent.amount_msat,
                network=self._config.pool.network,
                now_s=self._clock() // 1000,
            )
            return await self._store.advance(
                intent,
                Step.INVOICE,
                self._clock(),
                provider=params.nostr_pubkey,
                zap_request=asked.zap_request,
                invoice=invoice.text,
                payment_hash=invoice.payment_hash,
                expires_at=invoice.expires_at,
            )
        except (HttpFailed, NipError, Conflict) as error:
            await self._store.advance(intent, Step.REJECT, self._clock(), reason=str(error))
            raise

    def _line(self, intent: Intent, owed: Owed) -> str:
        """What the payee reads with the zap."""
        line = f"{self._config.pool_name}: {intent.amount_msat // 1000} sat for your mining"
        return f"{line}, statement {owed.statements[0]}" if owed.statements else line

    async def _conclude(self, intent: Intent, *, wait_s: float) -> None:
        """After the money: the receipt and the record of a settled payout, the word about any other."""
        if intent.state is State.SETTLED:
            self.status.settled += 1
            self.status.why_unpaid.pop(intent.miner, None)
            await self._record(await self._with_receipt(intent, wait_s))
        elif intent.state is State.FAILED:
            await self._failed(intent.miner, intent.reason)
        else:
            self.status.why_unpaid[intent.miner] = _OPEN_REASONS[intent.state]

    # Receipts and records

    async def _with_receipt(self, intent: Intent, wait_s: float) -> Intent:
        """The payout with its zap receipt's id, if one comes in time: the record does not depend on it."""
        if intent.zap_request is None or intent.provider is None or intent.receipt is not None:
            return intent
        wanted = make_filter(
            authors=[intent.provider],
            kinds=[ZAP_RECEIPT],
            tags={"p": [intent.miner]},
            since=max(0, intent.created_ms // 1000 - RECEIPT_SKEW_S),
        )
        receipt: str | None = None
        try:
            with anyio.move_on_after(wait_s):
                async with self._feed.subscribe([wanted], name=f"receipt-{intent.payout_id[:16]}") as events:
                    async for item in events:
                        event = getattr(item, "event", None)
                        if isinstance(event, VerifiedEvent) and is_receipt(event, intent):
                            receipt = event.id
                            break
        except Exception as error:  # relays come and go: the payment is made all the same
            log.warning("no receipt of payout %s: %s", intent.payout_id, error)
        if receipt is None:
            return intent
        await self._store.set_receipt(intent.payout_id, receipt)
        return replace(intent, receipt=receipt)

    async def _record(self, intent: Intent) -> None:
        """Sign and store the payout record as the chain's next, then hand over what the relays have not got."""
        async with self._chain:
            head = await self._store.chain_head()
            seq, unsigned = payout_record(self._config.pool, intent, head, now_s=self._clock() // 1000)
            await self._store.append_record(intent.payout_id, seq, self._signer.sign(unsigned))
            self.status.records += 1
            await self._publish()

    async def _publish(self) -> None:
        """Hand over the records not yet handed over, in order. The chain is locked."""
        for event in await self._store.unpublished():
            try:
                await self._feed.publish(event, chain=CHAIN)
            except Exception as error:  # the bridge's own: the next reconciliation tries again
                log.warning("payout record %s is not published yet: %s", event.id, error)
                return
            await self._store.mark_published(event.id)

    # What a crash, a timeout or a slow wallet left open

    async def reconcile(self) -> None:
        """Bring every payout nobody works on as far as it can be brought. Run at start and from time to time.

        Raises what the store raises.
        """
        await self._compare_chain()
        if self.status.blocked:
            return
        async with self._chain:
            await self._publish()
        slots = anyio.CapacityLimiter(self._config.concurrency)
        async with anyio.create_task_group() as tasks:
            for intent in await self._store.open_intents() + await self._store.unrecorded():
                if intent.miner not in self._busy:
                    self._busy.add(intent.miner)
                    tasks.start_soon(self._resume, intent, slots)
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
                # No invoice was stored, so none was paid.
                await self._store.advance(intent, Step.REJECT, self._clock(), reason="interrupted before its invoice")
            case State.INVOICED:
                await self._conclude(await self._teller.send(intent), wait_s=self._config.receipt_wait_s)
            case State.SENDING | State.UNKNOWN:
                await self._conclude(await self._teller.resolve(intent), wait_s=self._config.receipt_wait_s)
            case State.SETTLED:
                await self._conclude(intent, wait_s=self._config.receipt_wait_s)
            case State.DUE | State.FAILED:
                pass

    async def _compare_chain(self) -> None:
        """Once a start: an intent store older than our own records on the relays must not pay."""
        if self._compared:
            return
        tags = {"a": [str(self._config.pool)]}
        wanted = make_filter(authors=[self._signer.pubkey], kinds=[PAYOUT], tags=tags, limit=COMPARED_RECORDS)
        try:
            events = await self._feed.fetch([wanted], timeout_s=self._config.fetch_timeout_s)
        except Exception as error:  # each bridge has its own; all mean that no relay answered
            self.status.blocked = f"no relay could be asked for our own payout records ({error})"
            return
        head = await self._store.chain_head()
        try:
            check_chain(events, head)
        except StoreBehind as error:
            if self.status.blocked != str(error):
                log.error("%s", error)
            self.status.blocked = str(error)
            return
        self.status.blocked = ""
        self._compared = True
