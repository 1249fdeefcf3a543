"""What an operator asks of the payouts: plan, run, show, retry, resolve. Plain values in and out, for the socket."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from nips.errors import InvalidKey
from nips.nip19 import encode_npub, parse_pubkey
from noncestr.errors import NoncestrError
from noncestr.payouts.ecash_desk import EcashDesk
from zapper.adapters.intent_store import SqliteIntentStore
from zapper.config import UNKNOWN_GRACE_S, ZapperStatus
from zapper.errors import ZapperError
from zapper.evidence import UNRESOLVED, check_never_paid, check_open, check_preimage
from zapper.payout import Intent, State, Step
from zapper.plan import Plan
from zapper.ports import Payee

SERVICES = ("payouts_plan", "payouts_run", "payouts_show", "payouts_retry", "payouts_resolve")
_ECASH = ("nutzap", "cashu")


class Rounds(Protocol):
    """The zapper, as far as this goes."""

    status: ZapperStatus

    async def plan(self) -> Plan: ...
    async def pay_round(self) -> Plan: ...
    async def reconcile(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PayoutDesk:
    """`zapper` is None on the folder of a pool that does not run: then nothing is planned and nothing is paid."""

    store: SqliteIntentStore
    now_ms: Callable[[], int]
    zapper: Rounds | None = None
    grace_s: int = UNKNOWN_GRACE_S
    ecash: EcashDesk | None = None

    def services(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """By name, as the socket serves them."""
        return {name: getattr(self, name.removeprefix("payouts_")) for name in SERVICES}

    def _zapper(self) -> Rounds:
        if self.zapper is None:
            raise NoncestrError("the pool does not run: only it reads the log, and so knows what is owed")
        return self.zapper

    async def plan(self) -> dict[str, Any]:
        """What a round would do now. Pays nothing."""
        zapper = self._zapper()
        return _plain(await zapper.plan(), zapper.status)

    async def run(self) -> dict[str, Any]:
        """A round at once, besides the schedule's; what it set out to do."""
        zapper = self._zapper()
        plan = await zapper.pay_round()
        return _plain(plan, zapper.status)

    async def show(self, which: str, limit: int) -> dict[str, Any]:
        """Payouts, newest first, and payees that can't be paid; `which`: a payout's id or its beginning, an npub or key
        in hex, or "" for all.
        """
        miner = _miner(which)
        found = await self.store.newest(limit, miner=miner, payout="" if miner else which)
        if which and miner is None and not found:
            raise NoncestrError(f"there is no payout and no miner {which!r}")
        payees = [payee for payee in await self.store.payees() if miner in (None, payee.miner)]
        return {
            "payouts": [_row(intent) for intent in found],
            "payees": [] if which and miner is None else [asdict(payee) for payee in payees],
            "rounds": await self._when(),
        }

    async def _when(self) -> dict[str, Any]:
        if self.zapper is not None:
            return _rounds(self.zapper.status)
        done = await self.store.last_round()
        return _rounds(ZapperStatus(last_round_ms=None if done is None else done.ended_ms))

    async def retry(self, which: str) -> dict[str, Any]:
        """Have a miner tried again in the next round, whatever went before; "" for every miner."""
        miner = _miner(which)
        if which and miner is None:
            raise NoncestrError(f"{which!r} is no npub")
        payees = [payee for payee in await self.store.payees() if miner in (None, payee.miner)]
        for payee in payees:
            await self.store.set_payee(replace(Payee(payee.miner, 0, 0, ""), named=payee.named))
        return {"retried": [payee.miner for payee in payees]}

    async def resolve(self, payout_id: str, preimage: str, never_paid: str) -> dict[str, Any]:
        """End a payout whose outcome is unknown by what the operator brings: its preimage, or, once its invoice can't
        be paid any more, the word (with its reason) that it never was. Of ecash the mint is asked, and the word counts
        once nobody can have it. `said` in the answer: what the mint said.
        """
        intent = await self.store.get(payout_id)
        if intent is None:
            raise NoncestrError(f"there is no payout {payout_id!r}: give its whole id")
        if intent.method in _ECASH:
            return await self._resolve_ecash(intent, preimage, never_paid)
        if not preimage and not never_paid:
            raise NoncestrError("give one of --preimage and --never-paid")
        now_ms = self.now_ms()
        try:
            if preimage:
                proof = check_preimage(intent, preimage)
                changes: dict[str, Any] = {"preimage": proof, "reason": ""}
                after = await self.store.advance(intent, Step.PAID, now_ms, **changes)
            else:
                check_never_paid(intent, grace_s=self.grace_s, now_s=now_ms // 1000)
                if intent.state.value == "sending":
                    intent = await self.store.advance(intent, Step.UNCLEAR, now_ms)
                reason = f"the operator says it was never paid: {never_paid}"
                after = await self.store.advance(intent, Step.REFUSED, now_ms, reason=reason)
        except ZapperError as error:
            raise NoncestrError(str(error)) from error
        if self.zapper is not None:
            # The record of what is settled is signed and published by the one who always does.
            await self.zapper.reconcile()
        return _row(after)

    async def _resolve_ecash(self, intent: Intent, preimage: str, never_paid: str) -> dict[str, Any]:
        if preimage or self.ecash is None:
            raise NoncestrError("ecash has no preimage: its mint is asked" if preimage else "no treasury is at hand")
        try:
            check_open(intent)
            reason = f"given up by the operator: {never_paid}" if never_paid else ""
            said = await self.ecash.ask(intent, reason)
            if self.zapper is not None:
                # Handing over what the mint has signed, and the record, are the business of the one who always does.
                await self.zapper.reconcile()
            after = await self.store.get(intent.payout_id)
            if reason and after is not None and after.state in UNRESOLVED:
                if after.state is State.SENDING:
                    after = await self.store.advance(after, Step.UNCLEAR, self.now_ms())
                after = await self.store.advance(after, Step.REFUSED, self.now_ms(), reason=reason)
        except ZapperError as error:
            raise NoncestrError(str(error)) from error
        assert after is not None  # payouts are never deleted
        return {**_row(after), "said": said}


def served(desk: Callable[[], PayoutDesk | None]) -> Mapping[str, Callable[..., Awaitable[Any]]]:
    """The services of a desk that is not there yet, or never will be: without a wallet nothing is paid."""

    def named(name: str) -> Callable[..., Awaitable[Any]]:
        async def serve(*args: Any) -> Any:
            found = desk()
            if found is None:
                raise NoncestrError("nobody is paid by this pool (or not yet): [payouts] names the wallet")
            return await found.services()[name](*args)

        return serve

    return {name: named(name) for name in SERVICES}


def _miner(which: str) -> str | None:
    if not which:
        return None
    try:
        return parse_pubkey(which)
    except InvalidKey:
        return None


def _row(intent: Intent) -> dict[str, Any]:
    """What an operator may paste anywhere. The payload of ecash stays here: a mint restores from it (NUT-09), and a
    token without a lock is whoever's that does. So does a PSBT: `payouts psbt show` writes down that it was seen.
    """
    hidden = intent.method in _ECASH or intent.state in (State.AWAITING, State.FAILED)
    payload = None if hidden else intent.payload
    return {**asdict(intent), "state": intent.state.value, "payload": payload}


def _rounds(status: ZapperStatus) -> dict[str, Any]:
    """In Unix ms, when the last round ended and when the next one is; `undone`: the moment of one not made yet."""
    return {
        "last": status.last_round_ms,
        "next": status.next_round_ms,
        "undone": status.undone_ms,
        "held": status.held,
    }


def _plain(plan: Plan, status: ZapperStatus) -> dict[str, Any]:
    return {
        "blocked": status.blocked or plan.held,
        "rounds": _rounds(status),
        "payouts": [[planned.miner, planned.amount_msat] for planned in plan.payouts],
        "waiting": {miner: status.why_unpaid.get(miner, reason) for miner, reason in plan.waiting.items()},
        "unpaid": dict(status.why_unpaid),
        "unknown": list(status.unknown),
        "former_keys": [encode_npub(key) for key in status.former_keys],
        "unsigned": len(status.unsigned),
    }
