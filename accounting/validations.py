"""What must hold of the books, one rule a function. They run last, after every fold, and say what is wrong.

AFTER_EACH costs as much as the transaction has postings; WHOLE goes through everything, at start and now and then.
"""

from collections.abc import Callable, Iterator

from accounting.ledger import PENDING, BookedReward, Ledger, Transaction
from nips.pool.statement import MATURED


def transaction_balances(_ledger: Ledger, transaction: Transaction) -> Iterator[str]:
    """Every transaction sums to zero: no msat comes from nowhere."""
    total = sum(posting.msat for posting in transaction.postings)
    if total:
        yield f"transaction {transaction.id} is off by {total} msat"


def pending_is_a_credit(ledger: Ledger, transaction: Transaction) -> Iterator[str]:
    """What pends is never negative: only what a statement gave is matured or reversed."""
    for account, _ in transaction.postings:
        if account.endswith(":pending"):
            held = ledger.accounts[account]
            if held < 0 if account == "reward:pending" else held > 0:
                yield f"{account} stands at {held} msat after {transaction.id}"


def books_balance(ledger: Ledger) -> Iterator[str]:
    """All accounts together are zero."""
    total = sum(ledger.accounts.values())
    if total:
        yield f"the books are off by {total} msat"


def rewards_stand_in_the_books(ledger: Ledger) -> Iterator[str]:
    """The reward accounts hold the gross of the blocks in that state, no more and no less."""
    for state, account in ((PENDING, "reward:pending"), (MATURED, "reward:matured")):
        gross = sum(_gross(reward) for reward in ledger.rewards.values() if reward.state == state and reward.is_block)
        held = ledger.accounts.get(account, 0)
        if gross != held:
            yield f"{account} holds {held} msat, its rewards are worth {gross}"


def luck_is_blocks_less_shares(ledger: Ledger) -> Iterator[str]:
    """The pool's luck holds what blocks of offers that pay by share brought, less what the shares were paid."""
    won, paid = {PENDING: 0, MATURED: 0}, 0
    for reward in ledger.rewards.values():
        if reward.is_block and reward.by_share and reward.state in won:
            won[reward.state] += reward.statement.fee_msat
        elif not reward.is_block and reward.state == MATURED:
            paid += _gross(reward) - reward.statement.fee_msat
    for account, luck in (("luck:pending", won[PENDING]), ("luck", won[MATURED] - paid)):
        held = -ledger.accounts.get(account, 0)
        if held != luck:
            yield f"{account} holds {held} msat, its blocks less its shares are {luck}"


def _gross(reward: BookedReward) -> int:
    return reward.statement.reward.gross_msat


def payouts_stand_in_the_books(ledger: Ledger) -> Iterator[str]:
    """What was taken off each miner's balance is the sum of the payout records."""
    taken: dict[str, int] = {}
    for booked in ledger.payouts.values():
        taken[booked.payout.miner] = taken.get(booked.payout.miner, 0) + booked.taken_msat
    for miner in ledger.miners():
        paid = ledger.balance(miner, None).paid_msat
        if paid != taken.get(miner, 0):
            yield f"miner {miner} was paid {paid} msat by the books, {taken.get(miner, 0)} by the records"


def nobody_is_overpaid(ledger: Ledger) -> Iterator[str]:
    """Nobody got more than matured. An orphan after the payout does this without anybody's fault: it is still said."""
    for miner in ledger.miners():
        owed = ledger.balance(miner, None).owed_msat
        if owed < 0:
            yield f"miner {miner} was paid {-owed} msat more than matured"


def bonuses_are_a_part(ledger: Ledger) -> Iterator[str]:
    """What a miner got out of fees is a part of what its rows gave it: never negative, never more than the whole."""
    for miner, bonus in ledger.bonuses.sums.items():
        whole = ledger.balance(miner, None)
        if not 0 <= bonus.pending_msat <= whole.pending_msat or not 0 <= bonus.matured_msat <= whole.earned_msat:
            told = f"{bonus.pending_msat} msat of {whole.pending_msat} and {bonus.matured_msat} of {whole.earned_msat}"
            yield f"miner {miner}: {told} are said to be bonuses"


AFTER_EACH: tuple[Callable[[Ledger, Transaction], Iterator[str]], ...] = (
    pending_is_a_credit,
    # The balance check always runs last.
    transaction_balances,
)
WHOLE: tuple[Callable[[Ledger], Iterator[str]], ...] = (
    rewards_stand_in_the_books,
    luck_is_blocks_less_shares,
    payouts_stand_in_the_books,
    nobody_is_overpaid,
    bonuses_are_a_part,
    books_balance,
)


def check_transaction(ledger: Ledger, transaction: Transaction) -> list[str]:
    """What is wrong after a transaction was posted; empty when all holds."""
    return [text for rule in AFTER_EACH for text in rule(ledger, transaction)]


def check_books(ledger: Ledger) -> list[str]:
    """What is wrong with the books as a whole; empty when all holds."""
    return [text for rule in WHOLE for text in rule(ledger)]
