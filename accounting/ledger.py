"""The ledger: double entry over the signed log, in integer msat. Postings are data, balances are their sums.

A debit is positive, a credit negative; every transaction sums to zero, so the books do.

    account               says
    reward:pending        rewards in statements that have not matured (debit)
    reward:matured        rewards that matured, ever (debit)
    miner:<hex>:pending   a miner's rows of the first (credit)
    miner:<hex>:owed      matured and not yet paid (credit; a debit is overpaid, as after a deep reorg)
    miner:<hex>:paid      paid by payout records, ever (credit)
    miner:<hex>:fees      network fees this miner bore, where the terms say so (credit)
    fee:pending, fee      the pool's part of the same rewards (credit)
    luck:pending, luck    rewards of blocks whose offer pays by share (credit), what such shares were paid (debit)
    treasury              network fees the pool bore (debit)
    network fees          the same, gone (credit)

A reward's state decides its postings, and a change of state posts the difference: so an orphan undoes exactly what its
statement did, at whatever depth it comes. Statements' rows are on a shelf: such a change asks for them, little else.
A reward arrives with the value its statement told, since a block's hash covers its coinbase; a statement that told it
wrong is made void, another takes its place, and what was paid too much by the first is owed less afterwards.

An offer that pays by share (pps, fpps) has statements of periods, payable at once out of the pool's luck, where the
rewards of its blocks go.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from accounting.bonuses import Bonuses, BonusSum
from accounting.shelves import MemoryShelves, Shelf, Shelves
from nips.pool.chain import Head, Link
from nips.pool.payout import Payout
from nips.pool.statement import MATURED, ORPHANED, VOID, RewardStatus, Row, Statement, Window
from nips.pool.views import Balance

PENDING = "pending"
# What is listed of a miner is the newest; everything is in the log, and in the books' tables.
MAX_OF_MINER = 50
# What the names of the ledger's shelves begin with.
SHELF = "ledger "
_NO_PROOF: dict[str, Any] = {}

# (state, status said) -> state. An orphan may come back when the chain does; what is void stays so.
REWARD_STATES: Mapping[tuple[str, str], str] = {
    (PENDING, MATURED): MATURED,
    (PENDING, ORPHANED): ORPHANED,
    (PENDING, VOID): VOID,
    (MATURED, ORPHANED): ORPHANED,
    (MATURED, VOID): VOID,
    (ORPHANED, MATURED): MATURED,
    (ORPHANED, VOID): VOID,
}


class Posting(NamedTuple):
    """An amount on an account, msat; debits positive."""

    account: str
    msat: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one event of the log did to the books: `id` is the event's, `text` says it for people."""

    id: str
    created_at: int
    text: str
    postings: tuple[Posting, ...]


class Unbalanced(Exception):
    """A statement whose rows and fee are not its gross: it can't be booked."""

    def __init__(self, statement: str, gross_msat: int, split_msat: int) -> None:
        super().__init__(statement, gross_msat, split_msat)
        self.statement = statement
        self.gross_msat = gross_msat
        self.split_msat = split_msat

    def __str__(self) -> str:
        return f"statement {self.statement} splits {self.split_msat} msat of {self.gross_msat}"


def miner_account(miner: str, part: str) -> str:
    """`miner:<hex>:<part>`, part one of pending, owed, paid, fees."""
    return f"miner:{miner}:{part}"


def reward_key(statement: Statement) -> str:
    """What no two statements that stand may share: the block, or of an offer the period."""
    return statement.reward.block or f"period to {statement.reward.found_ms} of {statement.offer}"


def first_state(statement: Statement) -> str:
    """A block's reward has to mature; a period's rows are payable at once."""
    return PENDING if statement.reward.block else MATURED


def reward_position(statement: Statement, state: str, *, by_share: bool = False) -> dict[str, int]:
    """account -> msat that a reward in that state stands for; nothing once orphaned or void. `by_share`: its offer pays
    by share, and the pool carries the luck.

    Raises Unbalanced.
    """
    split = sum(row.msat for row in statement.rows) + statement.fee_msat
    if split != statement.reward.gross_msat:
        raise Unbalanced(statement.id, statement.reward.gross_msat, split)
    if state == PENDING:
        asset, part, rest = "reward:pending", "pending", "luck:pending" if by_share else "fee:pending"
    elif state == MATURED:
        asset, part, rest = (
            "reward:matured" if statement.reward.block else "luck",
            "owed",
            "luck" if by_share else "fee",
        )
    else:
        return {}
    position = {miner_account(row.miner, part): -row.msat for row in statement.rows}
    position[asset] = statement.reward.gross_msat
    position[rest] = position.get(rest, 0) - statement.fee_msat
    return position


def difference(old: Mapping[str, int], new: Mapping[str, int]) -> tuple[Posting, ...]:
    """The postings that lead from one position to another, zeros left out, in the accounts' order."""
    moved = {account: new.get(account, 0) - old.get(account, 0) for account in {*old, *new}}
    return tuple(Posting(account, msat) for account, msat in sorted(moved.items()) if msat)


@dataclass(slots=True)
class BookedReward:
    """A statement in the books and where its reward stands: pending, matured, orphaned or void.

    Of the statement the rows and heads are left out here; `rows` is how many there are. `number` counts statements.
    `by_share`: the offer pays by share.
    """

    statement: Statement
    number: int
    rows: int = 0
    state: str = PENDING
    by_share: bool = False

    @property
    def is_block(self) -> bool:
        """Whether it is a block's, not a period's."""
        return bool(self.statement.reward.block)


@dataclass(frozen=True, slots=True)
class BookedPayout:
    """A payout record in the books, less its proof, destination and `prev`; `grade` is what the proof is worth.

    `taken_msat` left the balance: the amount, and the network fee if the miner's. `number` counts payouts.
    """

    payout: Payout
    taken_msat: int
    number: int
    grade: str = ""


class Touched(NamedTuple):
    """The rewards, payouts and sums of bonuses that changed since they were last taken, for whoever keeps a copy."""

    rewards: tuple[BookedReward, ...]
    payouts: tuple[BookedPayout, ...]
    bonuses: Mapping[str, BonusSum]


@dataclass(slots=True)
class Ledger:
    """The books as a fold of statements, statuses and payout records.

    Statements and statuses are to come in their chain's order, payouts in theirs; how the two chains interleave makes
    no difference to any balance.
    """

    accounts: dict[str, int] = field(default_factory=dict)
    # In the order their chains gave them.
    rewards: dict[str, BookedReward] = field(default_factory=dict)
    payouts: dict[str, BookedPayout] = field(default_factory=dict)
    bonuses: Bonuses = field(default_factory=Bonuses)
    shelves: Shelves = field(default_factory=MemoryShelves)
    _by_key: dict[str, str] = field(default_factory=dict)
    _applied: dict[str, dict[str, int]] = field(default_factory=dict)
    _touched: dict[str, BookedReward] = field(default_factory=dict)
    _touched_payouts: list[BookedPayout] = field(default_factory=list)
    _same: dict[Any, Any] = field(default_factory=dict)
    statements: Shelf[Statement] = field(init=False)
    _by_miner: Shelf[list[str]] = field(init=False)
    _kept_rewards: Shelf[BookedReward] = field(init=False)
    _kept_payouts: Shelf[BookedPayout] = field(init=False)

    def __post_init__(self) -> None:
        """The statements whole, by id; a miner's newest; and copies of rewards and payouts by number, for `thaw`."""
        self.statements = self.shelves.open(f"{SHELF}statements")
        self._by_miner = self.shelves.open(f"{SHELF}of miner")
        self._kept_rewards = self.shelves.open(f"{SHELF}rewards")
        self._kept_payouts = self.shelves.open(f"{SHELF}payouts")

    def thaw(self, accounts: dict[str, int], bonuses: Mapping[str, BonusSum]) -> None:
        """Take up what the shelves hold; `accounts` and `bonuses` are what stood there when they were kept."""
        self.accounts, self.bonuses = accounts, Bonuses(bonuses)
        for _, reward in self._kept_rewards.scan():
            self._enter_reward(reward)
        for _, booked in self._kept_payouts.scan():
            self._enter_payout(booked)

    def _enter_reward(self, reward: BookedReward) -> None:
        statement = reward.statement
        self.rewards[statement.id] = reward
        if reward.state != VOID:
            self._by_key[reward_key(statement)] = statement.id

    def _enter_payout(self, booked: BookedPayout) -> None:
        payout = self._slim(booked.payout)
        self.payouts[payout.payout_id] = replace(booked, payout=payout)
        self._applied.setdefault(payout.miner, {})[payout.payout_id] = booked.taken_msat

    def _keep_reward(self, reward: BookedReward) -> None:
        self._touched[reward.statement.id] = reward
        self._kept_rewards[f"{reward.number:012d}"] = reward

    def _keep_payout(self, booked: BookedPayout) -> None:
        self._kept_payouts[f"{booked.number:012d}"] = booked

    def statement_of(self, block: str) -> str | None:
        """The statement of a block's reward that is not void, by id."""
        return self._by_key.get(block)

    def rewards_of(self, miner: str) -> list[BookedReward]:
        """The newest rewards that a miner has a row in, MAX_OF_MINER at most, oldest first."""
        newest: list[str] = self._by_miner.get(miner, [])
        return [self.rewards[statement] for statement in newest]

    def miners(self) -> Iterable[str]:
        """Everybody the books know."""
        return dict.fromkeys(account.split(":")[1] for account in self.accounts if account.startswith("miner:"))

    def applied(self, miner: str) -> Mapping[str, int]:
        """payout_id -> msat that left the miner's balance by it; negative for money that came back."""
        return self._applied.get(miner, {})

    def balance(self, miner: str, as_of: Head | None) -> Balance:
        """A miner's balance; `as_of` is the accounting chain's head it goes with."""
        paid = -self._of(miner, "paid") - self._of(miner, "fees")
        return Balance(
            miner=miner,
            pending_msat=-self._of(miner, "pending"),
            earned_msat=paid - self._of(miner, "owed"),
            paid_msat=paid,
            as_of=as_of,
        )

    def book_statement(self, statement: Statement, *, by_share: bool = False) -> Transaction | None:
        """Book a split: a block's as pending, a period's as payable. None if it is booked already, or its reward has
        another statement not void. `by_share`: its offer pays by share.

        Raises Unbalanced.
        """
        if statement.id in self.rewards or reward_key(statement) in self._by_key:
            return None
        state = first_state(statement)
        position = reward_position(statement, state, by_share=by_share)
        slim = replace(statement, rows=(), window=Window(statement.window.from_ms, statement.window.work, {}))
        self.statements[statement.id] = statement
        reward = BookedReward(slim, len(self.rewards), len(statement.rows), state, by_share)
        self._enter_reward(reward)
        self._keep_reward(reward)
        for row in statement.rows:
            newest: list[str] = self._by_miner.get(row.miner, [])
            self._by_miner[row.miner] = [*newest[1 - MAX_OF_MINER :], statement.id]
        self.bonuses.move(statement.rows, pending=int(state == PENDING), matured=int(state == MATURED))
        text = f"{_named(statement)} split"
        return self._post(Transaction(statement.id, statement.created_at, text, difference({}, position)))

    def book_status(self, status: RewardStatus) -> Transaction | None:
        """Move a reward to the state said. None if the statement is not booked or can't go there from where it is."""
        reward = self.rewards.get(status.statement)
        if reward is None:
            return None
        state = REWARD_STATES.get((reward.state, status.status))
        if state is None or not (reward.is_block or state == VOID):
            return None
        whole, by_share = self.statements[status.statement], reward.by_share
        before = reward_position(whole, reward.state, by_share=by_share)
        moved = difference(before, reward_position(whole, state, by_share=by_share))
        pending, matured = ((state == part) - (reward.state == part) for part in (PENDING, MATURED))
        self.bonuses.move(whole.rows, pending=pending, matured=matured)
        reward.state = state
        self._keep_reward(reward)
        if state == VOID:
            del self._by_key[reward_key(reward.statement)]
        text = f"reward of {_named(reward.statement)} {state}"
        return self._post(Transaction(status.id, status.created_at, text, moved))

    def book_payout(self, payout: Payout, *, miner_bears_fee: bool) -> Transaction | None:
        """Take a payment off what is owed. None if its payout_id is booked already.

        A reversal has a negative amount and puts it back; a fee spent on the way stays spent.
        """
        if payout.payout_id in self.payouts:
            return None
        fee = payout.network_fee_msat
        taken = payout.amount_msat + (fee if miner_bears_fee else 0)
        position = {
            miner_account(payout.miner, "owed"): taken,
            miner_account(payout.miner, "paid"): -payout.amount_msat,
        }
        if miner_bears_fee:
            position[miner_account(payout.miner, "fees")] = -fee
        else:
            position["treasury"] = fee
            position["network fees"] = -fee
        self._enter_payout(BookedPayout(payout, taken, len(self.payouts)))
        booked = self.payouts[payout.payout_id]
        self._keep_payout(booked)
        self._touched_payouts.append(booked)
        text = f"payout {payout.payout_id} by {payout.method}"
        return self._post(Transaction(payout.id, payout.created_at, text, difference({}, position)))

    def _slim(self, payout: Payout) -> Payout:
        """What the books ask of a payout; keys that stand in many are one object."""
        same = self._same.setdefault
        return replace(
            payout,
            proof=_NO_PROOF,
            to="",
            link=Link(payout.link.seq, None),
            miner=same(payout.miner, payout.miner),
            signer=same(payout.signer, payout.signer),
            pool=same(payout.pool, payout.pool),
        )

    def grade(self, payout_id: str, grade: str) -> None:
        """Note what a booked payout's proof is worth."""
        booked = self.payouts[payout_id] = replace(self.payouts[payout_id], grade=grade)
        self._keep_payout(booked)

    def row_of(self, statement: str, miner: str) -> Row:
        """A miner's row in a booked statement. Raises KeyError if it has none."""
        for row in self.statements[statement].rows:
            if row.miner == miner:
                return row
        raise KeyError(miner)

    def dump(self) -> Iterator[str]:
        """The books as lines of JSON, the same for the same log whatever the way here: accounts, bonuses, then
        statements with their rows and state, then payouts.
        """
        for account, msat in sorted(self.accounts.items()):
            if msat:
                yield _line("account", account, msat)
        for miner, bonus in sorted(self.bonuses.sums.items()):
            yield _line("bonus", miner, *bonus)
        for statement, reward in sorted(self.rewards.items()):
            told, rows = reward.statement, self.statements[statement].rows
            split = [[row.miner, str(row.work), row.msat] for row in rows]
            yield _line("reward", statement, told.reward.to_json(), reward.state, told.fee_msat, split)
        for name, booked in sorted(self.payouts.items()):
            payout = booked.payout
            paid = [payout.amount_msat, payout.network_fee_msat, booked.taken_msat]
            yield _line("payout", name, payout.id, payout.miner, payout.method, *paid)

    def take_touched(self) -> Touched:
        """What changed since the last call."""
        rewards, payouts = tuple(self._touched.values()), tuple(self._touched_payouts)
        touched = Touched(rewards, payouts, self.bonuses.take_touched())
        self._touched, self._touched_payouts = {}, []
        return touched

    def _of(self, miner: str, part: str) -> int:
        return self.accounts.get(miner_account(miner, part), 0)

    def _post(self, transaction: Transaction) -> Transaction:
        for account, msat in transaction.postings:
            self.accounts[account] = self.accounts.get(account, 0) + msat
        return transaction


def _named(statement: Statement) -> str:
    reward = statement.reward
    return f"block {reward.block} at height {reward.height}" if reward.block else reward_key(statement)


def _line(*values: Any) -> str:
    return json.dumps(values, separators=(",", ":"))


def replay(transactions: Iterable[Transaction]) -> dict[str, int]:
    """account -> msat by the postings alone; accounts at zero are left out."""
    sums: dict[str, int] = {}
    for transaction in transactions:
        for account, msat in transaction.postings:
            sums[account] = sums.get(account, 0) + msat
    return {account: msat for account, msat in sums.items() if msat}
