"""The fold of the log's facts into books and statistics: the same events give the same, live, replayed or permuted."""

import json
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import accounting.bonuses
import accounting.ledger
import accounting.shares
import accounting.statistics
import accounting.summaries
import accounting.told
import accounting.wanted
import nips.pool.address
import nips.pool.chain
import nips.pool.payout
import nips.pool.reward
import nips.pool.settings
import nips.pool.settings_part
import nips.pool.statement
import nips.pool.statement_rows
import nips.pool.summary
from accounting.checkpoint import CODEC as LOG_CODEC
from accounting.checkpoint import FORM as LOG_FORM
from accounting.checkpoint import freeze_log, thaw_log
from accounting.checks import Known
from accounting.facts import (
    CLAIMED,
    BatchChecked,
    BlockSeen,
    Fact,
    PayoutSeen,
    Reopened,
    ShareRevoked,
    SpanSummed,
    StatementSeen,
    StatusSeen,
    TermsAdopted,
    WorkDone,
)
from accounting.freeze import Codec, Unreadable, classes_of
from accounting.ledger import SHELF, Ledger, Transaction, Unbalanced
from accounting.log import PoolLog
from accounting.shelves import MemoryShelves, Shelves
from accounting.statistics import RATES_MS, Statistics
from accounting.summaries import SummaryBook
from accounting.sums import Sums
from accounting.told import TOLD_KINDS, ToldSummaries
from accounting.validations import check_books, check_transaction
from accounting.wanted import Wanted
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.statement import Statement
from nips.pool.summary import Summary, SummaryBody
from nips.pool.terms import PERIOD_SCHEMES, Terms

# What went wrong stays on show until so much newer trouble came: enough to see what happened, bounded.
MAX_TROUBLES = 200
# What the fold's own state and the ledger's shelves consist of; the log has a codec of its own.
CODEC = Codec(
    classes_of(
        accounting.bonuses,
        accounting.ledger,
        accounting.shares,
        accounting.statistics,
        accounting.summaries,
        accounting.told,
        accounting.wanted,
        nips.pool.address,
        nips.pool.chain,
        nips.pool.payout,
        nips.pool.reward,
        nips.pool.settings,
        nips.pool.settings_part,
        nips.pool.statement,
        nips.pool.statement_rows,
        nips.pool.summary,
    )
)
# Counts up when the state, or what is made of events, changes otherwise than its classes show.
FORM = 3
_ID = re.compile(r"[0-9a-f]{64}")


def codec_of(shelf: str) -> Codec:
    """What the values of a shelf of that name consist of."""
    return CODEC if shelf.startswith(SHELF) else LOG_CODEC


def form() -> str:
    """What a kept fold must be of to be taken up by this version."""
    return f"{FORM} {CODEC.fingerprint} {LOG_FORM} {LOG_CODEC.fingerprint}"


def _slim(seen: BlockSeen) -> BlockSeen:
    # The header stays: the block's name is its hash.
    block = replace(seen.block, coinbase=b"", merkle=())
    return replace(seen, block=block, job=replace(seen.job, coinb1=b"", coinb2=b"", merkle=(), heads={}))


@dataclass(slots=True)
class Changes:
    """What folding changed since the last call, for whoever stores and publishes it."""

    # What to keep of batches (accounting.checks) and of spans that end with them (accounting.spans), by receipt.
    checked: dict[str, bytes | None] = field(default_factory=dict)
    spans: dict[str, bytes] = field(default_factory=dict)
    transactions: list[Transaction] = field(default_factory=list)
    # Miners with new postings, and miners with new shares.
    balances: set[str] = field(default_factory=set)
    statistics: set[str] = field(default_factory=set)


class Fold:
    """Log, ledger, statistics and hourly summaries of one pool."""

    def __init__(
        self, pool: PoolAddress, shelves: Shelves | None = None, failures: tuple[type[Exception], ...] = ()
    ) -> None:
        """`shelves`: where to keep what grows with the log, fresh ones or those of `thaw`; in memory when not given.
        `failures` are what these raise when their disk fails: the fold is then in pieces, and no event's fault.
        """
        self._failures = failures
        shelves = shelves or MemoryShelves()
        self.log = PoolLog(pool, shelves=shelves, keeps_sums=True)
        self.ledger = Ledger(shelves=shelves)
        self.statistics = Statistics()
        self.summaries = SummaryBook()
        self._told = ToldSummaries(self.log, self.summaries)
        self.log.unparked = self._tell
        # Proven blocks by hash, in the order they were proven, less the bytes that prove them.
        self.blocks: dict[str, BlockSeen] = {}
        self.terms: Terms | None = None
        # Zap receipts that would make payouts attested.
        self.wanted = Wanted()
        self.violations: deque[str] = deque(maxlen=MAX_TROUBLES)
        # Why the facts so far no longer hold: everything is to be folded anew.
        self.reopened: str | None = None
        # Without what was kept of batches.
        self.rehash = False
        self._changes = Changes()
        self._replaying = False
        self._trusted: set[str] = set()

    def __contains__(self, event_id: str) -> bool:
        return event_id in self.log.ids

    def add(self, event: VerifiedEvent) -> None:
        """Take an event in; the same one twice is one."""
        if event.id in self:
            return
        with self._said(event.id):
            self.log.add(event)
            self._tell(event)

    def add_known(self, known: Known) -> None:
        """Take in a batch that was checked before; the same one twice is one. Not to be used after a `Reopened`."""
        if known.id not in self:
            with self._said(known.id):
                self.log.add_known(known)

    @contextmanager
    def _said(self, event: str) -> Iterator[None]:
        try:
            yield
        except self._failures:
            raise
        except Exception as error:  # one event must never stop the books: whatever it is, it is said and left out
            self.violations.append(f"event {event} is left out: {error!r}")

    def _tell(self, event: VerifiedEvent) -> None:
        if event.kind in TOLD_KINDS and event.id not in self._trusted:
            self._told.add(event)

    def trust_summary(self, summary: Summary) -> None:
        """Our own summary out of our own store, before anything is added: it is not checked once more."""
        self._trusted.add(summary.id)
        self.summaries.trust(summary)

    def begin_replay(self) -> None:
        """Nobody asks for statistics until `end_replay`: what known batches came to may be counted many at a time."""
        self._replaying = True
        self.log.mining.holds_back = lambda known: not self.summaries.wants(known)

    def end_replay(self) -> None:
        """Make up for what was left for later: what is counted batch by batch, hashrates, which only the newest batches
        count in, and the hashes of what may still be repeated.
        """
        self.log.mining.holds_back = None
        self.log.mining.count_held_back()
        self.settle()
        self.log.mining.hash_known()
        self._replaying = False
        since_ms = self.statistics.log_ms - RATES_MS
        for lane in self.log.lanes.values():
            for batch in reversed(lane.batches):
                if batch.to_ms < since_ms:
                    break
                self.statistics.add_rates(batch.read())

    def settle(self) -> None:
        """Fold everything that can be folded now."""
        for fact in self.log.settle():
            self._fold(fact)
        self.violations.extend(found.text for found in self._told.settle())

    def dump(self) -> Iterator[str]:
        """All that was folded, as lines: the books, the statements and statuses by their chains' heads, the statistics.
        The same events give the same lines, byte for byte.
        """
        yield from self.ledger.dump()
        for name, chain in sorted((chain.name, chain) for chain in self.log.chains()):
            if chain.head is not None:
                yield json.dumps(["chain", name, *chain.head], separators=(",", ":"))
        yield json.dumps(["summaries", self.summaries.to_ms, self.summaries.taken], separators=(",", ":"))
        yield from self.statistics.dump()

    def due_summary(self) -> SummaryBody | None:
        """The hourly summary that is to be signed next; None while none is, or one that was read waits for its turn."""
        return None if self._told.waits else self.summaries.due(self.log.ready)

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def check(self) -> list[str]:
        """Go through the whole books; what is wrong."""
        return check_books(self.ledger)

    def unsettled(self) -> list[BlockSeen]:
        """Proven blocks without a statement that stands, oldest first."""
        blocks = [self.log.blocks[name] for name in self.blocks if self.ledger.statement_of(name) is None]
        return sorted(blocks, key=lambda block: (block.found_ms, block.block.block))

    def _fold(self, fact: Fact) -> None:
        match fact:
            case TermsAdopted(terms):
                self.terms = terms
            case BatchChecked(receipt, shares, sums, check):
                self._count(sums)
                if not self._replaying:
                    self.statistics.add_rates(shares)
                if self.summaries.wants(receipt):
                    self.summaries.add(receipt, shares)
                if check is not None:
                    self._changes.checked[receipt.id] = check
            case WorkDone(sums):
                self._count(sums)
            case SpanSummed(receipt_id, row):
                self._changes.spans[receipt_id] = row
            case ShareRevoked():
                self.summaries.revoke(fact)
                # The share stays in the statistics, which are no evidence; the batch is to be hashed again next time.
                self._changes.checked[fact.receipt] = None
            case BlockSeen():
                self.blocks[fact.block.block] = _slim(fact)
            case StatementSeen(statement):
                try:
                    self._post(self.ledger.book_statement(statement, by_share=self._pays_by_share(statement)))
                except Unbalanced as error:
                    self.violations.append(str(error))
            case StatusSeen(status):
                self._post(self.ledger.book_status(status))
            case PayoutSeen(payout, grade):
                # Refuted or not, the zapper has signed that the money left: what it claims is never paid again.
                named = payout.proof.get("receipt")
                if isinstance(named, str) and _ID.fullmatch(named):
                    if grade == CLAIMED:
                        self.wanted.want(named)
                    else:
                        self.wanted.found(named)
                in_force = self.log.terms_at(payout.created_at * 1000)
                on_miner = in_force is not None and in_force.body.payouts.network_fee == "miner"
                self._post(self.ledger.book_payout(payout, miner_bears_fee=on_miner))
                if self.ledger.payouts[payout.payout_id].payout.id == payout.id:
                    self.ledger.grade(payout.payout_id, grade)
            case Reopened(reason, rehash):
                self.reopened = reason
                self.rehash |= rehash

    def _pays_by_share(self, statement: Statement) -> bool:
        """By its block's own terms, which are known before it is booked, whatever was read first."""
        if not statement.reward.block:
            return True
        seen = self.blocks.get(statement.reward.block)
        return seen is not None and seen.terms.body.offers[seen.offer].scheme in PERIOD_SCHEMES

    # At rest

    def freeze(self) -> bytes:
        """All of the fold that is not on its shelves; it must be settled, its changes taken."""
        return CODEC.dumps(
            {
                "log": freeze_log(self.log),
                "accounts": self.ledger.accounts,
                "bonuses": self.ledger.bonuses.sums,
                "statistics": self.statistics,
                "summaries": self.summaries,
                "told": self._told.waiting,
                "violations": list(self.violations),
                "wanted": self.wanted,
            }
        )

    def thaw(self, data: bytes) -> None:
        """Let this fresh fold, on the shelves of the old one, be what `freeze` was told of. Raises Unreadable."""
        state = CODEC.loads(data)
        try:
            thaw_log(self.log, state["log"])
            self.terms = self.log.terms.newest()
            self.ledger.thaw(state["accounts"], state["bonuses"])
            self.statistics, self.summaries, self.wanted = state["statistics"], state["summaries"], state["wanted"]
            self._told = ToldSummaries(self.log, self.summaries, state["told"])
            self.violations.extend(state["violations"])
            blocks = [(seen.found_ms, name, _slim(seen)) for name, seen in self.log.blocks.scan()]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(f"the state of the fold: {error!r}") from None
        self.blocks = {name: seen for _, name, seen in sorted(blocks, key=lambda block: block[:2])}

    def _count(self, sums: Sums) -> None:
        self.statistics.add(sums)
        self._changes.statistics.update(row.miner for row in sums.rows)
        self._changes.statistics.update(miner for miner, _ in sums.rejects)

    def _post(self, transaction: Transaction | None) -> None:
        if transaction is None:
            return
        self.violations.extend(check_transaction(self.ledger, transaction))
        self._changes.transactions.append(transaction)
        for account, _ in transaction.postings:
            if account.startswith("miner:"):
                self._changes.balances.add(account.split(":")[1])
