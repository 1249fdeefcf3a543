"""The log of a pool as an incremental fold: events in, in any order; facts and findings out.

Accounting lives on it and a stranger's audit runs on it. Each event waits for what it names, so that the same events
give the same facts and findings in whatever order they come; only a forked chain (a finding) keeps the branch that was
read first.
"""

from collections.abc import Callable, Iterator

from accounting.books import Books
from accounting.chains import Chain, Opaque
from accounting.errors import UnsupportedOffer
from accounting.facts import (
    ATTESTED,
    REFUTED,
    BatchChecked,
    BlockSeen,
    Fact,
    PayoutSeen,
    Reopened,
    ShareRevoked,
    StatementSeen,
    StatusSeen,
    TermsAdopted,
)
from accounting.findings import Code, Finding, finding
from accounting.jobs import JudgedJob, judge_job, use_of
from accounting.lanes import Batch, Lane, LaneKey, Lanes, heads_of
from accounting.payout_proof import check_proof
from accounting.rewards import (
    NotYet,
    compare_statement,
    expected_statement,
    is_recomputable,
    missing_heads,
    named_cuts,
)
from accounting.shares import (
    CheckedShares,
    JobUse,
    Place,
    Seen,
    Solution,
    Verdict,
    check_batch,
    hash_unhashed,
    told_work,
)
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.nip57 import ZAP_RECEIPT
from nips.pool import kinds
from nips.pool.address import PoolAddress, address_of
from nips.pool.block import BlockFound, parse_block
from nips.pool.chain import Head, link_of
from nips.pool.content import UnknownVersion
from nips.pool.job import Job, parse_job
from nips.pool.payout import Payout, parse_payout
from nips.pool.receipt import Receipt, parse_receipt
from nips.pool.statement import RewardStatus, Statement, StatementBody, parse_statement, parse_status
from nips.pool.terms import Terms, parse_terms

# Hashes of jobs that can bring no more shares are let go every so many batches.
FORGET_EVERY = 256
AccountingEvent = Statement | RewardStatus | Opaque
_OPAQUE = frozenset({kinds.STATEMENT_PART, kinds.ARCHIVE, kinds.SUMMARY})
# Who holds a role may write these chains and kinds.
_NAMED = frozenset({ZAP_RECEIPT, kinds.WITHDRAWAL})


class PoolLog:
    """The fold. `findings` grows as `settle` goes; each is said once."""

    def __init__(self, pool: PoolAddress, progress: Callable[[int], None] | None = None) -> None:
        """`progress` is told the number of shares of each batch that was checked."""
        self.pool = pool
        self.findings: list[Finding] = []
        self.lanes = Lanes()
        self.books = Books()
        # id -> terms, in the chain's order; id -> when newer ones replaced them (Unix ms).
        self.terms_by_id: dict[str, Terms] = {}
        self.replaced_ms: dict[str, int] = {}
        self.jobs: dict[str, JudgedJob] = {}
        # Proven blocks by hash, and every share that solves its job's block, by (receipt, index).
        self.blocks: dict[str, BlockSeen] = {}
        self.refused_blocks: set[str] = set()
        self.solutions: dict[tuple[str, int], tuple[Solution, LaneKey, Batch]] = {}
        self.roles: dict[str, set[str]] = {"edge": set(), "accounting": set(), "zapper": set()}
        self.ignored = 0
        self.shares_checked = 0
        # Heads that used jobs name and the lane each must be a batch of: (job, lane, head).
        self.sealed: set[tuple[str, LaneKey, str]] = set()
        self.terms_chain: Chain[Terms] = Chain(f"{pool.pubkey}/terms", self.report)
        self.accounting: dict[str, Chain[AccountingEvent]] = {}
        self.payouts: dict[str, Chain[Payout]] = {}
        self.waiting_jobs: dict[str, Job] = {}
        self.waiting_blocks: dict[str, BlockFound] = {}
        self.malformed: dict[str, tuple[VerifiedEvent, InvalidPoolEvent]] = {}
        self.strangers: dict[str, VerifiedEvent] = {}
        self._progress = progress
        self._ids: set[str] = set()
        self._said: set[tuple[Code, str, tuple[str, ...]]] = set()
        self._closed: dict[str, Head] = {}
        self._refused_jobs: set[str] = set()
        self._trusted: dict[str, CheckedShares] = {}
        self._seen: dict[str, Seen] = {}
        self._batches = 0
        self._lane_of: dict[str, LaneKey] = {}
        self._named: dict[str, VerifiedEvent] = {}
        self._unattested: dict[str, list[Payout]] = {}
        self._facts: list[Fact] = []

    def report(self, found: Finding) -> None:
        """Note a finding, once."""
        key = (found.code, found.text, found.events)
        if key not in self._said:
            self._said.add(key)
            self.findings.append(found)

    # Feeding

    def add(self, event: VerifiedEvent, trusted: CheckedShares | None = None) -> None:
        """Take an event in; the same one twice is one. `trusted`: what an own fold found in this receipt before, so
        that its shares need no hashing again; not to be used after a `Reopened`.
        """
        if event.id in self._ids:
            return
        self._ids.add(event.id)
        if event.kind in _NAMED:
            self._named[event.id] = event
            for payout in self._unattested.pop(event.id, ()):
                self._grade_payout(payout)
            return
        try:
            if event.kind not in kinds.LEDGER_KINDS or address_of(event) != self.pool:
                self.ignored += 1
                return
        except InvalidPoolEvent:
            self.ignored += 1
            return
        if trusted is not None:
            self._trusted[event.id] = trusted
        try:
            self._route(event)
        except InvalidPoolEvent as error:
            self.malformed[event.id] = (event, error)

    def _route(self, event: VerifiedEvent) -> None:
        if event.kind == kinds.TERMS:
            terms = parse_terms(event)
            if event.pubkey != self.pool.pubkey:
                self.strangers[event.id] = event
            else:
                self.terms_chain.put(terms)
        elif event.kind == kinds.JOB:
            self.waiting_jobs[event.id] = parse_job(event)
        elif event.kind == kinds.RECEIPT:
            receipt = parse_receipt(event)
            self._lane(LaneKey(receipt.signer, receipt.lane)).chain.put(receipt)
        elif event.kind == kinds.BLOCK:
            self.waiting_blocks[event.id] = parse_block(event)
        elif event.kind == kinds.PAYOUT:
            payout = parse_payout(event)
            if event.pubkey not in self.payouts:
                name = f"{event.pubkey}/payouts"
                self.payouts[event.pubkey] = Chain(name, self.report, closed=self._closed.get(name))
            self.payouts[event.pubkey].put(payout)
        else:
            parsed = _parse_accounting(event)
            if event.pubkey not in self.accounting:
                name = f"{event.pubkey}/accounting"
                self.accounting[event.pubkey] = Chain(name, self.report, closed=self._closed.get(name))
            self.accounting[event.pubkey].put(parsed)

    def _lane(self, key: LaneKey) -> Lane:
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(key, Chain(str(key), self.report, closed=self._closed.get(str(key))))
        return lane

    # Asking

    def newest_terms(self) -> Terms | None:
        """The terms in force."""
        return next(reversed(self.terms_by_id.values()), None)

    def terms_at(self, ms: int) -> Terms | None:
        """The newest terms dated at or before a time (Unix ms); the first if all are later."""
        found = None
        for terms in self.terms_by_id.values():
            if found is None or terms.created_at * 1000 <= ms:
                found = terms
        return found

    def ready(self, end_ms: int) -> bool:
        """Whether every open lane has passed a time: all work up to it is known."""
        return self.lanes.behind(end_ms) is None

    def cut_heads(self, end_ms: int, from_ms: int) -> dict[str, Head]:
        """A statement's `heads` for a reward at `end_ms` whose window begins at `from_ms`."""
        return heads_of(self.lanes.cuts(end_ms), end_ms, from_ms)

    def expected(self, block: BlockSeen) -> StatementBody | NotYet:
        """The statement that a block should have now. Raises UnsupportedOffer."""
        return expected_statement(self.lanes, block)

    # Settling

    def settle(self) -> list[Fact]:
        """Process everything that can be, in order; the facts that are new."""
        self._settle_terms()
        self._settle_malformed()
        while self._settle_lanes():
            pass
        self._settle_blocks()
        while self._settle_accounting():
            pass
        for key in sorted(self.payouts):
            self._settle_payouts(self.payouts[key])
        facts, self._facts = self._facts, []
        return facts

    def _settle_terms(self) -> None:
        while (terms := self.terms_chain.peek()) is not None:
            self.adopt(terms)

    def adopt(self, terms: Terms) -> None:
        """Let the next terms of the chain take their place."""
        previous = self.newest_terms()
        self.terms_chain.take(terms)
        self.terms_by_id[terms.id] = terms
        for key, role in terms.body.keys:
            self.roles[role].add(key)
        self._facts.append(TermsAdopted(terms))
        if previous is not None:
            replaced = self.replaced_ms[previous.id] = terms.created_at * 1000
            for judged in self.jobs.values():
                late = judged.job.ms > replaced + judged.limits.job_ms
                if late and judged.terms.id == previous.id and judged.problem is None:
                    self._facts.append(Reopened(f"job {judged.job.id} names terms that were replaced before"))
                    break
        for name, end in sorted(terms.body.closed.items()):
            self._close(name, end)

    def _close(self, name: str, end: Head) -> None:
        known = self._closed.get(name)
        if known is not None and known.seq <= end.seq:
            return
        self._closed[name] = end
        for chain in self.chains():
            if chain.name == name and not chain.close(end):
                self._facts.append(Reopened(f"{name} was closed at {end.seq}, below what was read"))

    def chains(self) -> Iterator[Chain[Receipt] | Chain[AccountingEvent] | Chain[Payout]]:
        """All chains but the terms'."""
        yield from (self.lanes[key].chain for key in sorted(self.lanes))
        yield from (self.accounting[key] for key in sorted(self.accounting))
        yield from (self.payouts[key] for key in sorted(self.payouts))

    def _settle_malformed(self) -> None:
        for event, error in list(self.malformed.values()):
            if event.pubkey != self.pool.pubkey and not self.roles_of(event.pubkey):
                continue
            del self.malformed[event.id]
            code = Code.UNKNOWN_VERSION if isinstance(error, UnknownVersion) else Code.MALFORMED
            self.report(finding(code, f"kind {event.kind}: {error}", event.id))
            if event.kind == kinds.JOB:
                self._refused_jobs.add(event.id)

    def roles_of(self, pubkey: str) -> list[str]:
        """The roles a key holds in any terms."""
        return [role for role, keys in sorted(self.roles.items()) if pubkey in keys]

    def _settle_lanes(self) -> bool:
        progress = False
        for key in sorted(self.lanes):
            lane = self.lanes[key]
            if key.edge not in self.roles["edge"]:
                continue
            while (receipt := lane.chain.peek()) is not None and not self.lacks(receipt):
                self.accept(lane, receipt)
                progress = True
        return progress

    def lacks(self, receipt: Receipt) -> list[str]:
        """The jobs of a receipt that can't be judged yet, by id."""
        return [job for job in receipt.jobs if job not in self._refused_jobs and self._judge(job) is None]

    def _judge(self, job_id: str) -> JudgedJob | None:
        judged = self.jobs.get(job_id)
        if judged is None:
            job = self.waiting_jobs.get(job_id)
            terms = None if job is None else self.terms_by_id.get(job.terms)
            if job is None or terms is None:
                return None
            judged = self.jobs[job_id] = judge_job(job, terms, self.replaced_ms.get(terms.id))
            del self.waiting_jobs[job_id]
        return judged

    def accept(self, lane: Lane, receipt: Receipt) -> None:
        """Let a lane's next receipt take its place, and judge its shares. Jobs that lack leave theirs unchecked."""
        chain = lane.chain
        last = lane.batches[-1] if lane.batches else None
        chain.take(receipt)
        if lane.fin:
            text = f"{chain.name} {receipt.link.seq} follows the batch that ended the lane"
            self.report(finding(Code.AFTER_FIN, text, last.id if last else "", receipt.id))
            return
        if last is not None and last.seq + 1 == receipt.link.seq and last.to_ms != receipt.from_ms:
            text = f"{chain.name} {receipt.link.seq} begins at {receipt.from_ms}, the one before ended at {last.to_ms}"
            self.report(finding(Code.WINDOW_GAP, text, last.id, receipt.id))
        uses = self._uses(lane, receipt)
        shares = self._check(lane, receipt, uses)
        batch = Batch(receipt.link.seq, receipt.id, receipt.from_ms, receipt.to_ms, receipt.created_at, shares)
        lane.add(batch)
        lane.fin = receipt.fin
        self._lane_of[receipt.id] = lane.key
        for solution in shares.solutions:
            self.solutions[receipt.id, solution.number] = (solution, lane.key, batch)
        self._facts.append(BatchChecked(receipt, shares))
        self.shares_checked += receipt.count
        if self._progress is not None:
            self._progress(receipt.count)
        self._batches += 1
        if self._batches % FORGET_EVERY == 0:
            self._forget()

    def _uses(self, lane: Lane, receipt: Receipt) -> list[JobUse]:
        judged = [self._judge(job) for job in receipt.jobs]
        for found in judged:
            if found is not None and found.job.signer == receipt.signer:
                lane.started[found.job.id] = (found.job.ms, found.job.prevhash)
                for number, head in found.job.heads.items():
                    if head and number != lane.key.number:
                        self.sealed.add((found.job.id, LaneKey(receipt.signer, number), head))
                    elif head and head not in lane.by_id and lane.chain.broken is not None:
                        self.sealed.add((found.job.id, lane.key, head))
        longest = max((found.limits.job_ms for found in judged if found is not None), default=0)
        for job, (ms, _) in list(lane.started.items()):
            # Only what came after a job that still lives can end its life.
            if longest and ms < receipt.from_ms - longest:
                del lane.started[job]
        uses = []
        for job, found in zip(receipt.jobs, judged, strict=True):
            if found is None:
                refused = job in self._refused_jobs
                uses.append(JobUse(None, problem=Code.SHARE_JOB if refused else None, unchecked=not refused))
                continue
            use, code, text = use_of(found, lane, receipt)
            if code is not None:
                self.report(finding(code, f"job of {receipt.signer}/{receipt.lane}: {text}", job, receipt.id))
            uses.append(use)
            self._seen.setdefault(job, Seen())
        return uses

    def _check(self, lane: Lane, receipt: Receipt, uses: list[JobUse]) -> CheckedShares:
        trusted = self._trusted.pop(receipt.id, None)
        if trusted is not None and not trusted.bad and not trusted.unchecked:
            for number, job in enumerate(receipt.jobs):
                if job in self._seen:
                    self._seen[job].unhashed.append((receipt, number))
            self._check_work_tag(receipt, told_work(receipt))
            return trusted
        for use in uses:
            if use.job is not None and use.problem is None:
                hash_unhashed(use.job, self._seen[use.job.id])
        verdict = check_batch(receipt, uses, self._seen)
        self._check_work_tag(receipt, verdict.told_work)
        self._report_shares(receipt, verdict)
        for place in verdict.displaced:
            self._displace(LaneKey(lane.key.edge, place.lane), place, receipt)
        return verdict.shares

    def _check_work_tag(self, receipt: Receipt, told: int) -> None:
        if receipt.work != told:
            text = f"the work tag says {receipt.work}, the credited shares sum to {told}"
            self.report(finding(Code.WORK_TAG, text, receipt.id))

    def _report_shares(self, receipt: Receipt, verdict: Verdict) -> None:
        records = receipt.records()
        for code, indexes in sorted(verdict.problems.items()):
            by_miner: dict[str, list[int]] = {}
            for index in indexes:
                by_miner.setdefault(receipt.miners[receipt.sessions[records[index].session].miner], []).append(index)
            for miner, numbers in sorted(by_miner.items()):
                text = f"{len(numbers)} of {receipt.count} shares of this batch, first {min(numbers)}"
                self.report(finding(code, text, receipt.id, miner=miner))

    def _displace(self, key: LaneKey, place: Place, receipt: Receipt) -> None:
        batch = next(batch for batch in reversed(self.lanes[key].batches) if batch.seq == place.seq)
        batch.shares = batch.shares.without(place.number)
        text = f"share {place.number} of a batch of lane {key.number} repeats one of this batch"
        self.report(finding(Code.SHARE_TWICE, text, batch.id, receipt.id))
        self._facts.append(ShareRevoked(batch.id, place.number))

    def _forget(self) -> None:
        for job_id in list(self._seen):
            judged = self.jobs[job_id]
            over = judged.job.ms + judged.limits.job_ms
            lanes = [self.lanes.get(LaneKey(judged.job.signer, number)) for number in judged.job.heads]
            if all(lane is not None and (lane.ended or lane.watermark_ms > over) for lane in lanes):
                del self._seen[job_id]

    def _settle_blocks(self) -> None:
        for block in sorted(self.waiting_blocks.values(), key=lambda block: block.id):
            key = self._lane_of.get(block.receipt)
            if key is None or not self.roles_of(block.signer):
                continue
            del self.waiting_blocks[block.id]
            self._check_block(block, key)

    def _check_block(self, block: BlockFound, key: LaneKey) -> None:
        known = self.solutions.get((block.receipt, block.index))
        if known is None:
            if not self.lanes[key].by_id[block.receipt].shares.unchecked:
                text = f"share {block.index} of its receipt is no block of its job"
                self.refused_blocks.add(block.block)
                self.report(finding(Code.BLOCK_NOT_SOLVED, text, block.id, block.receipt, miner=block.finder))
            return
        solution, _, batch = known
        judged = self.jobs[solution.job]
        claims = {
            "signer": (block.signer, key.edge),
            "header": (block.header, solution.header),
            "coinbase": (block.coinbase, solution.coinbase),
            "merkle": (block.merkle, judged.job.merkle),
            "height": (block.height, judged.job.height),
            "finder": (block.finder, solution.miner),
        }
        wrong = [name for name, (told, found) in claims.items() if told != found]
        if wrong:
            text = f"{', '.join(wrong)} not as the share and its job say"
            self.refused_blocks.add(block.block)
            self.report(finding(Code.BLOCK_MISMATCH, text, block.id, block.receipt, miner=block.finder))
            return
        if block.block in self.blocks:
            return
        seen = BlockSeen(
            block=block,
            found_ms=solution.t,
            offer=judged.job.offer,
            terms=judged.terms,
            gross_msat=judged.gross_msat,
            job=judged.job,
            edge=key.edge,
            lane=key.number,
            seq=batch.seq,
            index=solution.number,
        )
        self.blocks[block.block] = seen
        self._facts.append(seen)

    def _settle_accounting(self) -> bool:
        progress = False
        for key in sorted(self.accounting):
            chain = self.accounting[key]
            while key in self.roles["accounting"] and (event := chain.peek()) is not None and not self.wants(event):
                self.enter(chain, event)
                progress = True
        return progress

    def wants(self, event: AccountingEvent) -> list[str]:
        """What an event of the accounting names that was not read: blocks, batches or statements."""
        if isinstance(event, Statement):
            block = [] if event.reward.block in self.blocks else [event.reward.block]
            return block + missing_heads(self.lanes, event)
        if isinstance(event, RewardStatus):
            return [] if event.statement in self.books.rewards else [event.statement]
        return []

    def enter(self, chain: "Chain[AccountingEvent]", event: AccountingEvent) -> None:
        """Let the next event of an accounting chain take its place, and judge it."""
        chain.take(event)
        if isinstance(event, Statement):
            found = [*self.books.add_statement(event), *self._judge_statement(event)]
            for each in found:
                self.report(each)
            self._facts.append(StatementSeen(event, ok=not found))
        elif isinstance(event, RewardStatus):
            if event.statement in self.books.rewards:
                wrong = list(self.books.add_status(event))
            else:
                wrong = [finding(Code.STATUS_UNKNOWN, f"statement {event.statement}", event.id)]
            for each in wrong:
                self.report(each)
            self._facts.append(StatusSeen(event, ok=not wrong))

    def _judge_statement(self, statement: Statement) -> list[Finding]:
        found: list[Finding] = []
        total = sum(row.msat for row in statement.rows) + statement.fee_msat
        if total != statement.reward.gross_msat:
            text = f"rows and fee are {total} msat, the reward is {statement.reward.gross_msat}"
            found.append(finding(Code.STATEMENT_SPLIT, text, statement.id))
        block = self.blocks.get(statement.reward.block)
        if block is None:
            refused = statement.reward.block in self.refused_blocks
            code = Code.STATEMENT_REWARD if refused else Code.STATEMENT_NO_BLOCK
            return [*found, finding(code, f"block {statement.reward.block} is not proven", statement.id)]
        missing = missing_heads(self.lanes, statement)
        if missing:
            text = "the statement names batches that were not read"
            found.append(finding(Code.MISSING_BATCH, text, statement.id, *missing))
        if missing or not is_recomputable(self.lanes, named_cuts(self.lanes, statement)):
            return [*found, finding(Code.STATEMENT_NOT_RECOMPUTED, "part of its work is missing", statement.id)]
        try:
            wrong = list(compare_statement(self.lanes, statement, block))
        except UnsupportedOffer as error:
            return [*found, finding(Code.STATEMENT_SCHEME, str(error), statement.id)]
        return found + [finding(code, text, statement.id, block.block.id) for code, text in wrong]

    def _settle_payouts(self, chain: "Chain[Payout]") -> None:
        while chain.pubkey in self.roles["zapper"] and (payout := chain.peek()) is not None:
            self.pay(chain, payout)

    def pay(self, chain: "Chain[Payout]", payout: Payout) -> None:
        """Let the next payout of a chain take its place, and judge its proof."""
        chain.take(payout)
        serves = self._grade_payout(payout)
        terms = self.terms_at(payout.created_at * 1000)
        miner_bears_fee = terms is not None and terms.body.payouts.network_fee == "miner"
        for found in self.books.add_payout(payout, serves, miner_bears_fee=miner_bears_fee):
            self.report(found)

    def _grade_payout(self, payout: Payout) -> tuple[str, ...]:
        keys = set().union(*self.roles.values(), {self.pool.pubkey})
        proof = check_proof(payout, frozenset(self.roles["zapper"]), frozenset(keys), self._named)
        if proof.grade == REFUTED:
            self.report(finding(Code.PAYOUT_PROOF, proof.text, payout.id, miner=payout.miner))
        if proof.receipt is not None and proof.grade != ATTESTED:
            self._unattested.setdefault(proof.receipt, []).append(payout)
        self.books.grades[payout.id] = proof.grade
        self._facts.append(PayoutSeen(payout, proof.grade))
        return proof.serves


def _parse_accounting(event: VerifiedEvent) -> AccountingEvent:
    if event.kind == kinds.STATEMENT:
        return parse_statement(event)
    if event.kind == kinds.STATUS:
        return parse_status(event)
    return Opaque(event.id, link_of(event), event.created_at)
