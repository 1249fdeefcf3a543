"""What an audit keeps of rewards and payouts: which statement stands, what was paid, and whether it was owed."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from accounting.findings import Code, Finding, finding
from accounting.ledger import PENDING, REWARD_STATES
from nips.pool.payout import Payout
from nips.pool.statement import MATURED, VOID, RewardStatus, Statement

# Accounting and zapper date by their own clocks, and a clock may be set back: paid so little early accuses nobody.
CLOCKS_APART_S = 600


@dataclass(slots=True)
class Reward:
    """A statement, the state of its reward, and what its statuses did: (created_at, from state, to state)."""

    statement: Statement
    state: str = PENDING
    moves: list[tuple[int, str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Paid:
    """A payout and what it takes off the balance (the network fee too, where the miner bears it)."""

    payout: Payout
    taken_msat: int

    @property
    def fee_msat(self) -> int:
        """The network fee that the miner bore."""
        return self.taken_msat - self.payout.amount_msat


@dataclass(slots=True)
class Books:
    """Rewards by statement id and payouts by event id, in the order their chains gave them."""

    rewards: dict[str, Reward] = field(default_factory=dict)
    payouts: dict[str, Paid] = field(default_factory=dict)
    # Payout event id -> what its proof is worth.
    grades: dict[str, str] = field(default_factory=dict)
    _served: dict[str, str] = field(default_factory=dict)
    _by_block: dict[str, list[str]] = field(default_factory=dict)

    def standing(self, block: str) -> Reward | None:
        """The reward statement of a block that is not void."""
        for statement in self._by_block.get(block, ()):
            if self.rewards[statement].state != VOID:
                return self.rewards[statement]
        return None

    def add_statement(self, statement: Statement) -> Iterator[Finding]:
        """Enter a statement; one reward has one statement that stands."""
        other = self.standing(statement.reward.block)
        if other is not None:
            text = f"block {statement.reward.block} is split by two statements"
            yield finding(Code.REWARD_TWICE, text, other.statement.id, statement.id)
        self.rewards[statement.id] = Reward(statement)
        self._by_block.setdefault(statement.reward.block, []).append(statement.id)

    def add_status(self, status: RewardStatus) -> Iterator[Finding]:
        """Enter a status of a statement that is in the books."""
        reward = self.rewards[status.statement]
        state = REWARD_STATES.get((reward.state, status.status))
        if state is None:
            text = f"a reward that is {reward.state} is said to be {status.status}"
            yield finding(Code.STATUS_ORDER, text, status.statement, status.id)
            return
        reward.moves.append((status.created_at, reward.state, state))
        reward.state = state

    def add_payout(self, payout: Payout, serves: tuple[str, ...], *, miner_bears_fee: bool) -> Iterator[Finding]:
        """Enter a payout; `serves` names its payment. Neither its own name nor a payment may serve twice."""
        for name in (f"payout {payout.payout_id}", *serves):
            other = self._served.setdefault(name, payout.id)
            if other != payout.id:
                text = f"{name} serves two payouts"
                yield finding(Code.PAYOUT_TWICE, text, *sorted((other, payout.id)), miner=payout.miner)
        taken = payout.amount_msat + (payout.network_fee_msat if miner_bears_fee else 0)
        self.payouts[payout.id] = Paid(payout, taken)

    def matured_msat(self) -> dict[str, int]:
        """miner -> msat of matured rows, as the books stand."""
        return self._rows(MATURED)

    def pending_msat(self) -> dict[str, int]:
        """miner -> msat of rows that wait for maturity."""
        return self._rows(PENDING)

    def paid_msat(self) -> dict[str, int]:
        """miner -> msat that left the balance."""
        sums: dict[str, int] = {}
        for paid in self.payouts.values():
            sums[paid.payout.miner] = sums.get(paid.payout.miner, 0) + paid.taken_msat
        return sums

    def _rows(self, state: str) -> dict[str, int]:
        sums: dict[str, int] = {}
        for reward in self.rewards.values():
            if reward.state == state:
                for row in reward.statement.rows:
                    sums[row.miner] = sums.get(row.miner, 0) + row.msat
        return sums

    def overpaid(self) -> Iterator[Finding]:
        """No miner's payouts may pass what had matured by then; the whole log must have been read.

        Both chains are dated in seconds: within one, what matured comes first, and up to `CLOCKS_APART_S` later.
        """
        # (created_at, payouts after the rest, miner, msat, payout's id)
        entries: list[tuple[int, int, str, int, str]] = []
        for reward in self.rewards.values():
            for created_at, old, new in reward.moves:
                sign = (new == MATURED) - (old == MATURED)
                # Only the first time: else a reward that goes to and fro would count twice in between.
                known = created_at - CLOCKS_APART_S if old == PENDING else created_at
                entries += [(known, 0, row.miner, sign * row.msat, "") for row in reward.statement.rows if sign]
        for event, paid in self.payouts.items():
            entries.append((paid.payout.created_at, 1, paid.payout.miner, -paid.taken_msat, event))
        owed: dict[str, int] = {}
        for _, _, miner, msat, event in sorted(entries):
            owed[miner] = owed.get(miner, 0) + msat
            # What an orphan took back after the payout is not the payout's fault.
            if event and msat < 0 and owed[miner] < 0:
                text = f"{miner} was paid {-msat} msat, {-owed[miner]} more than was owed"
                yield finding(Code.OVERPAID, text, event, miner=miner)

    def wrong_reversals(self) -> Iterator[Finding]:
        """Money that came back must have gone out: to the same miner, and no more than that."""
        by_name: dict[str, Payout] = {}
        for paid in self.payouts.values():
            if paid.payout.reverses is None:
                by_name.setdefault(paid.payout.payout_id, paid.payout)
        back: dict[str, int] = {}
        for event, paid in self.payouts.items():
            name = paid.payout.reverses
            if name is None:
                continue
            back[name] = back.get(name, 0) - paid.payout.amount_msat
            out = by_name.get(name)
            if out is None or out.miner != paid.payout.miner or back[name] > out.amount_msat:
                text = f"{-paid.payout.amount_msat} msat are said to come back of payout {name}"
                yield finding(Code.PAYOUT_REVERSAL, text, event, miner=paid.payout.miner)
