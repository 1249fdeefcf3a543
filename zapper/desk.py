"""What is decided about payouts and payees: what a payout's state means for its miner, who is tried again, who waits.

Everything here is on disk or in the status when it returns; what runs side by side is the service's business.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from nips.nip19 import encode_npub
from zapper.cancelled import CancelledBatches
from zapper.config import ZapperConfig, ZapperStatus
from zapper.errors import PaymentBlocked, StoreBehind
from zapper.payer import Job
from zapper.payout import Intent, State, Step
from zapper.plan import DAY_MS, Planned, after_failure, due_msat, why_waiting
from zapper.ports import IntentStore, Owed, Payee
from zapper.rails import Kept, Rail, Returned, Waiting
from zapper.recorder import Recorder
from zapper.teller import Teller
from zapper.withdrawals import Request, check_request

log = logging.getLogger("zapper")

OPEN_REASONS = {
    State.INTENT: "a payout is under way",
    State.AWAITING: "a payment waits for the operator's signature",
    State.INVOICED: "a payout is under way",
    State.SENDING: "a payout is under way",
    State.UNKNOWN: "the outcome of a payment is not known yet; the wallet is asked about it",
}


class Desk:
    """`clock` gives Unix ms."""

    def __init__(
        self,
        config: ZapperConfig,
        *,
        store: IntentStore,
        rails: Mapping[str, Rail],
        teller: Teller,
        recorder: Recorder,
        clock: Callable[[], int],
    ) -> None:
        self._config = config
        self._store = store
        self._rails = rails
        self._teller = teller
        self._recorder = recorder
        self._clock = clock
        self._begun = False
        self._cancelled = CancelledBatches(store, rails, clock)
        # Miners that are not to be paid before it is known whether they were, and the words for it.
        self.held_back: Mapping[str, str] = {}
        self.status = ZapperStatus()

    async def begin(self) -> None:
        """Before anybody is paid: what has to be known first."""
        if not self._begun:
            await self._begin()
        if self._begun:
            self.held_back = await self._cancelled.look()

    async def _begin(self) -> None:
        """Once a start: an intent store older than our own records on the relays must not pay."""
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
        self.status.former_keys = await self._recorder.former_keys()
        for key in self.status.former_keys:
            log.warning("this zapper's key is another than before: what %s has paid counts as paid", encode_npub(key))
        unfinished = await self._store.open_intents()
        for rail in {id(rail): rail for rail in self._rails.values()}.values():
            try:
                await rail.begin(unfinished)
            except Exception as error:  # a wallet or node of its own that is away: the other rails pay all the same
                log.warning("%s did not say what it keeps for payouts: %s", rail.name, error)
        self.status.blocked = ""
        self._begun = True

    async def is_news(self, job: Job) -> bool:
        """Whether a payee that was given up has said something new since; True for all others."""
        payee = await self._store.payee(job.planned.miner)
        if payee is None or not payee.dead_ms or payee.named != job.named:
            return True
        await self._store.set_payee(self._after_failure(payee, payee.miner, payee.reason, payee.named))
        self.status.why_unpaid[payee.miner] = why_waiting(payee)
        return False

    def _after_failure(self, payee: Payee | None, miner: str, reason: str, named: str) -> Payee:
        return after_failure(
            payee,
            miner,
            reason,
            now_ms=self._clock(),
            first_ms=self._config.backoff_first_s * 1000,
            cap_ms=self._config.backoff_cap_s * 1000,
            give_up_ms=self._config.limits.give_up_days * DAY_MS,
            named=named,
        )

    async def failed(self, miner: str, reason: str, job: Job | None = None) -> None:
        before = await self._store.payee(miner)
        named = job.named if job is not None else before.named if before is not None else ""
        await self._store.set_payee(self._after_failure(before, miner, reason, named))
        self.status.failed += 1
        self.status.why_unpaid[miner] = reason
        log.warning("%s is not paid: %s", miner, reason)

    async def requested(self, requests: Sequence[Request], owed: Owed) -> Job | None:
        """The first of these requests that can be met now; the miner hears why the others can't."""
        if owed.miner in self.held_back:
            self.status.why_unpaid[owed.miner] = self.held_back[owed.miner]
            return None
        limits = self._config.limits
        due = due_msat(owed, await self._store.holds(owed.miner))
        today = await self._store.sent_since(self._clock() - DAY_MS)
        for request in requests:
            body = request.asked.body
            try:
                if body.method not in self._rails:
                    raise PaymentBlocked(f"this pool does not pay by {body.method}")
                check_request(
                    request.asked,
                    due_msat=due,
                    fee_msat=limits.max_fee_msat(body.amount_msat) if limits.fee_borne else 0,
                    minimum_msat=limits.minimum_msat,
                    onchain_msat=limits.onchain_msat,
                )
                if limits.per_day_msat is not None and today + body.amount_msat > limits.per_day_msat:
                    raise PaymentBlocked("the pool has paid out what it pays in a day")
            except PaymentBlocked as error:
                self.status.why_unpaid[owed.miner] = error.reason
                continue
            return Job(Planned(owed.miner, body.amount_msat), owed, (request.wish,))
        return None

    async def conclude(self, intent: Intent) -> None:
        """After the money: the receipt and the record of a settled payout, the word about any other."""
        if intent.state is State.SETTLED:
            self.status.settled += 1
            self.status.why_unpaid.pop(intent.miner, None)
            await self._record(await self._recorder.with_receipt(intent))
        elif intent.state is State.FAILED:
            await self.failed(intent.miner, intent.reason)
        elif intent.state in OPEN_REASONS:
            self.status.why_unpaid[intent.miner] = OPEN_REASONS[intent.state]

    async def _record(self, intent: Intent) -> None:
        await self._recorder.record(intent)
        self.status.records += 1

    async def resume(self, intent: Intent) -> None:
        match intent.state:
            case State.INTENT:
                # Nothing to send was stored, so nothing was sent.
                await self._teller.fail(intent, Step.REJECT, "interrupted before it was prepared")
            case State.AWAITING:
                await self.conclude(await self._teller.look_for_signature(intent))
            case State.INVOICED:
                await self.conclude(await self._teller.send(intent))
            case State.SENDING | State.UNKNOWN:
                await self.conclude(await self._teller.resolve(intent))
            case State.SETTLED:
                await self.conclude(intent)
            case State.RETURNED:
                await self._record(intent)
            case State.DUE | State.FAILED:
                pass

    async def came_back(self, intent: Intent, outcome: Kept | Waiting | Returned) -> None:
        """What is known of money that waited to be taken, written down."""
        if isinstance(outcome, Kept):
            await self._store.set_kept(intent.payout_id, self._clock())
        elif isinstance(outcome, Returned):
            reason = "nobody took it in time"
            log.warning("payout %s came back: %s", intent.payout_id, reason)
            returned = await self._store.advance(
                intent, Step.RETURN, self._clock(), evidence=outcome.evidence, reason=reason
            )
            await self._record(returned)

    async def look_around(self) -> None:
        """What the status shows of payouts that wait for an answer, and of payees given up."""
        under_way = await self._store.open_intents()
        unknown = [intent for intent in under_way if intent.state is State.UNKNOWN]
        late_ms = self._clock() - self._config.unknown_alert_s * 1000
        self.status.unknown = tuple(intent.payout_id for intent in unknown)
        self.status.alerts = tuple(intent.payout_id for intent in unknown if intent.step_ms < late_ms)
        for payout_id in self.status.alerts:
            log.error("payout %s has been unknown for too long: look into the wallet", payout_id)
        awaiting = [intent for intent in under_way if intent.state is State.AWAITING]
        self.status.unsigned = tuple(sorted((intent.step_ms, intent.payout_id) for intent in awaiting))
        self.status.sent_all_the_same = tuple(await self._store.sent_all_the_same())
        self.status.dead = {payee.miner: payee.reason for payee in await self._store.payees() if payee.dead_ms}
