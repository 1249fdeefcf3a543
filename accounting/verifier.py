"""A stranger's audit: the whole log, from relays alone, judged claim by claim.

It runs on the same fold as the pool's own accounting (accounting.log), then says what is missing or overdue
(accounting.completeness). Nothing here reads a clock, a socket or anybody's word.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from accounting.completeness import complete, overdue
from accounting.drafts import Draft
from accounting.facts import BatchChecked, Fact, Reopened, ShareRevoked
from accounting.findings import VOID_IF_REVOKED, Code, Finding, finding
from accounting.log import PoolLog
from accounting.report import CLAIMS, ClaimRow, MinerRow, Report, WorkOverTime, claim_row
from accounting.shares import CheckedShares
from accounting.shelves import MemoryShelves, Shelf, Shelves
from accounting.summaries import Rows, SummaryBook
from accounting.told import TOLD_KINDS, ToldSummaries, Waiting
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.kinds import RECEIPT, TERMS
from nips.pool.receipt import Receipt

# What can be judged is, after so many events, or so many receipts, which are larger: what waits stays small.
SETTLE_EVENTS = 256
SETTLE_RECEIPTS = 32


class Unverified(NamedTuple):
    """Something a relay served that is no verified event. `kind` and `of_pool`, as far as they could be read: whether
    it gave itself out as an event of the audited pool's log.
    """

    relay: str
    id: str | None
    reason: str
    of_pool: bool = True


class Audit:
    """An audit that takes the log in piece by piece. Best fed by date, after all terms (else it may have to be begun
    again: `reopened` says why); in any other order it comes to the same, in more memory.
    """

    def __init__(
        self,
        pool: PoolAddress,
        *,
        shelves: Shelves | None = None,
        progress: Callable[[int], None] | None = None,
        on_batch: Callable[[Receipt, CheckedShares], None] | None = None,
    ) -> None:
        """`progress` is told the shares of each batch as they are checked, `on_batch` the batch; `shelves` keep what
        grows with the log.
        """
        shelves = shelves or MemoryShelves()
        self.log = PoolLog(pool, progress, shelves)
        self.log.unparked = self._unparked
        self._hours: Shelf[Rows] = shelves.open("summary hours")
        self.take_summaries(SummaryBook(), {})
        self._on_batch = on_batch
        self.reopened: str | None = None
        self._unsettled = 0

    def take_summaries(self, book: SummaryBook, waiting: dict[str, Waiting]) -> None:
        """Begin with the summaries of an earlier audit."""
        book.shelf = self._hours
        self.summaries, self.told = book, ToldSummaries(self.log, book, waiting, patient=True)

    def add(self, event: VerifiedEvent) -> None:
        """Take an event in; the same one twice is one."""
        self.take(event)
        self._added(SETTLE_EVENTS // SETTLE_RECEIPTS if event.kind == RECEIPT else 1)

    def take(self, event: VerifiedEvent) -> None:
        """Take an event in, and judge nothing for now."""
        if event.kind in TOLD_KINDS and event.id not in self.log.ids:
            self.told.add(event)
        self.log.add(event)

    def _unparked(self, event: VerifiedEvent) -> None:
        if event.kind in TOLD_KINDS:
            self.told.add(event)

    def add_draft(self, receipt: Receipt, draft: Draft) -> None:
        """Take in a receipt of this pool, its signature checked, whose shares were hashed ahead."""
        self.log.add_draft(receipt, draft)
        self._added(SETTLE_EVENTS // SETTLE_RECEIPTS)

    def reject(self, bad: Unverified) -> None:
        """Take in something that is no event."""
        self.log.unverified += 1
        code = Code.BAD_SIGNATURE if bad.of_pool else Code.JUNK
        # A line of a file came from no relay.
        text = f"{bad.relay}: {bad.reason}" if bad.relay else bad.reason
        self.log.report(finding(code, text, *([bad.id] if bad.id else [])))

    def settle(self) -> None:
        """Judge all that can be judged by now."""
        self._unsettled = 0
        self._look_at(self.log.settle())
        self._judge_summaries()

    def finish(self, now_ms: int | None) -> Report | None:
        """There is no more to read: the report. `now_ms` (Unix ms) decides what is overdue; None: nothing is.

        None if the log is to be read again, its terms first; then this audit is over all the same.
        """
        self.settle()
        if self.reopened is None:
            complete(self.log, now_ms, self._look_at)
            self._judge_summaries(to_the_end=True)
            for found in self.told.overdue(now_ms) if now_ms is not None else ():
                self.log.report(found)
        if self.reopened is not None:
            return None
        log, totals = self.log, self.log.mining.totals
        findings = [self.graded(found) for found in log.findings]
        return Report(
            pool=str(log.pool),
            from_ms=totals.from_ms,
            to_ms=totals.to_ms,
            claims=_claims(log, self.told, findings),
            findings=tuple(sorted(findings, key=lambda found: (found.grade, found.code, found.events, found.text))),
            miners=_miners(log),
            grades=dict(sorted(log.books.grade_counts().items())),
            methods={method: dict(sorted(counts.items())) for method, counts in sorted(log.books.graded.items())},
            ignored=log.ignored,
            work=WorkOverTime(totals.span_ms, tuple(sorted(totals.spans.items()))),
        )

    def overdue(self, now_ms: int) -> Iterator[Finding]:
        """What should be there by a time (Unix ms) and is not."""
        yield from overdue(self.log, now_ms)
        yield from self.told.overdue(now_ms)

    def graded(self, found: Finding) -> Finding:
        """A finding as the terms in force let it stand: what a revoked key alone has signed is void, and noted."""
        void = found.code in VOID_IF_REVOKED and found.key is not None and self.log.terms.is_left_out(found.key)
        return found.noted() if void else found

    def _judge_summaries(self, *, to_the_end: bool = False) -> None:
        for found in self.told.settle(to_the_end=to_the_end):
            self.log.report(found)

    def _look_at(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, Reopened) and self.reopened is None:
                self.reopened = fact.reason
            elif isinstance(fact, ShareRevoked):
                self.summaries.revoke(fact)
            elif isinstance(fact, BatchChecked):
                self.summaries.add(fact.receipt, fact.shares)
                # An audit takes nothing for known.
                if self._on_batch is not None and isinstance(fact.receipt, Receipt):
                    self._on_batch(fact.receipt, fact.shares)

    def _added(self, weight: int) -> None:
        self._unsettled += weight
        if self._unsettled >= SETTLE_EVENTS:
            self.settle()


def audit(
    events: Iterable[VerifiedEvent],
    unverified: Sequence[Unverified],
    pool: PoolAddress,
    *,
    now_ms: int | None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Judge a pool's log. `events` in any order, of any pool; `now_ms` (Unix ms) decides what is overdue (None: nothing
    is); `progress` is told the shares of each batch as they are checked.
    """
    judge = Audit(pool, progress=progress)
    everything = list(events)
    for event in everything:
        # Terms first: then none comes late, and whose the rest is is known as it is read.
        if event.kind == TERMS:
            judge.take(event)
    judge.settle()
    for event in everything:
        judge.take(event)
    for bad in unverified:
        judge.reject(bad)
    report = judge.finish(now_ms)
    assert report is not None  # the terms were all there from the start
    return report


def _claims(log: PoolLog, told: ToldSummaries, findings: Sequence[Finding]) -> tuple[ClaimRow, ...]:
    chained = log.terms.chain.accepted + sum(chain.accepted for chain in log.chains())
    totals, read = log.mining.totals, log.read
    faults = {name: _faulty(findings, name) for name in CLAIMS}
    blocks = len(log.blocks)
    payouts = len(log.books.payouts)
    counts = {
        "signatures": (read + log.unverified, read),
        "form, keys and roles": (read, read - faults["form, keys and roles"]),
        "chains": (chained, chained - faults["chains"]),
        "jobs": (log.mining.jobs_read, log.mining.jobs_good),
        "shares' work and binding": (totals.good + totals.bad + totals.unchecked, totals.good),
        "blocks": (blocks + len(log.mining.announced.refused), blocks),
        "statements": (log.judged, log.judged_ok),
        "summaries": (told.judged, told.held),
        "payouts": (payouts, payouts - faults["payouts"]),
    }
    return tuple(claim_row(name, checked, max(0, held), findings) for name, (checked, held) in counts.items())


def _faulty(findings: Sequence[Finding], claim: str) -> int:
    """How many events the contradictions of a claim name."""
    return len(
        {
            event
            for found in findings
            if found.code in CLAIMS[claim] and found.grade == "contradicted"
            for event in found.events[-1:]
        }
    )


def _miners(log: PoolLog) -> tuple[MinerRow, ...]:
    shares = log.mining.totals.miners
    pending, earned, paid = log.books.pending_msat(), log.books.matured_msat(), log.books.paid_msat()
    rows = []
    for miner in sorted({*shares, *pending, *earned, *paid}):
        done = shares.get(miner)
        count, work = (0, 0) if done is None else (done.shares, done.work)
        rows.append(MinerRow(miner, count, work, pending.get(miner, 0), earned.get(miner, 0), paid.get(miner, 0)))
    return tuple(rows)
