"""Who is paid how much in this round, and when a payee that failed is tried again. Pure arithmetic in msat."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from zapper.ports import NotFound, Owed, Payee, Pending

# Wallets and providers deal in whole satoshis; the rest stays owed.
MSAT = 1000
# What is the pool's own fault is soon tried again once it is mended; every quarter of an hour asks no server too often.
OURS_CAP_MS = 900_000
# How a reason begins that no payee can do anything about: so miners read it, and so it is known after a restart.
OURS = "not the payee's doing: "
# 2^20 times the first wait is beyond every cap: larger powers would only be larger numbers.
MAX_DOUBLINGS = 20
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """The pool's published terms of paying. Amounts in msat, None for no limit.

    `per_run_msat`, `per_day_msat`: at most so much leaves in one round, in any 24 hours. `idle_days`: a balance under
    the minimum of a miner that has earned nothing for so long is paid all the same, 0 for never. `give_up_days`: a
    payee that could not be paid for so long is tried again only when it says something new. `max_fee_ppm`,
    `max_fee_floor_msat`: what a payment may cost besides, the larger of the two; `fee_borne`: out of the miner's
    balance. `onchain_msat`: the least that goes on chain.
    """

    minimum_msat: int = 1_000_000
    per_run_msat: int | None = None
    per_day_msat: int | None = None
    idle_days: int = 0
    give_up_days: int = 30
    max_fee_ppm: int = 10_000
    max_fee_floor_msat: int = 5_000
    fee_borne: bool = False
    onchain_msat: int = 0

    def max_fee_msat(self, amount_msat: int) -> int:
        """What paying this amount may cost besides."""
        return max(self.max_fee_floor_msat, amount_msat * self.max_fee_ppm // 1_000_000)

    def payable_msat(self, due_msat: int) -> int:
        """Of what is due, what can be paid in whole satoshis; a fee that the miner bears is left for it."""
        fee_msat = self.max_fee_msat(max(due_msat, 0)) if self.fee_borne else 0
        return max(due_msat - fee_msat, 0) // MSAT * MSAT

    def is_idle(self, active_ms: int | None, now_ms: int) -> bool:
        """Whether a miner that last earned then has been idle for so long that its balance is paid whatever it is."""
        return self.idle_days > 0 and active_ms is not None and now_ms - active_ms >= self.idle_days * DAY_MS


@dataclass(frozen=True, slots=True)
class Planned:
    """A payout to make: whole satoshis."""

    miner: str
    amount_msat: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The round's payouts, and for everybody else with something due the reason why not.

    `held`: why no round can be made at all now; "" for a round, even one with nothing to pay.
    """

    payouts: tuple[Planned, ...]
    waiting: Mapping[str, str]
    held: str = ""


def due_msat(owed: Owed, holds: Mapping[str, int]) -> int:
    """What may still be paid: earned, less every payout once, be it known to the ledger, to our store, or to both.

    `holds`: what our own payouts to this miner hold. A payout that both know counts with the larger amount, so a ledger
    that lags, or that reads a record of a payout we hold failed, never makes a satoshi due twice. Negative when more
    was paid than earned.
    """
    held = sum(max(amount, owed.applied.get(payout_id, 0)) for payout_id, amount in holds.items())
    others = sum(amount for payout_id, amount in owed.applied.items() if payout_id not in holds)
    return owed.earned_msat - held - others


def sat_text(msat: int) -> str:
    """An amount as people read it, to the msat: 1,234.567 sat."""
    sat, rest = divmod(abs(msat), MSAT)
    part = f".{rest:03d}".rstrip("0") if rest else ""
    return f"{'-' if msat < 0 else ''}{sat:,}{part} sat"


def below_minimum(due_msat: int, minimum_msat: int, whose: str) -> str:
    """Why a small balance is not paid. It is read until the next round, when more may be due: so it says as of when."""
    least = max(minimum_msat, MSAT)
    return f"at the last round {sat_text(max(due_msat, 0))} were due, {whose} is {sat_text(least)}"


def make_plan(
    due: Mapping[str, int],
    *,
    payees: Mapping[str, Payee],
    busy: Mapping[str, str],
    limits: PlanLimits,
    balance_msat: int | None,
    now_ms: int,
    idle: Collection[str] = (),
    sent_today_msat: int = 0,
) -> Plan:
    """The payouts of a round, largest first (ties by miner), within the limits and the wallets' balance.

    `busy`: miners with an open payout, and the words for it. `balance_msat`: None when the wallets did not say. `idle`:
    miners whose balance is paid though it is under the minimum. `sent_today_msat`: what left in the last 24 hours. A
    payout that does not fit is left out whole, smaller ones after it are not.
    """
    payouts: list[Planned] = []
    waiting: dict[str, str] = {}
    today = None if limits.per_day_msat is None else max(limits.per_day_msat - sent_today_msat, 0)
    budgets = [budget for budget in (limits.per_run_msat, today, balance_msat) if budget is not None]
    left = min(budgets) if budgets else None
    for miner, owed_msat in sorted(due.items(), key=lambda item: (-item[1], item[0])):
        amount = limits.payable_msat(owed_msat)
        payee = payees.get(miner)
        if miner in busy:
            waiting[miner] = busy[miner]
        elif amount <= 0 or (owed_msat < limits.minimum_msat and miner not in idle):
            waiting[miner] = below_minimum(owed_msat, limits.minimum_msat, "the minimum")
        elif payee is not None and now_ms < payee.not_before_ms:
            waiting[miner] = why_waiting(payee)
        elif left is not None and amount > left:
            waiting[miner] = "the pool's limits (a round's, a day's) or its treasury do not suffice"
        else:
            payouts.append(Planned(miner, amount))
            left = None if left is None else left - amount
    return Plan(tuple(payouts), waiting)


def backoff_ms(failures: int, *, first_ms: int, cap_ms: int) -> int:
    """How long to wait after so many failures in a row: doubling from `first_ms`, at most `cap_ms`."""
    return min(cap_ms, first_ms << min(max(failures - 1, 0), MAX_DOUBLINGS))


def why_waiting(payee: Payee) -> str:
    """What a miner that is not tried now is told."""
    if not payee.dead_ms:
        return payee.reason
    return f"not tried any more until you publish another way to be paid, and still owed: {payee.reason}"


def after_failure(
    payee: Payee | None,
    miner: str,
    reason: str,
    *,
    now_ms: int,
    first_ms: int,
    cap_ms: int,
    give_up_ms: int,
    named: str,
) -> Payee:
    """The payee after one more failure: a dead letter once it has failed for `give_up_ms`, if it was its own fault
    (OURS) all the time. `named`: see Payee.
    """
    failures = (payee.failures if payee is not None else 0) + 1
    if reason.startswith(OURS):
        dead_ms = payee.dead_ms if payee is not None else 0
        wait_ms = backoff_ms(failures, first_ms=first_ms, cap_ms=min(cap_ms, OURS_CAP_MS))
        return Payee(miner, failures, now_ms + wait_ms, reason, 0, dead_ms, named)
    since_ms = payee.since_ms if payee is not None and payee.failures and payee.since_ms else now_ms
    dead_ms = payee.dead_ms if payee is not None else 0
    if not dead_ms and now_ms - since_ms >= give_up_ms:
        dead_ms = now_ms
    wait_ms = backoff_ms(failures, first_ms=first_ms, cap_ms=cap_ms)
    return Payee(miner, failures, now_ms + wait_ms, reason, since_ms, dead_ms, named)


def is_surely_unpaid(answer: Pending | NotFound, *, expires_at: int, grace_s: int, now_s: int) -> bool:
    """Whether a payment the backend does not know can be given up: only after its invoice ran out, and some grace.

    Before, an order to pay may still be on its way to the backend; after, no payee takes it.
    """
    return isinstance(answer, NotFound) and now_s > expires_at + grace_s
