"""What an audit keeps of rewards and payouts: which statement stands, what was paid, and whether it was owed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from accounting.findings import Code, Finding, finding
from accounting.ledger import PENDING, REWARD_STATES, first_state
from accounting.shelves import END, MemoryShelves, Shelf, Shelves
from nips.pool.payout import Payout
from nips.pool.statement import MATURED, VOID, RewardStatus, Statement

# Accounting and zapper date by their own clocks, and a clock may be set back: paid so little early accuses nobody.
CLOCKS_APART_S = 600


@dataclass(slots=True)
class Reward:
    """A statement and the state of its reward."""

    statement: Statement
    state: str = PENDING


@dataclass(frozen=True, slots=True)
class Paid:
    """A payout and what it takes off the balance (the network fee too, where the miner bears it); nothing if another
    one has its name.
    """

    payout: Payout
    taken_msat: int
    counts: bool = True

    @property
    def fee_msat(self) -> int:
        """The network fee that the miner bore."""
        return self.taken_msat - self.payout.amount_msat if self.counts else 0


class Books:
    """Rewards by statement id and payouts by event id, with the sums of what miners have."""

    def __init__(self, shelves: Shelves | None = None) -> None:
        shelves = shelves or MemoryShelves()
        self.rewards: Shelf[Reward] = shelves.open("rewards")
        self.payouts: Shelf[Paid] = shelves.open("payouts")
        # Payout event id -> what its proof is worth; how many there are of each grade.
        self.grades: Shelf[str] = shelves.open("grades")
        # By method, then by grade.
        self.graded: dict[str, dict[str, int]] = {}
        # What miners have in rewards of each state, and what left their balance; network fees that miners bore.
        self.rows: dict[str, dict[str, int]] = {PENDING: {}, MATURED: {}}
        self.paid: dict[str, int] = {}
        self.fees_borne_msat = 0
        self.payout_count = 0
        self._served: Shelf[str] = shelves.open("served")
        self._by_block: Shelf[list[str]] = shelves.open("statements of blocks")
        # What matured and what was paid, by `<miner>/<second>/<0 or 1>/<event>`.
        self._moves: Shelf[tuple[int, str]] = shelves.open("moves")
        # By payout_id the first payment of that name; reversals by event id.
        self._sent: Shelf[tuple[str, int]] = shelves.open("sent")
        self._reversals: Shelf[str] = shelves.open("reversals")

    def standing(self, reward: str) -> Reward | None:
        """The statement of a reward that is not void; `reward` is its key: the block, or an offer's period."""
        for statement in self._by_block.get(reward, []):
            if self.rewards[statement].state != VOID:
                return self.rewards[statement]
        return None

    def add_statement(self, statement: Statement) -> Iterator[Finding]:
        """Enter a statement; one reward has one statement that stands."""
        key = statement.reward_key
        other = self.standing(key)
        if other is not None:
            text = f"{'block ' if statement.reward.block else ''}{key} is split by two statements"
            yield finding(Code.REWARD_TWICE, text, other.statement.id, statement.id)
        state = first_state(statement)
        self.rewards[statement.id] = Reward(statement, state)
        self._by_block[key] = [*self._by_block.get(key, []), statement.id]
        self._add_rows(statement, state, 1)
        for row in statement.rows if state == MATURED else ():
            # A period's rows are payable at once.
            known = statement.created_at - CLOCKS_APART_S
            self._moves[_move_key(row.miner, known, 0, statement.id)] = (row.msat, "")

    def add_status(self, status: RewardStatus) -> Iterator[Finding]:
        """Enter a status of a statement that is in the books."""
        reward = self.rewards[status.statement]
        old, new = reward.state, REWARD_STATES.get((reward.state, status.status))
        if new is None or (new != VOID and not reward.statement.reward.block):
            text = f"a reward that is {reward.state} is said to be {status.status}"
            yield finding(Code.STATUS_ORDER, text, status.statement, status.id)
            return
        reward.state = new
        self.rewards[status.statement] = reward
        self._add_rows(reward.statement, old, -1)
        self._add_rows(reward.statement, new, 1)
        sign = (new == MATURED) - (old == MATURED)
        # Only the first time: else a reward that goes to and fro would count twice in between.
        known = status.created_at - CLOCKS_APART_S if old == PENDING else status.created_at
        for row in reward.statement.rows if sign else ():
            self._moves[_move_key(row.miner, known, 0, status.id)] = (sign * row.msat, "")

    def _add_rows(self, statement: Statement, state: str, sign: int) -> None:
        rows = self.rows.get(state)
        for row in statement.rows if rows is not None else ():
            assert rows is not None
            rows[row.miner] = rows.get(row.miner, 0) + sign * row.msat
            if not rows[row.miner]:
                del rows[row.miner]

    def add_payout(self, payout: Payout, serves: tuple[str, ...], *, miner_bears_fee: bool) -> Iterator[Finding]:
        """Enter a payout; `serves` names its payment. Neither its own name nor a payment may serve twice; what has a
        name that served takes nothing off a balance, and is in no ledger.
        """
        for name in (f"payout {payout.payout_id}", *serves):
            other = self._served.setdefault(name, payout.id)
            if other != payout.id:
                text = f"{name} serves two payouts"
                yield finding(Code.PAYOUT_TWICE, text, *sorted((other, payout.id)), miner=payout.miner)
        self.payout_count += 1
        taken = payout.amount_msat + (payout.network_fee_msat if miner_bears_fee else 0)
        name = f"payout {payout.payout_id}"
        first = self._served[name]
        if first != payout.id:
            known = self.payouts[first]
            if _told(known.payout) < _told(payout):
                self.payouts[payout.id] = Paid(payout, 0, counts=False)
                return
            # Another key's, which was read first and told later.
            self._count(known, -1)
            self.payouts[first] = Paid(known.payout, 0, counts=False)
            self._served[name] = payout.id
        self.payouts[payout.id] = Paid(payout, taken)
        self._count(self.payouts[payout.id], 1)

    def _count(self, paid: Paid, sign: int) -> None:
        """Take a payout off its miner's balance, or undo that."""
        payout = paid.payout
        self.fees_borne_msat += sign * paid.fee_msat
        self.paid[payout.miner] = self.paid.get(payout.miner, 0) + sign * paid.taken_msat
        move = _move_key(payout.miner, payout.created_at, 1, payout.id)
        if sign < 0:
            del self._moves[move]
            self._sent.pop(payout.payout_id, None)
            self._reversals.pop(payout.id, None)
            return
        self._moves[move] = (-paid.taken_msat, payout.id)
        if payout.reverses is None:
            self._sent[payout.payout_id] = (payout.miner, payout.amount_msat)
        else:
            self._reversals[payout.id] = payout.reverses

    def grade(self, payout: str, method: str, grade: str) -> None:
        """Say what a payout's proof is worth, by event id."""
        counts = self.graded.setdefault(method, {})
        old = self.grades.get(payout)
        if old is not None:
            counts[old] -= 1
            if not counts[old]:
                del counts[old]
        self.grades[payout] = grade
        counts[grade] = counts.get(grade, 0) + 1

    def grade_counts(self) -> dict[str, int]:
        """How many payouts have each grade, of all methods."""
        counts: dict[str, int] = {}
        for of_method in self.graded.values():
            for grade, count in of_method.items():
                counts[grade] = counts.get(grade, 0) + count
        return counts

    def matured_msat(self) -> Mapping[str, int]:
        """miner -> msat of matured rows, as the books stand."""
        return self.rows[MATURED]

    def pending_msat(self) -> Mapping[str, int]:
        """miner -> msat of rows that wait for maturity."""
        return self.rows[PENDING]

    def paid_msat(self) -> Mapping[str, int]:
        """miner -> msat that left the balance."""
        return self.paid

    def overpaid(self, miners: Iterable[str] | None = None) -> Iterator[Finding]:
        """No miner's payouts may pass what had matured by then; the whole log must have been read. Of all, or some.

        Both chains are dated in seconds: within one, what matured comes first, and up to `CLOCKS_APART_S` later.
        """
        ranges = [("", END)] if miners is None else [(f"{miner}/", f"{miner}0") for miner in sorted(miners)]
        for start, end in ranges:
            owed, of = 0, ""
            for (miner, _, _), moves in groupby(self._moves.scan(start, end), key=_moment):
                owed, of = (owed if miner == of else 0), miner
                # Of one second's payouts the largest come first: the smallest are the ones too many.
                for msat, event in sorted(move for _, move in moves):
                    owed += msat
                    # What an orphan took back after the payout is not the payout's fault.
                    if event and msat < 0 and owed < 0:
                        text = f"{miner} was paid {-msat} msat, {-owed} more than was owed"
                        yield finding(Code.OVERPAID, text, event, miner=miner)

    def wrong_reversals(self) -> Iterator[Finding]:
        """Money that came back must have gone out: to the same miner, and no more than that."""
        back: dict[str, int] = {}
        for event, name in self._reversals.scan():
            payout = self.payouts[event].payout
            back[name] = back.get(name, 0) - payout.amount_msat
            miner, amount_msat = self._sent.get(name, ("", 0))
            if miner != payout.miner or back[name] > amount_msat:
                text = f"{-payout.amount_msat} msat are said to come back of payout {name}"
                yield finding(Code.PAYOUT_REVERSAL, text, event, miner=payout.miner)


def _told(payout: Payout) -> tuple[int, int, str]:
    """Of two records of one name the one with the lower is the first."""
    return payout.created_at, payout.link.seq, payout.signer


def _move_key(miner: str, second: int, order: int, event: str) -> str:
    # Clocks apart may lead before 1970, which sorts as text only if it is no negative number.
    return f"{miner}/{max(second, 0):016d}/{order}/{event}"


def _moment(item: tuple[str, tuple[int, str]]) -> tuple[str, str, str]:
    miner, second, order, _ = item[0].split("/")
    return miner, second, order
