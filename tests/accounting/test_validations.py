"""Each rule finds what it is for, good books break none, and nothing that is moved about in them goes unseen."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import validations
from accounting.bonuses import BonusSum
from accounting.ledger import Ledger, Posting, Transaction
from accounting.validations import (
    AFTER_EACH,
    WHOLE,
    bonuses_are_a_part,
    books_balance,
    check_books,
    check_transaction,
    luck_is_blocks_less_shares,
    nobody_is_overpaid,
    payouts_stand_in_the_books,
    pending_is_a_credit,
    rewards_stand_in_the_books,
    transaction_balances,
)
from tests.accounting.bookings import MINERS, payout, period, statement, status


def good_books() -> Ledger:
    """A block that pends, one that matured, one of an offer that pays by share, a period; a payout and one back."""
    ledger = Ledger()
    ledger.book_statement(statement(1, [60, 39], 1, bonuses=[3]))
    ledger.book_statement(statement(2, [70, 20], 10, bonuses=[0, 20]))
    ledger.book_status(status(statement(2, [70, 20], 10), "matured"))
    ledger.book_statement(statement(3, [], 500), by_share=True)
    ledger.book_status(status(statement(3, [], 500), "matured"))
    ledger.book_statement(statement(4, [], 50), by_share=True)
    ledger.book_statement(period(1, [60, 39]), by_share=True)
    ledger.book_payout(payout("one", MINERS[0], 50, fee=2), miner_bears_fee=True)
    ledger.book_payout(payout("two", MINERS[1], 9), miner_bears_fee=False)
    ledger.book_payout(payout("back", MINERS[1], -4), miner_bears_fee=False)
    return ledger


def posted(*postings: tuple[str, int]) -> Transaction:
    return Transaction("x", 1, "", tuple(Posting(*each) for each in postings))


def test_good_books_break_no_rule() -> None:
    assert check_books(good_books()) == []
    assert check_books(Ledger()) == []
    assert check_transaction(good_books(), posted(("fee", -1), ("reward:matured", 1))) == []


def test_the_balance_checks_run_last() -> None:
    assert AFTER_EACH[-1] is transaction_balances
    assert WHOLE[-1] is books_balance


def test_every_rule_is_among_those_that_run() -> None:
    rules = {
        found
        for name, found in vars(validations).items()
        if callable(found) and getattr(found, "__module__", "") == validations.__name__
        and not name.startswith(("_", "check_"))
    }  # fmt: skip
    assert rules == {*AFTER_EACH, *WHOLE}
    assert all(rule.__doc__ for rule in rules), "a rule says its invariant"


def test_a_transaction_that_is_off() -> None:
    assert [*transaction_balances(Ledger(), posted(("fee", 3), ("luck", -3)))] == []
    (said,) = transaction_balances(Ledger(), posted(("fee", 3), ("luck", -2)))
    assert said == "transaction x is off by 1 msat"


@pytest.mark.parametrize(
    ("account", "held", "wrong"),
    [
        ("reward:pending", 1, False),
        ("reward:pending", 0, False),
        ("reward:pending", -1, True),
        (f"miner:{MINERS[0]}:pending", -1, False),
        (f"miner:{MINERS[0]}:pending", 1, True),
        ("luck:pending", 1, True),
        (f"miner:{MINERS[0]}:owed", 1, False),
    ],
)
def test_pending_on_the_wrong_side(account: str, held: int, wrong: bool) -> None:
    ledger = Ledger(accounts={account: held})
    found = [*pending_is_a_credit(ledger, posted((account, 5)))]
    assert bool(found) is wrong
    assert [*pending_is_a_credit(ledger, posted(("fee", 5)))] == [], "only what was posted to is looked at"


def test_books_that_are_off() -> None:
    ledger = good_books()
    ledger.accounts["fee"] += 7
    assert [*books_balance(ledger)] == ["the books are off by 7 msat"]


Rule = Callable[[Ledger], object]


@pytest.mark.parametrize(
    ("account", "rule"),
    [
        ("reward:pending", rewards_stand_in_the_books),
        ("reward:matured", rewards_stand_in_the_books),
        ("luck", luck_is_blocks_less_shares),
        ("luck:pending", luck_is_blocks_less_shares),
        (f"miner:{MINERS[0]}:paid", payouts_stand_in_the_books),
        (f"miner:{MINERS[1]}:paid", payouts_stand_in_the_books),
    ],
)
@pytest.mark.parametrize("msat", [1, -1, 10**12])
def test_what_is_moved_from_an_account_that_others_bear_out_is_found(account: str, rule: Rule, msat: int) -> None:
    """The books still sum to zero: the fee's account takes it."""
    ledger = good_books()
    ledger.accounts[account] = ledger.accounts.get(account, 0) + msat
    ledger.accounts["fee"] = ledger.accounts.get("fee", 0) - msat
    found = check_books(ledger)
    assert [*books_balance(ledger)] == []
    assert found
    assert [*rule(ledger)], found  # type: ignore[call-overload] - a rule gives its sentences


def test_a_payout_that_was_booked_for_another() -> None:
    ledger = good_books()
    for miner, msat in ((MINERS[0], 1), (MINERS[1], -1)):
        ledger.accounts[f"miner:{miner}:paid"] += msat
    assert len([*payouts_stand_in_the_books(ledger)]) == 2


def test_who_was_paid_more_than_matured() -> None:
    ledger = Ledger()
    ledger.book_payout(payout("one", MINERS[0], 5), miner_bears_fee=False)
    assert [*nobody_is_overpaid(ledger)] == [f"miner {MINERS[0]} was paid 5 msat more than matured"]
    assert check_books(ledger) == [*nobody_is_overpaid(ledger)], "the books themselves are in order"


def test_an_orphan_after_its_payout_is_said_and_no_fault_of_the_books() -> None:
    ledger, split = Ledger(), statement(1, [60, 39], 1)
    ledger.book_statement(split)
    ledger.book_status(status(split, "matured"))
    ledger.book_payout(payout("one", MINERS[0], 60), miner_bears_fee=False)
    assert check_books(ledger) == []
    ledger.book_status(status(split, "orphaned"))
    assert check_books(ledger) == [f"miner {MINERS[0]} was paid 60 msat more than matured"]


@pytest.mark.parametrize(("pending", "matured"), [(61, 0), (-1, 0), (3, 131), (3, -1)])
def test_a_bonus_beyond_what_its_rows_gave(pending: int, matured: int) -> None:
    ledger = good_books()
    ledger.bonuses.sums[MINERS[0]] = BonusSum(pending, matured)
    (text,) = bonuses_are_a_part(ledger)
    assert MINERS[0] in text


def test_a_reward_in_a_state_that_its_accounts_do_not_have() -> None:
    ledger = good_books()
    other = good_books()
    other.book_status(status(statement(1, [60, 39], 1), "matured"))
    ledger.accounts = dict(other.accounts)
    found = [*rewards_stand_in_the_books(ledger)]
    assert {text.partition(" ")[0] for text in found} == {"reward:pending", "reward:matured"}


ACCOUNTS = sorted(good_books().accounts)


@given(st.sampled_from(ACCOUNTS), st.integers(-(10**15), 10**15).filter(bool))
def test_no_msat_comes_or_goes_unseen(account: str, msat: int) -> None:
    ledger = good_books()
    ledger.accounts[account] += msat
    assert any(f"off by {msat} msat" in text for text in check_books(ledger))
