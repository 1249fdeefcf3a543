"""Who is paid how much in this round, and when a payee that failed is tried again. Pure arithmetic in msat."""

from collections.abc import Mapping
from dataclasses import dataclass

from zapper.ports import NotFound, Owed, Payee, Pending

# Wallets and providers deal in whole satoshis; the rest stays owed.
MSAT = 1000
# 2^20 times the first wait is beyond every cap: larger powers would only be larger numbers.
MAX_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """The pool's published terms of paying. `per_run_msat`: at most so much leaves in one round, None for no limit."""

    minimum_msat: int = 1_000_000
    per_run_msat: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A payout to make: whole satoshis."""

    miner: str
    amount_msat: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The round's payouts, and for everybody else with something due the reason why not."""

    payouts: tuple[Planned, ...]
    waiting: Mapping[str, str]


def due_msat(owed: Owed, holds: Mapping[str, int]) -> int:
    """What may still be paid: earned, less every payout once, be it known to the ledger, to our store, or to both.

    `holds`: what our own payouts to this miner hold. A payout that both know counts with the larger amount, so a ledger
    that lags, or that reads a record of a payout we hold failed, never makes a satoshi due twice. Negative when more
    was paid than earned.
    """
    held = sum(max(amount, owed.applied.get(payout_id, 0)) for payout_id, amount in holds.items())
    others = sum(amount for payout_id, amount in owed.applied.items() if payout_id not in holds)
    return owed.earned_msat - held - others


def make_plan(
    due: Mapping[str, int],
    *,
    payees: Mapping[str, Payee],
    busy: Mapping[str, str],
    limits: PlanLimits,
    balance_msat: int | None,
    now_ms: int,
) -> Plan:
    """The payouts of a round, largest first (ties by miner), within the round's limit and the wallet's balance.

    `busy`: miners with an open payout, and the words for it. `balance_msat`: None when the wallet did not say. A
    payout that does not fit is left out whole, smaller ones after it are not.
    """
    payouts: list[Planned] = []
    waiting: dict[str, str] = {}
    budgets = [budget for budget in (limits.per_run_msat, balance_msat) if budget is not None]
    left = min(budgets) if budgets else None
    for miner, owed_msat in sorted(due.items(), key=lambda item: (-item[1], item[0])):
        amount = owed_msat // MSAT * MSAT
        payee = payees.get(miner)
        if miner in busy:
            waiting[miner] = busy[miner]
        elif amount <= 0 or owed_msat < limits.minimum_msat:
            waiting[miner] = f"{max(owed_msat, 0)} msat are due, the minimum is {limits.minimum_msat}"
        elif payee is not None and now_ms < payee.not_before_ms:
            waiting[miner] = payee.reason
        elif left is not None and amount > left:
            waiting[miner] = "the round's limit or the treasury does not suffice"
        else:
            payouts.append(Planned(miner, amount))
            left = None if left is None else left - amount
    return Plan(tuple(payouts), waiting)


def backoff_ms(failures: int, *, first_ms: int, cap_ms: int) -> int:
    """How long to wait after so many failures in a row: doubling from `first_ms`, at most `cap_ms`."""
    return min(cap_ms, first_ms << min(max(failures - 1, 0), MAX_DOUBLINGS))


def after_failure(payee: Payee | None, miner: str, reason: str, *, now_ms: int, first_ms: int, cap_ms: int) -> Payee:
    """The payee after one more failure."""
    failures = (payee.failures if payee is not None else 0) + 1
    return Payee(miner, failures, now_ms + backoff_ms(failures, first_ms=first_ms, cap_ms=cap_ms), reason)


def is_surely_unpaid(answer: Pending | NotFound, *, expires_at: int, grace_s: int, now_s: int) -> bool:
    """Whether a payment the backend does not know can be given up: only after its invoice ran out, and some grace.

    Before, an order to pay may still be on its way to the backend; after, no payee takes it.
    """
    return isinstance(answer, NotFound) and now_s > expires_at + grace_s
