"""Double entry: whatever comes, in whatever interleaving, the books sum to zero and balances follow the events."""

from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.bonuses import BonusSum
from accounting.ledger import MAX_OF_MINER, PENDING, Ledger, Unbalanced, replay
from accounting.validations import check_books, check_transaction
from tests.accounting.bookings import MINERS, figures, payout, period, statement, status


def test_a_reward_goes_from_pending_to_owed_to_paid():
    ledger, split = Ledger(), statement(1, [60, 39], 1)
    assert ledger.book_statement(split) is not None
    assert figures(ledger, MINERS[0]) == (60, 0, 0, 0)
    ledger.book_status(status(split, "matured"))
    assert figures(ledger, MINERS[0]) == (0, 60, 0, 60)
    ledger.book_payout(payout("one", MINERS[0], 50), miner_bears_fee=False)
    assert figures(ledger, MINERS[0]) == (0, 60, 50, 10)
    assert ledger.accounts["fee"] == -1
    assert check_books(ledger) == []


def test_a_network_fee_is_the_miners_or_the_pools_as_the_terms_say():
    ledger = Ledger()
    ledger.book_payout(payout("one", MINERS[0], 50, fee=3), miner_bears_fee=True)
    ledger.book_payout(payout("two", MINERS[1], 50, fee=3), miner_bears_fee=False)
    assert ledger.applied(MINERS[0]) == {"one": 53}
    assert figures(ledger, MINERS[0]) == (0, 0, 53, -53)
    assert ledger.applied(MINERS[1]) == {"two": 50}
    assert ledger.accounts["treasury"] == 3
    assert sum(ledger.accounts.values()) == 0


@pytest.mark.parametrize("path", [["orphaned"], ["void"], ["matured", "orphaned"], ["matured", "void"]])
def test_what_is_orphaned_or_void_leaves_nothing(path):
    ledger, split = Ledger(), statement(1, [60, 39], 1)
    ledger.book_statement(split)
    for said in path:
        assert ledger.book_status(status(split, said)) is not None
    assert set(ledger.accounts.values()) == {0}
    assert check_books(ledger) == []


def test_an_orphan_that_comes_back_matures():
    ledger, split = Ledger(), statement(1, [60, 39], 1)
    ledger.book_statement(split)
    ledger.book_status(status(split, "orphaned"))
    ledger.book_status(status(split, "matured"))
    assert figures(ledger, MINERS[1]) == (0, 39, 0, 39)


def test_nothing_is_booked_twice():
    ledger, split = Ledger(), statement(1, [60], 0)
    ledger.book_statement(split)
    assert ledger.book_statement(split) is None
    assert ledger.book_statement(statement(2, [60], 0, block=1)) is None, "a second statement of one reward"
    assert ledger.book_status(status(split, "matured")) is not None
    assert ledger.book_status(status(split, "matured")) is None
    assert ledger.book_payout(payout("one", MINERS[0], 5), miner_bears_fee=False) is not None
    assert ledger.book_payout(payout("one", MINERS[0], 7), miner_bears_fee=False) is None
    assert figures(ledger, MINERS[0]) == (0, 60, 5, 55)


def test_void_gives_the_reward_free_for_another_statement():
    ledger, split = Ledger(), statement(1, [60], 0)
    ledger.book_statement(split)
    assert ledger.book_status(status(split, "void")) is not None
    assert ledger.book_status(status(split, "matured")) is None
    again = statement(2, [59], 1, block=1)
    assert ledger.book_statement(again) is not None
    assert ledger.statement_of(again.reward.block) == again.id


def test_a_split_that_is_not_its_gross_is_refused_whole():
    ledger = Ledger()
    with pytest.raises(Unbalanced):
        ledger.book_statement(statement(1, [60, 39], 1, gross=101))
    assert ledger.accounts == {}
    assert ledger.statement_of(f"{1:064x}") is None


def test_a_correction_after_a_payout_is_owed_less():
    """The first statement told more than the block's coinbase has, and its rows were paid before that was seen."""
    ledger, wrong = Ledger(), statement(1, [100], 0)
    ledger.book_statement(wrong)
    ledger.book_status(status(wrong, "matured"))
    ledger.book_payout(payout("one", MINERS[0], 100), miner_bears_fee=False)
    ledger.book_status(status(wrong, "void"))
    assert figures(ledger, MINERS[0]) == (0, 0, 100, -100)
    right = statement(2, [90], 0, block=1)
    ledger.book_statement(right)
    ledger.book_status(status(right, "matured"))
    assert figures(ledger, MINERS[0]) == (0, 90, 100, -10)
    assert ledger.accounts["reward:matured"] == 90
    later = statement(3, [30], 0)
    ledger.book_statement(later)
    ledger.book_status(status(later, "matured"))
    assert figures(ledger, MINERS[0]) == (0, 120, 100, 20)
    assert check_books(ledger) == []


def test_two_blocks_at_one_height_are_two_rewards():
    ledger, ours, theirs = Ledger(), statement(1, [60], 1), statement(2, [0, 60], 1)
    assert ours.reward.height == theirs.reward.height
    for split in (ours, theirs):
        ledger.book_statement(split)
    assert ledger.accounts["reward:pending"] == 122
    ledger.book_status(status(theirs, "orphaned"))
    ledger.book_status(status(ours, "matured"))
    assert ledger.balance(MINERS[0], None).owed_msat == 60
    assert ledger.balance(MINERS[1], None).pending_msat == 0
    assert ledger.accounts["reward:pending"] == 0
    assert check_books(ledger) == []


def test_an_offer_that_pays_by_share_pays_out_of_the_pools_luck():
    ledger, shares, block = Ledger(), period(1, [60, 39]), statement(1, [], 500)
    ledger.book_statement(shares, by_share=True)
    assert figures(ledger, MINERS[0]) == (0, 60, 0, 60), "payable at once"
    assert ledger.accounts["luck"] == 99
    assert ledger.book_status(status(shares, "orphaned")) is None, "no block, no orphan"
    ledger.book_statement(block, by_share=True)
    assert ledger.accounts["luck:pending"] == -500
    ledger.book_status(status(block, "matured"))
    assert (ledger.accounts["luck:pending"], ledger.accounts["luck"]) == (0, -401)
    assert "fee" not in ledger.accounts
    assert check_books(ledger) == []
    assert ledger.book_statement(period(2, [5]), by_share=True) is not None
    assert ledger.book_statement(replace(period(2, [7]), id="ab" * 32), by_share=True) is None, "the same period"
    assert ledger.book_status(status(shares, "void")) is not None
    assert ledger.accounts["luck"] == -495
    assert ledger.book_statement(replace(shares, id="ac" * 32), by_share=True) is not None
    assert check_books(ledger) == []


def test_the_books_thawed_are_the_books_that_were_kept():
    ledger, shares, block = Ledger(), period(1, [60, 39]), statement(1, [9], 500, bonuses=[4])
    for split in (shares, block):
        ledger.book_statement(split, by_share=split is shares)
    ledger.book_payout(payout("one", MINERS[0], 50), miner_bears_fee=False)
    thawed = Ledger(shelves=deepcopy(ledger.shelves))
    thawed.thaw(dict(ledger.accounts), dict(ledger.bonuses.sums))
    assert list(thawed.dump()) == list(ledger.dump())
    for each in (ledger, thawed):
        assert each.book_statement(replace(shares, id="ab" * 32)) is None
        assert each.book_status(status(shares, "void")) is not None
        assert all("more than matured" in text for text in check_books(each))
    assert list(thawed.dump()) == list(ledger.dump())


def added_up(ledger: Ledger) -> dict[str, BonusSum]:
    """The bonuses of all statements' rows, by the state that each one's reward is in."""
    sums: dict[str, list[int]] = {}
    for name, reward in ledger.rewards.items():
        if reward.state in (PENDING, "matured"):
            for row in ledger.statements[name].rows:
                sums.setdefault(row.miner, [0, 0])[reward.state != PENDING] += row.bonus_msat
    return {miner: BonusSum(*both) for miner, both in sums.items() if any(both)}


def test_a_bonus_goes_with_its_reward_and_is_summed_up_whole():
    ledger = Ledger()
    # More statements than are listed of a miner.
    splits = [statement(number, [60, 39], 1, bonuses=[7, 0]) for number in range(1, 2 * MAX_OF_MINER)]
    for split in splits:
        ledger.book_statement(split)
    assert ledger.bonuses.sums == {MINERS[0]: (7 * len(splits), 0)}
    for split in splits:
        ledger.book_status(status(split, "matured"))
    assert ledger.bonuses.sums == {MINERS[0]: (0, 7 * len(splits))}
    ledger.take_touched()
    ledger.book_status(status(splits[0], "orphaned"))
    assert ledger.take_touched().bonuses == {MINERS[0]: (0, 7 * len(splits) - 7)}
    ledger.book_status(status(splits[0], "matured"))
    for split in splits:
        ledger.book_status(status(split, "void"))
    assert ledger.bonuses.sums == {}
    assert ledger.take_touched().bonuses == {MINERS[0]: (0, 0)}
    assert ledger.take_touched().bonuses == {}


SPLITS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 10**15), min_size=0, max_size=4),
        st.integers(0, 10**12),
        st.lists(st.sampled_from(["matured", "orphaned", "void"]), max_size=3),
    ),
    max_size=6,
)
PAYOUTS = st.lists(
    st.tuples(st.sampled_from(MINERS), st.integers(-1000, 10**9).filter(bool), st.integers(0, 100), st.booleans()),
    max_size=6,
)


@settings(max_examples=150)
@given(SPLITS, PAYOUTS, st.randoms(use_true_random=False))
def test_sats_are_conserved_and_the_interleaving_of_chains_changes_nothing(splits, payouts, randomness):
    """The accounting chain in its order, the payouts in theirs; merged at random they give the same books."""
    accounting = []
    for number, (rows, fee, said) in enumerate(splits):
        by_share = bool(number % 3)
        bonuses = [msat // (number + 1) for msat in rows]
        split = period(number, rows) if number % 3 == 1 else statement(number + 1, rows, fee, bonuses=bonuses)
        accounting.append(
            lambda ledger, split=split, by_share=by_share: ledger.book_statement(split, by_share=by_share)
        )
        accounting += [lambda ledger, split=split, word=word: ledger.book_status(status(split, word)) for word in said]
    paying = [
        lambda ledger, n=n, p=p: ledger.book_payout(payout(str(n), p[0], p[1], p[2]), miner_bears_fee=p[3])
        for n, p in enumerate(payouts)
    ]

    def run(order):
        ledger, posted = Ledger(), []
        for act in order:
            transaction = act(ledger)
            if transaction is not None:
                posted.append(transaction)
                assert check_transaction(ledger, transaction) == []
        return ledger, posted

    straight, posted = run([*accounting, *paying])
    left, right, merged = accounting[:], paying[:], []
    while left or right:
        merged.append((left if not right or (left and randomness.random() < 0.5) else right).pop(0))
    mixed, _ = run(merged)
    assert mixed.accounts == straight.accounts
    assert sum(straight.accounts.values()) == 0
    assert replay(posted) == {account: msat for account, msat in straight.accounts.items() if msat}
    assert [text for text in check_books(straight) if "more than matured" not in text] == []
    live = [reward for reward in straight.rewards.values() if reward.state in ("pending", "matured")]
    gross = sum(reward.statement.reward.gross_msat for reward in live if reward.is_block)
    held = sum(straight.accounts.get(name, 0) for name in ("reward:pending", "reward:matured"))
    assert held == gross
    assert all(reward.is_block for reward in straight.rewards.values() if reward.state == PENDING)
    assert straight.bonuses.sums == added_up(straight)
    assert list(mixed.dump()) == list(straight.dump())
