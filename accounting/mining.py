"""The edges' half of the log: jobs, the lanes of batches that use them, and the blocks among their shares."""

from collections.abc import Callable, Sequence

from accounting.announced import Announced
from accounting.attendance import Attendance
from accounting.chains import Chain
from accounting.checks import Known, digest_of, pack_check
from accounting.drafts import Draft, Fault, JobSpec, draft_batch
from accounting.facts import BatchChecked, Fact, ShareRevoked, SpanSummed, WorkDone
from accounting.findings import Code, Finding, finding
from accounting.jobs import JudgedJob, judge_job, use_of
from accounting.judging import JobUse, Place, Seen, Verdict, hash_unhashed, judge_batch
from accounting.lanes import Batch, Batches, Lane, LaneKey, Lanes
from accounting.shelves import MemoryShelves, Shelf, Shelves
from accounting.spans import WIDEST
from accounting.sums import Sums, sum_up
from accounting.termsbook import TermsBook
from accounting.totals import WorkTotals
from nips.pool.hashing import display
from nips.pool.job import Job
from nips.pool.receipt import Receipt
from nips.pool.targets import target_from_bits

# Jobs that can bring no more shares are let go every so many batches.
FORGET_EVERY = 64


class Mining:
    """Lanes, jobs and blocks as far as they were read. `facts` is where new ones go, `report` where findings do.
    `keeps_sums`: somebody keeps what batches and spans of them came to, for the next time.
    """

    def __init__(
        self,
        terms: TermsBook,
        report: Callable[[Finding], None],
        facts: list[Fact],
        progress: Callable[[int], None] | None,
        shelves: Shelves | None = None,
        *,
        keeps_sums: bool = False,
    ) -> None:
        self.terms = terms
        self.report = report
        self.facts = facts
        self.shelves = shelves = shelves or MemoryShelves()
        self.lanes = Lanes()
        self.totals = WorkTotals()
        # Every job that was read, and the judged ones on which shares may still come.
        self.read_jobs: Shelf[Job] = shelves.open("jobs")
        self.live: dict[str, JudgedJob] = {}
        # Judged jobs by id: whether each keeps the rules by itself. Of each terms the newest that does.
        self.judged: Shelf[bool] = shelves.open("judged jobs")
        self.newest_job: dict[str, tuple[int, str]] = {}
        self.jobs_read = self.jobs_good = 0
        # Jobs an edge signed that break the form: their shares count nothing; of a version not known here: not judged.
        self.refused_jobs: set[str] = set()
        self.unknown_jobs: set[str] = set()
        # By prevhash the heights that jobs on it tell; a job of each, where they differ.
        self.heights: Shelf[dict[int, str]] = shelves.open("heights")
        self.unlike_heights: set[str] = set()
        # Used jobs that keep the rules, by `<prevhash>/<job>`.
        self.on_prevhash: Shelf[bool] = shelves.open("jobs on prevhash")
        # Heads that used jobs name and the lane each must be a batch of, as long as it is not: (job, lane, head).
        self.sealed: set[tuple[str, LaneKey, str]] = set()
        # Jobs whose heads were looked at, as far as they live.
        self._headed: set[str] = set()
        # Batches that were hashed ahead, by receipt.
        self.drafts: Shelf[Draft] = shelves.open("drafts")
        self.progress = progress
        self.seen: dict[str, Seen] = {}
        # How many shares were taken back.
        self.revoked = 0
        self.batches = 0
        self._positions: Shelf[str] = shelves.open("positions")
        self.attendance = Attendance(shelves)
        self.announced = Announced(terms, report, facts, shelves, self._batch_of, self.judged_job)
        self._keeps_sums = keeps_sums
        # While a log is replayed: the known batches that nobody asks for one by one, so that sums of many will do.
        self.holds_back: Callable[[Known], bool] | None = None

    def put(self, receipt: Receipt | Known) -> None:
        """Take a receipt in; it waits for its turn in its lane."""
        key = LaneKey(receipt.signer, receipt.lane)
        if key not in self.lanes:
            self.lanes[key] = self.new_lane(key)
        self.lanes[key].chain.put(receipt)

    def new_lane(self, key: LaneKey) -> Lane:
        """A lane before its first batch."""
        chain: Chain[Receipt | Known] = self.terms.new_chain(str(key), self.report, self.shelves)
        return Lane(key, chain, Batches(str(key), self.shelves, self if self._keeps_sums else None))

    def outdated(self) -> str | None:
        """A job that was judged good and was made, by terms adopted since, too long after its own were replaced."""
        for terms_id, (ms, job) in self.newest_job.items():
            replaced = self.terms.replaced_ms.get(terms_id)
            if replaced is not None and ms > replaced + self.terms.by_id[terms_id].body.limits.job_ms:
                return job
        return None

    def live_jobs(self) -> list[str]:
        """The jobs whose shares' hashes are kept, since shares on them may still come."""
        return sorted(self.seen)

    def settle(self) -> None:
        """Let every batch and block that has all it names take its place."""
        for key in sorted(self.lanes):
            if key.edge in self.terms.roles["edge"]:
                self._settle_lane(self.lanes[key])
        self.announced.settle()

    def _settle_lane(self, lane: Lane) -> None:
        while (receipt := lane.chain.peek()) is not None and not self.lacks(receipt):
            self.accept(lane, receipt)

    def lacks(self, receipt: Receipt | Known) -> list[str]:
        """The jobs of a receipt that can't be judged yet, by id."""
        unread = self.refused_jobs | self.unknown_jobs
        return [job for job in receipt.jobs if job not in unread and self.judged_job(job) is None]

    def waits_for_terms(self, job_id: str) -> str | None:
        """The terms that a job names and that were not read; None if the job itself was not."""
        job = self.read_jobs.get(job_id)
        return None if job is None else job.terms

    def judged_job(self, job_id: str) -> JudgedJob | None:
        """A job that was read under its terms; None while either lacks."""
        judged = self.live.get(job_id)
        if judged is None:
            job = self.read_jobs.get(job_id)
            terms = None if job is None else self.terms.by_id.get(job.terms)
            if job is None or terms is None:
                return None
            judged = self.live[job_id] = judge_job(job, terms, self.terms.replaced_ms.get(terms.id))
            if job_id not in self.judged:
                self._note_job(judged)
        return judged

    def _note_job(self, judged: JudgedJob) -> None:
        """Keep of a job what is asked when it is long over."""
        job, good = judged.job, judged.problem is None
        self.judged[job.id] = good
        self.jobs_read += 1
        if not good:
            return
        self.jobs_good += 1
        self.newest_job[job.terms] = max(self.newest_job.get(job.terms, (0, "")), (job.ms, job.id))
        prevhash = display(job.prevhash)
        self.on_prevhash[f"{prevhash}/{job.id}"] = True
        told = self.heights.get(prevhash, {})
        if job.height not in told or job.id < told[job.height]:
            self.heights[prevhash] = {**told, job.height: job.id}
            if len(told | {job.height: ""}) > 1:
                self.unlike_heights.add(prevhash)

    def accept(self, lane: Lane, receipt: Receipt | Known) -> None:
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
        follows = receipt.link.seq == 0 if last is None else receipt.link.prev == last.id
        if isinstance(receipt, Known):
            head = receipt.head
            if head.bad or head.unchecked:
                # What was wrong is said again.
                receipt = receipt.receipt()
            else:
                self._take_known(lane, receipt, follows)
        if isinstance(receipt, Receipt):
            self._take_checked(lane, receipt, self._check(lane, receipt, uses), follows)
        lane.fin = receipt.fin
        self.batches += 1
        if self.batches % FORGET_EVERY == 0:
            self._forget()

    def _take_known(self, lane: Lane, known: Known, follows: bool) -> None:
        head = known.head
        for number, job in enumerate(known.jobs):
            if job in self.seen:
                self.seen[job].unhashed.append((known, number))
        self._check_work_tag(known, head.told)
        batch = _batch(known, known.data, known.digest)
        batch.span = known.span
        lane.add(batch, follows=follows)
        self.totals.add(known.from_ms, known.to_ms, head.good, head.work)
        if head.solutions:
            self.announced.note_solutions(lane.key, known, known.shares)
        held_back = self.holds_back is not None and self.holds_back(known)
        shares = None if held_back else known.shares
        if self.terms.pays_loyalty:
            self.attendance.passed(lane, shares)
        if shares is None:
            lane.held_back.append(len(lane.batches) - 1)
            return
        sums = sum_up(known.to_ms, shares)
        self.totals.add_workers(sums)
        self.facts.append(BatchChecked(known, shares, sums))

    def _take_checked(self, lane: Lane, receipt: Receipt, verdict: Verdict, follows: bool) -> None:
        shares = verdict.shares
        data, sums = shares.pack(), sum_up(receipt.to_ms, shares)
        # What took another batch's credit is hashed again each time, as that batch is: else neither would know.
        check = None if verdict.displaced else pack_check(receipt, data)
        batch = _batch(receipt, data, b"" if check is None else digest_of(check))
        batch.take(shares)
        lane.add(batch, follows=follows)
        self.totals.add(receipt.from_ms, receipt.to_ms, len(shares), shares.work, shares.bad, shares.unchecked)
        self.totals.add_workers(sums)
        self.announced.note_solutions(lane.key, receipt, shares)
        if self.terms.pays_loyalty:
            self.attendance.passed(lane, shares)
        self.facts.append(BatchChecked(receipt, shares, sums, check))
        if self.progress is not None:
            self.progress(len(shares) + shares.bad + shares.uncredited + shares.unchecked)

    # Sums

    def keep(self, receipt: str, row: bytes) -> None:
        """The row of the spans that end with a batch is to be kept."""
        self.facts.append(SpanSummed(receipt, row))

    def found(self, lane: str, position: int, sums: Sums | None) -> None:
        """Count the batches held back of a widest span, up to the one at a position, by its sums if there are any."""
        edge, _, number = lane.partition("/")
        of = self.lanes[LaneKey(edge, int(number))]
        if sums is not None and of.held_back[:WIDEST] == list(range(position + 1 - WIDEST, position + 1)):
            del of.held_back[:WIDEST]
            self._count(sums)
        else:
            self._count_held_back(of, position)

    def count_held_back(self) -> None:
        """Count all that was held back, batch by batch."""
        for key in sorted(self.lanes):
            self._count_held_back(self.lanes[key], len(self.lanes[key].batches))

    def _count_held_back(self, lane: Lane, position: int) -> None:
        mine = [at for at in lane.held_back if at <= position]
        del lane.held_back[: len(mine)]
        for at in mine:
            self._count(lane.batches[at].sums())

    def _count(self, sums: Sums) -> None:
        self.totals.add_workers(sums)
        self.facts.append(WorkDone(sums))

    def hash_known(self) -> None:
        """Hash the shares of known batches that new ones might still repeat."""
        self._forget()
        for job, seen in self.seen.items():
            judged = self.judged_job(job)
            if judged is not None and judged.problem is None:
                hash_unhashed(JobSpec(judged.job, target_from_bits(judged.limits.easiest_bits), judged.block), seen)
            seen.unhashed.clear()

    # Judging

    def _uses(self, lane: Lane, receipt: Receipt | Known) -> list[JobUse]:
        judged = [self.judged_job(job) for job in receipt.jobs]
        for found in judged:
            if found is not None and found.job.signer == receipt.signer:
                lane.started[found.job.id] = (found.job.ms, found.job.prevhash)
                if found.job.id not in self._headed:
                    self._headed.add(found.job.id)
                    self._look_at_heads(found.job)
        longest = max((found.limits.job_ms for found in judged if found is not None), default=0)
        for job, (ms, _) in list(lane.started.items()):
            # Only what came after a job that still lives can end its life.
            if longest and ms < receipt.from_ms - longest:
                del lane.started[job]
        uses = []
        for job, found in zip(receipt.jobs, judged, strict=True):
            if found is None:
                # Nobody can say what work on a job of another version is worth.
                refused = job in self.refused_jobs
                uses.append(JobUse(None, problem=Code.SHARE_JOB if refused else None, unchecked=not refused))
                continue
            use, code, text = use_of(found, lane, receipt)
            if code is not None:
                self.report(finding(code, f"job of {receipt.signer}/{receipt.lane}: {text}", job, receipt.id))
            uses.append(use)
            self.seen.setdefault(job, Seen())
        return uses

    def _look_at_heads(self, job: Job) -> None:
        for number, head in job.heads.items():
            key = LaneKey(job.signer, number)
            sealed = self.lanes.get(key)
            if head and (sealed is None or not sealed.has(head)):
                self.sealed.add((job.id, key, head))

    def _check(self, lane: Lane, receipt: Receipt, uses: Sequence[JobUse]) -> Verdict:
        for use in uses:
            if use.spec is not None and self.seen[use.spec.job.id].unhashed:
                hash_unhashed(use.spec, self.seen[use.spec.job.id])
        verdict = judge_batch(receipt, self._draft(receipt, uses), uses, self.seen)
        self._check_work_tag(receipt, verdict.told_work)
        self._report_shares(receipt, verdict.faults, len(verdict.shares))
        for place in verdict.displaced:
            self._displace(LaneKey(lane.key.edge, place.lane), place, receipt)
        return verdict

    def _draft(self, receipt: Receipt, uses: Sequence[JobUse]) -> Draft:
        """The receipt's shares hashed, by whoever did so ahead; here, if that could not be told all its jobs."""
        ahead = self.drafts.pop(receipt.id, None)
        if ahead is not None and not any(uses[job].spec is not None for _, _, job in ahead.unjudged):
            return ahead
        return draft_batch(receipt, [use.spec for use in uses])

    def _check_work_tag(self, receipt: Receipt | Known, told: int) -> None:
        if receipt.work != told:
            text = f"the work tag says {receipt.work}, the credited shares sum to {told}"
            self.report(finding(Code.WORK_TAG, text, receipt.id))

    def _report_shares(self, receipt: Receipt, faults: Sequence[Fault], good: int) -> None:
        found: dict[tuple[Code, str], list[int]] = {}
        for fault in faults:
            miner = receipt.miners[receipt.sessions[fault.session].miner]
            found.setdefault((fault.code, miner), []).append(fault.number)
        for (code, miner), numbers in sorted(found.items()):
            text = f"{len(numbers)} of {good + len(faults)} credited shares of this batch, first {min(numbers)}"
            self.report(finding(code, text, receipt.id, miner=miner))

    def _displace(self, key: LaneKey, place: Place, receipt: Receipt) -> None:
        lane = self.lanes[key]
        self._count_held_back(lane, len(lane.batches))
        position = lane.position_of(place.seq)
        batch = lane.batches[position]
        shares = batch.read()
        self.totals.take_back(batch.from_ms, batch.to_ms, shares, place.number)
        session = shares.session_of(place.number)
        lane.batches.update(position, batch, shares.without(place.number))
        self.revoked += 1
        self.attendance.drop(key, batch.from_ms, batch.to_ms)
        text = f"share {place.number} of a batch of lane {key.number} repeats one of this batch"
        self.report(finding(Code.SHARE_TWICE, text, batch.id, receipt.id))
        self.facts.append(ShareRevoked(batch.id, place.number, str(key), batch.seq, session))

    def _forget(self) -> None:
        for job_id, judged in list(self.live.items()):
            over = judged.job.ms + judged.limits.job_ms
            lanes = (self.lanes.get(LaneKey(judged.job.signer, number)) for number in judged.job.heads)
            if all(lane is not None and (lane.ended or lane.watermark_ms > over) for lane in lanes):
                del self.live[job_id]
                self.seen.pop(job_id, None)
                self._headed.discard(job_id)
        for named in list(self.sealed):
            lane = self.lanes.get(named[1])
            if lane is not None and lane.has(named[2]):
                self.sealed.discard(named)

    def _batch_of(self, receipt: str) -> Batch | None:
        name, _, position = self._positions.get(receipt, "").rpartition("/")
        if not name:
            return None
        edge, _, number = name.partition("/")
        return self.lanes[LaneKey(edge, int(number))].batches[int(position)]


def _batch(receipt: Receipt | Known, data: bytes, digest: bytes) -> Batch:
    return Batch(receipt.link.seq, receipt.id, receipt.from_ms, receipt.to_ms, receipt.created_at, data, digest)
