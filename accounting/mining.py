"""The edges' half of the log: jobs, the lanes of batches that use them, and the blocks among their shares."""

from collections.abc import Callable

from accounting.chains import Chain
from accounting.facts import BatchChecked, BlockSeen, Fact, ShareRevoked
from accounting.findings import Code, Finding, finding
from accounting.jobs import JudgedJob, judge_job, use_of
from accounting.lanes import Batch, Lane, LaneKey, Lanes
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
from accounting.termsbook import TermsBook
from nips.pool.block import BlockFound
from nips.pool.job import Job
from nips.pool.receipt import Receipt

# Hashes of jobs that can bring no more shares are let go every so many batches.
FORGET_EVERY = 256


class Mining:
    """Lanes, jobs and blocks as far as they were read. `facts` is where new ones go, `report` where findings do."""

    def __init__(
        self,
        terms: TermsBook,
        report: Callable[[Finding], None],
        facts: list[Fact],
        progress: Callable[[int], None] | None,
    ) -> None:
        self.terms = terms
        self.report = report
        self.facts = facts
        self.lanes = Lanes()
        self.jobs: dict[str, JudgedJob] = {}
        self.waiting_jobs: dict[str, Job] = {}
        # Jobs an edge signed that can't be read: their shares count nothing.
        self.refused_jobs: set[str] = set()
        # Proven blocks by hash, hashes of those that are not, and events whose receipt was not read.
        self.blocks: dict[str, BlockSeen] = {}
        self.refused_blocks: set[str] = set()
        self.waiting_blocks: dict[str, BlockFound] = {}
        # Every share that solves its job's block, by (receipt, number).
        self.solutions: dict[tuple[str, int], tuple[Solution, LaneKey, Batch]] = {}
        # Heads that used jobs name and the lane each must be a batch of: (job, lane, head).
        self.sealed: set[tuple[str, LaneKey, str]] = set()
        # Batches that need no hashing, by receipt.
        self.trusted: dict[str, CheckedShares] = {}
        self._progress = progress
        self._seen: dict[str, Seen] = {}
        self._batches = 0
        self._lane_of: dict[str, LaneKey] = {}

    def put(self, receipt: Receipt) -> None:
        """Take a receipt in; it waits for its turn in its lane."""
        key = LaneKey(receipt.signer, receipt.lane)
        lane = self.lanes.get(key)
        if lane is None:
            chain: Chain[Receipt] = Chain(str(key), self.report, closed=self.terms.closed.get(str(key)))
            lane = self.lanes[key] = Lane(key, chain)
        lane.chain.put(receipt)

    def outdated(self) -> str | None:
        """A job that was judged good and was made, by terms adopted since, too long after its own were replaced."""
        for judged in self.jobs.values():
            replaced = self.terms.replaced_ms.get(judged.terms.id)
            late = replaced is not None and judged.job.ms > replaced + judged.limits.job_ms
            if late and judged.problem is None:
                return judged.job.id
        return None

    def live_jobs(self) -> list[str]:
        """The jobs whose shares' hashes are kept, since shares on them may still come."""
        return sorted(self._seen)

    def settle(self) -> None:
        """Let every batch and block that has all it names take its place."""
        for key in sorted(self.lanes):
            if key.edge in self.terms.roles["edge"]:
                self._settle_lane(self.lanes[key])
        self._settle_blocks()

    def _settle_lane(self, lane: Lane) -> None:
        while (receipt := lane.chain.peek()) is not None and not self.lacks(receipt):
            self.accept(lane, receipt)

    def lacks(self, receipt: Receipt) -> list[str]:
        """The jobs of a receipt that can't be judged yet, by id."""
        return [job for job in receipt.jobs if job not in self.refused_jobs and self._judge(job) is None]

    def _judge(self, job_id: str) -> JudgedJob | None:
        judged = self.jobs.get(job_id)
        if judged is None:
            job = self.waiting_jobs.get(job_id)
            terms = None if job is None else self.terms.by_id.get(job.terms)
            if job is None or terms is None:
                return None
            judged = self.jobs[job_id] = judge_job(job, terms, self.terms.replaced_ms.get(terms.id))
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
        follows = receipt.link.seq == 0 if last is None else receipt.link.prev == last.id
        batch = Batch(receipt.link.seq, receipt.id, receipt.from_ms, receipt.to_ms, receipt.created_at, shares)
        lane.add(batch, follows=follows)
        lane.fin = receipt.fin
        self._lane_of[receipt.id] = lane.key
        for solution in shares.solutions:
            self.solutions[receipt.id, solution.number] = (solution, lane.key, batch)
        self.facts.append(BatchChecked(receipt, shares))
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
                    key = LaneKey(receipt.signer, number)
                    sealed = self.lanes.get(key)
                    if head and (sealed is None or head not in sealed.by_id):
                        self.sealed.add((found.job.id, key, head))
        longest = max((found.limits.job_ms for found in judged if found is not None), default=0)
        for job, (ms, _) in list(lane.started.items()):
            # Only what came after a job that still lives can end its life.
            if longest and ms < receipt.from_ms - longest:
                del lane.started[job]
        uses = []
        for job, found in zip(receipt.jobs, judged, strict=True):
            if found is None:
                refused = job in self.refused_jobs
                uses.append(JobUse(None, problem=Code.SHARE_JOB if refused else None, unchecked=not refused))
                continue
            use, code, text = use_of(found, lane, receipt)
            if code is not None:
                self.report(finding(code, f"job of {receipt.signer}/{receipt.lane}: {text}", job, receipt.id))
            uses.append(use)
            self._seen.setdefault(job, Seen())
        return uses

    def _check(self, lane: Lane, receipt: Receipt, uses: list[JobUse]) -> CheckedShares:
        trusted = self.trusted.pop(receipt.id, None)
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
        rows = receipt.rows() if verdict.problems else []
        for code, indexes in sorted(verdict.problems.items()):
            by_miner: dict[str, list[int]] = {}
            for index in indexes:
                by_miner.setdefault(receipt.miners[receipt.sessions[rows[index][0]].miner], []).append(index)
            for miner, numbers in sorted(by_miner.items()):
                text = f"{len(numbers)} of {receipt.count} shares of this batch, first {min(numbers)}"
                self.report(finding(code, text, receipt.id, miner=miner))

    def _displace(self, key: LaneKey, place: Place, receipt: Receipt) -> None:
        batch = next(batch for batch in reversed(self.lanes[key].batches) if batch.seq == place.seq)
        batch.shares = batch.shares.without(place.number)
        text = f"share {place.number} of a batch of lane {key.number} repeats one of this batch"
        self.report(finding(Code.SHARE_TWICE, text, batch.id, receipt.id))
        self.facts.append(ShareRevoked(batch.id, place.number))

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
            if key is None or not self.terms.roles_of(block.signer):
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
        known_block = self.blocks.get(block.block)
        # Announced twice, by two records of one share: the earlier tells when it was found.
        if known_block is not None and known_block.found_ms <= solution.t:
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
        self.facts.append(seen)
