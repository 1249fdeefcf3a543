"""What is due, who is paid, and when a payee that failed is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapper.plan import PlanLimits, after_failure, backoff_ms, due_msat, is_surely_unpaid, make_plan, sat_text
from zapper.ports import NotFound, Owed, Payee, Pending

MINERS = ["a" * 64, "b" * 64, "c" * 64, "d" * 64]
LIMITS = PlanLimits(minimum_msat=1000)


def plan(due: dict[str, int], **changes: object):  # type: ignore[no-untyped-def]  # a shorthand of this file
    arguments = {"payees": {}, "busy": {}, "limits": LIMITS, "balance_msat": None, "now_ms": 0, **changes}
    return make_plan(due, **arguments)  # type: ignore[arg-type]


def test_whole_satoshis_leave_and_the_rest_stays() -> None:
    assert [p.amount_msat for p in plan({MINERS[0]: 1999}).payouts] == [1000]


def test_the_minimum_is_of_what_is_due() -> None:
    limits = PlanLimits(minimum_msat=1500)
    assert plan({MINERS[0]: 1499}, limits=limits).payouts == ()
    assert [p.amount_msat for p in plan({MINERS[0]: 1500}, limits=limits).payouts] == [1000]


def test_a_minimum_below_a_satoshi_plans_no_empty_payout() -> None:
    made = plan({MINERS[0]: 999, MINERS[1]: 0, MINERS[2]: -5000}, limits=PlanLimits(minimum_msat=0))
    assert made.payouts == ()
    assert set(made.waiting) == set(MINERS[:3])
    assert made.waiting[MINERS[0]] == "at the last round 0.999 sat were due, the minimum is 1 sat"
    assert made.waiting[MINERS[2]] == "at the last round 0 sat were due, the minimum is 1 sat"


@pytest.mark.parametrize(
    ("msat", "text"),
    [(0, "0 sat"), (727, "0.727 sat"), (-5_500, "-5.5 sat"), (37_125_727, "37,125.727 sat"), (10**9, "1,000,000 sat")],
)
def test_amounts_are_told_in_sat_to_the_msat(msat: int, text: str) -> None:
    assert sat_text(msat) == text


def test_busy_and_waiting_payees_are_left_out_with_their_reason() -> None:
    payees = {MINERS[1]: Payee(MINERS[1], 1, 5000, "no route")}
    made = plan(
        {MINERS[0]: 9000, MINERS[1]: 9000, MINERS[2]: 9000}, busy={MINERS[0]: "asked"}, payees=payees, now_ms=4999
    )
    assert [p.miner for p in made.payouts] == [MINERS[2]]
    assert made.waiting == {MINERS[0]: "asked", MINERS[1]: "no route"}
    assert [p.miner for p in plan({MINERS[1]: 9000}, payees=payees, now_ms=5000).payouts] == [MINERS[1]]


def test_the_largest_goes_first_and_what_does_not_fit_is_skipped() -> None:
    due = {MINERS[0]: 5000, MINERS[1]: 9000, MINERS[2]: 2000, MINERS[3]: 5000}
    made = plan(due, limits=PlanLimits(minimum_msat=1000, per_run_msat=12_000), balance_msat=10**9)
    assert [(p.miner, p.amount_msat) for p in made.payouts] == [(MINERS[1], 9000), (MINERS[2], 2000)]
    assert [p.miner for p in plan(due, balance_msat=0).payouts] == []


def test_due_counts_each_payout_once() -> None:
    owed = Owed(MINERS[0], 10_000, {"mine": 3000, "elsewhere": 1000, "back": -500})
    assert due_msat(owed, {"mine": 3000, "newer": 2000}) == 10_000 - 3000 - 2000 - 1000 + 500
    # A ledger that takes the fee off the balance too knows more of it than our store.
    assert due_msat(Owed(MINERS[0], 10_000, {"mine": 3021}), {"mine": 3000}) == 6979


amounts = st.integers(1, 10**9)


@given(
    st.dictionaries(st.text("ab", min_size=1, max_size=4), amounts),
    st.sets(st.text("ab", min_size=1, max_size=4)),
    st.integers(0, 10**10),
)
def test_what_a_ledger_has_seen_of_our_payouts_never_changes_what_is_due(
    holds: dict[str, int], seen: set[str], earned: int
) -> None:
    """Invariant: due is the same however far the ledger lags."""
    applied = {payout_id: holds[payout_id] for payout_id in seen if payout_id in holds}
    assert due_msat(Owed(MINERS[0], earned, applied), holds) == earned - sum(holds.values())


@given(
    st.dictionaries(st.sampled_from(MINERS), st.integers(-(10**6), 10**6)),
    st.none() | st.integers(0, 10**6),
    st.none() | st.integers(0, 10**6),
)
def test_a_plan_pays_nobody_more_than_due_and_stays_within_bounds(
    due: dict[str, int], per_run: int | None, balance: int | None
) -> None:
    made = plan(due, limits=PlanLimits(1000, per_run), balance_msat=balance)
    paid = {p.miner: p.amount_msat for p in made.payouts}
    assert len(paid) == len(made.payouts)
    assert set(paid) | set(made.waiting) == set(due)
    assert set(paid) & set(made.waiting) == set()
    for miner, amount in paid.items():
        assert 0 < amount <= due[miner] < amount + 1000
        assert amount % 1000 == 0
    for bound in (per_run, balance):
        assert bound is None or sum(paid.values()) <= bound


def test_waits_double_up_to_a_cap() -> None:
    waits = [backoff_ms(n, first_ms=60_000, cap_ms=3_600_000) for n in (1, 2, 3, 7, 1000)]
    assert waits == [60_000, 120_000, 240_000, 3_600_000, 3_600_000]
    waits = {"first_ms": 10, "cap_ms": 100, "give_up_ms": 1000, "named": "e"}
    payee = after_failure(None, MINERS[0], "x", now_ms=5, **waits)
    assert payee == Payee(MINERS[0], 1, 15, "x", 5, 0, "e")
    assert after_failure(payee, MINERS[0], "y", now_ms=6, **waits) == Payee(MINERS[0], 2, 26, "y", 5, 0, "e")
    dead = after_failure(payee, MINERS[0], "z", now_ms=1005, **waits)
    assert dead == Payee(MINERS[0], 2, 1025, "z", 5, 1005, "e")
    assert after_failure(dead, MINERS[0], "z", now_ms=2000, **waits).dead_ms == 1005


def test_only_an_unseen_payment_of_a_dead_invoice_is_given_up() -> None:
    assert not is_surely_unpaid(NotFound(), expires_at=100, grace_s=10, now_s=110)
    assert is_surely_unpaid(NotFound(), expires_at=100, grace_s=10, now_s=111)
    assert not is_surely_unpaid(Pending(), expires_at=100, grace_s=10, now_s=10**9)
