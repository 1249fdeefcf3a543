"""A year of a pool in its own code, to the msat: statements, the books, and a second reckoning must agree.

52,560 blocks under three offers (pplns, prop, solo), 2,000 miners of whom 40 share in a block; terms change twice (the
fee, then a bonus for loyalty and a place for donations), settings now and then; 30 rewards are orphaned, of any age,
some come back, some statements are void and made again; balances are paid out. Every statement goes over the wire and
is reckoned again from its shares by other code (plain lists and fractions); at the end the ledger, its postings alone,
the statements, and that second reckoning are compared, account by account.

Usage: python -m bench.year [--blocks N] [--seed N]
"""

import argparse
import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction

from accounting.apportion import split
from accounting.ledger import PENDING, Ledger, Transaction, replay
from accounting.schemes import blocks, loyalty
from accounting.schemes.donations import Pledge, donate
from accounting.selection import Placed
from accounting.validations import check_books, check_transaction
from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head
from nips.pool.payout import Payout
from nips.pool.statement import (
    MATURED,
    ORPHANED,
    VOID,
    BlockReward,
    Row,
    Statement,
    StatementBody,
    Window,
    build_statement,
    build_status,
    parse_statement,
    parse_status,
)
from nips.pool.targets import work_from_bits
from nips.pool.terms import Loyalty, Offer

YEAR_BLOCKS, MINERS, SHARERS, ORPHANS = 52_560, 2000, 40, 30
NBITS = 0x1D00FFFF
WORK = work_from_bits(NBITS)
BLOCK_MS = 600_000
# About what the sharers of one block do, so that a statement has about as many rows.
WINDOW_MILLI = 1000
SUBSIDY_MSAT, MAX_TX_FEES_SAT = 312_500_000_000, 20_000_000
MATURITY = 100
DAY_BLOCKS = 144
KEY = SecretKey(b"\x59" * 32)
POOL = PoolAddress(KEY.pubkey, "main")
LOYAL = Loyalty(200_000, 720, 30)


@dataclass(frozen=True)
class Terms:
    """What the pool promises for a while."""

    offers: Mapping[str, Offer]
    donate_to: str = ""


def _offers(fee_ppm: int, bonus: Loyalty | None = None) -> dict[str, Offer]:
    return {
        "main": Offer("pplns", fee_ppm, WINDOW_MILLI, loyalty=bonus),
        "round": Offer("prop", fee_ppm),
        "lonely": Offer("solo", fee_ppm // 2),
    }


class Drift(Exception):
    """Two reckonings differ."""


@dataclass
class Figures:
    """What a run came to."""

    statements: int = 0
    rows: int = 0
    orphaned: int = 0
    void: int = 0
    gross_msat: int = 0
    paid_msat: int = 0
    donated_msat: int = 0
    bonus_msat: int = 0
    drift_msat: int = 0


@dataclass
class Year:
    """The pool and the second reckoning side by side; `length` in blocks, `posted`: the sums of the postings alone."""

    length: int
    seed: int
    figures: Figures = field(default_factory=Figures)
    ledger: Ledger = field(default_factory=Ledger)
    posted: dict[str, int] = field(default_factory=dict)
    stands: dict[str, Statement] = field(default_factory=dict)
    shares: dict[str, list[Placed]] = field(default_factory=dict)
    rounds: dict[str, list[Placed]] = field(default_factory=dict)
    pledges: dict[str, Pledge] = field(default_factory=dict)
    standings: dict[str, loyalty.Standing] = field(default_factory=dict)
    open_rewards: list[tuple[int, Statement]] = field(default_factory=list)
    statuses: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        names = [f"{self.dice.getrandbits(256):064x}" for _ in range(MINERS + 1)]
        self.miners, self.treasury = names[:MINERS], names[MINERS]
        third = self.length // 3
        self.terms = {
            0: Terms(_offers(10_000)),
            third: Terms(_offers(20_000)),
            2 * third: Terms(_offers(20_000, LOYAL), self.treasury),
        }
        self.orphans = set(self.dice.sample(range(self.length), max(1, ORPHANS * self.length // YEAR_BLOCKS)))
        self.shares = {name: [] for name in ("main", "round", "lonely")}
        self.rounds = {name: [] for name in self.shares}

    def run(self) -> Figures:
        """Raises Drift."""
        terms = self.terms[0]
        for height in range(self.length):
            terms = self.terms.get(height, terms)
            self._settings()
            self._block(height, terms)
            self._statuses(height)
            if height % DAY_BLOCKS == 0:
                self._pay(height)
        self.compare()
        return self.figures

    def _settings(self) -> None:
        dice = self.dice
        miner = dice.choice(self.miners)
        self.pledges[miner] = Pledge(f"{dice.getrandbits(256):064x}", dice.choice((0, 5000, 15_000, 1_000_000)))
        self.standings[miner] = loyalty.Standing(dice.randrange(721), dice.randrange(31))

    def _mine(self, name: str, height: int) -> blocks.Solved:
        """A block's worth of work, give or take: one share of each of the miners that are there."""
        dice, start = self.dice, height * BLOCK_MS
        times = sorted(dice.randrange(BLOCK_MS) for _ in range(SHARERS))
        for number, (t, miner) in enumerate(zip(times, dice.sample(self.miners, SHARERS), strict=True)):
            work = dice.randrange(1, 2 * WORK // SHARERS)
            share = Placed(start + t, "e", 0, height, number, miner, work)
            self.shares[name].append(share)
            self.rounds[name].append(share)
        # Far more than a window holds.
        del self.shares[name][: -10 * SHARERS]
        last = self.shares[name][-1]
        return blocks.Solved(last.t, NBITS, last.miner, last.work)

    def _block(self, height: int, terms: Terms) -> None:
        name = self.dice.choices(("main", "round", "lonely"), (6, 2, 1))[0]
        offer, solved = terms.offers[name], self._mine(name, height)
        gross = SUBSIDY_MSAT + 1000 * self.dice.randrange(MAX_TX_FEES_SAT)
        if self.dice.randrange(400) == 0:
            # Told with another value than the block brings: taken back, and made again.
            wrong = self._issue(height, name, terms, solved, gross + 1000)
            self._status(wrong, VOID)
            self.figures.void += 1
        statement = self._issue(height, name, terms, solved, gross)
        self._reckon_again(statement, name, offer, terms, solved)
        self.rounds[name] = []
        self.open_rewards.append((height, statement))

    def _issue(self, height: int, name: str, terms: Terms, solved: blocks.Solved, gross: int) -> Statement:
        offer = terms.offers[name]
        held = self.rounds[name] if offer.scheme == "prop" else self.shares[name]
        counted = blocks.count(name, offer, solved, reversed(held))
        parts = split(gross, offer.fee_ppm, counted.work)
        bonus: Mapping[str, int] = {}
        if offer.loyalty is not None:
            work = {loyalty.Worker(miner, ""): part for miner, part in counted.work.items()}
            bonus = loyalty.bonuses(gross * offer.fee_ppm // 1_000_000, offer.loyalty, work, self.standings, {})
        given = donate(parts.rows, self.pledges, terms.donate_to)
        rows = tuple(Row(row.miner, row.work, row.msat + bonus.get(row.miner, 0)) for row in given.rows)
        self.figures.donated_msat += sum(gift.msat for gift in given.donations)
        self.figures.bonus_msat += sum(bonus.values())
        block = f"{height:032x}{gross:032x}"
        body = StatementBody(
            reward=BlockReward(block, height, solved.found_ms, gross),
            terms="00" * 32,
            offer=name,
            window=Window(counted.from_ms, counted.total, {"e/0": Head(height, "11" * 32)}),
            fee_msat=parts.fee_msat - sum(bonus.values()),
            rows=rows,
        )
        event = KEY.sign(build_statement(POOL, FIRST, body, height, "22" * 32))
        statement = parse_statement(event)
        self._book(self.ledger.book_statement(statement))
        self.stands[statement.id] = statement
        self.figures.statements += 1
        self.figures.rows += len(rows)
        self.figures.gross_msat += gross
        return statement

    def _reckon_again(self, statement: Statement, name: str, offer: Offer, terms: Terms, solved: blocks.Solved) -> None:
        """The same statement by other means: whole lists, and fractions rounded once."""
        gross = statement.reward.gross_msat
        if offer.scheme == "solo":
            parts = [(solved.finder, solved.work)]
        elif offer.scheme == "prop":
            parts = [(share.miner, share.work) for share in self.rounds[name]]
        else:
            parts, room = [], WINDOW_MILLI * WORK // 1000
            for share in sorted(self.shares[name], reverse=True):
                parts.append((share.miner, min(share.work, room)))
                room -= min(share.work, room)
        total = sum(work for _, work in parts)
        fee = Fraction(gross * offer.fee_ppm, 1_000_000).__floor__()
        mine: dict[str, int] = {}
        for miner, work in parts:
            mine[miner] = mine.get(miner, 0) + work
        want = {miner: ((gross - fee) * Fraction(work, total)).__floor__() for miner, work in mine.items() if work}
        earned = dict(want)
        if terms.donate_to:
            for miner, msat in earned.items():
                gift = Fraction(msat * self.pledges[miner].ppm, 1_000_000).__floor__() if miner in self.pledges else 0
                if gift:
                    want[miner] -= gift
                    want[terms.donate_to] = want.get(terms.donate_to, 0) + gift
        if offer.loyalty is not None:
            pot = Fraction(fee * offer.loyalty.part_ppm, 1_000_000).__floor__()
            weights = {miner: self._weight(miner, mine[miner], offer.loyalty) for miner in earned}
            all_weights = sum(weights.values())
            for miner, weight in weights.items():
                want[miner] += (pot * weight / all_weights).__floor__() if weight else 0
        told = {row.miner: row.msat for row in statement.rows}
        if told != want or sum(told.values()) + statement.fee_msat != gross:
            raise Drift(f"statement {statement.id} of {name} at {statement.reward.height}")

    def _weight(self, miner: str, work: int, bonus: Loyalty) -> Fraction:
        hours, days = self.standings.get(miner, loyalty.Standing())
        uptime = 1 + Fraction(min(hours, bonus.full_hours) * 1000 // bonus.full_hours, 1000)
        attested = 1 + Fraction(min(days, bonus.full_days) * 500 // bonus.full_days, 1000)
        return work * (min(uptime * attested, Fraction(3)) - 1)

    def _statuses(self, height: int) -> None:
        """Rewards mature; those drawn to be orphaned are, some only after they matured, and every fifth comes back."""
        waiting = []
        for found, statement in self.open_rewards:
            age = height - found
            if found in self.orphans and age == found % (2 * MATURITY):
                if age >= MATURITY:
                    self._status(statement, MATURED)
                self._status(statement, ORPHANED)
                self.figures.orphaned += 1
                if found % 5 == 0:
                    self._status(statement, MATURED)
            elif found not in self.orphans and age >= MATURITY:
                self._status(statement, MATURED)
            else:
                waiting.append((found, statement))
        self.open_rewards = waiting

    def _status(self, statement: Statement, status: str) -> None:
        created_at = statement.created_at + 1
        self.statuses += 1
        event = KEY.sign(build_status(POOL, Head(self.statuses, "00" * 32).next(), statement.id, status, created_at))
        self._book(self.ledger.book_status(parse_status(event)))

    def _pay(self, height: int) -> None:
        """Every balance of 1,000 sat or more, in whole sats; now and then money comes back."""
        for miner in self.dice.sample(self.miners, MINERS // 10):
            owed = self.ledger.balance(miner, None).owed_msat // 1000 * 1000
            if owed < 1_000_000:
                continue
            name = f"{height}-{miner[:8]}"
            self._book_payout(name, miner, owed, None)
            if self.dice.randrange(50) == 0:
                self._book_payout(f"{name}-back", miner, -owed, name)

    def _book_payout(self, name: str, miner: str, msat: int, reverses: str | None) -> None:
        payout = Payout(
            payout_id=name,
            miner=miner,
            amount_msat=msat,
            network_fee_msat=0 if reverses else 7,
            to="00" * 32,
            method="zap",
            proof={},
            reverses=reverses,
            id=f"payout {name}",
            signer=KEY.pubkey,
            pool=POOL,
            link=FIRST,
            created_at=0,
        )
        self._book(self.ledger.book_payout(payout, miner_bears_fee=False))
        self.figures.paid_msat += msat

    def _book(self, transaction: Transaction | None) -> None:
        if transaction is None:
            raise Drift("an event was not booked")
        wrong = check_transaction(self.ledger, transaction)
        if wrong:
            raise Drift("; ".join(wrong))
        for account, msat in replay([transaction]).items():
            self.posted[account] = self.posted.get(account, 0) + msat

    def compare(self) -> None:
        """Account by account: the ledger, its postings alone, and the sums of statements by what stands."""
        ledger = self.ledger
        wrong = [text for text in check_books(ledger) if "more than matured" not in text]
        if wrong:
            raise Drift("; ".join(wrong))
        books = {account: msat for account, msat in ledger.accounts.items() if msat}
        if {account: msat for account, msat in self.posted.items() if msat} != books:
            raise Drift("the postings do not add up to the accounts")
        rows: dict[tuple[str, str], int] = {}
        totals: dict[str, int] = {}
        for statement in self.stands.values():
            state = ledger.rewards[statement.id].state
            totals[state] = totals.get(state, 0) + statement.reward.gross_msat - statement.fee_msat
            for row in statement.rows:
                rows[row.miner, state] = rows.get((row.miner, state), 0) + row.msat
        drift = 0
        for miner in [*self.miners, self.treasury]:
            balance = ledger.balance(miner, None)
            drift += abs(balance.earned_msat - rows.get((miner, MATURED), 0))
            drift += abs(balance.pending_msat - rows.get((miner, PENDING), 0))
        for state in (PENDING, MATURED):
            drift += abs(totals.get(state, 0) - sum(msat for (_, at), msat in rows.items() if at == state))
        self.figures.drift_msat = drift
        if drift:
            raise Drift(f"ledger and statements differ by {drift} msat")


def main() -> None:
    """Run the year and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=YEAR_BLOCKS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    start = time.perf_counter()
    figures = Year(options.blocks, options.seed).run()
    for name, value in asdict(figures).items():
        print(f"{name:13} {value:>24,}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
